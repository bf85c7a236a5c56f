// SPDX-License-Identifier: MIT
//
// StepTemperature: queries sharpen by whole contexts.
//
//   q_n *= 1 + scale ln(1 + floor((n + shift) / context))
//
// Llama 4 (`attn_temperature_tuning`, on layers without rotation): scale 0.1 (`attn_scale`), context
// 8192 (`floor_scale`), shift 1. Ministral 3 (`llama_4_scaling_beta`, on all layers): its original
// context and shift 0. The step comes one token earlier in the first.
//
// Parameters: scale.
#pragma once

#include <posenc/core/concepts.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct StepTemperature {
  double scale = 0.1;
  Position context = 8192;  ///< tokens of a step
  Position shift = 1;       ///< added to the position, 0 or 1

  /// Positions before the first step have temperature 1.
  [[nodiscard]] double temperature(Position query) const { return 1 + scale * growth(query); }

  [[nodiscard]] static constexpr Index num_parameters() { return 1; }
  void temperature_gradient(Position query, double sum, std::span<double> gradient) const {
    gradient[0] += sum * growth(query);
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(std::isfinite(scale) && scale >= 0,
                     "StepTemperature: scale must be finite and not negative, got ", scale, ".");
    problems.require(context > 0, "StepTemperature: context must be positive, got ", context, ".");
    problems.require(shift == 0 || shift == 1, "StepTemperature: shift must be 0 or 1, got ", shift,
                     ".");
  }

 private:
  [[nodiscard]] double growth(Position query) const {
    const Position steps = query + shift < 0 ? 0 : (query + shift) / context;
    return std::log1p(static_cast<double>(steps));
  }
};

POSENC_NAMESPACE_END
