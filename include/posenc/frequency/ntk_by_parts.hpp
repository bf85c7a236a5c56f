// SPDX-License-Identifier: MIT
//
// NTKByParts: interpolate slow pairs, keep fast ones, blend in between.
//
//   Peng et al., YaRN, arXiv 2309.00071, section 3.2, and the code that trained the checkpoints
//   (jquesnelle/yarn, Hugging Face, vLLM, ggml, DeepSeek, gpt-oss).
//
//   w'_i = (1 - g_i) w_i / factor + g_i w_i       g_i = 1: kept, g_i = 0: position interpolation
//
// A pair turns r_i = L w_i / 2pi times within the trained length L. Pairs that turn more than
// beta_fast times have seen every angle and are kept; those that turn less than beta_slow times
// have not, and are interpolated. Two ramps join them, and they are far apart (up to 4x in
// frequency):
//
//   Ramp::rotations   linear in r_i, as the paper has it. Llama3 is this ramp with other bounds.
//   Ramp::index       linear in i, as every published checkpoint was trained, and the default:
//                     from low = c(beta_fast) to high = c(beta_slow), where pair
//                     c(r) = d ln(L / 2pi r) / 2 ln base turns r times; widened to whole pairs
//                     (`truncate`) and clamped to low >= 0 and high <= d - 1.
//
// The second is computed as the code has it, oddities included: the clamp is d - 1 though pairs end
// at d/2 - 1 (clamping there would be wrong), an empty band is 0.001 wide, and a band that the
// clamps turn around, where every pair turns more than beta_fast times, interpolates all of them.
// c() follows the base in force, so ABF or NTK may stand before this transform.
//
// Errata. The paper leaves g undefined at r_i = beta_fast: it is 1.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

POSENC_NAMESPACE_BEGIN

enum class Ramp { index, rotations };

/// 0 at `low`, 1 at `high`, a line in between and constant outside; a step when they are equal.
[[nodiscard]] inline Frequencies linear_ramp(const Frequencies& x, double low, double high) {
  return x.unaryExpr([=](double at) {
    if (low == high) return at >= high ? 1.0 : 0.0;
    return std::clamp((at - low) / (high - low), 0.0, 1.0);
  });
}

struct NTKByParts {
  double factor = 1;              ///< target length over trained length, at least 1
  Position original_context = 0;  ///< L, trained length ("original_max_position_embeddings")
  double beta_fast = 32;          ///< turns within L from which a pair is kept
  double beta_slow = 1;           ///< turns within L up to which a pair is interpolated
  Ramp ramp = Ramp::index;
  bool truncate = true;  ///< Ramp::index: widen the band to whole pairs (gpt-oss: false)

  /// The pair, as a real number, that turns `rotations` times within the original context.
  [[nodiscard]] double pair_at(double rotations, const RotaryState& state) const {
    const double wavelength = static_cast<double>(original_context) / rotations;
    return static_cast<double>(state.rotary_dim) * std::log(wavelength / (2 * std::numbers::pi)) /
           (2 * std::log(state.base));
  }

  /// g_i: how much of each pair is kept.
  [[nodiscard]] Frequencies kept(const RotaryState& state) const {
    if (ramp == Ramp::rotations) {
      const double turns = static_cast<double>(original_context) / (2 * std::numbers::pi);
      return linear_ramp(state.inv_freq * turns, beta_slow, beta_fast);
    }
    double low = pair_at(beta_fast, state);
    double high = pair_at(beta_slow, state);
    if (truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(state.rotary_dim - 1));
    if (low == high) high += 0.001;
    return 1 - linear_ramp(pair_indices(state.pairs()), low, high);
  }

  void transform(RotaryState& state) const {
    const Frequencies g = kept(state);
    state.inv_freq = state.inv_freq.binaryExpr(g, [this](double w, double share) {
      return std::lerp(w / factor, w, share);  // exact at both ends, and when they are equal
    });
  }

  /// `name` is the scheme that the user wrote, for the sentences.
  void check(Problems& problems, const RotaryState& state,
             std::string_view name = "NTKByParts") const {
    problems.require(std::isfinite(factor) && factor >= 1, name,
                     ": factor must be at least 1, got ", factor, ".");
    problems.require(original_context > 0, name,
                     ": original_context, the trained length, must be positive, got ",
                     original_context, ".");
    problems.require(std::isfinite(beta_fast) && beta_slow > 0 && beta_fast >= beta_slow, name,
                     ": beta_slow must be positive and at most beta_fast, got beta_fast ",
                     beta_fast, " and beta_slow ", beta_slow, ".");
    problems.require(ramp != Ramp::index || state.base > 1, name,
                     ": the index ramp needs a base greater than 1, but the base in force is ",
                     state.base, ".");
  }
};

POSENC_NAMESPACE_END
