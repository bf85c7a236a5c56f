// SPDX-License-Identifier: MIT
//
// LongRoPE: searched rescale factors, one list for short and one for long inputs.
//
//   Ding et al., arXiv 2402.13753; LongRoPE2, arXiv 2502.20082 (the same artefact, another search);
//   microsoft/LongRoPE, Phi-3, Phi-3.5, Phi-4-mini. Hugging Face: rope_type "longrope" (once "su"),
//   keys `short_factor`, `long_factor`, `factor`, `attention_factor`,
//   `original_max_position_embeddings`.
//
//   w'_i = w_i / Lambda_i       Lambda = long_factor where T > L, else short_factor
//   A = sqrt(1 + ln(factor) / ln(L)), the attention factor, of both lists
//
// Since A does not go away for short inputs, a short_factor of ones is not plain RoPE (Phi-4-mini:
// scores times 1.417). Phi-3.5-MoE and others give an amplitude per list, short_mscale and
// long_mscale.
//
// When to choose the list is not settled among programs, and it matters: a sequence that crosses L
// while it is generated has keys of both kinds. So the choice is part of the type:
//
//   LongRoPE        by the current length T: Hugging Face, Phi's own code; needs raw cached keys
//   LongRoPELong    always the long list: mlx-lm, or vLLM and llama.cpp with a long context
//   LongRoPEShort   always the short list: vLLM and llama.cpp with a context up to L
//
// The paper also leaves the first few tokens unscaled; no published model does, and that would be a
// matter of positions, not of frequencies.
#pragma once

#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/yarn.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

enum class LongRoPESelection { by_length, always_long, always_short };

/// A(factor): sqrt(1 + ln(factor) / ln(L)) of LongRoPE, or 0.1 ln(factor) + 1 of YaRN.
enum class LongRoPEAmplitude { long_rope, yarn };

template <LongRoPESelection selection>
struct BasicLongRoPE {
  static constexpr bool depends_on_length = selection == LongRoPESelection::by_length;

  std::vector<double> short_factor{};  ///< one per rotary pair; may be empty where never chosen
  std::vector<double> long_factor{};   ///< one per rotary pair; may be empty where never chosen
  double factor = 1;                   ///< extended over original context; decides A alone
  Position original_context = 0;       ///< L ("original_max_position_embeddings")
  LongRoPEAmplitude amplitude = LongRoPEAmplitude::long_rope;
  std::optional<double> attention_factor = std::nullopt;  ///< overrides A
  std::optional<double> short_mscale = std::nullopt;      ///< overrides both, for the short list
  std::optional<double> long_mscale = std::nullopt;       ///< overrides both, for the long list

  /// Does the long list apply at this length? A length that is not known yet (0) is short.
  [[nodiscard]] constexpr bool is_long(Position length) const {
    if constexpr (selection == LongRoPESelection::by_length) return length > original_context;
    return selection == LongRoPESelection::always_long;
  }

  [[nodiscard]] double resolve_attention_factor(Position length) const {
    const std::optional<double>& given = is_long(length) ? long_mscale : short_mscale;
    if (given) return *given;
    if (attention_factor) return *attention_factor;
    if (amplitude == LongRoPEAmplitude::yarn) return yarn_mscale(factor);
    return factor <= 1
               ? 1.0
               : std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original_context)));
  }

  void transform(RotaryState& state) const {
    state.inv_freq /= Frequencies(is_long(state.length) ? long_factor : short_factor);
    state.attention_factor *= resolve_attention_factor(state.length);
  }

  void check(Problems& problems, const RotaryState& state) const {
    if (selection != LongRoPESelection::always_long)
      detail::check_pair_list(problems, "LongRoPE: short_factor", short_factor, state.pairs(),
                              false);
    if (selection != LongRoPESelection::always_short)
      detail::check_pair_list(problems, "LongRoPE: long_factor", long_factor, state.pairs(), false);
    problems.require(std::isfinite(factor) && factor >= 1,
                     "LongRoPE: factor must be at least 1, got ", factor, ".");
    problems.require(original_context > 1,
                     "LongRoPE: original_context, the trained length, must be at least 2, got ",
                     original_context, ".");
    const auto check_amplitude = [&](const char* name, const std::optional<double>& given) {
      problems.require(!given || (std::isfinite(*given) && *given > 0), "LongRoPE: ", name,
                       " must be positive and finite, got ", given.value_or(1), ".");
    };
    check_amplitude("attention_factor", attention_factor);
    check_amplitude("short_mscale", short_mscale);
    check_amplitude("long_mscale", long_mscale);
  }
};

using LongRoPE = BasicLongRoPE<LongRoPESelection::by_length>;
using LongRoPELong = BasicLongRoPE<LongRoPESelection::always_long>;
using LongRoPEShort = BasicLongRoPE<LongRoPESelection::always_short>;

POSENC_NAMESPACE_END
