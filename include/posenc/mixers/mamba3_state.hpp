// SPDX-License-Identifier: MIT
//
// The parameters, inputs and states of Mamba-3; its formulas and operators are in mamba3.hpp.
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
  /// Bytes of all sequences: R, and what is kept of their last tokens.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = matrices_.bytes();
    for (const Last& last : last_)
      all += last.theta.bytes() + sizeof(float) * (last.k.size() + last.x.size() +
                                                   last.gamma.size() + last.log_alpha.size());
    return all;
  }
  void clear(Index sequence);
  /// Makes a sequence that of another state of the same shape, or of this one.
  void copy(const Mamba3State& from, Index from_sequence, Index to_sequence);

  /// A sequence as the reference keeps it: S[n, head, channel], and of the last token k [0, head, n], x [0, head,
  /// channel] and theta [0, head, pair] in radians.
  struct Parts {
    TensorView<float> S, k, x;  // NOLINT(readability-identifier-naming): the paper's name
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

}  // namespace mixers

POSENC_NAMESPACE_END
