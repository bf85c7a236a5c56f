// SPDX-License-Identifier: MIT
//
// RWKV-4, the recurrence of its time mixing: an average of values whose weights decay, by channel.
//
//   Peng et al., RWKV: Reinventing RNNs for the Transformer Era, arXiv 2305.13048;
//   BlinkDL/RWKV-LM, RWKV-v4/cuda/wkv_cuda.cu; Hugging Face transformers, models/rwkv/modeling_rwkv.py.
//
//   wkv_t = (sum over i < t of e^((t-1-i) w + k_i) v_i + e^(u + k_t) v_t) / (the same without v),  w = -exp(time_decay)
//   out_t = sigmoid(r_t) wkv_t
//
// with u = time_first. It has no heads: every channel is a recurrence of three numbers, numerator, denominator and the
// exponent that both are relative to, which follows the greatest weight so that nothing overflows:
//
//   y = (e^(o-m) p + e^(u+k-m) v) / (e^(o-m) q + e^(u+k-m)),  m = max(o, u + k)
//   p = e^(w+o-m) p + e^(k-m) v,  q = e^(w+o-m) q + e^(k-m),  o = m,  m = max(w + o, k)
//
// One of the two weights is 1 each time, so a token takes two exponentials. The exponent takes a sum for each token, and
// is kept as two floats: in one, roundings of many small decays add up, to 3e-4 of an output after 60,000 tokens. A key of
// minus infinity weighs nothing, and a token that has nothing to read gives 0. NaN stays in its channel until the state
// is cleared, and so does a key of plus infinity, which makes NaN of it.
#pragma once

#include <posenc/mixers/operators.hpp>

#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct RWKV4 {
  static constexpr std::string_view name = "RWKV4";

  Index channels = 0;
  std::vector<float> time_decay{};  ///< [channels]; e^w = exp(-exp(time_decay))
  std::vector<float> time_first{};  ///< u, the same

  /// The numbers by which layer `layer` of `layers` begins.
  [[nodiscard]] static RWKV4 initial(Index channels, Index layer, Index layers);
  void check(Problems& problems) const;
};

/// An RWKV4 whose parameters have been checked. Make it once and use it for many calls, from any number of threads.
class WKV {
 public:
  /// Throws Error with every sentence when parameters are wrong.
  explicit WKV(const RWKV4& mixer);

  [[nodiscard]] Index channels() const { return channels_; }
  /// Empty sequences: rows p, q, o and what o lacks, State::matrices(sequence)(row, 0, channel). Zeros are an empty
  /// sequence, whose exponent counts as minus infinity.
  [[nodiscard]] State state(Index sequences = 1) const { return State(shape(), sequences); }
  [[nodiscard]] Shape shape() const { return {1, 1, 4, channels_}; }
  [[nodiscard]] const float* decay() const { return decay_.data(); }  ///< w, padded to 16 numbers
  [[nodiscard]] const float* bonus() const { return bonus_.data(); }  ///< u, padded

 private:
  Index channels_;
  std::vector<float> decay_, bonus_;
};

/// Bytes of workspace for step() and prefill() of any length, with this executor.
[[nodiscard]] std::size_t workspace_bytes(const WKV& wkv, const AnyExecutor& executor = {});

/// One token of each sequence. k and v are [tokens, 1, channels], and so is q, which is r; without q outputs are wkv.
/// Throws Error for shapes that do not fit together, with every problem at once.
void step(const Inputs& in, const Result& out, const WKV& wkv, State& state,
          const Options& options = {});

/// The next tokens of one sequence, or of several, one after another along the token axis: steps, with the same bits,
/// whose threads share out sequences and channels. Throws Error as above.
void prefill(const Inputs& in, const Result& out, const WKV& wkv, State& state,
             const Options& options = {});
void prefill(const Inputs& in, const Result& out, const RaggedBatch& batch, const WKV& wkv,
             State& state, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/rwkv4_definitions.hpp>
#endif
