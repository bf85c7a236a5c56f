// SPDX-License-Identifier: MIT
//
// See short_convolution.hpp.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/selective_scan_definitions.hpp>
#include <posenc/mixers/short_convolution.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tokens [first, first + tokens) of one sequence, for channels [channel, channel + count): `history` holds the inputs
/// before them, and then those before what comes next.
class ConvolutionWorker {
 public:
  ConvolutionWorker(const Rows<float>& x, const OutRows<float>& out,
                    const mixers::ShortConvolution& of)
      : x_(x), out_(out), of_(of), leaves_(mixers::leaves()) {}

  static constexpr Index most_channels = 64;

  void run(Index first, Index tokens, Index channel, Index count, float* history) {
    const Index row = round_up(count, 16), before = of_.width() - 1;
    const Rows<float> x = channels_of(x_, channel, count);
    const OutRows<float> out = channels_of(out_, channel, count);
    for (Index i = 0; i < before; ++i)
      std::copy_n(history + i * of_.row() + channel, row, inputs_ + i * row);
    for (Index done = 0; done < tokens; done += most_tokens) {
      const Index n = std::min(most_tokens, tokens - done);
      load_rows(leaves_, x, first + done, n, 0, inputs_ + before * row, row);
      leaves_.scan.convolve(n, row, of_.width(), of_.weight() + channel, of_.row(),
                            of_.bias() + channel, inputs_, outputs_);
      if (of_.silu()) leaves_.scan.activate(n * row, outputs_);
      for (Index t = 0; t < n; ++t) out.store(first + done + t, 0, outputs_ + t * row);
      std::copy_n(inputs_ + n * row, before * row, inputs_);  // forwards, so they may overlap
    }
    for (Index i = 0; i < before; ++i)
      std::copy_n(inputs_ + i * row, row, history + i * of_.row() + channel);
  }

 private:
  static constexpr Index most_tokens = 32,
                         most_rows = most_tokens + mixers::ShortConvolution::most_width;

  const Rows<float>& x_;
  const OutRows<float>& out_;
  const mixers::ShortConvolution& of_;
  const mixers::Leaves& leaves_;
  alignas(64) float inputs_[most_rows * most_channels];
  alignas(64) float outputs_[most_tokens * most_channels];
};

/// A state of this convolution, by the name that sentences call it.
POSENC_DETAIL_COLD inline void check_convolution_state(Problems& problems, const char* name,
                                                       const mixers::State& state,
                                                       const mixers::ShortConvolution& of) {
  const mixers::Shape& its = state.shape();
  problems.require(its == of.shape(), name, " is of ", its.heads, " heads of [", its.key_dim, ", ",
                   its.value_dim, "], but this convolution has one of [", of.width() - 1, ", ",
                   of.channels(), "]: make it by ShortConvolution::state().");
}

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS ShortConvolution::ShortConvolution(const ShortConv& of)
    : channels_(of.channels), width_(of.width), silu_(of.silu) {
  Problems problems;
  problems.require(channels_ >= 1 && channels_ < Index{1} << 40,
                   "channels must be at least 1 and fit in memory, got ", channels_, ".");
  problems.require(width_ >= 2 && width_ <= most_width, "width must be within 2 to ", most_width,
                   ", got ", width_, ".");
  problems.raise_if_any("posenc::mixers::ShortConvolution");
  problems.require(std::ssize(of.weight) == channels_ * width_, "weight must have ", width_,
                   " numbers for each of the ", channels_, " channels, got ", of.weight.size(),
                   ".");
  problems.require(of.bias.empty() || std::ssize(of.bias) == channels_,
                   "bias must have a number for each of the ", channels_, " channels, got ",
                   of.bias.size(), ".");
  for (const std::vector<float>* values : {&of.weight, &of.bias})
    if (!std::ranges::all_of(*values, [](float x) { return std::isfinite(x); }))
      problems.add("weight and bias must be finite.");
  problems.raise_if_any("posenc::mixers::ShortConvolution");
  weight_.assign(static_cast<std::size_t>(width_ * row()), 0);
  for (Index i = 0; i < channels_ * width_; ++i)
    weight_[static_cast<std::size_t>(i % width_ * row() + i / width_)] =
        of.weight[static_cast<std::size_t>(i)];
  bias_ = of.bias;
  bias_.resize(static_cast<std::size_t>(row()), 0);
}

POSENC_DETAIL_MIXERS void convolve(const Operand& x, const Result& out, const RaggedBatch& batch,
                                   const ShortConvolution& of, State& state,
                                   const Options& options) {
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, x.tokens());
  posenc::detail::check_tensor(problems, "x", x, x.tokens(), 1, of.channels());
  posenc::detail::check_tensor(problems, "out", out, x.tokens(), 1, of.channels());
  if (problems.empty()) posenc::detail::check_in_place(problems, "out", out, "x", x);
  posenc::detail::check_convolution_state(problems, "the state", state, of);
  posenc::detail::check_slots(problems, state, batch.sequences(), options.slots);
  problems.raise_if_any("posenc::mixers::convolve");

  using Worker = posenc::detail::ConvolutionWorker;
  const std::size_t level = posenc::detail::level_index();
  const auto from = x.rows(level);
  const auto to = out.rows(level);
  const Index groups = (of.channels() + Worker::most_channels - 1) / Worker::most_channels;
  const auto slot = [&](Index i) {
    return options.slots.empty() ? i : options.slots[static_cast<std::size_t>(i)];
  };
  constexpr Index worth_a_thread = Index{1} << 15;  // numbers
  const Index of_group = x.tokens() / std::max<Index>(batch.sequences(), 1) * Worker::most_channels;
  for_chunks(options.executor, batch.sequences() * groups,
             worth_a_thread / std::max<Index>(of_group, 1) + 1, [&](Index first, Index last) {
               Worker worker(from, to, of);
               for (Index i = first; i < last; ++i) {
                 const Index sequence = i / groups, channel = i % groups * Worker::most_channels;
                 worker.run(batch.start(sequence), batch.tokens_of(sequence), channel,
                            std::min(Worker::most_channels, of.channels() - channel),
                            state.matrix(slot(sequence), 0));
               }
             });
  for (Index i = 0; i < batch.sequences(); ++i)
    state.set_tokens(slot(i), state.tokens(slot(i)) + batch.tokens_of(i));
}

POSENC_DETAIL_MIXERS void convolve(const Operand& x, const Result& out, const ShortConvolution& of,
                                   State& state, const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, x.tokens())};
  convolve(x, out, RaggedBatch{.starts = starts}, of, state, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
