// SPDX-License-Identifier: MIT
//
// The LayerSchedule of a model's configuration.
#pragma once

#include <posenc/config/model.hpp>
#include <posenc/schedule/layer_schedule.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// layer_schedule(huggingface::read("config.json")). Throws Error where the configuration does not say how many
/// layers there are, or not which encoding each has.
[[nodiscard]] inline LayerSchedule layer_schedule(const config::Model& model) {
  LayerSchedule schedule;
  Index layers = 0;
  for (const config::LayerKind& kind : model.layers) {
    schedule.kinds.push_back(kind.encoding());
    for (const Index layer : kind.layers) layers = std::max(layers, layer + 1);
  }
  constexpr std::size_t none = static_cast<std::size_t>(-1);
  schedule.of_layer.assign(static_cast<std::size_t>(layers), none);
  for (std::size_t kind = 0; kind < model.layers.size(); ++kind)
    for (const Index layer : model.layers[kind].layers)
      schedule.of_layer[static_cast<std::size_t>(layer)] = kind;
  Problems problems;
  problems.require(layers > 0, "the configuration does not say how many layers the model has.");
  for (Index layer = 0; layer < layers; ++layer)
    problems.require(schedule.of_layer[static_cast<std::size_t>(layer)] != none,
                     "the configuration does not say which encoding layer ", layer, " has.");
  problems.raise_if_any("posenc::layer_schedule");
  return schedule;
}

POSENC_NAMESPACE_END
