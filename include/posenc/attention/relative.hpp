// SPDX-License-Identifier: MIT
//
// Vectors by distance in one tile: where their products are added to scores, and weights to sums by
// bucket. attention/relative_terms.hpp makes the products.
//
// A bucket is found for each pair of a key and a query, but most rows of a tile lie in one bucket:
// since buckets never turn back with distance, that is so when the first and the last position of
// the queries agree, and then a row is added as it lies.
#pragma once

#include <posenc/attention/stages.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// How many components answer each question about vectors by distance.
template <class Stages>
struct RelativeCounts;
template <class... S>
struct RelativeCounts<std::tuple<S...>> {
  static constexpr std::size_t keys = (std::size_t{0} + ... + std::size_t{RelativeKeys<S>});
  static constexpr std::size_t queries = (std::size_t{0} + ... + std::size_t{RelativeQueries<S>});
  static constexpr std::size_t values = (std::size_t{0} + ... + std::size_t{RelativeValues<S>});
  static constexpr std::size_t query_biases = (std::size_t{0} + ... + std::size_t{QueryBias<S>});
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
    const T* data = nullptr;  ///< [bucket - first][panel width], scaled; null: nothing to add
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

/// Adds the products to a tile of scores.
template <class Level, class T, class... Stages>
void add_relative_products(const std::tuple<Stages...>& stages,
                           const RelativeProducts<T, std::tuple<Stages...>>& products,
                           const ScoreTile& tile, const Interval& query, T* scores) noexcept {
  [[maybe_unused]] std::size_t of_queries = 0, of_keys = 0;
  const auto apply = [&]<class S>(const S& stage) {
    const ScoreTile at = tile;  // a copy that no store to the scores can change
    if constexpr (RelativeKeys<S>) {
      const auto [data, first] = products.of_queries[of_queries++];
      for (Index k = 0; data && k < at.keys; ++k) {
        const Position key = at.key[k];
        T* const row = scores + k * at.width;
        const Interval buckets =
            detail::buckets_between(stage, query.first - key, query.last - key);
        const T* const product = data + (buckets.first - first) * at.width;
        if (buckets.first == buckets.last)
          Level::map(1, at.width, row, [=](T x, Index, Index j) { return x + product[j]; });
        else
          Level::map(1, at.width, row, [&, data = data, first = first](T x, Index, Index j) {
            return x + data[(stage.bucket(at.query[j] - key) - first) * at.width + j];
          });
      }
    }
    if constexpr (RelativeQueries<S>) {
      const auto [data, stride] = products.of_keys[of_keys++];
      for (Index k = 0; data && k < at.keys; ++k) {
        const Position key = at.key[k];
        const T* const product = data + k * stride;
        Level::map(1, at.width, scores + k * at.width,
                   [&, factor = products.factor](T x, Index, Index j) {
                     return x + factor[j] * product[stage.bucket(at.query[j] - key)];
                   });
      }
    }
  };
  std::apply([&](const Stages&... stage) { (apply(stage), ...); }, stages);
}

/// Adds the weights of a tile to the sums of their buckets, [bucket][panel width], component after
/// component.
template <class Level, class T, class... Stages>
void add_relative_weights(const std::tuple<Stages...>& stages, const ScoreTile& tile,
                          const Interval& query, const T* weights, T* sums) noexcept {
  const auto add = [&](T* to, const T* from) {
    Level::map(1, tile.width, to, [=](T x, Index, Index j) { return x + from[j]; });
  };
  const auto apply = [&]<class S>(const S& stage) {
    if constexpr (RelativeValues<S>) {
      const Index buckets = stage.relative_values().buckets;
      // Rows in a row that share a bucket are summed by themselves first: over many keys of equal
      // weight, one running sum would round the same way each time.
      T run[Level::template panel<T>];
      Index run_bucket = -1;
      const auto end_run = [&] {
        if (run_bucket >= 0) add(sums + run_bucket * tile.width, run);
        run_bucket = -1;
      };
      for (Index k = 0; buckets > 0 && k < tile.keys; ++k) {
        const Position key = tile.key[k];
        const T* const row = weights + k * tile.width;
        const Interval at = detail::buckets_between(stage, query.first - key, query.last - key);
        if (at.first != at.last) {
          end_run();
          for (Index j = 0; j < tile.width; ++j)
            sums[stage.bucket(tile.query[j] - key) * tile.width + j] += row[j];
        } else if (at.first == run_bucket) {
          add(run, row);
        } else {
          end_run();
          run_bucket = at.first;
          std::copy_n(row, tile.width, run);
        }
      }
      end_run();
      sums += buckets * tile.width;
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
      if constexpr (requires { stage.distances(); })
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
