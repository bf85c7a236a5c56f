// SPDX-License-Identifier: MIT
//
// The score stages of one tile: biases, score maps and masks, asked row by row.
//
// A tile lies on its side, keys down the rows and queries along the lanes; loops run over the queries
// of one key with the functor's answer inlined. Relative biases are evaluated once per head and
// distance into a table, which queries at consecutive positions read as it lies.
#pragma once

#include <posenc/attention/options.hpp>

#include <cmath>
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
  Index distances = 0;
  Index padding = 0;  ///< elements after the last distance, read but not used
  Position least_distance = 0;
  Index group = 1;

  [[nodiscard]] T* table(Index stage, Index head_in_group) const {
    return data + (stage * group + head_in_group) * (distances + padding);
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
        for (Index d = 0; d < tables.distances + tables.padding; ++d)
          tables.table(index, g)[d] =
              d < tables.distances
                  ? static_cast<T>(stage.relative_bias(first_head + g, tables.least_distance + d))
                  : T{0};
      ++index;
    }
  };
  std::apply([&](const Stages&... stage) { (fill(stage), ...); }, stages);
}

/// A tile of scores of one head, [keys][width], and where its rows and lanes stand. Lanes beyond the
/// last query repeat it, so that what is asked about them is no new question.
struct ScoreTile {
  Index keys = 0;
  Index queries = 0;
  Index width = 0;  ///< queries, padded to whole vectors
  Index head = 0;
  const Position* query = nullptr;        ///< by lane
  const Position* query_index = nullptr;  ///< by lane
  const Position* key = nullptr;          ///< by row
  Position key_index = 0;                 ///< of the first row
  bool consecutive = false;               ///< queries that are there stand one after another
  Tile where{};                           ///< of the queries that are there

  [[nodiscard]] Score score(Index row, Index lane) const {
    return {query[lane], key[row], query_index[lane], key_index + row, head};
  }

  /// The same where queries are consecutive, as if lanes beyond the last one went on like that: the
  /// next lane reads the next entry of a table.
  [[nodiscard]] Score consecutive_score(Index row, Index lane) const {
    return {query[0] + lane, key[row], query_index[0] + lane, key_index + row, head};
  }
  [[nodiscard]] Tile consecutive_tile() const {
    Tile tile = where;
    tile.query.last += width - queries;
    tile.query_index.last += width - queries;
    return tile;
  }
};

/// Applies biases and score maps, in the order written, to a tile of scores.
template <class Level, class T, class... Stages>
void apply_stages(const std::tuple<Stages...>& stages, const BiasTables<T>& tables,
                  Index head_in_group, const ScoreTile& tile, T* scores) noexcept {
  [[maybe_unused]] Index bias_index = 0;
  [[maybe_unused]] const auto each = [&](const auto& f) {
    Level::map(tile.keys, tile.width, scores, f);
  };
  [[maybe_unused]] const auto apply = [&]<class S>(const S& stage) {
    const ScoreTile at = tile;  // a copy that no store to the scores can change
    if constexpr (RelativeBias<S>) {
      if (tables.data) {
        const T* const table = tables.table(bias_index, head_in_group);
        const Position first = at.query[0] - tables.least_distance;
        if (at.consecutive)
          each([=](T x, Index k, Index j) { return x + table[first - at.key[k] + j]; });
        else
          each([=, least = tables.least_distance](T x, Index k, Index j) {
            return x + table[at.query[j] - at.key[k] - least];
          });
      } else {
        each([&](T x, Index k, Index j) {
          return x + static_cast<T>(stage.relative_bias(at.head, at.query[j] - at.key[k]));
        });
      }
      ++bias_index;
    } else if constexpr (ScoreBias<S>) {
      bool by_tile = false;
      if constexpr (TiledBias<S>) by_tile = at.consecutive;
      if (!by_tile)
        each([&](T x, Index k, Index j) {
          return x + static_cast<T>(stage.score_bias(at.score(k, j)));
        });
      if constexpr (TiledBias<S>) {
        if (by_tile)
          stage.tile_bias(at.consecutive_tile(), at.head, [&](const auto& bias) {
            each([&](T x, Index k, Index j) {
              return x + static_cast<T>(bias(at.consecutive_score(k, j)));
            });
          });
      }
    }
    if constexpr (ScoreMap<S>)
      each([&](T x, Index k, Index j) {
        return static_cast<T>(stage.map_score(x, at.score(k, j)));
      });
  };
  std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
}

/// Gives hidden pairs of a partial tile a score of minus infinity.
template <class Level, class T, class... Stages>
void apply_masks(const std::tuple<Stages...>& stages, const ScoreTile& tile, T* scores) noexcept {
  if constexpr ((false || ... || Mask<Stages>)) {
    const ScoreTile at = tile;
    Level::map(at.keys, at.width, scores, [&](T x, Index k, Index j) {
      return detail::visible(stages, at.score(k, j)) ? x : -std::numeric_limits<T>::infinity();
    });
  }
}

/// What a row begins with: nothing, or the sinks of its head.
struct SoftmaxStart {
  double shift = -std::numeric_limits<double>::infinity();  ///< the greatest logit
  double sum = 0;                                           ///< of exp(logit - shift)
};

template <class T, class... Stages>
SoftmaxStart softmax_start(const std::tuple<Stages...>& stages, Index head) {
  SoftmaxStart start;
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (SoftmaxSink<S>) {
      const auto logit = static_cast<double>(static_cast<T>(stage.sink_logit(head)));
      if (logit == -std::numeric_limits<double>::infinity()) return;
      const double shift = std::max(start.shift, logit);
      start.sum = start.sum * std::exp(start.shift - shift) + std::exp(logit - shift);
      start.shift = shift;
    }
  };
  std::apply([&](const Stages&... stage) { (ask(stage), ...); }, stages);
  return start;
}

}  // namespace detail

POSENC_NAMESPACE_END
