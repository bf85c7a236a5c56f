// SPDX-License-Identifier: MIT
//
// Which schemes could read the model at hand, and what the others would need.
//
// A candidate is an expression, as examples/evaluate takes it, so what is chosen here can be measured there. The
// gallery has more: encodings that a model must be trained with, some of whose weights are made up.
#pragma once

#include "../support/scheme_look.hpp"
#include "setting.hpp"

#include <posenc/config/expression.hpp>
#include <posenc/gallery.hpp>

#include <sstream>

namespace compare {

struct Candidate {
  std::string name, source;
  posenc::Family family;
  std::string expression;
  std::string rule;  ///< where its parameters come from
};

inline posenc::ExpressionContext expression_context(const Setting& at) {
  posenc::ExpressionContext context{
      .head_dim = at.layer.head_dim, .trained = at.trained, .length = at.target};
  if (at.rotates()) {
    const posenc::config::Rotation& rotary = *at.layer.rotary;
    context.head_dim = rotary.head_dim, context.rotary_dim = rotary.rotary_dim;
    context.base = rotary.base;
    context.interleaved = rotary.layout == posenc::config::LayoutName::interleaved;
  }
  return context;
}

/// For a model that rotates and a length beyond its training: those that need no other weights.
inline std::vector<Candidate> candidates(const Setting& at) {
  using enum posenc::Family;
  if (at.fits()) return {};
  if (!at.rotates() && !at.layer.alibi)
    return {{"LogN", "kexue.fm/archives/8823", score, "LogN{clipped=1}", "base_length: trained"}};
  if (!at.rotates()) return {};
  const Position half = at.trained / 2;
  std::ostringstream leaky;
  leaky.precision(17);
  leaky << "RoPE|LeakyReRoPE";
  if (half > 0 && half < at.trained - 1)
    leaky << "{factor=" << posenc::LeakyReRoPE::to_length(half, at.trained, at.target).factor
          << "}";
  const char* factor = "factor: asked over trained length";
  return {
      {"PI", "2306.15595", frequency, "RoPE|PI", factor},
      {"NTK", "bloc97, 2023", frequency, "RoPE|NTK", "alpha: asked over trained length"},
      {"NTKByParts", "2309.00071", frequency, "RoPE|NTKByParts",
       "factor: asked over trained length; turns of the paper"},
      {"YaRN", "2309.00071", frequency, "RoPE|YaRN",
       "factor: asked over trained length; turns of the paper"},
      {"ABF", "2309.16039", frequency, "RoPE|ABF", "beta of the paper, which trains on with it"},
      {"ReRoPE", "kexue.fm/archives/9708", distance, "RoPE|ReRoPE",
       "window: half the trained length"},
      {"ReRoPE, LogN", "kexue.fm/archives/9708", distance, "RoPE|ReRoPE|LogN{clipped=1}",
       "window: half the trained length; base_length: trained"},
      {"LeakyReRoPE", "kexue.fm/archives/9708", distance, leaky.str(),
       "window: half the trained length; factor: so that the last distance is the last of "
       "training"},
      {"SelfExtend", "2401.01325", distance, "RoPE|SelfExtend",
       "window: a quarter of the trained length; group: the least power of two that shows no new "
       "distance"},
      {"DualChunk", "2402.17463", distance, "RoPE|DualChunk",
       "chunk: 3/4 of the trained length, cap: all but one, as in the paper"},
      {"StreamingLLM", "2309.17453", distance, "RoPE|StreamingLLM",
       "sinks of the paper; recent: the rest of the trained length"},
      {"LMInfinite", "2308.16137", distance, "RoPE|LMInfinite",
       "window: trained length; sinks of the reference code"},
  };
}

/// Why an entry of the gallery is no reading of the model at hand; empty where it is one.
inline std::string why_not(const posenc::GalleryEntry& entry, const Setting& at) {
  struct Reason {
    const char *names, *why;
  };
  static constexpr Reason reasons[] = {
      {"T5Bias KerpleLog KerplePower Fire", "made-up weights: this bias is learned in training"},
      {"ShawKeys ShawValues TransformerXL DeBERTa",
       "made-up weights: these vectors are learned in training"},
      {"SinkLogit", "made-up weight: the logit is learned in training, and 0 here"},
      {"ALiBi Sandwich NoPE", "instead of rotation: a model is trained with it"},
      {"PartialRoPE RotateValues XPos Proportional SoftCap StepTemperature ChunkedCausal",
       "a model is trained with it"},
      {"TruncatedBasis PowerScaling", "fine-tuned with it, as its paper does"},
      {"MRoPE", "text alone is RoPE"},
      {"DynamicNTK", "NTK in another form: follows the length, so short texts stay as they were"},
      {"DynamicYaRN", "the same as YaRN at this length; short texts stay as they were"},
      {"PrefixLM Documents ParallelWindows", "a question of the text, not of the model"},
      {"SlidingWindow SinkWindow", "a window, see StreamingLLM and LMInfinite"},
      {"LogN", "keeps no angles by itself, see ReRoPE, LogN"}};
  const std::string key = plain(entry.name);
  if (key == "longrope") {
    const bool own =
        at.rotates() &&
        std::holds_alternative<posenc::config::LengthScheme>(at.layer.rotary->scheme) &&
        std::holds_alternative<posenc::LongRoPE>(
            std::get<posenc::config::LengthScheme>(at.layer.rotary->scheme).rule);
    return own ? "" : "made-up lists: a search finds them, and the file has none";
  }
  for (const Reason& reason : reasons) {
    std::istringstream names(reason.names);
    for (std::string name; names >> name;)
      if (plain(name) == key) return reason.why;
  }
  return key == "rope" || key == "llama3" ? "" : "of the gallery";
}

}  // namespace compare
