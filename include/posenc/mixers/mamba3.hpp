// SPDX-License-Identifier: MIT
//
// Mamba-3 (SISO): a trapezoidal rule, and keys and queries that turn by angles which tokens add up.
//
//   arXiv 2603.15569; state-spaces/mamba, modules/mamba3.py, ops/triton/mamba3/mamba3_siso_step.py.
//
//   S_t = alpha_t S_{t-1} + beta_t k_{t-1} x_{t-1}^T + gamma_t k_t x_t^T        alpha = exp(decay), lambda = sigmoid(trap)
//   y_t = (q_t^T S_t + D x_t) silu(z_t)                                         beta = alpha Delta (1 - lambda), gamma = lambda Delta
//   k_t = R(theta_t) (B_t + B_bias), q_t = R(theta_t) (C_t + C_bias)            theta_t = theta_{t-1} + pi tanh(angles_t) Delta_t
//
// for each head. R turns neighbouring channels (Interleaved) of the first rope_fraction of d_state. The two writes of a
// token become one of the frame in recurrence.hpp when a state catches up late: with R_t = S_{t-1} + Delta_t (1 - lambda_t)
// k_{t-1} x_{t-1}^T
//
//   R_t = alpha_{t-1} R_{t-1} + (gamma_{t-1} + Delta_t (1 - lambda_t)) k_{t-1} x_{t-1}^T
//   y_t = alpha_t q_t^T R_t + gamma_t (q_t . k_t) x_t + D x_t
//
// so a token writes the key of the one before it, and nothing that comes later has an effect. The kernels are those of all
// mixers, chunks included. What a sequence remembers is R, and of its last token k, x, alpha, gamma and theta.
//
// Around it stand a projection to [z, x, B, C, dt, A, trap, angles], Delta = softplus(dt + dt_bias), decay = -max(f(A),
// 1e-4) Delta (f is softplus in mamba-ssm 2.3, and later 1 / (1 - A) below 0 and 1 + A above), an RMS norm of B and of C
// with eps 1e-5, this operator and a projection. There is no convolution. The variant of several inputs (MIMO) is not here.
#pragma once

#include <posenc/mixers/mamba3_state.hpp>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Bytes of workspace for step() and chunked(), of any length, with this executor.
[[nodiscard]] std::size_t workspace_bytes(const TrapezoidalScan& of,
                                          const AnyExecutor& executor = {});

/// One token of each sequence: token i of the tensors continues sequence i.
/// Throws Error for shapes that do not fit together, with every problem at once.
void step(const Mamba3Inputs& in, const Result& out, const TrapezoidalScan& of, Mamba3State& state,
          const Options& options = {});

/// The next tokens of several sequences, one after another along the token axis, and of one.
/// Throws Error for shapes that do not fit together, with every problem at once.
void chunked(const Mamba3Inputs& in, const Result& out, const RaggedBatch& batch,
             const TrapezoidalScan& of, Mamba3State& state, const Options& options = {});
void chunked(const Mamba3Inputs& in, const Result& out, const TrapezoidalScan& of,
             Mamba3State& state, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/mamba3_definitions.hpp>
#endif
