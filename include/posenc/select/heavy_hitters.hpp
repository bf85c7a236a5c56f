// SPDX-License-Identifier: MIT
//
// HeavyHitters: the tokens that have received the most attention, and the recent ones.
//
//   kept: the last `recent` tokens, and of the others the `heavy` with the greatest sum over all queries n so far of w(n, m)
//
// Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models" (arXiv 2306.14048),
// algorithm 1; github.com/FMInference/H2O, h2o_hf/utils_real_drop/modify_llama.py (hh_size, recent_size). With
// keep_tokens or evict_tokens (select/kept_tokens.hpp) and an AttentionMass that is added to at every step, prompt included.
//
// Errata. The reference keeps tokens for each head by itself and works only where every query head has keys of its own;
// the heads of a group have their sums added here, so that their keys are read once. A sequence drops what it
// has not kept for good; with keep_tokens the cache still holds it, and a token that is chosen again later is there.
#pragma once

#include <posenc/select/key_selector.hpp>

POSENC_NAMESPACE_BEGIN

struct HeavyHitters {
  static constexpr std::string_view name = "HeavyHitters";

  Index heavy = 0;
  Index recent = 0;  ///< the query's own token among them
  ChoicePer per = ChoicePer::key_head;

  void check(Problems& problems) const {
    problems.require(heavy >= 0 && recent >= 1,
                     "HeavyHitters: heavy must not be negative, and recent counts the query's own "
                     "token and is at least 1, "
                     "got heavy = ",
                     heavy, " and recent = ", recent, ".");
  }
  [[nodiscard]] Index recent_tokens() const { return recent; }
  [[nodiscard]] Index chosen_tokens() const { return heavy; }
  /// Scores of the tokens before the recent ones are their sums.
  void pool(std::span<float>) const {}
};

POSENC_NAMESPACE_END
