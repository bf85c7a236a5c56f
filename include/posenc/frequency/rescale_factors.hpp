// SPDX-License-Identifier: MIT
//
// RescaleFactors: a divisor per pair.
//
//   w'_i = w_i / factors[i]
//
// GGUF files carry such a list as the tensor `rope_freqs.weight`, and ggml takes it as
// `freq_factors`; Llama 3 models are converted to it. LongRoPE chooses between two such lists. Any
// scheme can be written so, with factors[i] = w_i / w'_i: PI is `factor` everywhere, NTK is
// alpha^(2i/(d-2)).
#pragma once

#include <posenc/frequency/frequency_table.hpp>

POSENC_NAMESPACE_BEGIN

struct RescaleFactors {
  std::vector<double> factors{};  ///< one per rotary pair, positive; 1 keeps a pair
  double attention_factor = 1;    ///< amplitude that belongs to these factors

  void transform(RotaryState& state) const {
    state.inv_freq /= Frequencies(factors);
    state.attention_factor *= attention_factor;
  }

  void check(Problems& problems, const RotaryState& state) const {
    detail::check_pair_list(problems, "RescaleFactors: factors", factors, state.pairs(), false);
    problems.require(std::isfinite(attention_factor) && attention_factor > 0,
                     "RescaleFactors: attention_factor must be positive and finite, got ",
                     attention_factor, ".");
  }
};

POSENC_NAMESPACE_END
