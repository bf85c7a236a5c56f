// SPDX-License-Identifier: MIT
//
// Score maps over a tile of scores with their derivatives f'(x, at), by dual numbers or as the component says: both
// are found at once, and going back is a product then. And the sums by which biases of scores learn from a tile. With
// score_loops.hpp, what a component type brings a copy of for each SIMD level; compiled only for encodings that are
// asked for gradients.
#pragma once

#include <posenc/bind/score_loops.hpp>
#include <posenc/core/dual.hpp>
#include <posenc/core/gradients.hpp>

#include <algorithm>
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

template <class T>
struct Derivative {
  // Null for components that are no score maps.
  /// What ScoreLoops::change does, and f'(x, at) of the map to `slopes`. Unless it is null, `by` gets the derivatives
  /// by the first parameter of the map.
  void (*change)(const void* component, const ScoreTile& tile, T* scores, T* slopes,
                 T* by) noexcept = nullptr;
  T (*one)(const void* component, T x, const Score& at) = nullptr;

  // By a parameter of the map; null where it has none.
  /// The scores are those that the component is given.
  void (*change_by)(const void* component, Index parameter, const ScoreTile& tile, const T* scores,
                    T* by) noexcept = nullptr;
  T (*one_by)(const void* component, Index parameter, T x, const Score& at) = nullptr;

  /// Adds what a bias of scores learns from the gradients of a tile whose queries are consecutive; null
  /// where it is asked score by score.
  void (*learn)(const void* component, const ScoreTile& tile, const T* gradient,
                std::span<double> sums) noexcept = nullptr;
};
template <class T>
using FindDerivative = Derivative<T> (*)(std::size_t level) noexcept;

/// What the map of a component is given, where the component has a bias before it, in full or but for a relative bias,
/// which a tile gets from a table.
template <class S, class T>
T behind_bias(const S& stage, T x, const Score& at, [[maybe_unused]] bool has_relative = false) {
  if constexpr (RelativeBias<S>)
    return has_relative ? x : x + static_cast<T>(stage.relative_bias(at.head, at.query - at.key));
  else if constexpr (ScoreBias<S>)
    x += static_cast<T>(stage.score_bias(at));
  return x;
}

/// f(x, at) and f'(x, at) of a map.
template <class S, class T>
std::array<T, 2> with_slope(const S& map, T x, const Score& at) {
  if constexpr (StatesDerivative<S, T>) {
    return {static_cast<T>(map.map_score(x, at)), static_cast<T>(map.map_score_derivative(x, at))};
  } else {
    const Dual<T> y = map.map_score(Dual<T>(x, 1), at);
    return {y.value, y.derivative};
  }
}
template <class S, class T>
T slope_by(const S& map, Index parameter, T x, const Score& at) {
  return static_cast<T>(map.map_parameter_derivative(parameter, x, at));
}

template <class Level, class S, class T>
void change_with_slopes(const void* component, const ScoreTile& tile, T* scores, T* slopes,
                        T* by) noexcept {
  const LoopCopy<S> map(component);
  const ScoreTile at = tile;
  if constexpr (MapParameterDerivative<S>)
    if (by)  // in one loop, where what all compute is computed once
      return Level::map_with_slopes(at.keys, at.width, scores, std::array{slopes, by},
                                    [=](T given, Index k, Index j) {
                                      const Score score = at.score(k, j);
                                      const T x = behind_bias(*map, given, score, true);
                                      const auto [y, slope] = with_slope(*map, x, score);
                                      return std::array{y, slope, slope_by(*map, 0, x, score)};
                                    });
  Level::map_with_slopes(at.keys, at.width, scores, std::array{slopes},
                         [=](T given, Index k, Index j) {
                           const Score score = at.score(k, j);
                           return with_slope(*map, behind_bias(*map, given, score, true), score);
                         });
}
template <class Level, class S, class T>
void change_by(const void* component, Index parameter, const ScoreTile& tile, const T* scores,
               T* by) noexcept {
  const LoopCopy<S> map(component);
  const ScoreTile at = tile;
  std::copy_n(scores, at.keys * at.width, by);
  Level::map(at.keys, at.width, by, [=](T given, Index k, Index j) {
    const Score score = at.score(k, j);
    return slope_by(*map, parameter, behind_bias(*map, given, score, true), score);
  });
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
        simd::by_level<T>([]<class Level>(Level) { return &change_with_slopes<Level, S, T>; });
    of.change = table[level];
    of.one = [](const void* component, T x, const Score& at) {
      const S& map = *static_cast<const S*>(component);
      return with_slope(map, behind_bias(map, x, at), at)[1];
    };
    if constexpr (MapParameterDerivative<S>) {
      static constexpr auto table_by =
          simd::by_level<T>([]<class Level>(Level) { return &change_by<Level, S, T>; });
      of.change_by = table_by[level];
      of.one_by = [](const void* component, Index parameter, T x, const Score& at) {
        const S& map = *static_cast<const S*>(component);
        return slope_by(map, parameter, behind_bias(map, x, at), at);
      };
    }
  }
  return of;
}

}  // namespace detail

POSENC_NAMESPACE_END
