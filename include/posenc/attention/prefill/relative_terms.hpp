// SPDX-License-Identifier: MIT
//
// What queries, keys and weights make of vectors by distance, for one worker.
//
//   relative keys      products of a panel of queries with the buckets that occur between it and a
//                      chunk of keys: P[bucket][query], looked up by each pair of a tile
//   relative queries   products of a tile of keys with the buckets that occur between it and a block
//                      of queries: P'[key][bucket]
//   relative values    sums of weights by bucket, which are rows beside the outputs and are rescaled
//                      and merged with them; one product at the end
//
// All three are the product of the scores and of the values, so they cost multiply-adds by bucket,
// not by pair. Where positions are spread so widely that more buckets occur than there is room for,
// a tile takes them some at a time.
#pragma once

#include <posenc/attention/prefill/pack.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T, class BoundT, bool KeysAreRotated>
class RelativeTerms {
  using Stages = typename Leaves<T, BoundT>::Stages;
  using Counts = RelativeCounts<Stages>;
  using Packed = Packing<T, BoundT, KeysAreRotated>;

 public:
  static constexpr bool in_scores = Counts::keys + Counts::queries > 0;
  static constexpr bool in_values = Counts::values > 0;

  RelativeTerms(const Problem<T, BoundT>& problem, const Buffers<T, BoundT>& buffers,
                Packed& packing)
      : k_(problem.k), bound_(problem.bound), at_(problem.at), leaves_(problem.leaves),
        tile_(leaves_.tile), plan_(problem.plan), buffers_(buffers), relative_(buffers.relative),
        packing_(packing) {}

  /// The query heads of another key head: their vectors side by side, for products with keys.
  void begin_head(Index kv_head) {
    kv_head_ = kv_head;
    for (const auto& own : relative_.of_queries)
      for (Index g = 0; own.table.data && g < plan_.group; ++g)
        for (Index c = 0; c < own.table.width; ++c) {
          T* const row = own.vectors + (g * own.table.width + c) * own.lanes;
          for (Index b = 0; b < own.lanes; ++b)
            row[b] = b < own.table.buckets
                         ? static_cast<T>(own.table.row(kv_head * plan_.group + g, b)[c])
                         : T{0};
        }
  }
  void begin_block(Index query, Index queries) { block_ = bounds(at_.query, query, queries); }
  void begin_chunk(Index key) {
    key_ = key;
    for (const auto& own : relative_.of_queries) std::fill_n(own.is_done, plan_.group, 0U);
  }

  /// A panel of one head is about to meet keys [first, first + keys) of the chunk.
  void begin_panel(const Panel& p, Index g, const Tile& tile) {
    queries_ = Counts::keys > 0 ? packing_.plain_queries(p, g) : nullptr;
    for (Index i = 0; i < p.width; ++i)
      relative_.factor[i] =
          static_cast<T>(packing_.scale() * bound_.temperature(buffers_.query[p.first + i]));
    for_each_key_table([&](const auto& stage, const auto& own, Interval& window) {
      window = no_buckets;
      const Interval needed =
          buckets_between(stage, tile.least_distance(), tile.greatest_distance());
      if (size(needed) <= own.most) multiply(own, p, g, window = needed);
    });
  }

  /// Adds all products to the scores of keys [c, c + tile.keys) of the chunk.
  void add_to_scores(const Panel& p, Index g, Index c, const Tile& tile, const ScoreTile& scores,
                     T* out) {
    RelativeProducts<T, Stages> products{.factor = relative_.factor};
    std::size_t index = 0;
    for_each_key_table([&](const auto& stage, const auto& own, Interval& window) {
      auto& product = products.of_queries[index++];
      const Interval needed =
          buckets_between(stage, tile.least_distance(), tile.greatest_distance());
      if (size(needed) > own.most) {
        window = no_buckets;
        return add_in_parts(stage, own, p, g, needed, scores, out);
      }
      if (needed.first < window.first || needed.last > window.last)
        multiply(own, p, g, window = needed);
      product = {own.products, window.first};
    });
    index = 0;
    for_each_stage([&]<class S>(const S& stage) {
      if constexpr (RelativeQueries<S>) {
        const auto& own = relative_.of_queries[index];
        auto& product = products.of_keys[index++];
        if (!own.table.data) return;
        const std::uint64_t bit = std::uint64_t{1} << c / plan_.tile;
        if ((own.is_done[g] & bit) == 0) {
          own.is_done[g] |= bit;
          multiply_keys(own, g, c, scores.keys,
                        buckets_between(stage, block_.first - tile.key.last,
                                        block_.last - tile.key.first));
        }
        product = {own.products + (g * plan_.chunk + c) * own.lanes, own.lanes};
      }
    });
    leaves_.stage.relative_products(bound_.stages(), products, scores, tile, out);
  }

  void add_weights(const Tile& tile, const ScoreTile& scores, const T* weights, T* sums) const {
    leaves_.stage.relative_weights(bound_.stages(), scores, tile, weights, sums);
  }

  /// Adds the vectors of all buckets, times the sums of their weights, to a panel of outputs.
  void add_to_outputs(const Panel& p, Index head, const T* sums, T* outputs) {
    for_each_stage([&]<class S>(const S& stage) {
      if constexpr (RelativeValues<S>) {
        const RelativeTable table = stage.relative_values();
        each_rows(
            table, head, {0, table.buckets - 1}, [&](const T* rows, Index stride, Index count) {
              tile_.values(table.width, count, p.width, rows, 1, stride, sums, outputs, p.width);
              sums += count * p.width;
            });
      }
    });
  }

 private:
  static constexpr Interval no_buckets{std::numeric_limits<Position>::max(),
                                       std::numeric_limits<Position>::min()};
  static constexpr Index size(const Interval& buckets) { return buckets.last - buckets.first + 1; }

  template <class F>
  void for_each_stage(const F& f) const {
    std::apply([&](const auto&... stage) { (f(stage), ...); }, bound_.stages());
  }
  /// Calls f(component, buffers, window) for those that have relative keys; a window is what its
  /// products hold.
  template <class F>
  void for_each_key_table(const F& f) {
    std::size_t index = 0;
    for_each_stage([&]<class S>(const S& stage) {
      if constexpr (RelativeKeys<S>) {
        const auto& own = relative_.of_keys[index];
        Interval& window = windows_[index++];
        if (own.table.data) f(stage, own, window);
      }
    });
  }

  /// Calls f(rows, stride, count) for the vectors of some buckets, as elements of T.
  template <class F>
  void each_rows(const RelativeTable& table, Index head, const Interval& buckets,
                 const F& f) const {
    if constexpr (std::is_same_v<T, float>) {
      if (buckets.first <= buckets.last)
        f(table.row(head, buckets.first), table.bucket_stride, size(buckets));
    } else {
      for (Index b = buckets.first; b <= buckets.last; b += relative_.most_rows) {
        const Index count = std::min(relative_.most_rows, buckets.last + 1 - b);
        for (Index r = 0; r < count; ++r)
          std::copy_n(table.row(head, b + r), table.width, relative_.rows + r * table.width);
        f(relative_.rows, table.width, count);
      }
    }
  }

  /// Products of a panel of queries with the vectors of some buckets.
  template <class Own>
  void multiply(const Own& own, const Panel& p, Index g, const Interval& buckets) const {
    const Index head = kv_head_ * plan_.group + g;
    T* out = own.products;
    each_rows(own.table, head, buckets, [&](const T* rows, Index stride, Index count) {
      tile_.scores(count, own.table.width, p.width, rows, stride, 1, queries_, out, p.width);
      out += count * p.width;
    });
    if (!own.table.constants) return;
    out = own.products;
    for (Index b = buckets.first; b <= buckets.last; ++b, out += p.width) {
      const T constant = static_cast<T>(own.table.constant(head, b));
      for (Index j = 0; j < p.width; ++j) out[j] += relative_.factor[j] * constant;
    }
  }

  /// Products of a tile of keys with the vectors of some buckets.
  template <class Own>
  void multiply_keys(const Own& own, Index g, Index c, Index keys, const Interval& buckets) const {
    const Index head = kv_head_ * plan_.group + g, step = tile_.panel_step;
    T* const out = own.products + (g * plan_.chunk + c) * own.lanes;
    const T* const vectors = own.vectors + g * own.table.width * own.lanes;
    const Index end = round_up(buckets.last + 1, step);
    for (Index lane = buckets.first / step * step; lane < end; lane += tile_.panel)
      tile_.scores(keys, own.table.width, std::min(tile_.panel, end - lane),
                   k_.row(key_ + c, kv_head_), k_.token_stride, k_.channel_stride, vectors + lane,
                   out + lane, own.lanes);
    for (Index k = 0; own.table.constants && k < keys; ++k)
      for (Index b = buckets.first; b <= buckets.last; ++b)
        out[k * own.lanes + b] += static_cast<T>(own.table.constant(head, b));
  }

  /// A tile in which more buckets occur than there is room for.
  template <class S, class Own>
  void add_in_parts(const S& stage, const Own& own, const Panel& p, Index g, const Interval& needed,
                    const ScoreTile& tile, T* scores) const {
    for (Position first = needed.first; first <= needed.last; first += own.most) {
      const Interval part{first, std::min(needed.last, first + own.most - 1)};
      multiply(own, p, g, part);
      for (Index k = 0; k < tile.keys; ++k)
        for (Index j = 0; j < tile.queries; ++j) {
          const Index bucket = stage.bucket(tile.query[j] - tile.key[k]);
          if (bucket >= part.first && bucket <= part.last)
            scores[k * tile.width + j] += own.products[(bucket - first) * tile.width + j];
        }
    }
  }

  TensorView<const T> k_;
  const BoundT& bound_;
  const Coordinates& at_;
  const Leaves<T, BoundT>& leaves_;
  const TileLeaves<T>& tile_;
  const Plan& plan_;
  const Buffers<T, BoundT>& buffers_;
  const RelativeBuffers<T, BoundT>& relative_;
  Packed& packing_;

  Index kv_head_ = 0, key_ = 0;  ///< key head; first key of the chunk
  Interval block_;               ///< positions of the queries of the block
  const T* queries_ = nullptr;   ///< the panel
  std::array<Interval, Counts::keys> windows_{};
};

}  // namespace detail

POSENC_NAMESPACE_END
