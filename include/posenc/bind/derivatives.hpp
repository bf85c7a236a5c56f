// SPDX-License-Identifier: MIT
//
// Derivatives of score maps over a tile of scores: f'(x, at), by dual numbers or as the component says.
// Compiled only for encodings that are asked for gradients.
#pragma once

#include <posenc/bind/score_loops.hpp>
#include <posenc/core/dual.hpp>
#include <posenc/core/gradients.hpp>

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
  /// Gradients of what the component returned become those of what it was given, `x`. Unless it is null,
  /// `by` gets them times the derivative by the first parameter of the map.
  void (*tile)(const void* component, const ScoreTile& tile, const T* x, T* gradient,
               T* by) noexcept = nullptr;
  T (*one)(const void* component, T x, const Score& at) = nullptr;

  // By a parameter of the map; null where it has none.
  /// Gradients of what the component returned are multiplied by the derivative.
  void (*tile_by)(const void* component, Index parameter, const ScoreTile& tile, const T* x,
                  T* gradient) noexcept = nullptr;
  T (*one_by)(const void* component, Index parameter, T x, const Score& at) = nullptr;
};
template <class T>
using FindDerivative = Derivative<T> (*)(std::size_t level) noexcept;

/// What the map of a component was given, where the component has a bias before it.
template <class S, class T>
T behind_bias(const S& stage, T x, const Score& at) {
  if constexpr (RelativeBias<S>)
    x += static_cast<T>(stage.relative_bias(at.head, at.query - at.key));
  else if constexpr (ScoreBias<S>)
    x += static_cast<T>(stage.score_bias(at));
  return x;
}

template <class S, class T>
T derivative_of(const S& map, T given, const Score& at) {
  const T x = behind_bias(map, given, at);
  if constexpr (StatesDerivative<S, T>)
    return static_cast<T>(map.map_score_derivative(x, at));
  else
    return map.map_score(Dual<T>(x, 1), at).derivative;
}

template <class S, class T>
T derivative_by(const S& map, Index parameter, T given, const Score& at) {
  return static_cast<T>(map.map_parameter_derivative(parameter, behind_bias(map, given, at), at));
}

/// Multiplies gradients by derivative(x, at). What has no gradient gives none, whatever the map says of a
/// score that is not finite.
template <class Level, class T, class F>
void multiply_by(const F& derivative, const ScoreTile& tile, const T* x, T* gradient) noexcept {
  const ScoreTile at = tile;
  Level::multiply_by(at.keys, at.width, x, gradient,
                     [&](T given, Index k, Index j) { return derivative(given, at.score(k, j)); });
}
template <class Level, class S, class T>
void differentiate(const void* component, const ScoreTile& tile, const T* x, T* gradient,
                   T* by) noexcept {
  const S& map = *static_cast<const S*>(component);
  if constexpr (MapParameterDerivative<S>)
    if (by) {  // in one loop, where what both compute is computed once
      const ScoreTile at = tile;
      return Level::multiply_by(
          at.keys, at.width, x, gradient,
          [&](T given, Index k, Index j) { return derivative_of(map, given, at.score(k, j)); }, by,
          [&](T given, Index k, Index j) { return derivative_by(map, 0, given, at.score(k, j)); });
    }
  multiply_by<Level>([&](T given, const Score& at) { return derivative_of(map, given, at); }, tile,
                     x, gradient);
}
template <class Level, class S, class T>
void differentiate_by(const void* component, Index parameter, const ScoreTile& tile, const T* x,
                      T* gradient) noexcept {
  const S& map = *static_cast<const S*>(component);
  multiply_by<Level>([&](T given,
                         const Score& at) { return derivative_by(map, parameter, given, at); },
                     tile, x, gradient);
}

template <class S, class T>
Derivative<T> derivative(std::size_t level) noexcept {
  if constexpr (ScoreMap<S>) {
    static_assert(DifferentiableMap<S, T>,
                  "posenc: this score map has no derivative: write it for any number type "
                  "(auto x), or give it map_score_derivative(x, at).");
    static constexpr auto table =
        simd::by_level<T>([]<class Level>(Level) { return &differentiate<Level, S, T>; });
    Derivative<T> of;
    of.tile = table[level];
    of.one = [](const void* component, T x, const Score& at) {
      return derivative_of(*static_cast<const S*>(component), x, at);
    };
    if constexpr (MapParameterDerivative<S>) {
      static constexpr auto table_by =
          simd::by_level<T>([]<class Level>(Level) { return &differentiate_by<Level, S, T>; });
      of.tile_by = table_by[level];
      of.one_by = [](const void* component, Index parameter, T x, const Score& at) {
        return derivative_by(*static_cast<const S*>(component), parameter, x, at);
      };
    }
    return of;
  } else {
    return {};
  }
}

/// Components that say so may be asked for derivatives where they join an AnyEncoding.
template <class S>
concept SaysDifferentiable = requires { requires S::differentiable; };

}  // namespace detail

POSENC_NAMESPACE_END
