// SPDX-License-Identifier: MIT
//
// Layouts: which two channels of the rotary block form pair i.
//
// The layout is part of the checkpoint, invisible in its weights' shapes, and wrong in silence: a
// model read with the other one produces fluent nonsense. So it is part of the type, and there is
// no default.
#pragma once

#include <posenc/core/types.hpp>

#include <concepts>

POSENC_NAMESPACE_BEGIN

/// Pair i is (i, i + rotary_dim/2). Known as the NeoX style, rotate_half; used by GPT-NeoX and by
/// Hugging Face's Llama, Qwen, Gemma, Phi, gpt-oss.
struct HalfSplit {
  static constexpr Index first(Index pair, Index /*pairs*/) { return pair; }
  static constexpr Index second(Index pair, Index pairs) { return pair + pairs; }
};

/// Pair i is (2i, 2i + 1). Known as the GPT-J style, rotate_every_two, "normal" in ggml; used by
/// RoFormer, GPT-J, Meta's Llama, GLM, Cohere, DeepSeek.
struct Interleaved {
  static constexpr Index first(Index pair, Index /*pairs*/) { return 2 * pair; }
  static constexpr Index second(Index pair, Index /*pairs*/) { return 2 * pair + 1; }
};

template <class L>
concept Layout = requires(Index i) {
  { L::first(i, i) } -> std::same_as<Index>;
  { L::second(i, i) } -> std::same_as<Index>;
};

/// A layout as data, for code that is compiled once for all of them.
struct LayoutRule {
  Index (*first)(Index pair, Index pairs);
  Index (*second)(Index pair, Index pairs);
};
template <Layout L>
inline constexpr LayoutRule layout_rule{[](Index i, Index n) { return L::first(i, n); },
                                        [](Index i, Index n) { return L::second(i, n); }};

/// Stands for the layout of an encoding that is composed while the program runs.
struct AnyLayout {};

/// Channel of the interleaved rotary block that holds what the half-split block holds at `channel`:
/// half_split[c] = interleaved[interleaved_channel(c, rotary_dim)]. Permuting queries and keys
/// alike leaves every score unchanged.
[[nodiscard]] constexpr Index interleaved_channel(Index channel, Index rotary_dim) {
  const Index pairs = rotary_dim / 2;
  return channel < pairs ? Interleaved::first(channel, pairs)
                         : Interleaved::second(channel - pairs, pairs);
}

/// The inverse: interleaved[c] = half_split[half_split_channel(c, rotary_dim)].
[[nodiscard]] constexpr Index half_split_channel(Index channel, Index rotary_dim) {
  const Index pairs = rotary_dim / 2;
  return channel % 2 == 0 ? HalfSplit::first(channel / 2, pairs)
                          : HalfSplit::second(channel / 2, pairs);
}

POSENC_NAMESPACE_END
