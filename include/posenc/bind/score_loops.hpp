// SPDX-License-Identifier: MIT
//
// Score loops: biases, score maps and masks of one component over a tile of scores, with the
// component's answer inlined into a vector loop. This is the one file of which a component type brings
// a copy for each SIMD level; all else that attention does is compiled once.
#pragma once

#include <posenc/bind/score_tile.hpp>
#include <posenc/core/concepts.hpp>
#include <posenc/simd/dispatch.hpp>

#include <limits>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The loops of a component; null where it has nothing to say.
template <class T>
struct ScoreLoops {
  /// Bias, then score map, of a tile or of a row along the keys. A relative bias is not among what
  /// changes a tile: it comes from a table of distances (attention/prefill/bias_tables.hpp).
  void (*change)(const void* component, const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*change_row)(const void* component, const KeyRow& row, T* scores) noexcept = nullptr;
  /// A score of minus infinity for what the component, a mask, hides.
  void (*hide)(const void* component, const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*hide_row)(const void* component, const KeyRow& row, T* scores) noexcept = nullptr;
};

/// A component as loops hold it, by value where it is small: no store to the scores can change their own copy, so what
/// follows from it alone, as SoftCap's 1 / cap, is computed once.
template <class S>
class LoopCopy {
 public:
  explicit LoopCopy(const void* component) : own_(of(static_cast<const S*>(component))) {}
  const S& operator*() const {
    if constexpr (is_copied)
      return own_;
    else
      return *own_;
  }
  const S* operator->() const { return &**this; }

 private:
  static constexpr bool is_copied = std::is_trivially_copyable_v<S> && sizeof(S) <= 64;
  using Own = std::conditional_t<is_copied, S, const S*>;
  static Own of(const S* component) {
    if constexpr (is_copied)
      return *component;
    else
      return component;
  }
  Own own_;
};

template <class Level, class S, class T>
void change_scores(const void* component, const ScoreTile& tile, T* scores) noexcept {
  const LoopCopy<S> stage(component);
  const ScoreTile at = tile;  // a copy that no store to the scores can change
  const auto each = [&](const auto& f) { Level::map(at.keys, at.width, scores, f); };
  if constexpr (ScoreBias<S> && !RelativeBias<S>) {
    bool by_tile = false;
    if constexpr (TiledBias<S>) by_tile = at.consecutive;
    if (!by_tile)
      each([=](T x, Index k, Index j) {
        return x + static_cast<T>(stage->score_bias(at.score(k, j)));
      });
    if constexpr (TiledBias<S>) {
      if (by_tile)
        stage->tile_bias(at.consecutive_tile(), at.head, [&](const auto& bias) {
          each([=](T x, Index k, Index j) {
            return x + static_cast<T>(bias(at.consecutive_score(k, j)));
          });
        });
    }
  }
  if constexpr (ScoreMap<S>)
    each(
        [=](T x, Index k, Index j) { return static_cast<T>(stage->map_score(x, at.score(k, j))); });
}

template <class Level, class S, class T>
void hide_scores(const void* component, const ScoreTile& tile, T* scores) noexcept {
  const LoopCopy<S> stage(component);
  const ScoreTile at = tile;
  Level::map(at.keys, at.width, scores, [=](T x, Index k, Index j) {
    return stage->visible(at.score(k, j)) ? x : -std::numeric_limits<T>::infinity();
  });
}

/// Calls f(x, score) for a row along the keys.
template <class Level, class T, class F>
void map_row(const KeyRow& row, T* scores, const F& f) {
  const Score query = row.score(0);
  Level::map(1, row.keys, scores,
             [=, key = row.key, key_index = row.key_index](T x, Index, Index k) {
               Score at = query;
               at.key = key[k];
               at.key_index = key_index[k];
               return f(x, at);
             });
}

template <class Level, class S, class T>
void change_row(const void* component, const KeyRow& row, T* scores) noexcept {
  const LoopCopy<S> stage(component);
  if constexpr (TiledBias<S>)
    stage->tile_bias(row.where, row.head, [&](const auto& bias) {
      map_row<Level>(row, scores,
                     [=](T x, const Score& at) { return x + static_cast<T>(bias(at)); });
    });
  else if constexpr (RelativeBias<S>)
    map_row<Level>(row, scores, [=](T x, const Score& at) {
      return x + static_cast<T>(stage->relative_bias(at.head, at.query - at.key));
    });
  else if constexpr (ScoreBias<S>)
    map_row<Level>(row, scores,
                   [=](T x, const Score& at) { return x + static_cast<T>(stage->score_bias(at)); });
  if constexpr (ScoreMap<S>)
    map_row<Level>(row, scores,
                   [=](T x, const Score& at) { return static_cast<T>(stage->map_score(x, at)); });
}

template <class Level, class S, class T>
void hide_row(const void* component, const KeyRow& row, T* scores) noexcept {
  const LoopCopy<S> stage(component);
  map_row<Level>(row, scores, [=](T x, const Score& at) {
    return stage->visible(at) ? x : -std::numeric_limits<T>::infinity();
  });
}

/// The loops of components of type S at one level. Not inline, so that a program can have those of the
/// library's own components compiled once (bind/compiled_components.hpp).
template <class S, class T>
const ScoreLoops<T>& score_loops(std::size_t level) noexcept {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    ScoreLoops<T> loops;
    if constexpr (RelativeBias<S> || ScoreBias<S> || ScoreMap<S>)
      loops.change_row = &detail::change_row<Level, S, T>;
    if constexpr ((ScoreBias<S> && !RelativeBias<S>) || ScoreMap<S>)
      loops.change = &change_scores<Level, S, T>;
    if constexpr (Mask<S>) {
      loops.hide = &hide_scores<Level, S, T>;
      loops.hide_row = &detail::hide_row<Level, S, T>;
    }
    return loops;
  });
  return table[level];
}

/// score_loops of one component.
template <class T>
using FindLoops = const ScoreLoops<T>& (*)(std::size_t level) noexcept;

}  // namespace detail

POSENC_NAMESPACE_END
