// SPDX-License-Identifier: MIT
//
// Which schemes could read the model at hand, and what the others would need.
//
// A candidate is an expression, as examples/evaluate takes it, so what is chosen here can be
// measured there. The gallery has more: encodings that a model must be trained with, some of whose
// weights are made up.
#pragma once

#include "../support/scheme_look.hpp"
#include "setting.hpp"

#include <posenc/config/expression.hpp>
#include <posenc/gallery.hpp>

#include <cmath>
#include <iomanip>
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
  leaky << "RoPE|LeakyReRoPE";
  if (half > 0 && half < at.trained - 1) {
    const double exact = posenc::LeakyReRoPE::to_length(half, at.trained, at.target).factor;
    leaky << std::fixed << std::setprecision(3) << "{factor=" << std::ceil(1000 * exact) / 1000
          << "}";
  }
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
      {"ReRoPE+LogN", "kexue.fm/archives/9708", distance, "RoPE|ReRoPE|LogN{clipped=1}",
       "window: half the trained length; base_length: trained"},
      {"LeakyReRoPE", "kexue.fm/archives/9708", distance, leaky.str(),
       "window: half the trained length; factor: so that the last distance is the last of "
       "training"},
      {"SelfExtend", "2401.01325", distance, "RoPE|SelfExtend",
       "window: a quarter of the trained length, in whole groups; group: the least power of two "
       "that shows no new "
       "distance"},
      {"DualChunk", "2402.17463", distance, "RoPE|DualChunk",
       "chunk: 3/4 of the trained length, cap: all but one, as in the paper"},
      {"StreamingLLM", "2309.17453", distance, "RoPE|StreamingLLM",
       "sinks of the paper; recent: the rest of the trained length"},
      {"LMInfinite", "2308.16137", distance, "RoPE|LMInfinite",
       "window: trained length; sinks of the reference code"},
  };
}

/// What there is to say of an entry of the gallery.
struct GalleryNote {
  std::string why_not{};  ///< why it is no reading of the model at hand; empty where it is one
  std::string rule{};     ///< where its parameters come from
};

inline bool has_own_lists(const Setting& at) {
  const auto* by_length =
      at.rotates() ? std::get_if<posenc::config::LengthScheme>(&at.layer.rotary->scheme) : nullptr;
  return by_length && std::holds_alternative<posenc::LongRoPE>(by_length->rule);
}

inline GalleryNote note_of(const posenc::GalleryEntry& entry, const Setting& at) {
  struct Known {
    const char *names, *why_not, *rule;
  };
  static constexpr const char *falling = "example values that fall with distance",
                              *window = "window: a quarter of the trained length",
                              *paper = "as its paper has it";
  static constexpr Known known[] = {
      {"RoPE", "", "as trained, nothing changed"},
      {"PI NTK NTKByParts YaRN ABF ReRoPE LeakyReRoPE SelfExtend DualChunk StreamingLLM LMInfinite",
       "", "as in gallery.hpp"},
      {"Llama3", "", "factor: asked over trained length; turns of Llama 3.1"},
      {"T5Bias KerpleLog KerplePower Fire", "made-up weights: this bias is learned in training",
       falling},
      {"ShawKeys ShawValues TransformerXL DeBERTa",
       "made-up weights: these vectors are learned in training", falling},
      {"SinkLogit", "made-up weight: the logit is learned in training", "0"},
      {"NoPE ALiBi Sandwich", "instead of rotation: a model is trained with it", paper},
      {"PartialRoPE", "a model is trained with it", "half of the channels"},
      {"RotateValues SoftCap", "a model is trained with it", paper},
      {"XPos", "a model is trained with it", "scale_base: large enough to reach the asked length"},
      {"STRING MsPoE", "for a better use of the trained length, not for more",
       "as its code has it"},
      {"Proportional", "a model is trained with it", "a quarter of the pairs"},
      {"StepTemperature", "a model is trained with it",
       "scale of Llama 4; context: trained length"},
      {"ChunkedCausal", "a model is trained with it", "chunk: a quarter of the trained length"},
      {"TruncatedBasis", "fine-tuned with it, as its paper does", "wavelength: trained length"},
      {"ResonanceYaRN", "fine-tuned with it, as its paper does",
       "factor: asked over trained length"},
      {"PowerScaling", "fine-tuned with it, as its paper does", paper},
      {"MRoPE", "text alone is RoPE", "a third of the pairs each for time, height and width"},
      {"DynamicNTK", "follows the length, so that short texts stay as they were; at this one, NTK",
       "original_context: trained length"},
      {"DynamicYaRN",
       "follows the length, so that short texts stay as they were; at this one, YaRN",
       "original_context: trained length"},
      {"PrefixLM Documents ParallelWindows", "a question of the text, not of the model",
       "pieces of a quarter of the trained length"},
      {"SlidingWindow SinkWindow", "windows; see StreamingLLM and LMInfinite", window},
      {"LogN", "keeps no angles by itself; see ReRoPE+LogN", "base_length: trained"}};
  const std::string key = plain(entry.name);
  if (key == "longrope")
    return has_own_lists(at)
               ? GalleryNote{"the file's own, see as configured", "lists of the file"}
               : GalleryNote{"made-up lists: a search finds them, and the file has none",
                             "the shape of NTK"};
  for (const Known& one : known) {
    std::istringstream names(one.names);
    for (std::string name; names >> name;)
      if (plain(name) == key) return {one.why_not, one.rule};
  }
  return {"of the gallery", "as in gallery.hpp"};
}

}  // namespace compare
