// SPDX-License-Identifier: MIT
//
// Vectors by distance in decode: a few queries and a block of keys.
//
//   relative keys      products of all rows with the buckets from the least to the greatest that
//                      occur in a block, looked up by each pair; blocks that need no others keep
//                      them
//   relative queries   products of keys with buckets, in patches of few buckets: near keys have one
//                      each, far ones share it
//   relative values    sums of weights by bucket, which are behind the outputs of a row and are
//                      rescaled and merged with them; one product at the end
//
// Where positions are spread so widely that more buckets occur in a block than there is room for,
// relative keys take patches too. What a component means is written in core/concepts.hpp.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/decode/plan.hpp>
#include <posenc/attention/score/rectangle.hpp>

#include <algorithm>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeRelativeTerms final : public DecodeRelative<U> {
 public:
  DecodeRelativeTerms(const Answers& answers, const DecodeShape& shape,
                      const DecodeLeaves<U>& leaves, const DecodeBuffers<U>& buffers)
      : DecodeRelative<U>(answers.relative()), answers_(answers), shape_(shape), leaves_(leaves),
        buffers_(buffers), own_(buffers.relative), group_(shape.heads / shape.kv_heads) {}

  void begin_queries(Index head, Index queries, double scale, const U* rows) override {
    head_ = head;
    queries_ = queries;
    rows_ = rows;
    for (Index i = 0; i < queries; ++i)
      own_.factor[i] = static_cast<U>(scale * answers_.temperature(buffers_.query[i]));
    std::fill_n(own_.windows, answers_.relative().keys, no_buckets);
  }

  void begin_block(Index keys) override {
    keys_ = keys;
    for_each([&](const Stage& stage, Index* buckets) {
      for (Index i = 0; i < queries_; ++i)
        for (Index k = 0; k < keys; ++k)
          buckets[i * block_keys + k] =
              stage.ask->bucket(stage.self, buffers_.query[i] - buffers_.key[k]);
    });
    for_each_key_table(
        [&](const RelativeTable& table, const Index* buckets, Interval& window, U* products) {
          const Interval needed = occurring(buckets, whole());
          if (needed.first >= window.first && needed.last <= window.last) return;
          window = size(needed) <= most_buckets ? needed : no_buckets;
          if (window.first <= window.last) multiply(table, 0, shape_.heads, window, products);
        });
  }

  void add_to_scores(Index kv_head, const U* plain_keys, U* scores) override {
    const Index first_head = kv_head * group_;
    for_each_key_table([&](const RelativeTable& table, const Index* buckets, const Interval& window,
                           U* products) {
      for_patches(buckets, most_buckets, whole(), [&](const Rectangle& p, const Interval& occur) {
        const bool at_hand = window.first <= window.last;
        if (!at_hand) multiply(table, first_head, group_, occur, products);
        const Index first = at_hand ? window.first : occur.first;
        for_pairs(p, buckets, [&](Index row, Index k, Index bucket) {
          scores[row * score_row + k] +=
              products[(first_head * queries_ + row) * most_buckets + bucket - first];
        });
      });
    });
    if (answers_.relative().queries == 0) return;
    for_each([&](const Stage& stage, const Index* buckets) {
      if (!stage.ask->relative_queries) return;
      if (const RelativeTable table = stage.ask->relative_queries(stage.self); table.data)
        for_patches(buckets, own_.few, whole(), [&](const Rectangle& p, const Interval& occur) {
          for (Index g = 0; g < group_; ++g)
            add_key_products(table, first_head, g, p, occur, buckets, plain_keys, scores);
        });
    });
  }

  void add_weights(const U* weights, U* outputs) const override {
    Index at = shape_.value_row();
    for_each_value_table([&](const RelativeTable& table, const Index* buckets) {
      for (Index row = 0; row < group_ * queries_ && table.buckets > 0; ++row) {
        U* const sums = outputs + row * shape_.output_row() + at;
        const U* const weight = weights + row * score_row;
        const Index* const bucket = buckets + row % queries_ * block_keys;
        // Keys that follow one another in a bucket are summed by themselves first: over many keys of
        // equal weight, one running sum would round the same way each time.
        for (Index k = 0; k < keys_;) {
          const Index of = bucket[k];
          U run = 0;
          for (; k < keys_ && bucket[k] == of; ++k) run += weight[k];
          sums[of] += run;
        }
      }
      at += table.buckets;
    });
  }

  void sum_vectors(const RowSums<U>& sums) override {
    for (Index row = 0; row < shape_.heads * queries_; ++row)
      std::fill_n(sums.outputs + row * shape_.output_row(), shape_.value_row(), U{0});
    Index at = shape_.value_row();
    for_each_value_table([&](const RelativeTable& table, const Index*) {
      for (Index first = 0; first < table.buckets; first += most_buckets) {
        const Interval some{first, std::min(first + most_buckets, table.buckets) - 1};
        for_heads(table, 0, shape_.heads, [&](Index head, Index rows) {
          U* const output = sums.outputs + head * queries_ * shape_.output_row();
          // Buckets that nobody sees have no effect, whatever their vectors are.
          leaves_.plain_values->add_skipping_zeros(rows, size(some), table.width,
                                                   output + at + first, shape_.output_row(),
                                                   vectors(table, head, some, table.width).first,
                                                   output, shape_.output_row(), {});
        });
      }
      at += table.buckets;
    });
  }

 private:
  static constexpr Index block_keys = DecodePlan::block_keys;
  static constexpr Index score_row = DecodePlan::score_row;
  static constexpr Index most_buckets = DecodePlan::most_buckets;
  static constexpr Interval no_buckets{std::numeric_limits<Position>::max(),
                                       std::numeric_limits<Position>::min()};
  static constexpr Index size(const Interval& buckets) { return buckets.last - buckets.first + 1; }

  [[nodiscard]] Rectangle whole() const { return {0, queries_, 0, keys_}; }

  /// Calls f(stage, buckets) for those that have buckets, [query][key].
  template <class F>
  void for_each(const F& f) const {
    Index* buckets = own_.buckets;
    for (const Stage& stage : answers_.asked())
      if (stage.ask->relative_keys || stage.ask->relative_queries || stage.ask->relative_values) {
        f(stage, buckets);
        buckets += DecodePlan::most_queries * block_keys;
      }
  }
  /// Calls f(table, buckets, window, products) for relative keys; a window is what the products of
  /// all heads hold.
  template <class F>
  void for_each_key_table(const F& f) {
    Interval* window = own_.windows;
    U* products = own_.of_queries;
    for_each([&](const Stage& stage, const Index* buckets) {
      if (!stage.ask->relative_keys) return;
      if (const RelativeTable table = stage.ask->relative_keys(stage.self); table.data)
        f(table, buckets, *window, products);
      ++window;
      products += shape_.rows() * most_buckets;
    });
  }
  template <class F>
  void for_each_value_table(const F& f) const {
    for_each([&](const Stage& stage, const Index* buckets) {
      if (stage.ask->relative_values) f(stage.ask->relative_values(stage.self), buckets);
    });
  }

  static Interval occurring(const Index* buckets, const Rectangle& p) {
    Interval all = no_buckets;
    for (Index i = p.query; i < p.query + p.queries; ++i) {
      const Index* const row = buckets + i * block_keys + p.key;
      const auto [least, greatest] = std::minmax_element(row, row + p.keys);
      all = {std::min<Position>(all.first, *least), std::max<Position>(all.last, *greatest)};
    }
    return all;
  }
  /// Calls f(patch, buckets) for patches in which at most so many buckets occur.
  template <class F>
  static void for_patches(const Index* buckets, Index most, const Rectangle& p, const F& f) {
    const Interval occur = occurring(buckets, p);
    if (size(occur) <= most) return f(p, occur);
    const auto [one, other] = p.halves();
    for_patches(buckets, most, one, f);
    for_patches(buckets, most, other, f);
  }
  /// Calls f(row, key, bucket) for the pairs of a patch, of all heads of a group.
  template <class F>
  void for_pairs(const Rectangle& p, const Index* buckets, const F& f) const {
    for (Index g = 0; g < group_; ++g)
      for (Index i = p.query; i < p.query + p.queries; ++i)
        for (Index k = p.key; k < p.key + p.keys; ++k)
          f(g * queries_ + i, k, buckets[i * block_keys + k]);
  }

  /// Calls f(head, rows) for some heads, those that share their vectors together.
  template <class F>
  void for_heads(const RelativeTable& table, Index head, Index heads, const F& f) const {
    const Index together = table.head_stride == 0 ? heads : 1;
    for (Index h = head; h < head + heads; h += together) f(h, together * queries_);
  }
  /// The vectors of some buckets as numbers of U, and how far they lie apart: `row`, where given.
  [[nodiscard]] std::pair<const U*, Index> vectors(const RelativeTable& table, Index head,
                                                   const Interval& buckets, Index row = 0) const {
    const float* const first = table.row(head_ + head, buckets.first);
    if constexpr (std::is_same_v<U, float>)
      if (row == 0 || row == table.bucket_stride) return {first, table.bucket_stride};
    for (Index b = 0; b < size(buckets); ++b)
      std::copy_n(first + b * table.bucket_stride, table.width, own_.vectors + b * table.width);
    return {own_.vectors, table.width};
  }

  /// Products of the rows of some heads with some buckets.
  void multiply(const RelativeTable& table, Index head, Index heads, const Interval& buckets,
                U* products) const {
    for_heads(table, head, heads, [&](Index h, Index rows) {
      const Index first = h * queries_;
      const auto [rows_of_table, stride] = vectors(table, h, buckets);
      leaves_.plain_dots(rows, size(buckets), table.width, rows_ + first * shape_.query_row(),
                         shape_.query_row(), rows_of_table, stride, products + first * most_buckets,
                         most_buckets, {});
    });
    for (Index row = head * queries_; table.constants && row < (head + heads) * queries_; ++row)
      for (Index b = buckets.first; b <= buckets.last; ++b)
        products[row * most_buckets + b - buckets.first] +=
            own_.factor[row % queries_] * static_cast<U>(table.constant(head_ + row / queries_, b));
  }

  /// Products of the keys of a patch with few buckets, added to the scores of head g of the group.
  void add_key_products(const RelativeTable& table, Index first_head, Index g, const Rectangle& p,
                        const Interval& occur, const Index* buckets, const U* keys,
                        U* scores) const {
    const Index head = first_head + g;
    const auto [rows, stride] = vectors(table, head, occur);
    leaves_.plain_dots(size(occur), p.keys, table.width, rows, stride,
                       keys + p.key * shape_.head_dim, shape_.head_dim, own_.of_keys, block_keys,
                       {});
    for (Index i = p.query; i < p.query + p.queries; ++i)
      for (Index k = p.key; k < p.key + p.keys; ++k) {
        const Index bucket = buckets[i * block_keys + k];
        const U product = own_.of_keys[(bucket - occur.first) * block_keys + k - p.key];
        scores[(g * queries_ + i) * score_row + k] +=
            own_.factor[i] * (product + static_cast<U>(table.constant(head_ + head, bucket)));
      }
  }

  const Answers& answers_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;
  const DecodeRelativeBuffers<U>& own_;
  Index group_;  ///< query heads per key head

  Index head_ = 0;                ///< the first one; others are counted from it
  Index queries_ = 0, keys_ = 0;  ///< of the blocks
  const U* rows_ = nullptr;       ///< of queries
};

template <class U>
DecodeRelative<U>* make_decode_relative(const Answers& answers, const DecodeShape& shape,
                                        const DecodeLeaves<U>& leaves,
                                        const DecodeBuffers<U>& buffers) {
  static_assert(sizeof(DecodeRelativeTerms<U>) <= DecodeRelativeBuffers<U>::terms_bytes);
  if (!buffers.relative.terms) return nullptr;
  return new (buffers.relative.terms) DecodeRelativeTerms<U>(answers, shape, leaves, buffers);
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT DecodeRelative<float>* make_decode_relative<float>(const Answers&,
                                                                       const DecodeShape&,
                                                                       const DecodeLeaves<float>&,
                                                                       const DecodeBuffers<float>&);
POSENC_DETAIL_DOUBLE DecodeRelative<double>* make_decode_relative<double>(
    const Answers&, const DecodeShape&, const DecodeLeaves<double>&, const DecodeBuffers<double>&);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
