// SPDX-License-Identifier: MIT
//
// Readings: what each layer of a model becomes when it is read with a scheme.
//
// RoPE without parameters is the model's own rotation as it was trained, with its scaling; what
// follows it extends that, and RoPE alone changes nothing. Parameters make another rotation of it.
// What a layer has besides stays: its window, the scale and temperature of its scores. Layers that
// do not rotate stay as they are.
#pragma once

#include "llama.hpp"

#include <posenc/config/expression.hpp>

namespace evaluate {

struct Reading {
  LayerSchedule layers;
  std::string text;  ///< with every parameter that a part has taken
};

/// What an expression leaves unsaid, for the layers of a kind.
inline ExpressionContext context_of(const config::Rotation& rotation, Position trained,
                                    Position length) {
  return {.head_dim = rotation.head_dim,
          .rotary_dim = rotation.rotary_dim,
          .base = rotation.base,
          .interleaved = rotation.layout == config::LayoutName::interleaved,
          .trained = trained,
          .length = length};
}

/// The encoding of layers that rotate.
inline AnyEncoding read_layers_with(const config::LayerKind& kind, const std::string& expression,
                                    const ExpressionContext& context) {
  const std::vector<std::string> parts = posenc::detail::split_parts(expression, '|');
  if (parts.size() == 1 && parts[0] == "RoPE") return kind.encoding();
  AnyEncoding all;
  std::string rest = expression;
  if (parts[0] == "RoPE") {
    all |= kind.rotation();
    rest = expression.substr(expression.find('|') + 1);
  }
  all |= parse_expression(rest, context).encoding;
  all |= kind.score;
  if (kind.window != 0) all |= SlidingWindow::from_token_count(kind.window);
  return all;
}

/// One encoding for all layers that rotate; the others stay as they are.
inline LayerSchedule layers_with(const LlamaShape& shape, const AnyEncoding& encoding) {
  LayerSchedule all{.of_layer = std::vector<std::size_t>(static_cast<std::size_t>(shape.layers))};
  for (const config::LayerKind& kind : shape.positions.layers) {
    for (const Index layer : kind.layers)
      all.of_layer[static_cast<std::size_t>(layer)] = all.kinds.size();
    all.kinds.push_back(kind.rotary ? encoding : kind.encoding());
  }
  return all;
}

/// Throws posenc::Error for what parse_expression() refuses.
inline Reading read_with(const LlamaShape& shape, const std::string& expression, Position length) {
  const config::Model& model = shape.positions;
  Reading reading{
      {.of_layer = std::vector<std::size_t>(static_cast<std::size_t>(model.num_layers))}, {}};
  for (const config::LayerKind& kind : model.layers) {
    for (const Index layer : kind.layers)
      reading.layers.of_layer[static_cast<std::size_t>(layer)] = reading.layers.kinds.size();
    if (!kind.rotary) {
      reading.layers.kinds.push_back(kind.encoding());
      continue;
    }
    const ExpressionContext context =
        context_of(*kind.rotary, model.max_position_embeddings, length);
    reading.layers.kinds.push_back(read_layers_with(kind, expression, context));
    if (!reading.text.empty()) continue;
    reading.text = parse_expression(expression, context).text;
    if (kind.rotary->type != "default")
      reading.text += ", RoPE with the model's own " + kind.rotary->type;
  }
  return reading;
}

}  // namespace evaluate
