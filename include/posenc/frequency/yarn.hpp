// SPDX-License-Identifier: MIT
//
// YaRN: NTK-by-parts frequencies and a temperature.
//
//   Peng et al., arXiv 2309.00071. Hugging Face: rope_type "yarn", keys `factor`,
//   `original_max_position_embeddings`, `beta_fast`, `beta_slow`, `attention_factor`, `mscale`,
//   `mscale_all_dim`, `truncate`.
//
//   frequencies        NTKByParts, see there for the two ramps
//   attention factor   A = 0.1 ln(factor) + 1, times cos and sin of both query and key
//
// So scores of the rotary channels grow by A^2 = 1/t of the paper. With partial rotary, and in
// multi-head latent attention, that is not a uniform temperature.
// With m(mu) = 0.1 mu ln(factor) + 1:
//
//   rule          attention factor                                  softmax scale times
//   huggingface   `attention_factor` if given; else                 1
//                 m(mscale) / m(mscale_all_dim) if both are given
//                 and not zero; else m(1)
//   deepseek      `attention_factor` if given; else                 m(mscale_all_dim)^2
//                 m(mscale) / m(mscale_all_dim), by default m(1) / 1
//
// `deepseek` is what DeepSeek's own modeling code, mlx-lm and vLLM do. Hugging Face ignores an
// mscale without mscale_all_dim, and leaves the softmax scale to each model. With mscale ==
// mscale_all_dim the two rules give attention factor 1; `deepseek` then has the temperature on all
// channels.
//
// Errata. A exceeds 1 for every factor > 1 (not "> e"); it scales queries and keys, not embeddings.
#pragma once

#include <posenc/frequency/ntk_by_parts.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

enum class YaRNTemperature { huggingface, deepseek };

/// m(mscale) = 0.1 mscale ln(factor) + 1, and 1 where nothing is extended.
[[nodiscard]] inline double yarn_mscale(double factor, double mscale = 1) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1;
}

struct YaRN {
  double factor = 1;              ///< target length over trained length, at least 1
  Position original_context = 0;  ///< trained length ("original_max_position_embeddings")
  double beta_fast = 32;          ///< turns within the original context from which a pair is kept
  double beta_slow = 1;           ///< turns up to which a pair is interpolated
  Ramp ramp = Ramp::index;        ///< the checkpoints' ramp; Ramp::rotations is the paper's
  bool truncate = true;           ///< Ramp::index: widen the band to whole pairs (gpt-oss: false)
  std::optional<double> attention_factor = std::nullopt;  ///< given outright
  std::optional<double> mscale = std::nullopt;
  std::optional<double> mscale_all_dim = std::nullopt;
  YaRNTemperature temperature_rule = YaRNTemperature::huggingface;

  /// The two factors, and the rule that decided the first, in words.
  struct Resolved {
    double attention_factor;
    double score_factor;
    std::string_view rule;
  };

  [[nodiscard]] Resolved resolve_temperature() const {
    const bool deepseek = temperature_rule == YaRNTemperature::deepseek;
    const double all_dim = mscale_all_dim.value_or(0);
    const double all = yarn_mscale(factor, all_dim);
    const double score = deepseek && all_dim != 0 ? all * all : 1.0;
    if (attention_factor) return {*attention_factor, score, "attention_factor as given"};
    if (deepseek)
      return {
          yarn_mscale(factor, mscale.value_or(1)) / all, score,
          "DeepSeek: m(mscale) / m(mscale_all_dim), mscale_all_dim squared on the softmax scale"};
    if (mscale.value_or(0) != 0 && all_dim != 0)
      return {yarn_mscale(factor, *mscale) / all, score, "m(mscale) / m(mscale_all_dim)"};
    return {yarn_mscale(factor), score,
            mscale || mscale_all_dim
                ? "0.1 ln(factor) + 1; mscale and mscale_all_dim count only together"
                : "0.1 ln(factor) + 1"};
  }

  [[nodiscard]] NTKByParts by_parts() const {
    return {factor, original_context, beta_fast, beta_slow, ramp, truncate};
  }

  void transform(RotaryState& state) const {
    by_parts().transform(state);
    const Resolved resolved = resolve_temperature();
    state.attention_factor *= resolved.attention_factor;
    state.score_factor *= resolved.score_factor;
  }

  void check(Problems& problems, const RotaryState& state) const {
    by_parts().check(problems, state, "YaRN");
    const double given = attention_factor.value_or(1);
    problems.require(std::isfinite(given) && given > 0,
                     "YaRN: attention_factor must be positive and finite, got ", given, ".");
    const auto check_mscale = [&](const char* name, double value) {
      problems.require(std::isfinite(value) && value >= 0, "YaRN: ", name,
                       " must be finite and not negative, got ", value, ".");
    };
    check_mscale("mscale", mscale.value_or(0));
    check_mscale("mscale_all_dim", mscale_all_dim.value_or(0));
  }
};

POSENC_NAMESPACE_END
