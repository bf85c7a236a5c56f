// SPDX-License-Identifier: MIT
//
// RoPE: rotary position embedding.
//
//   Su et al., RoFormer, arXiv 2104.09864.
//
// Pair i of a query at position n is rotated by the angle n * w_i, of a key at m by m * w_i, with
// w_i = base^(-2i/rotary_dim); their dot product then depends on n - m alone:
//
//   y0 = x0 cos(n w_i) - x1 sin(n w_i)
//   y1 = x0 sin(n w_i) + x1 cos(n w_i)
//
// Partial rotary: only rotary_dim channels rotate, beginning at rotary_offset; the rest pass
// through. The exponent's denominator is rotary_dim, not head_dim (GPT-J: 64 of 256 leading
// channels, GPT-NeoX-20B: 24 of 96; multi-head latent attention rotates a trailing block).
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/layout.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

/// Stands for a layout that was not written; RoPE refuses it.
struct LayoutLeftOut {};

template <class LayoutT = LayoutLeftOut>
struct RoPE {
  static_assert(Layout<LayoutT>,
                "posenc: RoPE needs a layout, and there is no default: write RoPE<HalfSplit> "
                "(GPT-NeoX, Hugging Face's Llama, Qwen, Gemma, Phi) or RoPE<Interleaved> (GPT-J, "
                "Meta's Llama, GLM, Cohere, DeepSeek).");
  using layout = LayoutT;

  Index head_dim = 0;       ///< channels of a query or key head
  double base = 10000;      ///< rope_theta
  Index rotary_dim = 0;     ///< rotated channels, even; 0 means head_dim
  Index rotary_offset = 0;  ///< first rotated channel of the head

  /// Partial rotary by a factor: int(head_dim * factor) leading channels, truncated as Hugging Face
  /// does (`partial_rotary_factor`, GPT-NeoX `rotary_pct`).
  [[nodiscard]] static constexpr RoPE partial(Index head_dim, double factor, double base = 10000) {
    return {.head_dim = head_dim,
            .base = base,
            .rotary_dim = static_cast<Index>(static_cast<double>(head_dim) * factor)};
  }

  static constexpr Index greatest_head_dim = Index{1} << 16;

  [[nodiscard]] constexpr Index rotated_channels() const {
    return rotary_dim == 0 ? head_dim : rotary_dim;
  }

  [[nodiscard]] RotaryState rotary_state() const {
    const bool sensible = rotated_channels() <= head_dim && head_dim <= greatest_head_dim;
    return {.inv_freq = geometric_frequencies(base, sensible ? rotated_channels() : 0),
            .base = base,
            .head_dim = head_dim,
            .rotary_dim = rotated_channels()};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(head_dim > 0 && head_dim <= greatest_head_dim,
                     "RoPE: head_dim must lie within [1, ", greatest_head_dim, "], got ", head_dim,
                     ".");
    problems.require(rotated_channels() % 2 == 0,
                     "RoPE: channels rotate in pairs, so rotary_dim must be even, got ",
                     rotated_channels(), ".");
    problems.require(rotated_channels() >= 0 && rotary_offset >= 0 &&
                         rotary_offset <= head_dim - rotated_channels(),
                     "RoPE: the rotary block [", rotary_offset, ", ", rotary_offset, " + ",
                     rotated_channels(), ") must lie within the ", head_dim,
                     " channels of a head.");
    problems.require(std::isfinite(base) && base > 0,
                     "RoPE: base must be positive and finite, got ", base, ".");
    problems.require(shape.head_dim == 0 || shape.head_dim == head_dim, "RoPE: head_dim is ",
                     head_dim, ", but the encoding is bound to heads of ", shape.head_dim,
                     " channels.");
  }
};

POSENC_NAMESPACE_END
