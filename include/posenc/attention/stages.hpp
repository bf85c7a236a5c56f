// SPDX-License-Identifier: MIT
//
// The score stages of one tile: biases, score maps and masks, asked row by row.
//
// Loops run over the keys of one row with the functor's answer inlined. Relative biases are
// evaluated once per head and distance into a table, which a row of keys at consecutive positions
// reads backwards.
#pragma once

#include <posenc/attention/online_softmax.hpp>
#include <posenc/attention/options.hpp>

#include <limits>
#include <tuple>

POSENC_NAMESPACE_BEGIN

// Calls that pass the stages on are qualified: a user's type may come from a namespace that has a
// classify() or visible() of its own.
namespace detail {

/// Bounds of the positions of rows [first, first + count).
inline Interval bounds(const Positions& positions, Index first, Index count) {
  Interval interval{positions[first], positions[first + count - 1]};
  if (positions.is_offset()) return interval;
  interval.last = interval.first;
  for (Index i = 1; i < count; ++i) {
    interval.first = std::min(interval.first, positions[first + i]);
    interval.last = std::max(interval.last, positions[first + i]);
  }
  return interval;
}

/// One tile of the plane of queries and keys: rows of the call, and where they stand.
struct TileRows {
  Index query = 0, queries = 0;  ///< rows [query, query + queries)
  Index key = 0, keys = 0;
  Tile tile;
};

inline TileRows make_tile(const Coordinates& at, Index query, Index queries, Index key,
                          Index keys) {
  const Position q = at.query_offset + query, k = at.key_offset + key;
  return {query,
          queries,
          key,
          keys,
          {bounds(at.query, query, queries),
           bounds(at.key, key, keys),
           {q, q + queries - 1},
           {k, k + keys - 1}}};
}

/// What all masks together say of a tile.
template <class... Stages>
TileClass classify(const std::tuple<Stages...>& stages, const Tile& tile) {
  TileClass all = TileClass::full;
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (Mask<S>) {
      TileClass one = TileClass::partial;
      if constexpr (TiledMask<S>) one = stage.classify(tile);
      if (one == TileClass::none || all == TileClass::none)
        all = TileClass::none;
      else if (one == TileClass::partial)
        all = TileClass::partial;
    }
  };
  std::apply([&](const Stages&... stage) { (ask(stage), ...); }, stages);
  return all;
}

template <class... Stages>
bool visible(const std::tuple<Stages...>& stages, const Score& at) {
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (Mask<S>)
      return static_cast<bool>(stage.visible(at));
    else
      return true;
  };
  return std::apply([&](const Stages&... stage) { return (true && ... && ask(stage)); }, stages);
}

/// Tables of the relative biases of one key head's query heads, [stage][head in group][distance].
template <class T>
struct BiasTables {
  T* data = nullptr;  ///< null: evaluate each score
  Index stride = 0;   ///< distances per table
  Position least_distance = 0;
  Index group = 1;

  [[nodiscard]] T* table(Index stage, Index head_in_group) const {
    return data + (stage * group + head_in_group) * stride;
  }
};

template <class... Stages>
inline constexpr Index num_relative_biases = (Index{0} + ... + Index{RelativeBias<Stages>});

template <class T, class... Stages>
void fill_bias_tables(const BiasTables<T>& tables, const std::tuple<Stages...>& stages,
                      Index first_head) {
  Index index = 0;
  [[maybe_unused]] const auto fill = [&]<class S>(const S& stage) {
    if constexpr (RelativeBias<S>) {
      for (Index g = 0; g < tables.group; ++g)
        for (Index d = 0; d < tables.stride; ++d)
          tables.table(index, g)[d] =
              static_cast<T>(stage.relative_bias(first_head + g, tables.least_distance + d));
      ++index;
    }
  };
  std::apply([&](const Stages&... stage) { (fill(stage), ...); }, stages);
}

/// Applies biases and score maps, in the order written, to a tile of scores of one head.
template <class T, class... Stages>
void apply_stages(const std::tuple<Stages...>& stages, const BiasTables<T>& tables,
                  const Coordinates& at, const TileRows& rows, Index head, Index head_in_group,
                  T* scores, Index stride) {
  [[maybe_unused]] Index bias_index = 0;
  [[maybe_unused]] const auto each = [&](auto&& f) {
    for (Index r = 0; r < rows.queries; ++r) {
      Score score = at.score(rows.query + r, rows.key, head);
      for (Index c = 0; c < rows.keys; ++c) {
        score.key = at.key[rows.key + c];
        score.key_index = at.key_offset + rows.key + c;
        T& x = scores[r * stride + c];
        x = f(x, score);
      }
    }
  };
  [[maybe_unused]] const auto apply = [&]<class S>(const S& stage) {
    if constexpr (RelativeBias<S>) {
      if (tables.data) {
        const T* table = tables.table(bias_index, head_in_group);
        each([&](T x, const Score& s) { return x + table[s.distance() - tables.least_distance]; });
      } else {
        each([&](T x, const Score& s) {
          return x + static_cast<T>(stage.relative_bias(head, s.distance()));
        });
      }
      ++bias_index;
    } else if constexpr (ScoreBias<S>) {
      each([&](T x, const Score& s) { return x + static_cast<T>(stage.score_bias(s)); });
    }
    if constexpr (ScoreMap<S>)
      each([&](T x, const Score& s) { return static_cast<T>(stage.map_score(x, s)); });
  };
  std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
}

/// Gives hidden pairs of a partial tile a score of minus infinity.
template <class T, class... Stages>
void apply_masks(const std::tuple<Stages...>& stages, const Coordinates& at, const TileRows& rows,
                 Index head, T* scores, Index stride) {
  for (Index r = 0; r < rows.queries; ++r)
    for (Index c = 0; c < rows.keys; ++c)
      if (!detail::visible(stages, at.score(rows.query + r, rows.key + c, head)))
        scores[r * stride + c] = -std::numeric_limits<T>::infinity();
}

/// What a row of a head begins with: nothing, or its sinks.
template <class T, class... Stages>
SoftmaxRow<T> empty_row(const std::tuple<Stages...>& stages, Index head) {
  SoftmaxRow<T> row;
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (SoftmaxSink<S>) row.add_sink(static_cast<T>(stage.sink_logit(head)));
  };
  std::apply([&](const Stages&... stage) { (ask(stage), ...); }, stages);
  return row;
}

}  // namespace detail

POSENC_NAMESPACE_END
