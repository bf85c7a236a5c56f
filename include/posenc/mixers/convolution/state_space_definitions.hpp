// SPDX-License-Identifier: MIT
//
// The three forms of a state space; see state_space.hpp.
#pragma once

#include <posenc/executor/chunks.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/convolution/columns.hpp>
#include <posenc/mixers/convolution/leaves.hpp>
#include <posenc/mixers/convolution/state_space.hpp>

#include <array>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tensors and parameters of a call.
struct StateSpaceCall {
  Rows<float> in;
  OutRows<float> out;
  const mixers::Modes& modes;

  StateSpaceCall(const mixers::Operand& in_, const mixers::Result& out_,
                 const mixers::StateSpace& by)
      : in(in_.rows(level_index())), out(out_.rows(level_index())), modes(by.modes()) {}
};

/// What becomes of the outputs of a recurrence.
enum class Outputs { written, added, dropped };

/// Tokens [first, last) through the state of a group; with Outputs::added the inputs count as 0.
inline void advance(const StateSpaceCall& call, Index number, std::span<double> state, Index first,
                    Index last, Outputs outputs) {
  constexpr Index some = 64;
  const ConvolutionLeaves& leaves = convolution_leaves();
  const mixers::Modes& modes = call.modes;
  const Group group(number, modes.channels);
  std::array<float, group_channels> row{};
  std::array<double, some * group_channels> u, y;
  const double* const numbers = modes.numbers.data() + number * modes.rows() * group_channels;
  for (Index start = first; start < last; start += some) {
    const Index tokens = std::min(some, last - start);
    u.fill(0);
    y.fill(0);
    for (Index t = 0; t < tokens; ++t) {
      double* const out = y.data() + t * group_channels;
      if (outputs == Outputs::added) {
        group.load(call.out, start + t, row.data());
        std::copy(row.begin(), row.end(), out);
        continue;
      }
      group.load(call.in, start + t, row.data());
      std::copy(row.begin(), row.end(), u.begin() + t * group_channels);
      for (Index c = 0; c < group.count; ++c)
        out[c] = modes.skip[static_cast<std::size_t>(group.first + c)] *
                 static_cast<double>(row[static_cast<std::size_t>(c)]);
    }
    (modes.low_rank ? leaves.low_rank : leaves.diagonal)(tokens, modes.pairs, numbers, state.data(),
                                                         u.data(), y.data());
    if (outputs == Outputs::dropped) continue;
    for (Index t = 0; t < tokens; ++t) {
      std::copy_n(y.begin() + t * group_channels, group_channels, row.begin());
      group.store(call.out, start + t, row.data());
    }
  }
}

/// Where the last output is NaN, so is the state, however long ago the channel met what is not finite.
inline void spoil_state(const StateSpaceCall& call, Index number, Index tokens,
                        std::span<double> state) {
  if (tokens == 0) return;
  const Group group(number, call.modes.channels);
  std::array<float, group_channels> row{};
  group.load(call.out, tokens - 1, row.data());
  for (std::size_t c = 0; c < row.size(); ++c)
    if (std::isnan(row[c]))
      for (std::size_t i = c; i < state.size(); i += row.size())
        state[i] = std::numeric_limits<double>::quiet_NaN();
}

inline void check_state_space(Problems& problems, const mixers::Operand& in,
                              const mixers::Result& out, const mixers::StateSpace& by,
                              const mixers::StateSpaceState& state) {
  check_tensor(problems, "in", in, in.tokens(), in.heads(), in.width());
  check_tensor(problems, "out", out, in.tokens(), in.heads(), in.width());
  problems.require(in.heads() * in.width() == by.channels(), "in has ", in.heads(), " heads of ",
                   in.width(), " channels, but ", by.name(), " has ", by.channels(), " channels.");
  problems.require(state.channels() == by.channels() && state.pairs() == by.pairs(),
                   "the state is of ", state.channels(), " channels with ", state.pairs(),
                   " pairs, but ", by.name(), " has ", by.channels(), " channels with ", by.pairs(),
                   ".");
  if (problems.empty())
    out.with_view([&](const auto& result) { check_result(problems, "out", result); });
}

/// Reports an output that shares elements with the input, unless it is the input and that is allowed.
inline void check_apart(Problems& problems, const mixers::Operand& in, const mixers::Result& out,
                        bool may_be_same) {
  if (!problems.empty()) return;
  out.with_view([&](const auto& result) {
    in.with_view([&](const auto& view) {
      problems.require((may_be_same && same_elements(result, view)) || !overlap(result, view),
                       may_be_same ? "out must be in or not overlap it."
                                   : "out must not overlap in.");
    });
  });
}

inline void check_sequence(Problems& problems, const mixers::StateSpaceState& state,
                           Index sequence) {
  problems.require(sequence >= 0 && sequence < state.sequences(), "sequence ", sequence,
                   " is not among the ", state.sequences(), " sequences of the state.");
}

}  // namespace detail

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
