// SPDX-License-Identifier: MIT
//
// The gradients of mixers: LinearAttention, RetNet, GLA, Mamba2, RWKV5, RWKV6, the delta rules, RWKV7 and your own.
//
//   mixers::chunked(in, out, mixer, state);                                    // from a copy of `before`
//   mixers::backward(in, d_out, before, d_state, {dq, dk, dv, d_decay, &learned}, mixer);
//
// From d_out = dL/d out and dS_T = dL/d S_T, behind the last token, with the adjoint dS_t of the state, which runs from
// the last token to the first (q with its scale, d_out with the normaliser's factor; a bonus moves q to S_{t-1}):
//
//   dS_{t-1} = diag(a_t) (dS_t + q_t d_out_t^T)          dq_t = S_t d_out_t             dk_t = (dS_t + q_t d_out_t^T) v_t
//                                                        dlog a_t = rowsum(diag(a_t) S_{t-1} o (dS_t + q_t d_out_t^T))
//
// computed in chunks of 64 tokens, by products of matrices: the states at the beginnings of chunks are computed first
// and kept, so memory is O(tokens). Gradients of log decays are sums over the pairs of tokens that a decay stands
// between (the idea: Yang et al., GLA, arXiv 2312.06635, appendix C; within a chunk here, so that no error runs on from
// chunk to chunk). Where a decay is below e^-18, what passes it is less than what rounding takes of what does not, and
// its gradient is 0.
//
// Delta rules go back token by token instead (backward/delta_worker.hpp has their formulas), with states that are
// computed again from those at the beginnings of chunks of 16 tokens.
//
// Everything is computed in float, and every sum has one order: results are the same bits for any number of threads.
// Threads share the sequences and the heads of keys, so heads that share one key run one after another.
#pragma once

#include <posenc/mixers/gradients.hpp>
#include <posenc/mixers/operators.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Bytes of workspace for backward() of so many sequences, of which the longest has `longest` tokens.
[[nodiscard]] std::size_t backward_workspace_bytes(const Mixer& mixer, Index longest,
                                                   Index sequences = 1,
                                                   const AnyExecutor& executor = {});

/// The gradients of chunked(in, out, batch, mixer, state) from the state `before`. `d_state` comes as the gradient of
/// the state behind the last token, zeros where the loss does not depend on it, and becomes that of the state before
/// the first: of a sequence that comes in pieces the last goes first. Slots of the options are those of both states.
/// Elements of inputs and of d_out may have 16 bits. Throws Error, with every problem at once, for shapes that do not
/// fit together, and for a rule that does not know its gradient.
void backward(const Inputs& in, const Operand& d_out, const State& before, State& d_state,
              const Gradients& to, const RaggedBatch& batch, const Mixer& mixer,
              const Options& options = {});
/// Of one sequence.
void backward(const Inputs& in, const Operand& d_out, const State& before, State& d_state,
              const Gradients& to, const Mixer& mixer, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/backward/definitions.hpp>
#endif
