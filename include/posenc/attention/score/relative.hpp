// SPDX-License-Identifier: MIT
//
// Vectors by distance in one tile: where their products are added to scores, and weights to sums by
// bucket. prefill/relative_terms.hpp makes the products.
//
// Most rows of a tile lie in one bucket, and many tiles: since buckets never turn back with distance,
// that is so when those of the least distance and the greatest agree. Then rows are added as they lie,
// and otherwise a bucket is found for each pair.
#pragma once

#include <posenc/bind/questions.hpp>
#include <posenc/bind/score_tile.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The buckets [first, last] that occur between two distances.
inline Interval buckets_between(const Stage& stage, Position least, Position greatest) {
  const Position a = stage.ask->bucket(stage.self, least);
  const Position b = least == greatest ? a : stage.ask->bucket(stage.self, greatest);
  return {std::min(a, b), std::max(a, b)};
}

/// Products of a panel of queries with buckets, [bucket - first][panel width].
template <class T>
struct QueryProducts {
  const T* data = nullptr;
  Index first = 0;
};
/// Products of a tile of keys with buckets, [key in tile][stride], and what each query multiplies
/// them by: scale and temperature, by lane.
template <class T>
struct KeyProducts {
  const T* data = nullptr;
  Index stride = 0;
  const T* factor = nullptr;
};

/// The buckets of the pairs of a tile. Where queries stand one after another and keys close together,
/// buckets are asked for once per distance, and the row of a key is read as it lies.
class TileBuckets {
 public:
  static constexpr Index most_lanes = 64;

  TileBuckets(const Stage& stage, const ScoreTile& tile)
      : stage_(stage), tile_(tile), query_(tile.where.query), least_(tile.where.least_distance()),
        all_(buckets_between(stage, least_, tile.where.greatest_distance())) {
    const Position reach = tile.where.key.last - tile.where.key.first;
    const Position greatest = tile.where.greatest_distance();
    if (all_.first == all_.last || !tile.consecutive || reach >= most_keys) return;
    for (Position i = 0; i < reach + tile.width; ++i)  // lanes beyond the last query repeat it
      by_distance_[static_cast<std::size_t>(i)] =
          static_cast<std::int32_t>(bucket(std::min(least_ + i, greatest)));
    is_tabulated_ = true;
  }

  /// Calls uniform(row, rows, bucket) for rows whose pairs all lie in one bucket, and each(row, f) for
  /// others, where f(lane) is the bucket of a lane.
  template <class Uniform, class Each>
  void visit(const Uniform& uniform, const Each& each) const {
    if (all_.first == all_.last) return uniform(0, tile_.keys, static_cast<Index>(all_.first));
    for (Index k = 0; k < tile_.keys;) {
      const Position key = tile_.key[k];
      const Interval own = of_row(k);
      if (own.first == own.last) {
        const Index row = k++;
        for (; k < tile_.keys; ++k)
          if (const Interval next = of_row(k); next.first != own.first || next.last != own.last)
            break;
        uniform(row, k - row, static_cast<Index>(own.first));
        continue;
      }
      std::int32_t by_lane[most_lanes];
      const std::int32_t* row = by_lane;
      if (is_tabulated_)
        row = by_distance_.data() + (query_.first - key - least_);
      else
        for (Index j = 0; j < tile_.width; ++j)
          by_lane[j] = static_cast<std::int32_t>(bucket(tile_.query[j] - key));
      each(k++, [row](Index j) { return Index{row[j]}; });
    }
  }

 private:
  [[nodiscard]] Index bucket(Position distance) const {
    return stage_.ask->bucket(stage_.self, distance);
  }
  [[nodiscard]] Interval of_row(Index k) const {
    const Position least = query_.first - tile_.key[k], greatest = query_.last - tile_.key[k];
    if (!is_tabulated_) return buckets_between(stage_, least, greatest);
    const Position a = by_distance_[static_cast<std::size_t>(least - least_)];
    const Position b = by_distance_[static_cast<std::size_t>(greatest - least_)];
    return {std::min(a, b), std::max(a, b)};
  }

  static constexpr Index most_keys = 64;  ///< between the first position and the last
  const Stage& stage_;
  const ScoreTile& tile_;
  Interval query_;
  Position least_;  ///< distance
  Interval all_;    ///< buckets
  bool is_tabulated_ = false;
  std::array<std::int32_t, static_cast<std::size_t>(most_keys + most_lanes)> by_distance_;
};

/// Adds a component's products of queries to a tile of scores.
template <class Level, class T>
void add_query_products(const Stage& stage, const QueryProducts<T>& products, const ScoreTile& tile,
                        T* scores) noexcept {
  const Index width = tile.width;
  TileBuckets(stage, tile)
      .visit(
          [&](Index row, Index rows, Index bucket) {
            Level::map(rows, width, scores + row * width,
                       [product = products.data + (bucket - products.first) * width](
                           T x, Index, Index j) { return x + product[j]; });
          },
          [&](Index row, const auto& bucket) {
            Level::map(1, width, scores + row * width,
                       [=, from = products.data, first = products.first](T x, Index, Index j) {
                         return x + from[(bucket(j) - first) * width + j];
                       });
          });
}

/// Adds a component's products of keys to a tile of scores.
template <class Level, class T>
void add_key_products(const Stage& stage, const KeyProducts<T>& products, const ScoreTile& tile,
                      T* scores) noexcept {
  const Index width = tile.width;
  TileBuckets(stage, tile)
      .visit(
          [&](Index row, Index rows, Index bucket) {
            Level::map(rows, width, scores + row * width,
                       [product = products.data + row * products.stride + bucket,
                        stride = products.stride, factor = products.factor](T x, Index k, Index j) {
                         return x + factor[j] * product[k * stride];
                       });
          },
          [&](Index row, const auto& bucket) {
            Level::map(1, width, scores + row * width,
                       [=, product = products.data + row * products.stride,
                        factor = products.factor](T x, Index, Index j) {
                         return x + factor[j] * product[bucket(j)];
                       });
          });
}

/// Adds the weights of a tile to the sums of a component's buckets, [bucket][panel width].
///
/// Each lane sums keys that follow one another in a bucket by themselves first: over many keys of equal
/// weight, one running sum would round the same way each time. What the other lanes do has no part in
/// it.
template <class Level, class T>
void add_bucket_weights(const Stage& stage, const ScoreTile& tile, const T* weights,
                        T* sums) noexcept {
  const Index width = tile.width;
  T run[TileBuckets::most_lanes] = {};
  Index of[TileBuckets::most_lanes];  // the bucket of a run
  std::fill_n(of, width, Index{-1});
  const auto begin_run = [&](Index j, Index bucket) {
    if (of[j] == bucket) return;
    if (of[j] >= 0) sums[of[j] * width + j] += run[j];
    of[j] = bucket;
    run[j] = 0;
  };
  TileBuckets(stage, tile)
      .visit(
          [&](Index row, Index rows, Index bucket) {
            for (Index j = 0; j < width; ++j) begin_run(j, bucket);
            Level::add_rows(rows, width, weights + row * width, run);
          },
          [&](Index row, const auto& bucket) {
            for (Index j = 0; j < width; ++j) {
              begin_run(j, bucket(j));
              run[j] += weights[row * width + j];
            }
          });
  for (Index j = 0; j < width; ++j) begin_run(j, -1);
}

}  // namespace detail

POSENC_NAMESPACE_END
