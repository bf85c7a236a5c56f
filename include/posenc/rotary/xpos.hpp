// SPDX-License-Identifier: MIT
//
// XPos: rotation whose scores decay with distance.
//
//   Sun et al., A Length-Extrapolatable Transformer, arXiv 2212.10554;
//   microsoft/torchscale, torchscale/component/xpos_relative_position.py (interleaved layout).
//
//   zeta_i  = (2i/d + gamma) / (1 + gamma),  gamma = 0.4, so zeta_0 = 0.2857 and zeta_(d/2-1) ~ 1
//   query   at n: R_n q, pair i times zeta_i^((n - c)/B)       B = scale_base
//   key     at m: R_m k, pair i times zeta_i^(-(m - c)/B)
//   score   pair i times zeta_i^((n - m)/B): falls with distance, the fast pairs most
//
// The centre c falls out of every score; it only says where magnitudes are one, so keys of one
// cache must have been rotated with one c. torchscale moves it to half of the current length and
// rescales its cached keys at every step; here it is fixed.
//
// Reach. Magnitudes grow like 3.5^(distance from c / B): a float overflows 36,260 tokens from the
// centre with B = 512. Positions more than reach() from the centre are refused. Within it, choose c
// in the middle of the tokens; a larger B reaches further and decays less.
//
// Without a causal mask a later key's weight grows with distance: XPos is for causal attention.
// Angles are those of RoPE, of the whole position; values are not scaled. RetNet's rotation of the
// same name has no zeta (its decay is a bias per head).
//
// XPos chains with any frequency scheme, which changes angles and not magnitudes. Of positions with
// several coordinates it counts the first.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/positions.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct XPos {
  double scale_base = 512;  ///< B, tokens; Giraffe trained with 8192 falling to 128
  Position centre = 0;      ///< c, where queries and keys keep their magnitude
  double gamma = 0.4;       ///< lifts zeta of the fastest pair above 0

  /// ln zeta_0: the fastest decay, over scale_base tokens.
  [[nodiscard]] double fastest() const { return std::log(gamma / (1 + gamma)); }

  /// Tokens from the centre within which magnitudes stay below e^80, and so within float with room
  /// for the numbers that they multiply.
  [[nodiscard]] double reach() const { return std::floor(80 / std::abs(fastest() / scale_base)); }

  void transform(RotaryState& state) const {
    const Frequencies share =
        pair_indices(state.pairs()) * 2 / static_cast<double>(state.rotary_dim);
    state.growth = ((share + gamma) / (1 + gamma)).log() / scale_base;
    state.centre = centre;
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(std::isfinite(scale_base) && scale_base > 0,
                     "XPos: scale_base must be positive and finite, got ", scale_base, ".");
    problems.require(std::isfinite(gamma) && gamma > 0,
                     "XPos: gamma must be positive and finite, got ", gamma, ".");
    problems.require(centre >= -greatest_position && centre <= greatest_position,
                     "XPos: centre must lie within +-2^52, got ", centre, ".");
    problems.require(state.growth.size() == 0,
                     "XPos: this encoding has magnitudes already: keep one XPos.");
  }
};

POSENC_NAMESPACE_END
