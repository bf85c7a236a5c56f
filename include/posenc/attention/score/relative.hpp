// SPDX-License-Identifier: MIT
//
// Vectors by distance in one tile: where their products are added to scores, and weights to sums by
// bucket. attention/relative_terms.hpp makes the products.
//
// Most rows of a tile lie in one bucket, and many tiles: since buckets never turn back with distance,
// that is so when those of the least distance and the greatest agree. Then rows are added as they lie,
// and otherwise a bucket is found for each pair.
#pragma once

#include <posenc/attention/score/stages.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// There are vectors for an interval of distances alone.
template <class S>
concept LimitedDistances = requires(const S stage) { stage.distances(); };

/// How many components answer each question about vectors by distance.
template <class Stages>
struct RelativeCounts;
template <class... S>
struct RelativeCounts<std::tuple<S...>> {
  static constexpr std::size_t keys = (std::size_t{0} + ... + std::size_t{RelativeKeys<S>});
  static constexpr std::size_t queries = (std::size_t{0} + ... + std::size_t{RelativeQueries<S>});
  static constexpr std::size_t values = (std::size_t{0} + ... + std::size_t{RelativeValues<S>});
  static constexpr std::size_t query_biases = (std::size_t{0} + ... + std::size_t{QueryBias<S>});
  /// Components whose buckets are asked for.
  static constexpr std::size_t buckets =
      (std::size_t{0} + ... +
       std::size_t{RelativeKeys<S> || RelativeQueries<S> || RelativeValues<S>});
  static constexpr bool limited = (false || ... || LimitedDistances<S>);
};

/// The buckets of all relative values together: each has a row of sums beside the outputs.
template <class BoundT>
Index value_buckets(const BoundT& bound) {
  Index buckets = 0;
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (RelativeValues<S>) buckets += stage.relative_values().buckets;
  };
  std::apply([&](const auto&... stage) { (ask(stage), ...); }, bound.stages());
  return buckets;
}

/// The buckets [first, last] that occur between two distances.
template <class S>
Interval buckets_between(const S& stage, Position least, Position greatest) {
  const auto a = static_cast<Position>(stage.bucket(least));
  const auto b = static_cast<Position>(stage.bucket(greatest));
  return {std::min(a, b), std::max(a, b)};
}

/// Products of one tile with vectors by distance, an entry for each component that has them.
template <class T, class Stages>
struct RelativeProducts {
  struct OfQueries {
    const T* data = nullptr;  ///< [bucket - first][panel width]; null: nothing to add
    Index first = 0;
  };
  struct OfKeys {
    const T* data = nullptr;  ///< [key in tile][stride]; null: nothing to add
    Index stride = 0;
  };
  std::array<OfQueries, RelativeCounts<Stages>::keys> of_queries{};
  std::array<OfKeys, RelativeCounts<Stages>::queries> of_keys{};
  const T* factor = nullptr;  ///< by lane, scale and temperature of the query
};

/// The buckets of the pairs of a tile. Where queries stand one after another and keys close together,
/// buckets are asked for once per distance, and the row of a key is read as it lies.
template <class S, Index most_lanes>
class TileBuckets {
 public:
  TileBuckets(const S& stage, const ScoreTile& tile, const Tile& at)
      : stage_(stage), tile_(tile), query_(at.query), least_(at.least_distance()),
        all_(detail::buckets_between(stage, least_, at.greatest_distance())) {
    const Position reach = at.key.last - at.key.first;
    if (all_.first == all_.last || !tile.consecutive || reach >= most_keys) return;
    for (Position i = 0; i < reach + tile.width; ++i)  // lanes beyond the last query repeat it
      by_distance_[static_cast<std::size_t>(i)] =
          static_cast<std::int32_t>(stage.bucket(std::min(least_ + i, at.greatest_distance())));
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
      } else if (is_tabulated_) {
        each(k++, [row = by_distance_.data() + (query_.first - key - least_)](Index j) {
          return Index{row[j]};
        });
      } else {
        each(k++, [&stage = stage_, query = tile_.query, key](Index j) {
          return static_cast<Index>(stage.bucket(query[j] - key));
        });
      }
    }
  }

 private:
  [[nodiscard]] Interval of_row(Index k) const {
    return detail::buckets_between(stage_, query_.first - tile_.key[k], query_.last - tile_.key[k]);
  }

  static constexpr Index most_keys = 64;  ///< between the first position and the last
  const S& stage_;
  const ScoreTile& tile_;
  Interval query_;
  Position least_;  ///< distance
  Interval all_;    ///< buckets
  bool is_tabulated_ = false;
  std::array<std::int32_t, static_cast<std::size_t>(most_keys + most_lanes)> by_distance_;
};

/// Adds the products to a tile of scores, which stands `at` these positions.
template <class Level, class T, class... Stages>
void add_relative_products(const std::tuple<Stages...>& stages,
                           const RelativeProducts<T, std::tuple<Stages...>>& products,
                           const ScoreTile& tile, const Tile& at, T* scores) noexcept {
  [[maybe_unused]] std::size_t of_queries = 0, of_keys = 0;
  const auto apply = [&]<class S>(const S& stage) {
    using Buckets = TileBuckets<S, Level::template panel<T>>;
    const Index width = tile.width;
    const auto add = [&](Index row, Index rows, const auto& f) {
      Level::map(rows, width, scores + row * width, f);
    };
    if constexpr (RelativeKeys<S>) {
      if (const auto& own = products.of_queries[of_queries++]; own.data)
        Buckets(stage, tile, at)
            .visit(
                [&](Index row, Index rows, Index bucket) {
                  add(row, rows,
                      [product = own.data + (bucket - own.first) * width](T x, Index, Index j) {
                        return x + product[j];
                      });
                },
                [&](Index row, const auto& bucket) {
                  add(row, 1, [=, from = own.data, first = own.first](T x, Index, Index j) {
                    return x + from[(bucket(j) - first) * width + j];
                  });
                });
    }
    if constexpr (RelativeQueries<S>) {
      if (const auto& own = products.of_keys[of_keys++]; own.data)
        Buckets(stage, tile, at)
            .visit(
                [&](Index row, Index rows, Index bucket) {
                  add(row, rows,
                      [product = own.data + row * own.stride + bucket, stride = own.stride,
                       factor = products.factor](T x, Index k, Index j) {
                        return x + factor[j] * product[k * stride];
                      });
                },
                [&](Index row, const auto& bucket) {
                  add(row, 1,
                      [=, product = own.data + row * own.stride, factor = products.factor](
                          T x, Index, Index j) { return x + factor[j] * product[bucket(j)]; });
                });
    }
  };
  std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
}

/// Adds the weights of a tile to the sums of their buckets, [bucket][panel width], component after
/// component.
template <class Level, class T, class... Stages>
void add_relative_weights(const std::tuple<Stages...>& stages, const ScoreTile& tile,
                          const Tile& at, const T* weights, T* sums) noexcept {
  const auto apply = [&]<class S>(const S& stage) {
    if constexpr (RelativeValues<S>) {
      const Index buckets = stage.relative_values().buckets, width = tile.width;
      if (buckets == 0) return;
      // Each lane sums keys that follow one another in a bucket by themselves first: over many keys of
      // equal weight, one running sum would round the same way each time. What the other lanes do has
      // no part in it.
      T run[Level::template panel<T>] = {};
      Index of[Level::template panel<T>];  // the bucket of a run
      std::fill_n(of, width, Index{-1});
      const auto begin_run = [&](Index j, Index bucket) {
        if (of[j] == bucket) return;
        if (of[j] >= 0) sums[of[j] * width + j] += run[j];
        of[j] = bucket;
        run[j] = 0;
      };
      TileBuckets<S, Level::template panel<T>>(stage, tile, at)
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
      sums += buckets * width;
    }
  };
  std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
}

/// Reports a pair of a query and a key that it sees at a distance for which a component has no
/// vector. Divides the plane of queries and keys until masks or distances decide.
template <class BoundT>
class DistanceCheck {
 public:
  DistanceCheck(const BoundT& bound, const Coordinates& at) : bound_(bound), at_(at) {}

  void operator()(Problems& problems, Index queries, Index keys) const {
    [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
      if constexpr (LimitedDistances<S>)
        if (queries > 0 && keys > 0)
          visit(problems, stage.distances(), make_tile(at_, 0, queries, 0, keys));
    };
    std::apply([&](const auto&... stage) { (ask(stage), ...); }, bound_.stages());
  }

 private:
  /// True once a pair is found.
  bool visit(Problems& problems, const Interval& allowed, const TileRows& rows) const {
    const Tile& tile = rows.tile;
    if (tile.least_distance() >= allowed.first && tile.greatest_distance() <= allowed.last)
      return false;
    if (detail::classify(bound_.stages(), tile) == TileClass::none) return false;
    if (rows.queries == 1 && rows.keys == 1) {
      if (!is_visible(rows)) return false;
      problems.add("the query at position ", tile.query.first, " sees the key at position ",
                   tile.key.first, ", at a distance of ", tile.least_distance(),
                   ", but the encoding has vectors for distances ", allowed.first, " to ",
                   allowed.last, ": hide the key with a mask, or give more of them.");
      return true;
    }
    const bool by_query = rows.queries >= rows.keys;
    const Index half = (by_query ? rows.queries : rows.keys) / 2;
    const auto part = [&](bool second) {
      const Index skip = second ? half : 0;
      if (by_query)
        return make_tile(at_, rows.query + skip, second ? rows.queries - half : half, rows.key,
                         rows.keys);
      return make_tile(at_, rows.query, rows.queries, rows.key + skip,
                       second ? rows.keys - half : half);
    };
    return visit(problems, allowed, part(false)) || visit(problems, allowed, part(true));
  }

  [[nodiscard]] bool is_visible(const TileRows& rows) const {
    bool any = false;
    for (Index head = 0; head < bound_.shape().num_heads && !any; ++head)
      any = detail::visible(bound_.stages(), at_.score(rows.query, rows.key, head));
    return any;
  }

  const BoundT& bound_;
  const Coordinates& at_;
};

template <class BoundT>
void check_distances(Problems& problems, const BoundT& bound, const Coordinates& at, Index queries,
                     Index keys) {
  if (problems.empty()) DistanceCheck<BoundT>(bound, at)(problems, queries, keys);
}

}  // namespace detail

POSENC_NAMESPACE_END
