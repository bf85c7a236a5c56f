// SPDX-License-Identifier: MIT
//
// Derivatives of score maps over a tile of scores: f'(x, at), by dual numbers or as the component says.
// Compiled only for encodings that are asked for gradients.
#pragma once

#include <posenc/bind/score_loops.hpp>
#include <posenc/core/dual.hpp>

POSENC_NAMESPACE_BEGIN

/// A score map whose derivative is known: map_score() takes a Dual and returns one, or
/// map_score_derivative(x, at) says it, with x of the kernel's own type.
template <class S, class T = float>
concept StatesDerivative = ScoreMap<S> && requires(const S c, T x, const Score& at) {
  { c.map_score_derivative(x, at) } -> std::convertible_to<T>;
};
template <class S, class T = float>
concept DifferentiableMap =
    StatesDerivative<S, T> || (ScoreMap<S> && requires(const S c, Dual<T> x, const Score& at) {
      { c.map_score(x, at) } -> std::same_as<Dual<T>>;
    });

namespace detail {

/// f'(x, at); null for components that are no score maps.
template <class T>
struct Derivative {
  /// Gradients of what the component returned become those of what it was given, `x`.
  void (*tile)(const void* component, const ScoreTile& tile, const T* x,
               T* gradient) noexcept = nullptr;
  T (*one)(const void* component, T x, const Score& at) = nullptr;
};
template <class T>
using FindDerivative = Derivative<T> (*)(std::size_t level) noexcept;

template <class S, class T>
T derivative_of(const S& map, T x, const Score& at) {
  if constexpr (RelativeBias<S>)
    x += static_cast<T>(map.relative_bias(at.head, at.query - at.key));
  else if constexpr (ScoreBias<S>)
    x += static_cast<T>(map.score_bias(at));
  if constexpr (StatesDerivative<S, T>)
    return static_cast<T>(map.map_score_derivative(x, at));
  else
    return map.map_score(Dual<T>(x, 1), at).derivative;
}

template <class Level, class S, class T>
void differentiate(const void* component, const ScoreTile& tile, const T* x, T* gradient) noexcept {
  const S& map = *static_cast<const S*>(component);
  const ScoreTile at = tile;
  Level::map(at.keys, at.width, gradient, [&](T g, Index k, Index j) {
    // What has no gradient gives none, whatever the map says of a score that is not finite.
    const T slope = derivative_of(map, x[k * at.width + j], at.score(k, j));
    return g == 0 ? T{0} : g * slope;
  });
}

template <class S, class T>
Derivative<T> derivative(std::size_t level) noexcept {
  if constexpr (ScoreMap<S>) {
    static_assert(DifferentiableMap<S, T>,
                  "posenc: this score map has no derivative: write it for any number type "
                  "(auto x), or give it map_score_derivative(x, at).");
    static constexpr auto table =
        simd::by_level<T>([]<class Level>(Level) { return &differentiate<Level, S, T>; });
    return {table[level], [](const void* component, T x, const Score& at) {
              return derivative_of(*static_cast<const S*>(component), x, at);
            }};
  } else {
    return {};
  }
}

/// Components that say so may be asked for derivatives where they join an AnyEncoding.
template <class S>
concept SaysDifferentiable = requires { requires S::differentiable; };

}  // namespace detail

POSENC_NAMESPACE_END
