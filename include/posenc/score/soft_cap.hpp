// SPDX-License-Identifier: MIT
//
// SoftCap: bounds every score smoothly.
//
//   score = cap * tanh(score / cap)
//
// Gemma 2 caps attention scores at 50. Where it stands in the pipe is where it acts: x-transformers
// adds biases first (ALiBi{} | SoftCap{50}), FlashAttention 2 caps first (SoftCap{50} | ALiBi{}).
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/elementwise.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct SoftCap {
  static constexpr bool differentiable = true;

  double cap = 50;  ///< bound on the magnitude of a score ("logits_soft_cap")

  template <class T>
  [[nodiscard]] T map_score(T score, const Score&) const {
    return static_cast<T>(cap) * elementwise_tanh(score * static_cast<T>(1 / cap));
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(std::isfinite(cap) && cap > 0,
                     "SoftCap: cap must be positive and finite, got ", cap, ".");
  }
};

POSENC_NAMESPACE_END
