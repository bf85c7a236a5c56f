// SPDX-License-Identifier: MIT
//
// The gradients of vectors by distance, for one worker. With dx the gradients of a tile's scores, P its
// weights, f the scale and temperature of a query, and sums over the pairs of a bucket b:
//
//   relative keys r      W[b][i] = sum of dx:        d(f q_i) += W[b][i] r_b,   dr_b += W[b][i] f q_i
//   relative queries s   V[j][b] = sum of dx f:      dk_j += V[j][b] s_b,       ds_b += V[j][b] k_j
//   relative values a    dP_ij += <d_out_i, a_b>;    W[b][i] = sum of P:        da_b += W[b][i] d_out_i
//   constants            their gradient is the sum of dx f
//
// Products are by bucket, not by pair. Where positions are spread so widely that more buckets occur in a tile
// than it has queries and keys, pairs are taken one by one.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/backward/leaves.hpp>
#include <posenc/attention/backward/relative.hpp>
#include <posenc/attention/prefill/relative_terms.hpp>
#include <posenc/simd/panels.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class RelativeGradients final : public BackwardRelative<T> {
 public:
  RelativeGradients(const BackwardCall<T>& call, const BackwardPlan& plan,
                    const BackwardBuffers<T>& buffers, Packing<T>& packing)
      : BackwardRelative<T>(call.answers().relative().keys + call.answers().relative().queries > 0,
                            call.answers().relative().values > 0),
        terms_(
            *call.forward.leaves.relative->make(call.forward, plan.tiles, buffers.tiles, packing)),
        answers_(call.answers()), tile_(*call.forward.leaves.tile),
        leaves_(call.forward.leaves.relative),
        add_rows_(gradient_leaves<T>(call.forward.leaves.level).add_rows), plan_(plan),
        own_(buffers.relative), ones_(buffers.ones), packing_(packing),
        width_(call.forward.q.width), value_dim_(call.d_out.width) {
    for (const auto& [self, ask] : answers_.asked())
      meets_keys_ |= ask->relative_queries && ask->relative_queries(self).data;
    // Channels that only fill vectors stay zero.
    std::fill_n(own_.q, plan.tiles.panel * plan.width.stride, T{0});
    std::fill_n(own_.k, plan.tiles.tile * plan.width.stride, T{0});
    std::fill_n(own_.d_out, plan.tiles.panel * plan.value_width.stride, T{0});
  }
  void begin(Index kv_head, const Interval& queries, Index keys) override {
    terms_.begin_head(kv_head);
    terms_.begin_block(queries);
    terms_.begin_chunk();
    std::fill_n(own_.d_k, keys * plan_.width.stride, T{0});
  }
  void begin_panel(const Panel& p, Index g, const Tile& tile) override {
    simd::from_panel(p.queries, width_, p.width, packing_.plain_queries(p, g), ones_, own_.q,
                     plan_.width.stride, 1);
    std::fill_n(own_.d_q, p.queries * plan_.width.stride, T{0});
    terms_.begin_panel(p, g, tile);
  }
  void add_to_scores(const Panel& p, Index g, Index c, const ScoreTile& tile, T* scores) override {
    terms_.add_to_scores(p, g, c, tile, scores);
  }
  void add_to_weights(const ScoreTile& tile, T* gradient) const override {
    for_each(tile, nullptr, [&](const Stage& stage, const Interval& buckets, std::span<double>) {
      const auto ask = stage.ask->relative_values;
      const RelativeTable table = ask ? ask(stage.self) : RelativeTable{};
      if (!table.data) return;
      if (is_many(buckets)) {
        for_each_pair(stage, tile, [&](Index bucket, Index k, Index j) {
          const float* const a = table.row(tile.head, bucket);
          T sum = 0;
          for (Index c = 0; c < value_dim_; ++c)
            sum += static_cast<T>(a[c]) * own_.d_out[j * plan_.value_width.stride + c];
          gradient[k * tile.width + j] += sum;
        });
        return;
      }
      load(table, tile.head, buckets, plan_.value_width);
      for (Index lane = 0; lane < tile.width; lane += tile_.panel)
        tile_.scores(count(buckets), value_dim_, std::min(tile_.panel, tile.width - lane),
                     own_.vectors, plan_.value_width.stride, 1, own_.d_panel + lane,
                     own_.sums + lane, tile.width);
      leaves_->add_query_products(stage, {own_.sums, static_cast<Index>(buckets.first)}, tile,
                                  gradient);
    });
  }
  void add_weights(const ScoreTile& tile, const T* weights, double* parameters) const override {
    for_each(tile, parameters,
             [&](const Stage& stage, const Interval& buckets, std::span<double> to) {
               const auto learn = stage.ask->relative_values_gradient;
               if (to.empty() || !learn || !stage.ask->relative_values(stage.self).data) return;
               const auto give = [&](Index bucket, std::span<const double> vector) {
                 learn(stage.self, tile.head, bucket, vector, to);
               };
               if (is_many(buckets))
                 for_each_pair(stage, tile, [&](Index bucket, Index k, Index j) {
                   if (weights[k * tile.width + j] == 0) return;
                   give(bucket, times(own_.d_out + j * plan_.value_width.stride, value_dim_,
                                      weights[k * tile.width + j]));
                 });
               else
                 sum_by_lane(stage, tile, weights, buckets),
                     give_products(buckets, tile.width, 1, tile.queries, own_.d_out,
                                   plan_.value_width, value_dim_, give);
             });
  }
  void add_scores(const ScoreTile& tile, Index c, const T* gradient, const T* factor,
                  double* parameters) override {
    if (meets_keys_) {
      const T* const plain = packing_.plain_keys(c, tile.keys);
      for (Index k = 0; k < tile.keys; ++k)
        std::copy_n(plain + k * width_, width_, own_.k + k * plan_.width.stride);
    }
    for_each(
        tile, parameters, [&](const Stage& stage, const Interval& buckets, std::span<double> to) {
          if (stage.ask->relative_keys)
            if (const RelativeTable table = stage.ask->relative_keys(stage.self); table.data)
              add_relative_keys(stage, table, buckets, tile, gradient, factor, to);
          if (stage.ask->relative_queries)
            if (const RelativeTable table = stage.ask->relative_queries(stage.self); table.data)
              add_relative_queries(stage, table, buckets, tile, c, gradient, factor, to);
        });
  }

 private:
  static Index count(const Interval& buckets) { return buckets.last - buckets.first + 1; }
  [[nodiscard]] bool is_many(const Interval& buckets) const { return count(buckets) > own_.most; }

  /// Calls f(stage, buckets that occur in the tile, the gradients of its parameters) for all that have
  /// vectors by distance; without parameters, no gradients of them are wanted.
  template <class F>
  void for_each(const ScoreTile& tile, double* parameters, const F& f) const {
    for_each_learner(answers_, parameters, [&](const Stage& stage, std::span<double> gradient) {
      if (has_vectors(stage))
        f(stage,
          buckets_between(stage, tile.where.least_distance(), tile.where.greatest_distance()),
          gradient);
    });
  }
  static bool has_vectors(const Stage& stage) {
    return stage.ask->relative_keys || stage.ask->relative_queries || stage.ask->relative_values;
  }
  template <class F>
  static void for_each_pair(const Stage& stage, const ScoreTile& tile, const F& f) {
    for (Index k = 0; k < tile.keys; ++k)
      for (Index j = 0; j < tile.queries; ++j)
        f(stage.ask->bucket(stage.self, tile.query[j] - tile.key[k]), k, j);
  }

  void load(const RelativeTable& table, Index head, const Interval& buckets,
            const PaddedRow& width) const {
    for (Index b = 0; b < count(buckets); ++b) {
      const float* const from = table.row(head, static_cast<Index>(buckets.first) + b);
      T* const to = own_.vectors + b * width.stride;
      for (Index c = 0; c < table.width; ++c) to[c] = static_cast<T>(from[c]);
      std::fill(to + table.width, to + width.columns, T{0});
    }
  }
  [[nodiscard]] std::span<const double> times(const T* x, Index width, T factor) const {
    for (Index c = 0; c < width; ++c) own_.row[c] = static_cast<double>(factor * x[c]);
    return {own_.row, static_cast<std::size_t>(width)};
  }

  /// sums[bucket - first][lane] of what stands in a tile.
  void sum_by_lane(const Stage& stage, const ScoreTile& tile, const T* x,
                   const Interval& buckets) const {
    std::fill_n(own_.sums, count(buckets) * tile.width, T{0});
    const auto first = static_cast<Index>(buckets.first);
    TileBuckets(stage, tile)
        .visit(
            [&](Index row, Index rows, Index bucket) {
              add_rows_(rows, tile.width, x + row * tile.width,
                        own_.sums + (bucket - first) * tile.width);
            },
            [&](Index k, const auto& bucket) {
              for (Index j = 0; j < tile.queries; ++j)
                own_.sums[(bucket(j) - first) * tile.width + j] += x[k * tile.width + j];
            });
  }

  /// give(bucket, gradient of its vector): sums times `inner` rows.
  template <class Give>
  void give_products(const Interval& buckets, Index sum_row, Index sum_inner, Index inner, T* rows,
                     const PaddedRow& width, Index channels, const Give& give) const {
    const Index n = count(buckets);
    std::fill_n(own_.gradients, n * width.stride, T{0});
    const bool finite = tile_.copy_finite(inner * width.stride, rows, rows);
    add_product(tile_, finite, n, inner, width, own_.sums, sum_row, sum_inner, rows,
                own_.gradients);
    for (Index b = 0; b < n; ++b)
      give(static_cast<Index>(buckets.first) + b,
           times(own_.gradients + b * width.stride, channels, T{1}));
  }

  void add_relative_keys(const Stage& stage, const RelativeTable& table, const Interval& buckets,
                         const ScoreTile& tile, const T* gradient, const T* factor,
                         std::span<double> to) const {
    const auto learn = to.empty() ? nullptr : stage.ask->relative_keys_gradient;
    if (is_many(buckets)) {
      for_each_pair(stage, tile, [&](Index bucket, Index k, Index j) {
        const T dx = gradient[k * tile.width + j];
        if (dx == 0) return;
        const float* const r = table.row(tile.head, bucket);
        for (Index c = 0; c < width_; ++c)
          own_.d_q[j * plan_.width.stride + c] += dx * static_cast<T>(r[c]);
        if (learn)
          learn(stage.self, tile.head, bucket, times(own_.q + j * plan_.width.stride, width_, dx),
                static_cast<double>(dx * factor[j]), to);
      });
      return;
    }
    load(table, tile.head, buckets, plan_.width);
    sum_by_lane(stage, tile, gradient, buckets);
    add_product(tile_, true, tile.queries, count(buckets), plan_.width, own_.sums, 1, tile.width,
                own_.vectors, own_.d_q);
    if (!learn) return;
    give_products(buckets, tile.width, 1, tile.queries, own_.q, plan_.width, width_,
                  [&](Index bucket, std::span<const double> vector) {
                    const T* const sum = own_.sums + (bucket - buckets.first) * tile.width;
                    double constant = 0;
                    for (Index j = 0; j < tile.queries; ++j)
                      constant += static_cast<double>(sum[j] * factor[j]);
                    learn(stage.self, tile.head, bucket, vector, constant, to);
                  });
  }

  void add_relative_queries(const Stage& stage, const RelativeTable& table, const Interval& buckets,
                            const ScoreTile& tile, Index c, const T* gradient, const T* factor,
                            std::span<double> to) const {
    const auto learn = to.empty() ? nullptr : stage.ask->relative_queries_gradient;
    T* const d_k = own_.d_k + c * plan_.width.stride;
    if (is_many(buckets)) {
      for_each_pair(stage, tile, [&](Index bucket, Index k, Index j) {
        const T dx = gradient[k * tile.width + j] * factor[j];
        if (dx == 0) return;
        const float* const s = table.row(tile.head, bucket);
        for (Index ch = 0; ch < width_; ++ch)
          d_k[k * plan_.width.stride + ch] += dx * static_cast<T>(s[ch]);
        if (learn)
          learn(stage.self, tile.head, bucket, times(own_.k + k * plan_.width.stride, width_, dx),
                static_cast<double>(dx), to);
      });
      return;
    }
    const Index n = count(buckets);
    const auto first = static_cast<Index>(buckets.first);
    load(table, tile.head, buckets, plan_.width);
    std::fill_n(own_.sums, tile.keys * n, T{0});  // [key][bucket]
    TileBuckets(stage, tile)
        .visit(
            [&](Index row, Index rows, Index bucket) {
              for (Index k = row; k < row + rows; ++k)
                for (Index j = 0; j < tile.queries; ++j)
                  own_.sums[k * n + bucket - first] += gradient[k * tile.width + j] * factor[j];
            },
            [&](Index k, const auto& bucket) {
              for (Index j = 0; j < tile.queries; ++j)
                own_.sums[k * n + bucket(j) - first] += gradient[k * tile.width + j] * factor[j];
            });
    add_product(tile_, true, tile.keys, n, plan_.width, own_.sums, n, 1, own_.vectors, d_k);
    if (!learn) return;
    give_products(buckets, 1, n, tile.keys, own_.k, plan_.width, width_,
                  [&](Index bucket, std::span<const double> vector) {
                    double constant = 0;
                    for (Index k = 0; k < tile.keys; ++k)
                      constant += static_cast<double>(own_.sums[k * n + bucket - first]);
                    learn(stage.self, tile.head, bucket, vector, constant, to);
                  });
  }

  Relative<T>& terms_;
  const Answers& answers_;
  const TileLeaves<T>& tile_;
  const RelativeLeaves<T>* leaves_;
  decltype(GradientLeaves<T>::add_rows) add_rows_;
  const BackwardPlan& plan_;
  const RelativeGradientBuffers<T>& own_;
  const T* ones_;  ///< by lane
  Packing<T>& packing_;
  Index width_, value_dim_;
  bool meets_keys_ = false;  ///< some vectors meet keys
};

template <class T>
const BackwardRelativeLeaves<T>& backward_relative_leaves() {
  static constexpr BackwardRelativeLeaves<T> leaves{
      sizeof(RelativeGradients<T>),
      [](std::byte* memory, const BackwardCall<T>& call, const BackwardPlan& plan,
         const BackwardBuffers<T>& buffers, Packing<T>& packing) -> BackwardRelative<T>* {
        if (call.answers().relative().buckets == 0) return nullptr;
        return new (memory) RelativeGradients<T>(call, plan, buffers, packing);
      }};
  return leaves;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const BackwardRelativeLeaves<float>& backward_relative_leaves<float>();
POSENC_DETAIL_DOUBLE const BackwardRelativeLeaves<double>& backward_relative_leaves<double>();
#endif

}  // namespace detail

POSENC_NAMESPACE_END
