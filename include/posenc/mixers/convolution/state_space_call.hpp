// SPDX-License-Identifier: MIT
//
// A checked call of a state space, and tokens through the states of 16 channels; see state_space.hpp.
#pragma once

#include <posenc/mixers/checks.hpp>
#include <posenc/mixers/convolution/columns.hpp>
#include <posenc/mixers/convolution/leaves.hpp>
#include <posenc/mixers/convolution/state_space_state.hpp>

#include <array>
#include <cmath>
#include <limits>

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

POSENC_NAMESPACE_END
