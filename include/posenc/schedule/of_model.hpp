// SPDX-License-Identifier: MIT
//
// The LayerSchedule of a model's configuration.
#pragma once

#include <posenc/config/model.hpp>
#include <posenc/schedule/layer_schedule.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// layer_schedule(huggingface::read("config.json")). Throws Error where the configuration does not say how many
/// layers there are, and where some do not attend.
[[nodiscard]] inline LayerSchedule layer_schedule(const config::Model& model) {
  Problems problems;
  problems.require(model.num_layers > 0,
                   "the configuration does not say how many layers the model has.");
  problems.raise_if_any("posenc::layer_schedule");
  constexpr auto none = static_cast<std::size_t>(-1);
  LayerSchedule schedule;
  schedule.of_layer.assign(static_cast<std::size_t>(model.num_layers), none);
  for (const config::LayerKind& kind : model.layers) {
    if (!kind.attends) continue;
    for (const Index layer : kind.layers) {
      problems.require(layer >= 0 && layer < model.num_layers, "layer ", layer, " is none of the ",
                       model.num_layers, " layers.");
      problems.raise_if_any("posenc::layer_schedule");
      schedule.of_layer[static_cast<std::size_t>(layer)] = schedule.kinds.size();
    }
    schedule.kinds.push_back(kind.encoding());
  }
  const Index idle = std::count(schedule.of_layer.begin(), schedule.of_layer.end(), none);
  problems.require(idle == 0, idle, " of the ", model.num_layers,
                   " layers do not attend, and a LayerSchedule has an encoding for each: see "
                   "hybrid_schedule in schedule/hybrid_of_model.hpp.");
  problems.raise_if_any("posenc::layer_schedule");
  return schedule;
}

POSENC_NAMESPACE_END
