// SPDX-License-Identifier: MIT
//
// Token shift: what every projection of an RWKV block reads is a mixture of its token and the one before.
//
//   Peng et al., arXiv 2305.13048; BlinkDL/RWKV-LM, RWKV-v4/src/model.py to RWKV-v7.
//
//   x'_t = mix o x_t + (1 - mix) o x_{t-1}          by channel, with a mix of its own for each projection; x_{-1} = 0
//
// x is the input of the sub-block behind its norm. The state is the last token's row, one for each sub-block: four
// projections of the time mixing share one (six in RWKV-7), two of the channel mixing another. Versions 4 and 5 store mix
// (time_mix_k, ...), versions 6 and 7 what the token before takes, 1 - mix (time_maa_k, x_k, ...): Shifted::of_previous.
#pragma once

#include <posenc/mixers/operators.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// The input of one projection.
struct Shifted {
  std::span<const float> mix{};  ///< [channels]
  Result out{};                  ///< [tokens, 1, channels]
  bool of_previous = false;      ///< mix is the share of the token before
};

/// The last token of so many empty sequences: zeros, in float.
[[nodiscard]] inline State token_shift_state(Index channels, Index sequences = 1) {
  return State(Shape{1, 1, 1, channels}, sequences);
}

/// The inputs of some projections from x [tokens, 1, channels], which may share no memory with them: the next tokens of
/// one sequence, or of several, one after another along the token axis. Of the options slots are used.
/// Throws Error for shapes that do not fit together, with every problem at once.
void token_shift(const Operand& x, std::span<const Shifted> to, State& state,
                 const Options& options = {});
void token_shift(const Operand& x, std::span<const Shifted> to, const RaggedBatch& batch,
                 State& state, const Options& options = {});

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/token_shift_definitions.hpp>
#endif
