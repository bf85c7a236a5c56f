// SPDX-License-Identifier: MIT
//
// Queries of the decode kernel: a block of them, of all heads, rotated for each region of distances and
// scaled when keys of that region first meet them.
#pragma once

#include <posenc/attention/decode/call.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeQueries {
 public:
  DecodeQueries(const DecodeCall<U>& call, const DecodeBuffers<U>& buffers)
      : call_(call), answers_(*call.asked.answers), map_(answers_.map()), shape_(call.shape),
        leaves_(call.leaves), buffers_(buffers) {}

  /// Up to DecodePlan::most_queries queries of a sequence from `first` on.
  void begin(const DecodeSequence<U>& sequence, Index first) {
    sequence_ = &sequence;
    first_ = first;
    count_ = std::min(DecodePlan::most_queries, sequence.queries - first);
    rotated_ = 0;
    for (Index i = 0; i < count_; ++i) {
      buffers_.query_index[i] = sequence.index(sequence.self, first + i);
      buffers_.query[i] = place(i)[0];
    }
    scale_ = answers_.scale(shape_.head_dim, *sequence.rotary);
  }
  [[nodiscard]] Index count() const { return count_; }
  /// Of scores, before temperature.
  [[nodiscard]] double scale() const { return scale_; }
  /// The first query head of those that the task serves, and the first key head.
  [[nodiscard]] Index head() const { return sequence_->head; }
  [[nodiscard]] Index kv_head() const { return sequence_->kv_head; }
  /// Where query i of the block stands, and which row it is.
  [[nodiscard]] Positions place(Index i) const {
    return sequence_->place(sequence_->self, first_ + i);
  }
  [[nodiscard]] Index row_of(Index i) const { return sequence_->first + first_ + i; }

  /// As they were passed but for their scale, [row][query_row].
  [[nodiscard]] const U* plain() {
    if (!buffers_.relative.queries) return of_region(0);
    for (Index i = 0; i < count_; ++i) {
      const TensorView<U> y = heads_of(buffers_.relative.queries, i);
      load(i, y);
      scale_row(y, i);
    }
    return buffers_.relative.queries;
  }
  /// Rotated for a region and scaled, [row][query_row].
  [[nodiscard]] const U* of_region(int region) {
    U* const all = buffers_.queries + region * shape_.rows() * shape_.query_row();
    if ((rotated_ >> region & 1U) != 0) return all;
    rotated_ |= RegionSet{1} << region;
    const Rotary& rotary = *sequence_->rotary;
    for (Index i = 0; i < count_; ++i) {
      const TensorView<U> y = heads_of(all, i);
      load(i, y);
      for (Index h = 0; answers_.relative().query_biases > 0 && h < y.heads; ++h)
        answers_.add_query_biases(sequence_->head + h, y.row(0, h));
      if (rotary.layout) {
        const double factor = rotary.state.attention_factor;
        const Turn turn{.amplitude = factor * factor, .side = Side::query};
        const double at = map_.query_position(region, buffers_.query[i]);
        const Positions positions = map_ ? Positions(std::span<const double>(&at, 1)) : place(i);
        for_rates(rotary, sequence_->kv_head, shape_.kv_heads,
                  [&](const Rotary& own, const HeadShare& share) {
                    const TensorView<U> some = detail::heads_of(y, share);
                    leaves_.rotate(own, own.region_angles(region), turn, positions, some, some);
                  });
      }
      scale_row(y, i);
    }
    return all;
  }

 private:
  /// Query i of the block, of all heads, among rows of queries.
  [[nodiscard]] TensorView<U> heads_of(U* queries, Index i) const {
    return {queries + i * shape_.query_row(), 1, shape_.heads, shape_.head_dim, 0,
            count_ * shape_.query_row()};
  }
  void load(Index i, const TensorView<U>& y) const {
    for (Index h = 0; h < shape_.heads; ++h)
      call_.q.load(row_of(i), sequence_->head + h, y.row(0, h));
  }
  void scale_row(const TensorView<U>& y, Index i) const {
    const U factor = static_cast<U>(scale_ * answers_.temperature(buffers_.query[i]));
    for (Index h = 0; h < shape_.heads; ++h) {
      U* const row = y.row(0, h);
      std::fill(row + shape_.head_dim, row + shape_.query_row(), U{0});
      if (factor != 0)
        leaves_.sums->combine(shape_.query_row(), factor, row, U{0}, row);
      else  // keeps what is not finite
        std::transform(row, row + shape_.head_dim, row, [](U x) { return x * 0; });
    }
  }

  const DecodeCall<U>& call_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;

  const DecodeSequence<U>* sequence_ = nullptr;
  double scale_ = 1;
  Index first_ = 0, count_ = 0;
  RegionSet rotated_ = 0;  ///< regions with queries
};

}  // namespace detail

POSENC_NAMESPACE_END
