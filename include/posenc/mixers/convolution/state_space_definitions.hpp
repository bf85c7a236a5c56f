// SPDX-License-Identifier: MIT
//
// The three forms of a state space; see state_space.hpp.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/convolution/state_space.hpp>
#include <posenc/mixers/convolution/state_space_call.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_CONVOLUTION StateSpaceState::StateSpaceState(const StateSpace& of, Index sequences)
    : sequences_(sequences), channels_(of.channels()), pairs_(of.pairs()) {
  Index numbers = 0, bytes = 0;
  Problems problems;
  problems.require(
      sequences >= 0 && multiply((channels_ + 15) / 16 * pairs_ * 32, sequences, numbers) &&
          multiply(numbers, 16, bytes),
      "the number of sequences must not be negative and states must fit in memory, got ", sequences,
      " sequences of ", channels_, " channels with ", pairs_, " pairs.");
  problems.raise_if_any("posenc::mixers::StateSpaceState");
  numbers_.assign(static_cast<std::size_t>(numbers), 0);
}

POSENC_DETAIL_CONVOLUTION std::size_t StateSpaceState::place(Index sequence, Index channel,
                                                             Index pair) const {
  Problems problems;
  posenc::detail::check_sequence(problems, *this, sequence);
  problems.require(channel >= 0 && channel < channels_ && pair >= 0 && pair < pairs_, "pair ", pair,
                   " of channel ", channel, " is not among the ", pairs_, " pairs of ", channels_,
                   " channels.");
  problems.raise_if_any("posenc::mixers::StateSpaceState");
  const Index group = sequence * ((channels_ + 15) / 16) + channel / 16;
  return static_cast<std::size_t>((group * pairs_ + pair) * 32 + channel % 16);
}

POSENC_DETAIL_CONVOLUTION void step(const Operand& in, const Result& out, const StateSpace& by,
                                    StateSpaceState& state, const AnyExecutor& executor) {
  Problems problems;
  posenc::detail::check_state_space(problems, in, out, by, state);
  posenc::detail::check_apart(problems, in, out, true);
  problems.require(in.tokens() == state.sequences(), "in has ", in.tokens(),
                   " tokens, but the state is of ", state.sequences(),
                   " sequences, and each takes one.");
  problems.raise_if_any("posenc::mixers::step");
  const posenc::detail::StateSpaceCall call(in, out, by);
  const Index groups = posenc::detail::Group::groups(by.channels());
  constexpr Index least = 8;  // groups, of some microseconds
  for_chunks(executor, in.tokens() * groups, least, [&](Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      const Index sequence = i / groups, group = i % groups;
      posenc::detail::advance(call, group, state.group(sequence, group), sequence, sequence + 1,
                              posenc::detail::Outputs::written);
    }
  });
}

POSENC_DETAIL_CONVOLUTION void recurrent(const Operand& in, const Result& out, const StateSpace& by,
                                         StateSpaceState& state, Index sequence,
                                         const AnyExecutor& executor) {
  Problems problems;
  posenc::detail::check_state_space(problems, in, out, by, state);
  posenc::detail::check_apart(problems, in, out, true);
  posenc::detail::check_sequence(problems, state, sequence);
  problems.raise_if_any("posenc::mixers::recurrent");
  const posenc::detail::StateSpaceCall call(in, out, by);
  const Index groups = posenc::detail::Group::groups(by.channels());
  posenc::detail::run_tasks(executor, std::min(groups, executor.concurrency()), groups, [&](Index) {
    return [&](Index group) {
      posenc::detail::advance(call, group, state.group(sequence, group), 0, in.tokens(),
                              posenc::detail::Outputs::written);
    };
  });
}

POSENC_DETAIL_CONVOLUTION void convolved(const Operand& in, const Result& out, const StateSpace& by,
                                         const LongConvolution& kernel, StateSpaceState& state,
                                         Index sequence, const ConvolutionOptions& options) {
  Problems problems;
  posenc::detail::check_state_space(problems, in, out, by, state);
  posenc::detail::check_apart(problems, in, out, false);
  posenc::detail::check_sequence(problems, state, sequence);
  problems.require(kernel.channels() == by.channels() && kernel.taps() >= in.tokens(),
                   "the kernel has ", kernel.taps(), " taps of ", kernel.channels(),
                   " channels, but the call has ", in.tokens(), " tokens of ", by.channels(), ".");
  problems.raise_if_any("posenc::mixers::convolved");
  convolve(in, out, kernel, options);
  // What is left of the state adds to the first outputs, and the last inputs make the next one.
  const posenc::detail::StateSpaceCall call(in, out, by);
  const Index tokens = in.tokens(), reach = std::min(tokens, by.modes().reach);
  const Index groups = posenc::detail::Group::groups(by.channels()),
              workers = std::min(groups, options.executor.concurrency());
  std::vector<std::vector<double>> faded(static_cast<std::size_t>(workers));
  for (auto& x : faded) x.resize(static_cast<std::size_t>(32 * by.pairs()));
  using posenc::detail::advance, posenc::detail::Outputs;
  posenc::detail::run_tasks(options.executor, workers, groups, [&](Index w) {
    return [&, w](Index group) {
      std::vector<double>& old = faded[static_cast<std::size_t>(w)];
      const std::span<double> now = state.group(sequence, group);
      std::copy(now.begin(), now.end(), old.begin());
      if (!std::ranges::all_of(old, [](double x) { return x == 0; }))
        advance(call, group, old, 0, reach, Outputs::added);
      if (reach < tokens) std::copy(old.begin(), old.end(), now.begin());  // faded, or NaN for good
      advance(call, group, now, tokens - reach, tokens, Outputs::dropped);
      posenc::detail::spoil_state(call, group, tokens, now);
    };
  });
}

}  // namespace mixers

POSENC_NAMESPACE_END
