// SPDX-License-Identifier: MIT
//
// The gradient of the selective scan (mamba.hpp). From d_out, with dy = d_out silu(z) and the adjoint dh of the state, which
// runs from the last token to the first:
//
//   dh_t += dy_t C_t                    dC_t = sum over c of dy_t h_t               dA += Delta_t g_t,  g_t = dh_t exp(Delta_t A) h_{t-1}
//   du_t = D dy_t + Delta_t sum over n of dh_t B_t       dB_t = sum over c of dh_t Delta_t u_t
//   dDelta_t = sum over n of g_t A + u_t dh_t B_t        dh_{t-1} = exp(Delta_t A) dh_t
//
// States are computed again from those at the beginnings of chunks of 16 tokens, which are kept: memory is O(tokens). What
// all channels share, dB and dC, is summed within groups of channels, whose number follows from the shape, and then over
// the groups: results are the same bits for any number of threads.
#pragma once

#include <posenc/mixers/scan_gradients.hpp>
#include <posenc/mixers/selective_scan.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Bytes of workspace for backward() of so many tokens in all, of which the longest sequence has `longest`.
[[nodiscard]] std::size_t backward_workspace_bytes(const SelectiveScan& of, Index tokens,
                                                   Index longest, Index sequences = 1,
                                                   const AnyExecutor& executor = {});

/// The gradients of scan(in, out, batch, of, state) from the state `before`; `d_state` comes as the gradient of the state
/// behind the last token and becomes that of the state before the first. Throws Error, with every problem at once.
void backward(const ScanInputs& in, const Operand& d_out, const State& before, State& d_state,
              const ScanGradients& to, const RaggedBatch& batch, const SelectiveScan& of,
              const Options& options = {});
/// Of one sequence.
void backward(const ScanInputs& in, const Operand& d_out, const State& before, State& d_state,
              const ScanGradients& to, const SelectiveScan& of, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/backward/scan_definitions.hpp>
#endif
