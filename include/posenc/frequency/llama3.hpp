// SPDX-License-Identifier: MIT
//
// Llama3: the frequency scaling of Llama 3.1 and later.
//
//   meta-llama/llama-models, apply_scaling. Hugging Face: rope_type "llama3", keys `factor`,
//   `low_freq_factor`, `high_freq_factor`, `original_max_position_embeddings`.
//
// By the wavelength l_i = 2pi / w_i, with L = original_context:
//
//   l_i < L / high_freq_factor    w'_i = w_i
//   l_i > L / low_freq_factor     w'_i = w_i / factor
//   between                       w'_i = (1 - g) w_i / factor + g w_i, where g goes from 0 to 1 as
//                                 L / l_i goes from low_freq_factor to high_freq_factor
//
// L / l_i is the number of turns within L, so this is NTKByParts with the ramp of the YaRN paper
// (Ramp::rotations), beta_slow = low_freq_factor, beta_fast = high_freq_factor and no temperature.
// Equal bounds (Llama 4 Scout: 1 and 1) leave no room for a ramp: a step, pairs on it are kept.
// Meta's Llama 3 code has the factor 8 built in, where the published 1B and 3B models say 32: the
// configuration file is right. GGUF stores the result as rescale factors, see RescaleFactors.
#pragma once

#include <posenc/frequency/ntk_by_parts.hpp>

POSENC_NAMESPACE_BEGIN

struct Llama3 {
  double factor = 8;                  ///< division of slow pairs, at least 1
  double low_freq_factor = 1;         ///< turns within L up to which a pair is slow
  double high_freq_factor = 4;        ///< turns from which a pair is kept
  Position original_context = 8'192;  ///< trained length ("original_max_position_embeddings")

  void transform(RotaryState& state) const {
    NTKByParts{.factor = factor,
               .original_context = original_context,
               .beta_fast = high_freq_factor,
               .beta_slow = low_freq_factor,
               .ramp = Ramp::rotations}
        .transform(state);
  }

  void check(Problems& problems, const RotaryState&) const {
    problems.require(std::isfinite(factor) && factor >= 1,
                     "Llama3: factor must be at least 1, got ", factor, ".");
    problems.require(original_context > 0,
                     "Llama3: original_context, the trained length, must be positive, got ",
                     original_context, ".");
    problems.require(std::isfinite(high_freq_factor) && low_freq_factor > 0 &&
                         low_freq_factor <= high_freq_factor,
                     "Llama3: low_freq_factor must be positive and at most high_freq_factor, got ",
                     low_freq_factor, " and ", high_freq_factor, ".");
  }
};

POSENC_NAMESPACE_END
