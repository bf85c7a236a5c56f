// SPDX-License-Identifier: MIT
//
// Vectors by distance in prefill, for one worker.
//
//   relative keys      products of a panel of queries with the buckets that occur between it and a
//                      chunk of keys: P[bucket][query], looked up by each pair of a tile
//   relative queries   products of a tile of keys with the buckets that occur between it and a block
//                      of queries: P'[key][bucket]
//   relative values    sums of weights by bucket, which are rows beside the outputs and are rescaled
//                      and merged with them; one product at the end
//
// All three use the products of the scores and of the values, so they cost multiply-adds by bucket, not
// by pair. Where positions are spread so widely that more buckets occur than there is room for, a tile
// takes them some at a time.
#pragma once

#include <posenc/attention/prefill/context_terms.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class RelativeTerms final : public Relative<T> {
  using QueryTable = typename RelativeBuffers<T>::QueryTable;
  using KeyTable = typename RelativeBuffers<T>::KeyTable;

 public:
  RelativeTerms(const PrefillCall<T>& call, const Plan& plan, const PrefillBuffers<T>& buffers,
                Packing<T>& packing)
      : Relative<T>(call.answers().relative().keys + call.answers().relative().queries +
                            call.answers().facts().context_positions >
                        0,
                    call.answers().relative().values > 0),
        call_(call), answers_(call.answers()), tile_(*call.leaves.tile),
        leaves_(call.leaves.relative), plan_(plan), buffers_(buffers), own_(buffers.relative),
        packing_(packing), context_(call, plan, buffers, packing) {}

  /// The query heads of another key head: their vectors side by side, for products with keys.
  void begin_head(Index kv_head) override {
    kv_head_ = kv_head;
    for (const KeyTable& own : own_.key_tables)
      for (Index g = 0; own.table.data && g < plan_.group; ++g)
        for (Index c = 0; c < own.table.width; ++c) {
          T* const row = own.vectors + (g * own.table.width + c) * own.lanes;
          for (Index b = 0; b < own.lanes; ++b)
            row[b] = b < own.table.buckets
                         ? static_cast<T>(own.table.row(kv_head * plan_.group + g, b)[c])
                         : T{0};
        }
  }
  void begin_block(const Interval& queries) override {
    block_ = queries;
    if (context_) context_.begin_block(kv_head_);
  }
  void begin_chunk() override {
    for (const KeyTable& own : own_.key_tables) std::fill_n(own.is_done, plan_.group, 0U);
  }

  void begin_panel(const Panel& p, Index g, const Tile& tile) override {
    if (answers_.relative().buckets == 0) return;
    queries_ = own_.query_tables.empty() ? nullptr : packing_.plain_queries(p, g);
    for (Index i = 0; i < p.width; ++i) own_.factor[i] = packing_.factor(p.first + i);
    for (QueryTable& own : own_.query_tables) {
      own.window = no_buckets;
      if (!own.table.data) continue;
      const Interval needed =
          buckets_between(own.stage, tile.least_distance(), tile.greatest_distance());
      if (size(needed) <= own.most) multiply(own, p, g, own.window = needed);
    }
  }

  void add_to_scores(const Panel& p, Index g, Index c, const ScoreTile& tile, T* scores) override {
    if (context_) context_.add_to_scores(p, g, tile, scores);  // gates see products of keys alone
    for (QueryTable& own : own_.query_tables) {
      if (!own.table.data) continue;
      const Interval needed =
          buckets_between(own.stage, tile.where.least_distance(), tile.where.greatest_distance());
      if (size(needed) > own.most) {
        own.window = no_buckets;
        add_in_parts(own, p, g, needed, tile, scores);
        continue;
      }
      if (needed.first < own.window.first || needed.last > own.window.last)
        multiply(own, p, g, own.window = needed);
      leaves_->add_query_products(own.stage, {own.products, own.window.first}, tile, scores);
    }
    for (const KeyTable& own : own_.key_tables) {
      if (!own.table.data) continue;
      const std::uint64_t bit = std::uint64_t{1} << c / plan_.tile;
      if ((own.is_done[g] & bit) == 0) {
        own.is_done[g] |= bit;
        multiply_keys(own, g, c, tile.keys,
                      buckets_between(own.stage, block_.first - tile.where.key.last,
                                      block_.last - tile.where.key.first));
      }
      const T* const products = own.products + (g * plan_.chunk + c) * own.lanes;
      leaves_->add_key_products(own.stage, {products, own.lanes, own_.factor}, tile, scores);
    }
  }

  void add_weights(const ScoreTile& tile, const T* weights, T* sums) const override {
    for_each_value_table([&](const Stage& stage, const RelativeTable& table) {
      if (table.buckets > 0) leaves_->add_bucket_weights(stage, tile, weights, sums);
      sums += table.buckets * tile.width;
    });
  }

  void add_to_outputs(const Panel& p, Index head, const T* sums, T* outputs) override {
    for_each_value_table([&](const Stage&, const RelativeTable& table) {
      for_each_rows(table, head, {0, table.buckets - 1}, own_.rows,
                    [&](const T* rows, Index stride, Index count) {
                      tile_.values(table.width, count, p.width, rows, 1, stride, sums, outputs,
                                   p.width);
                      sums += count * p.width;
                    });
    });
  }

 private:
  static constexpr Interval no_buckets{std::numeric_limits<Position>::max(),
                                       std::numeric_limits<Position>::min()};
  static constexpr Index size(const Interval& buckets) { return buckets.last - buckets.first + 1; }

  template <class F>
  void for_each_value_table(const F& f) const {
    for (const Stage& stage : answers_.asked())
      if (stage.ask->relative_values) f(stage, stage.ask->relative_values(stage.self));
  }

  /// Products of a panel of queries with the vectors of some buckets.
  void multiply(const QueryTable& own, const Panel& p, Index g, const Interval& buckets) const {
    const Index head = kv_head_ * plan_.group + g;
    multiply_rows(tile_, own.table, head, buckets, queries_, p.width, own_.rows, own.products);
    if (!own.table.constants) return;
    T* out = own.products;
    for (Index b = buckets.first; b <= buckets.last; ++b, out += p.width) {
      const T constant = static_cast<T>(own.table.constant(head, b));
      for (Index j = 0; j < p.width; ++j) out[j] += own_.factor[j] * constant;
    }
  }

  /// Products of a tile of keys with the vectors of some buckets.
  void multiply_keys(const KeyTable& own, Index g, Index c, Index keys, const Interval& buckets) {
    const Index head = kv_head_ * plan_.group + g, step = tile_.panel_step;
    T* const out = own.products + (g * plan_.chunk + c) * own.lanes;
    const T* const vectors = own.vectors + g * own.table.width * own.lanes;
    const T* const rows = packing_.plain_keys(c, keys);
    const Index end = round_up(buckets.last + 1, step);
    for (Index lane = buckets.first / step * step; lane < end; lane += tile_.panel)
      tile_.scores(keys, own.table.width, std::min(tile_.panel, end - lane), rows, call_.q.width, 1,
                   vectors + lane, out + lane, own.lanes);
    for (Index k = 0; own.table.constants && k < keys; ++k)
      for (Index b = buckets.first; b <= buckets.last; ++b)
        out[k * own.lanes + b] += static_cast<T>(own.table.constant(head, b));
  }

  /// A tile in which more buckets occur than there is room for.
  void add_in_parts(const QueryTable& own, const Panel& p, Index g, const Interval& needed,
                    const ScoreTile& tile, T* scores) const {
    for (Position first = needed.first; first <= needed.last; first += own.most) {
      const Interval part{first, std::min(needed.last, first + own.most - 1)};
      multiply(own, p, g, part);
      for (Index k = 0; k < tile.keys; ++k)
        for (Index j = 0; j < tile.queries; ++j) {
          const Index bucket = own.stage.ask->bucket(own.stage.self, tile.query[j] - tile.key[k]);
          if (bucket >= part.first && bucket <= part.last)
            scores[k * tile.width + j] += own.products[(bucket - first) * tile.width + j];
        }
    }
  }

  const PrefillCall<T>& call_;
  const Answers& answers_;
  const TileLeaves<T>& tile_;
  const RelativeLeaves<T>* leaves_;
  const Plan& plan_;
  const PrefillBuffers<T>& buffers_;
  const RelativeBuffers<T>& own_;
  Packing<T>& packing_;
  ContextTerms<T> context_;

  Index kv_head_ = 0;
  Interval block_;              ///< positions of the queries of the block
  const T* queries_ = nullptr;  ///< the panel
};

template <class T>
const simd::ByLevel<RelativeLeaves<T>>& relative_leaves() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    static_assert(Level::template panel<T> <= TileBuckets::most_lanes);
    return RelativeLeaves<T>{
        .add_query_products = &add_query_products<Level, T>,
        .add_key_products = &add_key_products<Level, T>,
        .add_bucket_weights = &add_bucket_weights<Level, T>,
        .add_context = &add_context<Level, T>,
        .take =
            [](PrefillBuffers<T>& buffers, const Answers& answers, const Plan& plan,
               const AttentionShape& shape, Arena& arena) {
              if (answers.relative().buckets == 0 && answers.facts().context_positions == 0) return;
              buffers.relative = RelativeBuffers<T>(answers, plan, shape, arena);
              buffers.relative.terms = arena.take<std::byte>(1, sizeof(RelativeTerms<T>));
            },
        .make = [](const PrefillCall<T>& call, const Plan& plan, const PrefillBuffers<T>& buffers,
                   Packing<T>& packing) -> Relative<T>* {
          if (!buffers.relative.terms) return nullptr;
          return new (buffers.relative.terms) RelativeTerms<T>(call, plan, buffers, packing);
        }};
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<RelativeLeaves<float>>& relative_leaves<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RelativeLeaves<double>>& relative_leaves<double>();
#endif

}  // namespace detail

POSENC_NAMESPACE_END
