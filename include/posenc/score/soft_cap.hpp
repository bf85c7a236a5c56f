// SPDX-License-Identifier: MIT
//
// SoftCap: bounds every score smoothly.
//
//   score = cap * tanh(score / cap)
//
// Gemma 2 caps attention scores at 50. Where it stands in the pipe is where it acts: x-transformers
// adds biases first (ALiBi{} | SoftCap{50}), FlashAttention 2 caps first (SoftCap{50} | ALiBi{}).
//
// Parameters: cap, with d score / d cap = tanh u - u (1 - tanh^2 u), u = score / cap.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/elementwise.hpp>

#include <cmath>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

struct SoftCap {
  static constexpr bool differentiable = true;

  double cap = 50;  ///< bound on the magnitude of a score ("logits_soft_cap")

  template <class T>
  [[nodiscard]] T map_score(T score, const Score&) const {
    return static_cast<T>(cap) * elementwise_tanh(score * static_cast<T>(1 / cap));
  }

  template <class T>
  [[nodiscard]] T map_score_derivative(T score, const Score&) const {
    const T tanh = elementwise_tanh(score * static_cast<T>(1 / cap));
    return (1 - tanh) * (1 + tanh);
  }

  [[nodiscard]] static constexpr Index num_parameters() { return 1; }
  template <class T>
  [[nodiscard]] T map_parameter_derivative(Index, T score, const Score&) const {
    const T u = score * static_cast<T>(1 / cap), tanh = elementwise_tanh(u), square = u * u;
    // The difference of nearly the same numbers loses digits; there its series takes over.
    constexpr T small = std::is_same_v<T, float> ? T(0.2) : T(0.01);
    const T series = u * square *
                     (T(2.0 / 3) + square * (T(-8.0 / 15) +
                                             square * (T(34.0 / 105) + square * T(-496.0 / 2835))));
    return elementwise_select(square < small * small, series, tanh - u * ((1 - tanh) * (1 + tanh)));
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(std::isfinite(cap) && cap > 0,
                     "SoftCap: cap must be positive and finite, got ", cap, ".");
  }
};

POSENC_NAMESPACE_END
