// SPDX-License-Identifier: MIT
//
// The LayerSchedule of a model's configuration.
#pragma once

#include <posenc/schedule/kind_of_layer.hpp>
#include <posenc/schedule/layer_schedule.hpp>

POSENC_NAMESPACE_BEGIN

/// layer_schedule(huggingface::read("config.json")). Throws Error where the configuration does not say how many
/// layers there are, and where some do not attend.
[[nodiscard]] inline LayerSchedule layer_schedule(const config::Model& model) {
  constexpr std::string_view what = "posenc::layer_schedule";
  detail::KindOfLayer of_layer(model, what);
  LayerSchedule schedule;
  for (const config::LayerKind& kind : model.layers) {
    if (!kind.attends) continue;
    for (const Index layer : kind.layers) of_layer.place(layer, schedule.kinds.size());
    schedule.kinds.push_back(kind.encoding());
  }
  const Index idle = of_layer.without_kind();
  Problems problems;
  problems.require(idle == 0, idle, " of the ", of_layer.size(),
                   " layers do not attend, and a LayerSchedule has an encoding for each: see "
                   "hybrid_schedule in schedule/hybrid_of_model.hpp.");
  problems.raise_if_any(what);
  schedule.of_layer = std::move(of_layer).kinds();
  return schedule;
}

POSENC_NAMESPACE_END
