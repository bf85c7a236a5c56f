// SPDX-License-Identifier: MIT
//
// backward() of a short convolution; see short_convolution_backward.hpp.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>
#include <posenc/mixers/short_convolution_definitions.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// One thread: some channels of one sequence after another. Blocks of tokens go from the last to the first, and what
/// they leave of g to the blocks before them are its first rows.
class ConvolutionBackwardWorker {
 public:
  ConvolutionBackwardWorker(const Rows<float>& x, const Rows<float>& d_out,
                            const OutRows<float>& d_x, const mixers::ShortConvolution& of,
                            mixers::ShortConvGradients* learned)
      : x_(x), d_out_(d_out), d_x_(d_x), of_(of), learned_(learned), leaves_(mixers::leaves()) {}

  static constexpr Index most_channels = ConvolutionWorker::most_channels;

  /// `history` holds the inputs before the first token, and `d_history` the gradient of the last inputs.
  void run(Index first, Index tokens, Index channel, Index count, const float* history,
           float* d_history) {
    first_ = first, tokens_ = tokens, channel_ = channel, count_ = count;
    row_ = round_up(count, 16);
    leaves_.fill(before() * row_, 0, g_);
    for (Index i = 0; i < before(); ++i)
      std::copy_n(d_history + i * of_.row() + channel, row_, d_last_ + i * row_);
    for (Index done = tokens; done > 0;) {
      const Index n = (done - 1) % most_tokens + 1;
      done -= n;
      block(done, n, history);
    }
    // The inputs before the first token, of which nothing comes out by itself.
    const Index n = before();
    std::copy_backward(g_, g_ + n * row_, g_ + 2 * n * row_);
    leaves_.fill(n * row_, 0, g_);
    through_weights(-n, n);
    for (Index i = 0; i < n; ++i)
      std::copy_n(d_inputs_ + i * row_, row_, d_history + i * of_.row() + channel);
  }

 private:
  static constexpr Index most_tokens = 32,
                         most_rows = most_tokens + mixers::ShortConvolution::most_width;

  [[nodiscard]] Index before() const { return of_.width() - 1; }

  void block(Index first, Index n, const float* history) {
    load_inputs(first, n, history);
    std::copy_backward(g_, g_ + before() * row_, g_ + (n + before()) * row_);
    load_rows(leaves_, channels_of(d_out_, channel_, count_), first_ + first, n, 0, g_, row_);
    if (of_.silu()) through_silu(n);
    if (learned_) add_learned(n);
    through_weights(first, n);
    const OutRows<float> to = channels_of(d_x_, channel_, count_);
    for (Index t = 0; t < n; ++t) to.store(first_ + first + t, 0, d_inputs_ + t * row_);
  }
  /// Those of the tokens, and before them the width - 1 that they read too.
  void load_inputs(Index first, Index n, const float* history) {
    const Index lacks = std::max<Index>(0, before() - first);  // are in the state
    for (Index i = 0; i < lacks; ++i)
      std::copy_n(history + (first + i) * of_.row() + channel_, row_, inputs_ + i * row_);
    load_rows(leaves_, channels_of(x_, channel_, count_), first_ + first - before() + lacks,
              n + before() - lacks, 0, inputs_ + lacks * row_, row_);
  }
  /// g = d_out (s + silu(z) - silu(z) s)
  void through_silu(Index n) {
    const Index all = n * row_;
    leaves_.scan.convolve(n, row_, of_.width(), of_.weight() + channel_, of_.row(),
                          of_.bias() + channel_, inputs_, sums_);
    leaves_.sigmoid(all, 1, sums_, slopes_);
    leaves_.scan.activate(all, sums_);
    leaves_.multiply(all, sums_, slopes_, d_inputs_);
    leaves_.gradient.add(all, sums_, slopes_);
    leaves_.add_scaled(all, -1, d_inputs_, slopes_);
    leaves_.multiply(all, g_, slopes_, g_);
  }
  /// Sums of a block in float, of blocks in double.
  void add_learned(Index n) {
    float* const sum = d_inputs_;
    const auto add = [&](std::vector<double>& to, Index place, Index apart) {
      for (Index c = 0; c < count_; ++c)
        to[static_cast<std::size_t>((channel_ + c) * apart + place)] += static_cast<double>(sum[c]);
    };
    leaves_.fill(row_, 0, sum);
    for (Index t = 0; t < n; ++t) leaves_.gradient.add(row_, g_ + t * row_, sum);
    add(learned_->bias, 0, 1);
    for (Index i = 0; i < of_.width(); ++i) {
      leaves_.fill(row_, 0, sum);
      for (Index t = 0; t < n; ++t)
        leaves_.gradient.add_products(row_, g_ + t * row_, inputs_ + (t + i) * row_, sum);
      add(learned_->weight, i, of_.width());
    }
  }
  /// The gradients of inputs [first, first + n): a convolution of g with the weights from the last to the first, and
  /// what comes to the last inputs by the state behind them.
  void through_weights(Index first, Index n) {
    leaves_.fill(row_, 0, sums_);
    leaves_.scan.convolve(n, row_, of_.width(), of_.weight() + before() * of_.row() + channel_,
                          -of_.row(), sums_, g_, d_inputs_);
    const Index last = tokens_ - before();  // the first input that the state holds
    const Index begin = std::max(first, last), end = first + n;
    if (begin < end)
      leaves_.gradient.add((end - begin) * row_, d_last_ + (begin - last) * row_,
                           d_inputs_ + (begin - first) * row_);
  }

  const Rows<float>&x_, &d_out_;
  const OutRows<float>& d_x_;
  const mixers::ShortConvolution& of_;
  mixers::ShortConvGradients* learned_;
  const mixers::Leaves& leaves_;
  Index first_ = 0, tokens_ = 0, channel_ = 0, count_ = 0, row_ = 0;
  alignas(64) float inputs_[most_rows * most_channels];
  alignas(64) float g_[most_rows * most_channels];
  alignas(64) float d_inputs_[most_tokens * most_channels];
  alignas(64) float sums_[most_tokens * most_channels], slopes_[most_tokens * most_channels];
  alignas(64) float d_last_[mixers::ShortConvolution::most_width * most_channels];
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS void backward(const Operand& x, const Operand& d_out, const State& before,
                                   State& d_state, const ConvolveGradients& to,
                                   const RaggedBatch& batch, const ShortConvolution& of,
                                   const Options& options) {
  Problems problems;
  const Index tokens = x.tokens(), sequences = batch.sequences();
  const Result d_x = to.x.data || tokens == 0 ? Result(to.x) : Result();
  posenc::detail::check_mixer_batch(problems, batch, tokens);
  posenc::detail::check_tensor(problems, "x", x, tokens, 1, of.channels());
  posenc::detail::check_tensor(problems, "d_out", d_out, tokens, 1, of.channels());
  posenc::detail::check_tensor(problems, "the gradient of x", d_x, tokens, 1, of.channels());
  if (problems.empty()) {
    posenc::detail::check_apart(problems, "the gradient of x", d_x, {{"x", &x}});
    posenc::detail::check_in_place(problems, "the gradient of x", d_x, "d_out", d_out);
  }
  posenc::detail::check_convolution_state(problems, "the state", before, of);
  posenc::detail::check_convolution_state(problems, "the gradient of the state", d_state, of);
  posenc::detail::check_state_gradient(problems, before, d_state, sequences, options.slots);
  problems.require(!to.learned || (std::ssize(to.learned->weight) == of.channels() * of.width() &&
                                   std::ssize(to.learned->bias) == of.channels()),
                   "the gradients of what is learned are not those of this convolution.");
  problems.raise_if_any("posenc::mixers::backward");

  using Worker = posenc::detail::ConvolutionBackwardWorker;
  const std::size_t level = posenc::detail::level_index();
  const auto from = x.rows(level), comes = d_out.rows(level);
  const auto into = d_x.rows(level);
  const Index groups = (of.channels() + Worker::most_channels - 1) / Worker::most_channels;
  constexpr Index worth_a_thread = Index{1} << 14;  // numbers
  for_chunks(options.executor, groups,
             worth_a_thread / std::max<Index>(tokens * Worker::most_channels, 1) + 1,
             [&](Index first, Index last) {
               Worker worker(from, comes, into, of, to.learned);
               for (Index group = first; group < last; ++group)
                 for (Index i = 0; i < sequences; ++i) {
                   const Index channel = group * Worker::most_channels;
                   const Index slot =
                       options.slots.empty() ? i : options.slots[static_cast<std::size_t>(i)];
                   worker.run(batch.start(i), batch.tokens_of(i), channel,
                              std::min(Worker::most_channels, of.channels() - channel),
                              before.matrix(slot, 0), d_state.matrix(slot, 0));
                 }
             });
}

POSENC_DETAIL_MIXERS void backward(const Operand& x, const Operand& d_out, const State& before,
                                   State& d_state, const ConvolveGradients& to,
                                   const ShortConvolution& of, const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, x.tokens())};
  backward(x, d_out, before, d_state, to, RaggedBatch{.starts = starts}, of, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
