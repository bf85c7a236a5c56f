// SPDX-License-Identifier: MIT
//
// Proportional: rotates a fraction of the pairs, the fastest ones, on the ladder of the whole head.
//
//   Barbero et al., p-RoPE, arXiv 2410.06205. Hugging Face: rope_type "proportional", keys
//   `partial_rotary_factor`, `factor`; Gemma 4, full-attention layers: 0.25 with base 1,000,000.
//
//   w'_i = w_i / factor   for i < floor(fraction * head_dim / 2)
//          0              for the rest: those channels tell content, not position
//
// The exponent's denominator is head_dim and the pairing that of the full head, so this is not
// RoPE's partial(), which stretches the whole ladder over fewer channels. fraction 1 is RoPE,
// fraction 0 no position at all.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct Proportional {
  double fraction = 1;  ///< share of the pairs that rotate ("partial_rotary_factor"), 0 to 1
  double factor = 1;    ///< divides the frequencies, at least 1

  [[nodiscard]] Index rotating_pairs(Index head_dim) const {
    return static_cast<Index>(std::floor(fraction * static_cast<double>(head_dim) / 2));
  }

  void transform(RotaryState& state) const {
    const Index rotating = rotating_pairs(state.rotary_dim);
    state.inv_freq.head(rotating) /= factor;
    state.inv_freq.tail(state.pairs() - rotating).setZero();
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(fraction >= 0 && fraction <= 1,
                     "Proportional: fraction must be between 0 and 1, got ", fraction, ".");
    problems.require(std::isfinite(factor) && factor >= 1,
                     "Proportional: factor must be at least 1, got ", factor, ".");
    problems.require(state.rotary_dim == state.head_dim,
                     "Proportional: it divides the ladder of the whole head, so rotary_dim must be "
                     "head_dim, got ",
                     state.rotary_dim, " of ", state.head_dim, " channels.");
  }
};

POSENC_NAMESPACE_END
