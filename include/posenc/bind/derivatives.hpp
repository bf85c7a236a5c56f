// SPDX-License-Identifier: MIT
//
// Derivatives of score maps over a tile of scores: f'(x, at), by dual numbers or as the component says; and
// the sums by which biases of scores learn from a tile. With score_loops.hpp, what a component type brings a
// copy of for each SIMD level; compiled only for encodings that are asked for gradients.
#pragma once

#include <posenc/bind/score_loops.hpp>
#include <posenc/core/dual.hpp>
#include <posenc/core/gradients.hpp>

#include <array>

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

/// Components that say so may be asked for derivatives where they join an AnyEncoding.
template <class S>
concept SaysDifferentiable = requires { requires S::differentiable; };

/// A bias whose tile_bias_gradient() is asked.
template <class S>
concept LearnsByTile = TiledBiasGradient<S> && !RelativeBias<S> && SaysDifferentiable<S>;

/// Sums are of parameters, or by query.
template <class T>
struct Derivative {
  // f'(x, at); null for components that are no score maps.
  /// Gradients of what the component returned become those of what it was given, `x`. Unless it is null,
  /// `by_query` is added what they are times the derivative by the first parameter of the map.
  void (*tile)(const void* component, const ScoreTile& tile, const T* x, T* gradient,
               T* by_query) noexcept = nullptr;
  T (*one)(const void* component, T x, const Score& at) = nullptr;

  // By a parameter of the map; null where it has none.
  /// Adds gradients of what the component returned, times the derivative.
  void (*tile_by)(const void* component, Index parameter, const ScoreTile& tile, const T* x,
                  const T* gradient, T* by_query) noexcept = nullptr;
  T (*one_by)(const void* component, Index parameter, T x, const Score& at) = nullptr;

  /// Adds what a bias of scores learns from the gradients of a tile whose queries are consecutive; null
  /// where it is asked score by score.
  void (*learn)(const void* component, const ScoreTile& tile, const T* gradient,
                std::span<double> sums) noexcept = nullptr;
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

// What has no gradient gives none, whatever a map says of a score that is not finite.

template <class Level, class S, class T>
void differentiate(const void* component, const ScoreTile& tile, const T* x, T* gradient,
                   T* by_query) noexcept {
  const LoopCopy<S> map(component);
  const ScoreTile at = tile;  // a copy that no store to the gradients can change
  if constexpr (MapParameterDerivative<S>)
    if (by_query)  // in one loop, where what both compute is computed once
      return Level::multiply_by(
          at.keys, at.width, x, gradient,
          [=](T given, Index k, Index j) {
            const Score score = at.score(k, j);
            return std::array{derivative_of(*map, given, score),
                              derivative_by(*map, 0, given, score)};
          },
          by_query);
  Level::multiply_by(at.keys, at.width, x, gradient, [=](T given, Index k, Index j) {
    return std::array{derivative_of(*map, given, at.score(k, j))};
  });
}
template <class Level, class S, class T>
void differentiate_by(const void* component, Index parameter, const ScoreTile& tile, const T* x,
                      const T* gradient, T* by_query) noexcept {
  const LoopCopy<S> map(component);
  const ScoreTile at = tile;
  Level::add_multiplied(
      at.keys, at.width, x, gradient,
      [=](T given, Index k, Index j) {
        return std::array{derivative_by(*map, parameter, given, at.score(k, j))};
      },
      by_query);
}
template <class Level, class S, class T>
void learn_by_tile(const void* component, const ScoreTile& tile, const T* gradient,
                   std::span<double> sums) noexcept {
  const S& bias = *static_cast<const S*>(component);
  Level::run([&] {
    bias.tile_bias_gradient(tile.where, tile.head,
                            std::span(tile.key, static_cast<std::size_t>(tile.keys)), gradient,
                            tile.width, sums);
  });
}

template <class S, class T>
Derivative<T> derivative(std::size_t level) noexcept {
  Derivative<T> of;
  if constexpr (LearnsByTile<S>) {
    static constexpr auto learn =
        simd::by_level<T>([]<class Level>(Level) { return &learn_by_tile<Level, S, T>; });
    of.learn = learn[level];
  }
  if constexpr (ScoreMap<S>) {
    static_assert(DifferentiableMap<S, T>,
                  "posenc: this score map has no derivative: write it for any number type "
                  "(auto x), or give it map_score_derivative(x, at).");
    static constexpr auto table =
        simd::by_level<T>([]<class Level>(Level) { return &differentiate<Level, S, T>; });
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
  }
  return of;
}

}  // namespace detail

POSENC_NAMESPACE_END
