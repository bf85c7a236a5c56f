// SPDX-License-Identifier: MIT
//
// Resonance: wavelengths rounded to whole numbers of tokens.
//
//   Wang et al., Resonance RoPE, arXiv 2403.00071; sheryc/resonance_rope.
//
//   l_i = 2pi / w_i          tokens per turn
//   w'_i = 2pi / round(l_i)  ties to even
//
// A pair with a wavelength of l tokens then has l different angles and no more: a position beyond the
// trained length shows a fast pair what it has met at a position l, 2l, ... before. Written behind
// another scheme, whose frequencies it rounds; `YaRN{...} | Resonance{}` is the paper's Resonance YaRN,
// and behind a scheme that follows the length it rounds anew at each length. Twice is the same as once.
// Pairs that stand still stay so.
//
// The fastest pairs change most: wavelength 2pi becomes 6, which is 4.7 percent faster. Every wavelength
// moves by at most half a token, so over n tokens the angle of a pair of l tokens moves by at most about
// pi n / l^2.
//
// Errata. The repository's scheme "linear" asks the wrong way round whether a wavelength fits and reads a
// member that its base class lacks; its YaRN for small models has beta_fast = 2 where the one for LLaMA
// has 32. Neither is part of Resonance. The paper's rounding of ties is not said; torch rounds to even.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>
#include <numbers>

POSENC_NAMESPACE_BEGIN

struct Resonance {
  /// The whole number of tokens that stands for a pair's wavelength; infinity for a pair that stands still.
  [[nodiscard]] static double wavelength(double frequency) {
    return std::nearbyint(2 * std::numbers::pi / frequency);
  }

  void transform(RotaryState& state) const {
    state.inv_freq = state.inv_freq.unaryExpr(
        [](double w) { return w == 0 ? w : 2 * std::numbers::pi / wavelength(w); });
  }

  void check(Problems& problems, const RotaryState& state) const {
    for (Index i = 0; i < state.pairs(); ++i)
      problems.require(!(state.inv_freq[i] > 0) || wavelength(state.inv_freq[i]) >= 1,
                       "Resonance: a wavelength must round to at least 1 token, but pair ", i,
                       " turns by ", state.inv_freq[i], " radians per token.");
  }
};

POSENC_NAMESPACE_END
