// SPDX-License-Identifier: MIT
//
// StateSpace: S4D or S4, discretised, and its three forms. They compute the same up to rounding:
//
//   step        one token of each sequence
//   recurrent   the next tokens of one sequence, O(d_state) a token and channel, 16 channels at a time
//   convolved   the same by LongConvolution(kernel(taps), d_model), O(log taps) a token and channel, and as many tokens
//               through the recurrence as the state behind the last token depends on
//
// Each continues the state, which the caller owns, so a sequence may come in pieces by any mixture of them. State and
// sums are double, whatever the tensors hold; outputs are rounded once, those of `convolved` twice where a state that is
// not empty adds to them. Outputs are the same bits for any number of threads, and for `recurrent` also wherever a
// sequence is cut. What is not finite stays in a state: from that token on the channel is NaN.
#pragma once

#include <posenc/mixers/convolution/long_convolution.hpp>
#include <posenc/mixers/convolution/modes.hpp>

#include <complex>
#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

class StateSpace {
 public:
  /// Throws Error with every sentence when parameters are wrong.
  template <StateSpaceRule M>
  explicit StateSpace(const M& of) : name_(M::name) {
    Problems problems;
    of.check(problems);
    problems.raise_if_any("posenc::mixers::" + std::string(name_));
    modes_ = of.modes();
  }

  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] Index channels() const { return modes_.channels; }
  [[nodiscard]] Index pairs() const { return modes_.pairs; }
  [[nodiscard]] const Modes& modes() const { return modes_; }

 private:
  std::string_view name_;
  Modes modes_;
};

/// x of sequences, for one of each conjugate pair of each channel: copy it, keep it, clear it. S4's is x of the paper;
/// S4D's is x / B_bar, into which inputs go as they are.
class StateSpaceState {
 public:
  /// Of empty sequences. Throws Error when they are negative or do not fit in memory.
  explicit StateSpaceState(const StateSpace& of, Index sequences = 1);

  [[nodiscard]] Index sequences() const { return sequences_; }
  [[nodiscard]] Index channels() const { return channels_; }
  [[nodiscard]] Index pairs() const { return pairs_; }
  [[nodiscard]] std::size_t bytes() const { return numbers_.size() * sizeof(double); }

  [[nodiscard]] std::complex<double> get(Index sequence, Index channel, Index pair) const {
    const auto at = place(sequence, channel, pair);
    return {numbers_[at], numbers_[at + 16]};
  }
  void set(Index sequence, Index channel, Index pair, std::complex<double> x) {
    const auto at = place(sequence, channel, pair);
    numbers_[at] = x.real(), numbers_[at + 16] = x.imag();
  }
  void clear() { numbers_.assign(numbers_.size(), 0); }

  /// For the operators: the rows of 16 channels.
  [[nodiscard]] std::span<double> group(Index sequence, Index number) {
    const auto n = static_cast<std::size_t>(pairs_ * 32);
    return std::span(numbers_).subspan(
        static_cast<std::size_t>(sequence * ((channels_ + 15) / 16) + number) * n, n);
  }

 private:
  /// Throws Error for a place that the state does not have.
  [[nodiscard]] std::size_t place(Index sequence, Index channel, Index pair) const;

  Index sequences_, channels_, pairs_;
  std::vector<double> numbers_;
};

/// One token of each sequence: token i of the tensors, [sequences, heads, width] with heads * width channels, continues
/// sequence i. `out` may be `in`. Allocates nothing.
/// Throws Error for shapes that do not fit together, with every problem at once.
void step(const Operand& in, const Result& out, const StateSpace& by, StateSpaceState& state,
          const AnyExecutor& executor = {});

/// The next tokens of one sequence. `out` may be `in`. Allocates nothing.
/// Throws Error for shapes that do not fit together, with every problem at once.
void recurrent(const Operand& in, const Result& out, const StateSpace& by, StateSpaceState& state,
               Index sequence = 0, const AnyExecutor& executor = {});

/// The next tokens of one sequence, by the convolution with the kernel of the same parameters, of at least as many taps
/// as the call has tokens. `out` must not overlap `in`. Allocates a state for each thread, besides what convolve() does.
/// Throws Error for shapes that do not fit together, with every problem at once.
void convolved(const Operand& in, const Result& out, const StateSpace& by,
               const LongConvolution& kernel, StateSpaceState& state, Index sequence = 0,
               const ConvolutionOptions& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/state_space_definitions.hpp>
#endif
