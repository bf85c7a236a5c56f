// SPDX-License-Identifier: MIT
//
// Axial2D: positions (row, column) of an image; half of the pairs turn by each.
//
//   transformers, models/{qwen2_vl,llama4,pixtral,dinov3_vit}/modeling_*.py; RoPE-ViT, arXiv
//   2403.13298, naver-ai/rope-vit, deit/models_v2_rope.py (axial).
//
// With P = rotary_dim/2 pairs and w the frequencies of the rotary base, pair j < P/2 and pair
// P/2 + j turn by one coordinate each:
//
//   frequencies    angle of pair j       angle of pair P/2 + j
//   per_axis       multiplier p0 w_2j    multiplier p1 w_2j        a ladder per axis
//   alternating    multiplier p0 w_2j    multiplier p1 w_(2j+1)    one ladder, dealt out in turns
//
// w_2j = base^(-2j/(rotary_dim/2)) is the ladder over half of the head that models' code builds; under
// Angles::ggml it begins anew for each coordinate, as in ggml's vision mode.
//
//   model             frequencies   base    multiplier   p0, p1        coordinates     layout
//   Qwen2-VL vision   per_axis      10000   1            row, column   0, 1, ...       HalfSplit
//   Llama 4 vision    per_axis      10000   1            column, row   1, 2, ...       Interleaved
//   Pixtral           alternating   10000   1            row, column   0, 1, ...       HalfSplit
//   RoPE-ViT axial    per_axis      100     1            column, row   0, 1, ...       Interleaved
//   DINOv3            per_axis      100     2 pi         row, column   2(i+0.5)/N-1    HalfSplit
//
// Ids are always [2][tokens], rows then columns; `first` says which of them is p0. Tokens that do
// not rotate (class, registers, padding) stand at (0, 0). Real coordinates are for rotate().
// DINOv3's depend on the resolution; Qwen2-VL orders its tokens by merged blocks, which is a matter
// of the ids. RoPE-ViT's mixed form, learned directions per head, is not this.
//
// The ladder is read off the table, so a frequency scheme that counts pairs (NTK, YaRN) belongs
// before this component.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

enum class AxialFrequencies { per_axis, alternating };

/// The coordinates of a token, in the order of its ids.
enum class ImageAxis { row, column };

struct Axial2D {
  AxialFrequencies frequencies = AxialFrequencies::per_axis;
  ImageAxis first = ImageAxis::row;  ///< the coordinate of the first half of the pairs
  double multiplier = 1;             ///< times every frequency (DINOv3: 2 pi)

  void transform(RotaryState& state) const {
    const Index half = state.pairs() / 2;
    const Frequencies ladder = state.inv_freq;
    const bool alternating = frequencies == AxialFrequencies::alternating;
    state.axes = 2;
    state.axis.assign(static_cast<std::size_t>(2 * half), static_cast<int>(first));
    state.ladder.resize(state.axis.size());
    for (Index j = 0; j < 2 * half; ++j) {
      const bool second = j >= half;
      const Index pair = 2 * (j % half) + (second && alternating ? 1 : 0);
      state.inv_freq[j] = multiplier * ladder[pair];
      state.ladder[static_cast<std::size_t>(j)] = pair;
      if (second) state.axis[static_cast<std::size_t>(j)] = 1 - static_cast<int>(first);
    }
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(state.axes == 1, "Axial2D: the pairs have coordinates already, ", state.axes,
                     " of them: keep one of MRoPE and Axial2D.");
    problems.require(
        state.rotary_dim % 4 == 0,
        "Axial2D: half of the rotary pairs turn by each coordinate, so rotary_dim must "
        "be a multiple of 4, got ",
        state.rotary_dim, ".");
    problems.require(std::isfinite(multiplier) && multiplier > 0,
                     "Axial2D: multiplier must be positive and finite, got ", multiplier, ".");
  }
};

POSENC_NAMESPACE_END
