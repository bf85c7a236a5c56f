// SPDX-License-Identifier: MIT
//
// ShortConvolution: the causal convolution of each channel by itself that stands in front of a mixer.
//
//   y_t[c] = f(bias[c] + sum over i < width of weight[c, i] x_{t - width + 1 + i}[c])      f is SiLU, or nothing
//
// Mamba convolves u, Mamba-2 [x, B, C], Gated DeltaNet and KDA q, k and v, each with width 4 and SiLU
// (state-spaces/mamba, modules/mamba_simple.py; Dao-AILab/causal-conv1d, causal_conv1d_ref). The weights are those of
// Conv1d with groups = channels: the last is the token's own. What it remembers of a sequence is the last width - 1
// inputs, in a State of its own; before the first token inputs are 0.
#pragma once

#include <posenc/mixers/operators.hpp>

#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The parameters of a short convolution.
struct ShortConv {
  Index channels = 0;
  Index width = 4;              ///< 2 to 16
  std::vector<float> weight{};  ///< [channels][width]
  std::vector<float> bias{};    ///< [channels]; empty: 0
  bool silu = true;
};

/// A short convolution whose parameters have been checked.
class ShortConvolution {
 public:
  static constexpr Index most_width = 16;

  /// Throws Error with every sentence when parameters are wrong.
  explicit ShortConvolution(const ShortConv& of);

  [[nodiscard]] Index channels() const { return channels_; }
  [[nodiscard]] Index width() const { return width_; }
  [[nodiscard]] bool silu() const { return silu_; }
  /// Empty sequences; state.matrices(sequence)(i, 0, c) is the input of channel c, width - 1 - i tokens ago.
  [[nodiscard]] State state(Index sequences = 1) const { return State(shape(), sequences); }
  [[nodiscard]] Shape shape() const { return {1, 1, width_ - 1, channels_}; }

  /// [width][channels, padded], and [channels, padded]; for the operator.
  [[nodiscard]] const float* weight() const { return weight_.data(); }
  [[nodiscard]] const float* bias() const { return bias_.data(); }
  [[nodiscard]] Index row() const { return posenc::detail::round_up(channels_, 16); }

 private:
  Index channels_, width_;
  bool silu_;
  std::vector<float> weight_, bias_;
};

/// The next tokens of several sequences, x and out [tokens, 1, channels]; out may be x. The same bits in whatever pieces
/// a sequence comes, and for any number of threads. Of the options `executor` and `slots` count: it needs no workspace.
/// Throws Error for shapes that do not fit together, with every problem at once.
void convolve(const Operand& x, const Result& out, const RaggedBatch& batch,
              const ShortConvolution& of, State& state, const Options& options = {});
/// The next tokens of one sequence.
void convolve(const Operand& x, const Result& out, const ShortConvolution& of, State& state,
              const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/short_convolution_definitions.hpp>
#endif
