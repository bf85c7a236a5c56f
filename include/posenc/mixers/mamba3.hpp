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

#include <posenc/mixers/operators.hpp>
#include <posenc/rotate/angle_sums.hpp>

#include <cmath>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
struct Mamba3 {
  static constexpr std::string_view name = "Mamba3";

  Index nheads = 0;
  Index headdim = 64;
  Index d_state = 128;
  Index ngroups = 1;  ///< heads of B and C, each shared by nheads / ngroups neighbouring heads
  double rope_fraction = 0.5;             ///< of the channels of d_state that turn, 0 to 1
  std::vector<float> B_bias{}, C_bias{};  ///< [nheads][d_state]; empty: 0
  std::vector<float> D{};                 ///< [nheads]; empty: no skip

  /// As a layer of this width begins: biases and D of 1.
  [[nodiscard]] static Mamba3 initial(Index d_model, Index expand = 2, Index headdim = 64,
                                      Index d_state = 128);
  /// Pairs of channels that turn: numbers in `angles`.
  [[nodiscard]] Index pairs() const {
    return static_cast<Index>(static_cast<double>(d_state) * rope_fraction) / 2;
  }
  void check(Problems& problems) const;
};

/// What it reads: tensors of the same tokens, of float, bfloat16 or float16.
struct Mamba3Inputs {
  Operand x;       ///< [tokens, nheads, headdim]
  Operand B;       ///< [tokens, ngroups, d_state], behind its norm
  Operand C;       ///< the same
  Operand dt;      ///< [tokens, nheads, 1]: Delta, behind softplus
  Operand decay;   ///< [tokens, nheads, 1]: Delta A, at most 0
  Operand trap;    ///< [tokens, nheads, 1], before sigmoid
  Operand angles;  ///< [tokens, 1 or nheads, pairs], before tanh
  Operand z{};     ///< [tokens, nheads, headdim]; or not given
};
// NOLINTEND(readability-identifier-naming)

/// A Mamba3 whose parameters have been checked.
class TrapezoidalScan {
 public:
  /// Throws Error with every sentence when parameters are wrong.
  explicit TrapezoidalScan(const Mamba3& of);

  [[nodiscard]] const Mamba3& parameters() const { return of_; }
  /// The frame in which R is kept.
  [[nodiscard]] const Mixer& mixer() const { return mixer_; }

 private:
  Mamba3 of_;
  Mixer mixer_;
};

/// What is remembered of sequences.
class Mamba3State {
 public:
  /// Empty sequences. Throws Error when they do not fit in memory.
  explicit Mamba3State(const TrapezoidalScan& of, Index sequences = 1);

  [[nodiscard]] Index sequences() const { return matrices_.sequences(); }
  [[nodiscard]] Position tokens(Index sequence = 0) const { return matrices_.tokens(sequence); }
  void clear(Index sequence);
  /// Makes a sequence that of another state of the same shape, or of this one.
  void copy(const Mamba3State& from, Index from_sequence, Index to_sequence);

  /// A sequence as the reference keeps it: S[n, head, channel], and of the last token k [0, head, n], x [0, head,
  /// channel] and theta [0, head, pair] in radians.
  struct Parts {
    TensorView<float> S, k, x;
    TensorView<double> theta;
  };
  void write(Index sequence, const Parts& to) const;
  /// The same the other way: continues a sequence of another program.
  void read(Index sequence, const Parts& from);

  /// What a sequence remembers of its last token; for the operators.
  struct Last {
    std::vector<float> k, x;              ///< [nheads][d_state], [nheads][headdim]
    std::vector<float> gamma, log_alpha;  ///< [nheads]
    AngleSums theta;
  };
  [[nodiscard]] State& matrices() { return matrices_; }
  [[nodiscard]] const State& matrices() const { return matrices_; }
  [[nodiscard]] Last& last(Index sequence) { return last_[static_cast<std::size_t>(sequence)]; }

 private:
  void check_parts(const char* who, Index sequence, const Parts& parts) const;

  State matrices_;
  std::vector<Last> last_;
};

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
