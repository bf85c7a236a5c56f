// SPDX-License-Identifier: MIT
//
// Checks and the loop over tokens, from the last to the first; see token_shift_backward.hpp.
#pragma once

#include <posenc/mixers/token_shift_backward.hpp>
#include <posenc/mixers/token_shift_definitions.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Some channels of a sequence; the channels of each array begin with the first of them.
class TokenShiftBackward {
 public:
  static constexpr Index most =
      256;  // channels at a time, so that rows of all projections are at hand

  TokenShiftBackward(const Rows<float>& x, const OutRows<float>& d_x,
                     std::span<const mixers::ShiftedGradient> from)
      : x_(x), d_x_(d_x), from_(from), level_(level_index()) {}

  /// `history` is the token before the first, and `d_history` the gradient of the last.
  void run(Index first, Index last, Index channel, Index n, const float* history,
           float* d_history) {
    const auto x = channels_of(x_, channel, n);
    const auto to = channels_of(d_x_, channel, n);
    std::copy_n(d_history, n, carried_.data());
    if (first < last) x.load(last - 1, 0, now_.data());
    for (Index t = last; t-- > first;) {
      if (t > first)
        x.load(t - 1, 0, before_.data());
      else
        std::copy_n(history, n, before_.data());
      sum_.swap(carried_), carried_.fill(0);
      for (const mixers::ShiftedGradient& one : from_) {
        channels_of(one.d_out.rows(level_), channel, n).load(t, 0, comes_.data());
        add(one, channel, n);
      }
      to.store(t, 0, sum_.data());
      now_.swap(before_);
    }
    std::copy_n(carried_.data(), n, d_history);
  }

 private:
  /// What comes of one projection to its token and to the one before.
  void add(const mixers::ShiftedGradient& one, Index channel, Index n) {
    const float* const mix = one.mix.data() + channel;
    std::array<float, most>& to_mixed = one.of_previous ? carried_ : sum_;
    std::array<float, most>& to_other = one.of_previous ? sum_ : carried_;
    for (std::size_t c = 0; c < static_cast<std::size_t>(n); ++c) {
      to_mixed[c] += mix[c] * comes_[c];
      to_other[c] += (1 - mix[c]) * comes_[c];
    }
    if (one.d_mix.empty()) return;
    double* const d_mix = one.d_mix.data() + channel;
    const double sign = one.of_previous ? -1 : 1;
    for (std::size_t c = 0; c < static_cast<std::size_t>(n); ++c)
      d_mix[c] += sign * static_cast<double>(comes_[c]) *
                  (static_cast<double>(now_[c]) - static_cast<double>(before_[c]));
  }

  const Rows<float>& x_;
  const OutRows<float>& d_x_;
  std::span<const mixers::ShiftedGradient> from_;
  std::size_t level_;
  std::array<float, most> now_{}, before_{}, comes_{}, sum_{}, carried_{};
};

}  // namespace detail

namespace mixers {

POSENC_DETAIL_MIXERS void token_shift_backward(const Operand& x,
                                               std::span<const ShiftedGradient> from,
                                               const State& before, State& d_state,
                                               const TensorView<float>& d_x,
                                               const RaggedBatch& batch, const Options& options) {
  const Index tokens = x.tokens(), channels = x.width();
  const Result to = d_x.data || tokens == 0 ? Result(d_x) : Result();
  Problems problems;
  posenc::detail::check_mixer_batch(problems, batch, tokens);
  posenc::detail::check_tensor(problems, "x", x, tokens, 1, channels);
  posenc::detail::check_tensor(problems, "the gradient of x", to, tokens, 1, channels);
  for (const ShiftedGradient& one : from) {
    posenc::detail::check_mix(problems, one.mix, channels);
    posenc::detail::check_tensor(problems, "d_out", one.d_out, tokens, 1, channels);
    problems.require(one.d_mix.empty() || std::ssize(one.d_mix) == channels,
                     "the gradient of mix must have a number for each of the ", channels,
                     " channels, got ", one.d_mix.size(), ".");
    if (problems.empty())
      posenc::detail::check_apart(problems, "the gradient of x", to,
                                  {{"x", &x}, {"d_out", &one.d_out}});
  }
  posenc::detail::check_token_shift_state(problems, "the state", before, channels);
  posenc::detail::check_token_shift_state(problems, "the gradient of the state", d_state, channels);
  posenc::detail::check_state_gradient(problems, before, d_state, batch.sequences(), options.slots);
  problems.raise_if_any("posenc::mixers::token_shift_backward");

  using Worker = posenc::detail::TokenShiftBackward;
  const std::size_t level = posenc::detail::level_index();
  const auto rows = x.rows(level);
  const auto to_rows = to.rows(level);
  Worker worker(rows, to_rows, from);
  for (Index i = 0; i < batch.sequences(); ++i) {
    const Index slot = options.slots.empty() ? i : options.slots[static_cast<std::size_t>(i)];
    for (Index channel = 0; channel < channels; channel += Worker::most)
      worker.run(batch.start(i), batch.start(i + 1), channel,
                 std::min(Worker::most, channels - channel), before.matrix(slot, 0) + channel,
                 d_state.matrix(slot, 0) + channel);
  }
}

POSENC_DETAIL_MIXERS void token_shift_backward(const Operand& x,
                                               std::span<const ShiftedGradient> from,
                                               const State& before, State& d_state,
                                               const TensorView<float>& d_x,
                                               const Options& options) {
  const std::array<Index, 2> starts{0, std::max<Index>(0, x.tokens())};
  token_shift_backward(x, from, before, d_state, d_x, RaggedBatch{.starts = starts}, options);
}

}  // namespace mixers

POSENC_NAMESPACE_END
