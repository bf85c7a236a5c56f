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
#include <posenc/mixers/convolution/state_space_state.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

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
