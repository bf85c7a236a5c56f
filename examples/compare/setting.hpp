// SPDX-License-Identifier: MIT
//
// Setting: the layers, the lengths and the heads that are compared, and why these.
#pragma once

#include "../support/text.hpp"
#include "command_line.hpp"
#include "training.hpp"

#include <posenc/config/gguf.hpp>
#include <posenc/config/huggingface.hpp>

#include <algorithm>

namespace compare {

using namespace example;  // what examples share

struct Setting {
  posenc::config::Model model;
  posenc::config::LayerKind layer;
  Position trained = 0, target = 0;
  std::string why_trained, why_target;
  Index num_heads = 1, num_kv_heads = 1;  ///< of the sample
  double scale = 0;                       ///< softmax scale of the model
  posenc::AnyEncoding rotation{};         ///< of training, without a mask; empty without rotation
  posenc::Frequencies frequencies{};      ///< of training, radians per token

  [[nodiscard]] bool rotates() const { return layer.rotary.has_value(); }
  [[nodiscard]] double factor() const {
    return static_cast<double>(std::max(trained, target)) / static_cast<double>(trained);
  }
  /// The length to read is no longer than the trained one.
  [[nodiscard]] bool fits() const { return target <= trained; }
  /// The same layers, read at the trained length.
  [[nodiscard]] Setting at_trained_length() const {
    Setting then = *this;
    then.target = trained;
    return then;
  }
  /// Head h of the sample is this head of the model.
  [[nodiscard]] Index model_head(Index h) const {
    const Index all = std::max(layer.num_heads, num_heads);
    return num_heads == 1 ? 0 : h * (all - 1) / (num_heads - 1);
  }
};

inline posenc::config::LayerKind choose_layer(const posenc::config::Model& model,
                                              const std::string& wanted) {
  std::vector<posenc::config::LayerKind> layers;
  for (const auto& layer : model.layers)
    if (layer.attends) layers.push_back(layer);
  const auto find = [&](auto&& holds) { return std::find_if(layers.begin(), layers.end(), holds); };
  if (!wanted.empty()) {
    const auto named = find([&](const auto& layer) { return layer.name == wanted; });
    if (named != layers.end()) return *named;
    std::string known;
    for (const auto& layer : layers) known += (known.empty() ? "" : ", ") + layer.name;
    throw posenc::Error("compare", {"--layer: this model has no layers of the kind '" + wanted +
                                    "'; it has: " + known + "."});
  }
  const auto sees_all = [](const auto& layer) { return layer.window == 0 && layer.chunk == 0; };
  if (const auto full = find([&](const auto& l) { return l.rotary && sees_all(l); });
      full != layers.end())
    return *full;
  if (const auto rotary = find([](const auto& l) { return l.rotary.has_value(); });
      rotary != layers.end())
    return *rotary;
  return layers.front();
}

/// What the reader needs besides the file, and how its sentences should ask for it.
inline posenc::huggingface::Options reader_options(const Arguments& arguments) {
  using posenc::huggingface::LayoutName;
  posenc::huggingface::Options options;
  if (!arguments.layout.empty())
    options.layout =
        arguments.layout == "half_split" ? LayoutName::half_split : LayoutName::interleaved;
  options.ignore_unknown_keys = arguments.ignore_unknown_keys;
  options.remedies = {
      .layout =
          "add --layout half_split if the model's code has rotate_half on two halves, --layout "
          "interleaved if it pairs channels 2i and 2i + 1",
      .ignore_unknown_keys = "add --ignore-unknown-keys"};
  return options;
}

/// What the file says of positions; of a GGUF file no weights are read. Throws posenc::Error.
inline posenc::config::Model read_positions(const Arguments& arguments) {
  if (!arguments.has_weights())
    return posenc::huggingface::read(arguments.model, reader_options(arguments));
  const posenc::gguf::File file{std::filesystem::path(arguments.model)};
  posenc::config::Model model = posenc::gguf::parse(file);
  if (const auto name = file.text("general.name")) model.model_type = *name;
  return model;
}

/// The lengths, heads and encoding of training for a model that was read.
inline Setting choose_setting(posenc::config::Model model, const Arguments& arguments) {
  Setting at;
  at.model = std::move(model);
  if (std::none_of(at.model.layers.begin(), at.model.layers.end(),
                   [](const auto& layer) { return layer.attends; }))
    throw posenc::Error("compare", {arguments.model + " describes no attention layers."});
  at.layer = choose_layer(at.model, arguments.layer);

  const Position promised = at.model.max_position_embeddings;
  if (arguments.trained) {
    at.trained = *arguments.trained;
    at.why_trained = "as --trained says";
  } else if (at.rotates() && at.layer.rotary->trained_context > 0) {
    at.trained = at.layer.rotary->trained_context;
    at.why_trained = at.trained == promised ? "max_position_embeddings"
                                            : "the context that the file's scheme extends";
  } else {
    at.trained = promised;
    at.why_trained = "max_position_embeddings";
  }
  posenc::Problems problems;
  problems.require(
      at.trained > 0, arguments.model,
      " does not say how long the contexts of the training were: give that with --trained, such as "
      "--trained 8k.");
  problems.require(at.layer.head_dim > 0, "the layers ", at.layer.name,
                   " of this model have no width of heads.");
  problems.require(at.trained <= greatest_length, "the trained length, ", at.trained,
                   ", is beyond ", greatest_length, " (2^24).");
  problems.raise_if_any("compare");

  if (arguments.length) {
    at.target = *arguments.length;
    at.why_target = "as --length says";
  } else if (promised > at.trained) {
    at.target = std::min(promised, greatest_length);
    at.why_target = "max_position_embeddings, the extended context of this file";
  } else {
    at.target = std::min(4 * at.trained, greatest_length);
    at.why_target = "four times the trained length; choose with --length";
  }

  // A few heads stand for all. Grouped heads stay grouped.
  const Index heads = std::max<Index>(1, at.layer.num_heads),
              kv_heads = std::max<Index>(1, at.layer.num_kv_heads);
  at.num_heads = std::min<Index>(heads, 4);
  at.num_kv_heads = std::max<Index>(1, at.num_heads / std::max<Index>(1, heads / kv_heads));
  while (at.num_heads % at.num_kv_heads != 0) --at.num_kv_heads;
  at.scale = at.layer.score.score_scale(at.layer.head_dim);
  at.rotation = rotation_of_training(at.layer, at.trained);
  if (at.rotates()) at.frequencies = posenc::bind(at.rotation, {}).rotary().state.inv_freq;
  return at;
}

}  // namespace compare
