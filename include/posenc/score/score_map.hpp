// SPDX-License-Identifier: MIT
//
// score_map(f): an elementwise change of the scores of your own.
//
//   score_map([](auto x) { return x > 30 ? 30 + (x - 30) / 2 : x; })
//   score_map([](auto x, const Score& at) { ... })
//
// It acts where it stands in the pipe: on the scores with the biases written before it, without
// those written after. f runs in the fused kernel for every score, in float or, for double inputs,
// in double: take `auto x`, keep it short and free of branches. It is also asked about pairs that a
// mask hides, where x may be any number.
//
// Written for any number type, f is differentiable too (core/dual.hpp): for functions of the standard
// library write `using std::exp; exp(x)`. In an AnyEncoding the functor has to say so, with a member
// `static constexpr bool differentiable = true`.
//
// A functor that learns has num_parameters() and parameter_derivative(index, x, at), d f / d parameter.
//
// A functor with a member check(Problems&, const HeadShape&) has its parameters checked at bind.
#pragma once

#include <posenc/core/gradients.hpp>

#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

template <class F>
struct ScoreMapFunction {
  static constexpr bool differentiable = requires { requires F::differentiable; };

  F function;

  template <class T>
    requires(std::is_invocable_v<const F&, T, const Score&> || std::is_invocable_v<const F&, T>)
  [[nodiscard]] constexpr T map_score(T score, const Score& at) const {
    if constexpr (std::is_invocable_v<const F&, T, const Score&>)
      return static_cast<T>(function(score, at));
    else
      return static_cast<T>(function(score));
  }

  [[nodiscard]] constexpr Index num_parameters() const
    requires Parameters<F>
  {
    return function.num_parameters();
  }
  template <class T>
    requires requires(const F f, Index i, T x, const Score& at) {
      f.parameter_derivative(i, x, at);
    }
  [[nodiscard]] constexpr T map_parameter_derivative(Index parameter, T score,
                                                     const Score& at) const {
    return static_cast<T>(function.parameter_derivative(parameter, score, at));
  }

  constexpr void check(Problems& problems, const HeadShape& shape) const
    requires Checks<F>
  {
    function.check(problems, shape);
  }
};

template <class F>
[[nodiscard]] constexpr ScoreMapFunction<F> score_map(F function) {
  constexpr bool of_score = std::is_invocable_r_v<double, const F&, float, const Score&> ||
                            std::is_invocable_r_v<double, const F&, float>;
  if constexpr (!of_score)
    static_assert(!detail::CalledUnlessConst<F, float, const Score&> &&
                      !detail::CalledUnlessConst<F, float>,
                  "posenc: this f can be called only while it is not const: write "
                  "`operator()(...) const`, and no `mutable` behind a lambda.");
  static_assert(
      of_score,
      "posenc: score_map(f) needs an f that can be called, also when it is const, as f(x) or "
      "as f(x, Score at), with x a float or a double, and that returns the new score.");
  return {std::move(function)};
}

POSENC_NAMESPACE_END
