// SPDX-License-Identifier: MIT
//
// Rows: the model as trained, its file's scheme, candidates, expressions of the user and the
// gallery, each measured.
#pragma once

#include "adapt.hpp"
#include "candidates.hpp"
#include "ranking.hpp"
#include "rotation.hpp"
#include "scores.hpp"

#include <posenc/bind/any.hpp>

#include <charconv>
#include <functional>
#include <memory>

namespace compare {

using posenc::Family;

/// A curve of a bias: [head of the sample][bin of distances].
using BiasCurves = std::vector<std::vector<double>>;

/// One scheme, measured.
struct Row {
  enum Kind { reference, baseline, configured, reading, other };

  std::string name{};
  std::string source{};  ///< paper
  Family family = Family::base;
  Kind kind = reading;
  std::string parameters{}, rule{};
  std::string expression{};  ///< the same for examples/evaluate, where there is one
  std::string why_not{};     ///< of the kind `other`: why it is no reading of this model
  std::string note{};
  Adapted adapted{};
  RotationReport rotation{};
  ScoreStatistics scores{};
  BiasCurves biases{};
  bool raw_keys = false;  ///< a cache has to hold keys as they were before rotation
  std::shared_ptr<const posenc::AnyBound> bound{};  ///< to be timed
  double relative_time = 0;                         ///< median, the baseline is 1
  Evidence evidence{};
  std::vector<std::pair<Index, double>> by_position{};  ///< measured: the end of a stretch, nats

  [[nodiscard]] bool is_ranked() const { return kind != reference && kind != other; }
};

// --- Measuring one ------------------------------------------------------------------------------

inline BiasCurves bias_curves(const posenc::AnyBound& bound, const std::vector<DistanceBin>& bins) {
  BiasCurves curves;
  for (const auto& [self, ask] : bound.answers().asked()) {
    if (!ask->relative_bias) continue;
    curves.resize(static_cast<std::size_t>(bound.shape().num_heads));
    for (std::size_t h = 0; h < curves.size(); ++h)
      for (const DistanceBin& bin : bins) {
        double bias = 0;
        ask->relative_bias(self, static_cast<Index>(h), bin.first, 1, &bias);
        curves[h].push_back(bias);
      }
  }
  return curves;
}

/// Throws posenc::Error where the scheme does not fit the setting.
inline Row measure(Row row, const Setting& at, const Sample& sample) {
  const posenc::BindOptions options{.num_heads = at.num_heads,
                                    .num_kv_heads = at.num_kv_heads,
                                    .head_dim = at.layer.head_dim,
                                    .scale = at.scale,
                                    .length = at.target};
  row.bound = std::make_shared<const posenc::AnyBound>(posenc::bind(row.adapted.encoding, options));
  row.raw_keys = row.bound->has_distance_map() || row.bound->depends_on_length();
  row.rotation = rotation_report(*row.bound, at);
  row.scores = score_statistics(posenc::bind(row.adapted.of_scores, options), at, sample);
  row.biases = bias_curves(*row.bound, row.scores.decay);
  return row;
}

/// Mean over the bins of near distances (a quarter of the trained length) of how far two rows' mean
/// scores lie apart, in nats, without what temperatures multiply.
inline double near_change(const Row& row, const Row& baseline, const Setting& at) {
  double sum = 0, count = 0;
  const Position near = std::max<Position>(1, std::min(at.trained, at.target) / 4);
  const auto &a = row.scores.decay, &b = baseline.scores.decay;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()) && a[i].first <= near; ++i) {
    const double difference =
        a[i].mean() / row.rotation.score_factor - b[i].mean() / baseline.rotation.score_factor;
    if (!std::isfinite(difference)) continue;  // hidden by a mask
    sum += std::abs(difference);
    ++count;
  }
  return count > 0 ? sum / count : 0;
}

// --- Making them --------------------------------------------------------------------------------

/// "RoPE|..." begins with the rotation of training, "RoPE{...}|..." with its own, and without RoPE
/// nothing rotates.
inline Adapted read_expression(const std::string& expression, const Setting& at) {
  const auto bar = expression.find('|');
  const std::string head = expression.substr(0, bar);
  const bool as_model = head.find('{') == std::string::npos && plain(head) == "rope";
  const std::string rest = !as_model                  ? expression
                           : bar == std::string::npos ? "Causal"
                                                      : expression.substr(bar + 1);
  const posenc::ReadExpression read = posenc::parse_expression(rest, expression_context(at));
  Adapted adapted;
  if (as_model) adapted.encoding = at.rotation;
  adapted.encoding |= read.encoding;
  adapted.encoding = with_layer(adapted.encoding, at.layer, rest.find("LogN") != std::string::npos);
  adapted.of_scores = adapted.encoding;
  adapted.parameters = read.text;
  const std::string mask = " | Causal";
  if (adapted.parameters.ends_with(mask))
    adapted.parameters.erase(adapted.parameters.size() - mask.size());
  return adapted;
}

/// What examples/evaluate has to read so that a scheme follows the rotation of training, as it does here:
/// "RoPE|..." is the file's own rotation there, so where the file extends training the base is written. Empty
/// where no expression says that rotation.
inline std::string expression_for_evaluate(const Setting& at, const std::string& parameters) {
  const std::string rest = parameters.empty() ? "" : "|" + parameters;
  if (!file_extends(at.layer, at.trained)) return "RoPE" + rest;
  const posenc::config::Rotation& rotary = *at.layer.rotary;
  // One base for all layers, all of whose channels rotate from the first on, and no lists.
  for (const posenc::config::LayerKind& kind : at.model.layers)
    if (kind.rotary && kind.rotary->base != rotary.base) return "";
  if (rotary.rotary_offset != 0 || scheme_of_training(rotary, at.trained)) return "";
  char base[32];  // the shortest digits that are read as the same number
  const char* const end = std::to_chars(base, base + sizeof(base), rotary.base).ptr;
  return "RoPE{base=" + std::string(static_cast<const char*>(base), end) + "}" + rest;
}

/// The layers as they were trained; ALiBi with the slopes of the sampled heads times `slopes`.
inline Adapted as_trained(const Setting& at, double slopes = 1) {
  if (at.rotates()) {
    Adapted adapted = read_expression("RoPE", at);
    adapted.parameters = "base " + fixed(at.layer.rotary->base, 0);
    if (const auto scheme = scheme_of_training(*at.layer.rotary, at.trained))
      adapted.parameters =
          std::visit([](const auto& rule) { return parameters::of(rule); }, scheme->rule);
    return adapted;
  }
  Adapted adapted;
  if (at.layer.alibi) {
    std::string none;
    posenc::ALiBi alibi = adapt(*at.layer.alibi, at, none);
    alibi.slope_factor *= slopes;
    adapted.encoding |= alibi;
    adapted.parameters = parameters::of(alibi);
  } else {
    adapted.parameters = "no position in attention";
  }
  adapted.encoding |= posenc::Causal{};
  adapted.encoding = with_layer(adapted.encoding, at.layer);
  adapted.of_scores = adapted.encoding;
  return adapted;
}

/// The scheme of the file, which extends what was trained.
inline Adapted as_configured(const Setting& at) {
  Adapted adapted;
  adapted.encoding = at.layer.encoding();
  adapted.of_scores = adapted.encoding;
  std::visit(
      [&](const auto& scheme) {
        adapted.parameters =
            std::visit([](const auto& rule) { return parameters::of(rule); }, scheme.rule);
      },
      at.layer.rotary->scheme);
  return adapted;
}

/// A scheme of the gallery, to be filled in for the model at hand.
struct GalleryScheme {
  posenc::GalleryEntry entry;
  std::function<Adapted(const Setting& at, const Sample& sample, std::string& note)> adapted;
};

/// Those that say something of a text alone: it has one coordinate, so what turns pairs by rows and columns of an
/// image does not; gates are computed from the text by the model, and so is what single heads may see.
template <class... Ts>
inline constexpr bool is_of_text =
    !((std::is_same_v<Ts, posenc::Axial2D> || std::is_same_v<Ts, posenc::ForgetGate> ||
       std::is_same_v<Ts, posenc::AShape> || std::is_same_v<Ts, posenc::DuoAttention> ||
       std::is_same_v<Ts, posenc::VerticalSlash>) ||
      ...);

/// Those that fit a model with or without rotation.
inline std::vector<GalleryScheme> gallery_schemes(const Setting& at) {
  posenc::GallerySetting gallery{.head_dim =
                                     at.rotates() ? at.layer.rotary->rotary_dim : at.layer.head_dim,
                                 .num_heads = at.num_heads,
                                 .trained = at.trained,
                                 .target = std::max(at.trained, at.target)};
  if (at.rotates()) gallery.base = at.layer.rotary->base;
  std::vector<GalleryScheme> schemes;
  posenc::for_each_in_gallery<posenc::HalfSplit>(
      gallery,
      [&]<class... Ts>(const posenc::GalleryEntry& entry, const posenc::Encoding<Ts...>& encoding) {
        if constexpr (is_of_text<Ts...>)
          if (posenc::Encoding<Ts...>::num_rotary_bases == 0 || at.rotates())
            schemes.push_back({entry, [encoding](const Setting& setting, const Sample& sample,
                                                 std::string& note) {
                                 return adapt_all(encoding, setting, sample, note);
                               }});
      });
  return schemes;
}

}  // namespace compare
