// SPDX-License-Identifier: MIT
//
// The prefill kernel: many queries against keys, generic over the type it computes in.
//
//   for each key head and block of queries, in parallel:
//     for each chunk of keys that some query of the block sees:
//       for each panel of queries, for each query head of the group:
//         for each tile of keys:
//           masks:         hidden tiles are not visited, fully visible tiles run no mask code
//           distance map:  one product for a uniform tile, one per region and a blend for a mixed
//                          one; keys and queries are rotated when a region first needs them
//           products with vectors by distance, biases and score maps in the order written, masks,
//           online softmax, weights times values
//     vectors by distance times their weights, divide, rotate back (RotateValues), write the output
//     and its log-sum-exp
//
// Nothing larger than a tile is made of the scores; of the keys no more than a chunk is kept rotated.
#pragma once

#include <posenc/attention/prefill/tile_scores.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/simd/panels.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Works through tasks with buffers of its own.
template <class T>
class PrefillWorker {
 public:
  PrefillWorker(const PrefillCall<T>& call, const Plan& plan, const SharedSums<T>& shared,
                std::byte* workspace)
      : call_(call), q_(call.q), keys_(call.keys), answers_(call.answers()),
        tile_(*call.leaves.tile), softmax_(softmax_leaves<T>(call.leaves.level)), plan_(plan),
        shared_(shared), arena_(workspace), value_dim_(keys_.values.width),
        output_rows_(value_dim_ + plan_.value_buckets),
        buffers_(prefill_buffers(answers_, call.leaves, plan_, call.shape(), arena_)),
        packing_(call, plan, buffers_), visibility_(answers_, plan_, buffers_, call.sequence),
        bias_tables_(call, plan_, buffers_), scores_(call, buffers_, packing_, bias_tables_),
        by_context_(answers_.facts().context_positions > 0) {
    if (!call.leaves.relative) return;
    Relative<T>* const relative = call.leaves.relative->make(call, plan, buffers_, packing_);
    if (relative && relative->in_scores) in_scores_ = relative;
    if (relative && relative->in_values) in_values_ = relative;
  }

  /// A part of a task.
  void operator()(Index item) noexcept {
    const Index task = item / plan_.parts, part = item % plan_.parts;
    // The last blocks come first: under a causal mask they are the longest.
    const Index kv_head = task / plan_.blocks;
    const Index query = (plan_.blocks - 1 - task % plan_.blocks) * plan_.block;
    if (kv_head != kv_head_) {
      bias_tables_.begin_head(kv_head);
      if (in_scores_) in_scores_->begin_head(kv_head);
    }
    kv_head_ = kv_head;
    sums_ = plan_.parts == 1 ? buffers_.sums : sums_of(item);
    begin(query, std::min(plan_.block, q_.tokens - query), part == 0);
    const Index start = part * plan_.part, end = std::min(keys_.tokens, start + plan_.part);
    walk(end - start, plan_.chunk, [&](Index key, Index keys) { chunk(start + key, keys); });
    if (plan_.parts > 1) {
      const Index first = task * plan_.parts;
      const bool is_last =
          merge_parts(part, plan_.parts, shared_.arrived + first, [&](Index left, Index right) {
            sums_ = sums_of(first + left);
            merge(sums_of(first + right));
          });
      if (!is_last) return;
      sums_ = sums_of(first);
    }
    for (Index g = 0; g < plan_.group; ++g)
      for (Index p = 0; p < queries_; p += plan_.panel) finish(packing_.panel(p), g);
  }

 private:
  /// Outputs, and behind them the sums of weights by bucket.
  [[nodiscard]] T* output_panel(const Panel& p, Index g) const {
    return sums_.outputs + (g * plan_.block + p.first) * output_rows_;
  }
  [[nodiscard]] Index statistics(const Panel& p, Index g) const {
    return g * plan_.block + p.first;
  }
  [[nodiscard]] PanelSums<T> sums_of(Index item) const {
    return shared_.of(plan_, call_.shape(), item);
  }

  // --- Blocks of queries and chunks of keys -----------------------------------------------------

  /// f(first, count) for steps of so many keys: in their order, or from the last on where that is what positions by
  /// context need.
  template <class F>
  void walk(Index keys, Index step, const F& f) {
    const Index steps = (keys + step - 1) / step;
    for (Index i = 0; i < steps; ++i) {
      const Index first = (by_context_ ? steps - 1 - i : i) * step;
      f(first, std::min(step, keys - first));
    }
  }

  /// Empty sums for all queries of a block; the first part has the sinks.
  void begin(Index query, Index queries, bool is_first_part) {
    query_ = query;
    queries_ = queries;
    packing_.begin_block(kv_head_, query, queries);
    visibility_.begin_block(queries);
    visibility_.of_group(kv_head_);
    if (in_scores_) in_scores_->begin_block(visibility_.queries(queries));
    for (Index g = 0; g < plan_.group; ++g) {
      const SoftmaxStart start =
          is_first_part ? answers_.template softmax_start<T>(kv_head_ * plan_.group + g)
                        : SoftmaxStart{};
      std::fill_n(sums_.shift + g * plan_.block, plan_.block, static_cast<T>(start.shift));
      std::fill_n(sums_.sum + g * plan_.block, plan_.block, static_cast<T>(start.sum));
      std::fill_n(sums_.most + g * plan_.block, plan_.block, RowSpread<T>{}.greatest);
      std::fill_n(sums_.spread + g * plan_.block, plan_.block, static_cast<T>(start.spread));
    }
    std::fill_n(sums_.outputs, plan_.group * plan_.block * output_rows_, T{0});
  }

  void chunk(Index key, Index keys) {
    // The ends of a tensor tell where its tokens stand; those of a cache have to be asked for.
    packing_.begin_chunk(key, keys);
    visibility_.begin_chunk(keys);
    if (visibility_.is_hidden({0, queries_, 0, keys})) return;
    if (in_scores_) in_scores_->begin_chunk();
    for (Index first = 0; first < queries_; first += plan_.panel) {
      const Panel p = packing_.panel(first);
      const Rectangle all{first, p.queries, 0, keys};
      if (visibility_.is_hidden(all)) continue;
      for (Index g = 0; g < plan_.group; ++g) {
        visibility_.of_head(kv_head_ * plan_.group + g);
        if (in_scores_) in_scores_->begin_panel(p, g, visibility_.tile_of(visibility_.seen(all)));
        walk(keys, plan_.tile, [&](Index c, Index some) { tile(p, g, c, some); });
      }
      visibility_.of_group(kv_head_);
    }
  }

  /// Keys [c, c + keys) of the chunk meet a panel.
  void tile(const Panel& p, Index g, Index c, Index keys) {
    const Rectangle rows{p.first, p.queries, c, keys};
    const Tile where = visibility_.tile_of(rows);
    const TileClass mask = answers_.classify(where);
    if (mask == TileClass::none) return;
    const ScoreTile scores = buffers_.score_tile(p, kv_head_ * plan_.group + g, c, keys, where);
    const TileHalves halves = mask == TileClass::partial
                                  ? visibility_.halves(rows, p.width, tile_.panel_step)
                                  : TileHalves{{{p.width, 0, keys}}};
    scores_.products(p, g, c, scores, halves);
    if (by_context_ && mask == TileClass::partial) scores_.hide(scores);
    if (in_scores_) in_scores_->add_to_scores(p, g, c, scores, buffers_.scores);
    scores_.change(scores, g);
    if (mask == TileClass::partial) scores_.hide(scores);

    const Index at = statistics(p, g);
    T* const outputs = output_panel(p, g);
    T *const shift = sums_.shift + at, *const sum = sums_.sum + at;
    if (call_.rows.are_wanted()
            ? softmax_.softmax_spread(keys, p.width, buffers_.scores, shift, sum, buffers_.factor,
                                      sums_.most + at, sums_.spread + at)
            : softmax_.softmax(keys, p.width, buffers_.scores, shift, sum, buffers_.factor))
      softmax_.scale_rows(output_rows_, p.width, outputs, buffers_.factor);
    if (in_values_)
      in_values_->add_weights(scores, buffers_.scores, outputs + value_dim_ * p.width);
    // A hidden key has weight 0, and 0 * infinity must not reach the output of a row that cannot
    // see it.
    const auto values = packing_.values(c, keys);
    const auto add = values.are_finite ? tile_.values : tile_.values_skipping_zeros;
    Index lane = 0;
    for (const auto& [width, first, last] : halves) {
      if (first < last)
        add(value_dim_, last - first, width, values.rows + first * value_dim_, 1, value_dim_,
            buffers_.scores + first * p.width + lane, outputs + lane, p.width);
      lane += width;
    }
  }

  // --- Sums -------------------------------------------------------------------------------------

  /// Another part's sums into these.
  void merge(const PanelSums<T>& from) {
    for (Index g = 0; g < plan_.group; ++g)
      for (Index first = 0; first < queries_; first += plan_.panel) {
        const Panel p = packing_.panel(first);
        const Index at = statistics(p, g), offset = output_panel(p, g) - sums_.outputs;
        for (Index i = 0; i < p.queries; ++i) {
          if (call_.rows.are_wanted()) {
            const auto [most, spread] =
                merge_spreads(sums_.spread_of(at + i), sums_.shift[at + i], sums_.sum[at + i],
                              from.spread_of(at + i), from.shift[at + i], from.sum[at + i]);
            sums_.most[at + i] = most, sums_.spread[at + i] = spread;
          }
          const auto [mine, theirs] = merge_sums(sums_.shift[at + i], sums_.sum[at + i],
                                                 from.shift[at + i], from.sum[at + i]);
          for (Index c = 0; c < output_rows_; ++c) {
            T& output = sums_.outputs[offset + c * p.width + i];
            output = (mine == 0 ? T{0} : output * mine) +
                     (theirs == 0 ? T{0} : from.outputs[offset + c * p.width + i] * theirs);
          }
        }
      }
  }

  void finish(const Panel& p, Index g) {
    const Index at = statistics(p, g), head = kv_head_ * plan_.group + g, first = query_ + p.first;
    for (Index i = 0; i < p.queries; ++i) {
      const T sum = sums_.sum[at + i];
      // A row that sees no key is zero already.
      buffers_.factor[i] = sum == 0 ? T{1} : 1 / sum;
      const std::size_t row = size((first + i) * q_.heads + head);
      if (!call_.lse.empty()) call_.lse[row] = log_sum_exp(sums_.shift[at + i], sum);
      if (!call_.rows.entropy.empty())
        call_.rows.entropy[row] = entropy_of(sums_.spread_of(at + i), sum);
      if (!call_.rows.greatest.empty())
        call_.rows.greatest[row] =
            greatest_weight(sums_.spread_of(at + i), sums_.shift[at + i], sum);
    }
    prefetch_rows<true>(call_.out, first + plan_.panel, plan_.panel, head);
    T* const outputs = output_panel(p, g);
    T* const sums_by_bucket = outputs + value_dim_ * p.width;
    const bool rotates = answers_.facts().rotates_values;
    if (in_values_ && !rotates) in_values_->add_to_outputs(p, head, sums_by_bucket, outputs);
    if (!rotates && call_.out.storage->is_plain) {
      T* const y = reinterpret_cast<T*>(call_.out.row(first, head));
      return simd::from_panel(p.queries, value_dim_, p.width, outputs, buffers_.factor, y,
                              call_.out.token_stride, call_.out.channel_stride);
    }
    const TensorView<T> y(buffers_.rows, p.queries, 1, value_dim_, value_dim_, 0);
    simd::from_panel(p.queries, value_dim_, p.width, outputs, buffers_.factor, y.data, value_dim_,
                     1);
    if (rotates) {
      const Rotary& rotary = call_.asked.rotary->of(kv_head_);
      call_.leaves.rotate(rotary, rotary.angles, {.inverse = true},
                          call_.query.subspan(size(first), size(p.queries)), y, y);
      if (in_values_) add_unrotated(p, head, outputs, sums_by_bucket, y);
    }
    for (Index i = 0; i < p.queries; ++i) call_.out.store(first + i, head, y.row(i, 0));
  }

  /// Relative values do not turn: they are added to rows that have been rotated back.
  void add_unrotated(const Panel& p, Index head, T* outputs, const T* sums_by_bucket,
                     const TensorView<T>& y) {
    std::fill_n(outputs, value_dim_ * p.width, T{0});
    in_values_->add_to_outputs(p, head, sums_by_bucket, outputs);
    for (Index i = 0; i < p.queries; ++i)
      for (Index c = 0; c < value_dim_; ++c)
        y(i, 0, c) += outputs[c * p.width + i] * buffers_.factor[i];
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const PrefillCall<T>& call_;
  const Rows<T>& q_;
  const KeySource<T>& keys_;
  const Answers& answers_;
  const TileLeaves<T>& tile_;
  const SoftmaxLeaves<T>& softmax_;
  const Plan& plan_;
  const SharedSums<T>& shared_;
  Arena arena_;
  Index value_dim_, output_rows_;  ///< of a panel
  PrefillBuffers<T> buffers_;
  PanelSums<T> sums_;
  Packing<T> packing_;
  Visibility<T> visibility_;
  BiasTables<T> bias_tables_;
  TileScores<T> scores_;
  /// Vectors by distance, where an encoding has any.
  Relative<T>*in_scores_ = nullptr, *in_values_ = nullptr;
  bool by_context_;  ///< positions are counted from the last key on

  Index kv_head_ = -1;
  Index query_ = 0, queries_ = 0;  ///< the block
};

}  // namespace detail

POSENC_NAMESPACE_END
