// SPDX-License-Identifier: MIT
//
// Outputs of the decode kernel: sums of parts of the keys are merged, and what all of them sum to becomes
// rows of out and their log-sum-exp.
#pragma once

#include <posenc/attention/decode/queries.hpp>
#include <posenc/attention/score/softmax_state.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeOutputs {
 public:
  DecodeOutputs(const DecodeCall<U>& call, const DecodeBuffers<U>& buffers,
                const DecodeQueries<U>& queries, DecodeRelative<U>* relative)
      : call_(call), answers_(*call.asked.answers), shape_(call.shape), leaves_(call.leaves),
        buffers_(buffers), queries_(queries),
        in_values_(relative && relative->in_values ? relative : nullptr) {}

  [[nodiscard]] bool is_finite(const RowSums<U>& sums) const {
    return leaves_.sums->copy_finite(rows() * shape_.output_row(), sums.outputs, sums.outputs);
  }

  /// Another part's sums into these.
  void merge(const RowSums<U>& into, const RowSums<U>& from) const {
    for (Index row = 0; row < rows(); ++row) {
      if (call_.rows.are_wanted()) {
        const auto [most, spread] =
            merge_spreads(into.spread_of(row), into.shift[row], into.sum[row], from.spread_of(row),
                          from.shift[row], from.sum[row]);
        into.most[row] = most, into.spread[row] = spread;
      }
      const auto [mine, theirs] =
          merge_sums(into.shift[row], into.sum[row], from.shift[row], from.sum[row]);
      const Index at = row * shape_.output_row();
      leaves_.sums->combine(shape_.output_row(), mine, into.outputs + at, theirs,
                            from.outputs + at);
    }
  }

  /// Divides, turns values back, adds vectors by distance, and writes.
  void finish(const RowSums<U>& sums, const Rotary& rotary) {
    for_rows([&](Index i, Index h, Index row) {
      U* const output = sums.outputs + row * shape_.output_row();
      const U sum = sums.sum[row];
      if (sum != 0)  // a row that sees no key is zero already
        leaves_.sums->combine(shape_.value_row(), 1 / sum, output, U{0}, output);
      const auto at =
          static_cast<std::size_t>(queries_.row_of(i) * call_.q.heads + queries_.head() + h);
      if (!call_.lse.empty()) call_.lse[at] = log_sum_exp(sums.shift[row], sum);
      if (!call_.rows.entropy.empty())
        call_.rows.entropy[at] = entropy_of(sums.spread_of(row), sum);
      if (!call_.rows.greatest.empty())
        call_.rows.greatest[at] = greatest_weight(sums.spread_of(row), sums.shift[row], sum);
      if (answers_.facts().rotates_values) {
        const TensorView<U> y(output, 1, 1, shape_.value_dim, 0, 0);
        const Index group = shape_.heads / shape_.kv_heads;
        const Rotary& own = rotary.of(queries_.kv_head() + h / group);
        leaves_.rotate(own, own.angles, {.inverse = true}, queries_.place(i), y, y);
      }
      if (in_values_)  // sums of vectors are about to take their place
        std::copy_n(output, shape_.value_dim, kept(row));
      else
        call_.out.store(queries_.row_of(i), queries_.head() + h, output);
    });
    if (!in_values_) return;
    in_values_->sum_vectors(sums);  // which do not turn
    for_rows([&](Index i, Index h, Index row) {
      const U factor = sums.sum[row] == 0 ? U{1} : 1 / sums.sum[row];
      const U* const vectors = sums.outputs + row * shape_.output_row();
      for (Index c = 0; c < shape_.value_dim; ++c) kept(row)[c] += vectors[c] * factor;
      call_.out.store(queries_.row_of(i), queries_.head() + h, kept(row));
    });
  }

 private:
  [[nodiscard]] Index rows() const { return shape_.heads * queries_.count(); }
  /// f(query, head, row of the sums)
  template <class F>
  void for_rows(const F& f) const {
    for (Index i = 0; i < queries_.count(); ++i)
      for (Index h = 0; h < shape_.heads; ++h) f(i, h, h * queries_.count() + i);
  }
  [[nodiscard]] U* kept(Index row) const {
    return buffers_.relative.outputs + row * shape_.value_row();
  }

  const DecodeCall<U>& call_;
  const Answers& answers_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;
  const DecodeQueries<U>& queries_;
  DecodeRelative<U>* in_values_;  ///< relative values, or null
};

}  // namespace detail

POSENC_NAMESPACE_END
