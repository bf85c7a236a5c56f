// SPDX-License-Identifier: MIT
//
// The gradient of token shift (token_shift.hpp). From the gradients d_out of the inputs of all projections, with the
// share `now` of a token and the share `last` of the one before it, 1 in all:
//
//   dx_t = sum over projections of now o d_out_t + last o d_out_{t+1}
//   dmix = sum over t of d_out_t o (x_t - x_{t-1})
//
// and where the mix is the share of the token before, the other sign.
#pragma once

#include <posenc/mixers/token_shift.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// One projection, on the way back.
struct ShiftedGradient {
  std::span<const float> mix{};  ///< [channels]
  Operand d_out{};               ///< [tokens, 1, channels], the gradient of the projection's input
  bool of_previous = false;      ///< as in Shifted
  std::span<double> d_mix{};     ///< [channels], added to; empty: not wanted
};

/// The gradients of token_shift(x, to, batch, state) from the state `before`: that of x is written to `d_x`, which may
/// share no memory with what is read. `d_state` comes as the gradient of the state behind the last token and becomes
/// that of the state before the first: of a sequence that comes in pieces the last goes first. Slots of the options are
/// those of both states. Throws Error for shapes that do not fit together, with every problem at once.
void token_shift_backward(const Operand& x, std::span<const ShiftedGradient> from,
                          const State& before, State& d_state, const TensorView<float>& d_x,
                          const RaggedBatch& batch, const Options& options = {});
/// Of one sequence.
void token_shift_backward(const Operand& x, std::span<const ShiftedGradient> from,
                          const State& before, State& d_state, const TensorView<float>& d_x,
                          const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/backward/token_shift_definitions.hpp>
#endif
