// SPDX-License-Identifier: MIT
//
// explain: what was understood of a configuration, in words and numbers.
//
//   std::cout << explain(huggingface::read("config.json"));
//
// For each kind of layer: its mask, its layout, which key won and what was derived, and the pairs:
//
//   wavelength   2 pi / w_i, tokens per turn before the scheme
//   turns        trained context / wavelength: how often the pair came round during training
//   Lambda       w_i / w'_i, what the scheme divides the frequency by
//
// Neighbours that the scheme treats alike (kept: Lambda = 1; interpolated: Lambda = factor; off:
// w'_i = 0) share a line. The others (blended: between the two by a ramp; rescaled: by a rule or
// list of their own) have a line each, or, where they are many, every n-th of them; all on request.
#pragma once

#include <posenc/config/model.hpp>
#include <posenc/core/runs.hpp>

#include <cmath>
#include <iomanip>
#include <numbers>
#include <sstream>

POSENC_NAMESPACE_BEGIN
namespace config {

struct ExplainOptions {
  bool every_pair = false;  ///< a line per pair
  Position length = 0;      ///< current length, for schemes that depend on it; 0: the trained one
};

namespace detail {

inline const char* treatment(double lambda, const Rotation& rotary) {
  const auto is = [lambda](double value) { return std::abs(lambda - value) <= 1e-12 * value; };
  if (std::isinf(lambda)) return "off";
  if (is(1)) return "kept";
  if (rotary.factor != 1 && is(rotary.factor)) return "interpolated";
  return rotary.type == "yarn" || rotary.type == "llama3" ? "blended" : "rescaled";
}

/// The coordinate of each pair, t, h or w.
inline std::string axes(const std::vector<int>& of_pair) {
  std::string text;
  for (const int axis : of_pair) text += "thw"[axis];
  return text + " (time, height, width)\n";
}

/// The pairs, a line each or a line for a run of equals.
inline void explain_pairs(std::ostream& out, const Rotation& rotary,
                          const ExplainOptions& options) {
  const RotaryState before = rotary.unscaled_state(), after = rotary.state(options.length);
  const Frequencies lambda = before.inv_freq / after.inv_freq;
  const auto kind = [&](Index pair) { return std::string_view(treatment(lambda[pair], rotary)); };
  const auto range = [&](Index first, Index last, auto value) {
    std::ostringstream text;
    text.precision(4);
    text << value(first);
    if (last != first && value(first) != value(last)) text << ".." << value(last);
    return std::move(text).str();
  };
  const auto line = [&](Index first, Index last) {
    const auto wavelength = [&](Index i) { return 2 * std::numbers::pi / before.inv_freq[i]; };
    const auto turns = [&](Index i) {
      return static_cast<double>(rotary.trained_context) / wavelength(i);
    };
    out << "    " << std::setw(8) << std::left << range(first, last, [](Index i) { return i; })
        << std::setw(23) << range(first, last, wavelength) << std::setw(23)
        << (rotary.trained_context > 0 ? range(first, last, turns) : "-") << std::setw(18)
        << range(first, last, [&](Index i) { return lambda[i]; }) << kind(first) << "\n";
  };
  out << "    " << std::left << std::setw(8) << "pair" << std::setw(23) << "wavelength"
      << std::setw(23) << "turns" << std::setw(18) << "Lambda" << "\n";
  for (Index first = 0; first < before.pairs();) {
    Index last = first;
    while (last + 1 < before.pairs() && kind(last + 1) == kind(first)) ++last;
    const bool alike = kind(first) != "rescaled" && kind(first) != "blended";
    const Index step = options.every_pair || last - first < 16 ? 1 : (last - first) / 7;
    if (alike && !options.every_pair) {
      line(first, last);
    } else {
      for (Index pair = first; pair < last; pair += step) line(pair, pair);
      line(last, last);
    }
    first = last + 1;
  }
}

inline void explain_layer(std::ostream& out, const LayerKind& layer,
                          const ExplainOptions& options) {
  out << "\n" << layer.name << ": ";
  if (layer.layers.empty())
    out << "every layer\n";
  else
    out << layer.layers.size() << " layers (" << posenc::detail::runs(layer.layers) << ")\n";
  if (!layer.attends) {
    out << "  does not attend: no positions to encode\n";
    return;
  }
  out << "  heads: " << layer.num_heads << " query, " << layer.num_kv_heads << " key, "
      << layer.head_dim << " channels\n  mask: ";
  if (layer.ahead == LayerKind::everything)
    out << "none, every token sees all\n";
  else if (layer.ahead != 0)
    out << "sliding window of " << layer.window - 1 << " tokens before and " << layer.ahead
        << " after the query's own\n";
  else if (layer.window != 0)
    out << "sliding window of " << layer.window
        << " tokens, the query's own included (left = " << layer.window - 1 << ")\n";
  else if (layer.chunk != 0)
    out << "causal within chunks of " << layer.chunk << " tokens\n";
  else
    out << "causal\n";
  if (layer.score.softmax_scale != 0)
    out << "  softmax scale: " << layer.score.softmax_scale << "\n";
  if (const auto* step = std::get_if<StepTemperature>(&layer.score.rule))
    out << "  temperature at position n: 1 + " << step->scale << " ln(1 + floor("
        << (step->shift == 0 ? "n" : "(n + 1)") << " / " << step->context << "))\n";
  if (const auto* log_n = std::get_if<LogN>(&layer.score.rule))
    out << "  temperature at position n: max(1, ln(n + 1) / ln " << log_n->base_length << ")\n";
  if (layer.alibi)
    out << "  ALiBi: max_bias " << layer.alibi->max_bias << ", slopes times "
        << layer.alibi->slope_factor << "\n";
  if (layer.rotary) {
    const Rotation& rotary = *layer.rotary;
    const RotaryState state = rotary.state(options.length);
    out << "  rotation: rope_type " << rotary.type << ", " << to_string(rotary.layout)
        << ", channels " << rotary.rotary_offset << ".."
        << rotary.rotary_offset + rotary.rotary_dim - 1 << " of " << rotary.head_dim << "\n";
    if (const std::optional<MRoPE>& axes = rotary.axes.rule) {
      const MRoPE::Sections& pairs = axes->sections;
      out << "  pairs of (time, height, width): " << pairs[0] << ", " << pairs[1] << ", "
          << pairs[2] << (axes->interleaved ? ", in turns\n" : ", one after the other\n");
    }
    if (!rotary.axes.of_pair.empty())
      out << "  coordinates of pairs: " << axes(rotary.axes.of_pair);
    if (rotary.trained_context > 0) out << "  trained context: " << rotary.trained_context << "\n";
    out << "  base in force: " << state.base << "\n  attention factor: " << state.attention_factor
        << "\n";
    if (state.score_factor != 1) out << "  softmax scale times: " << state.score_factor << "\n";
    if (rotary.depends_on_length())
      out << "  frequencies depend on the length (shown for "
          << (options.length == 0 ? rotary.trained_context : options.length)
          << "): cache raw keys\n";
  } else if (!layer.alibi) {
    out << "  no position in attention\n";
  }
  for (const std::string& note : layer.notes) out << "  - " << note << "\n";
  if (layer.rotary) explain_pairs(out, *layer.rotary, options);
}

}  // namespace detail

/// A description to read, and to compare between two versions of a file.
[[nodiscard]] inline std::string explain(const Model& model, const ExplainOptions& options = {}) {
  std::ostringstream out;
  out.precision(10);
  out << model.model_type;
  if (model.max_position_embeddings != 0)
    out << ", " << model.max_position_embeddings << " positions";
  out << "\n";
  for (const std::string& note : model.notes) out << "- " << note << "\n";
  for (const LayerKind& layer : model.layers) detail::explain_layer(out, layer, options);
  return std::move(out).str();
}

}  // namespace config
POSENC_NAMESPACE_END
