// SPDX-License-Identifier: MIT
//
// The HybridSchedule of a model's configuration, which says which layers attend and how.
#pragma once

#include <posenc/config/model.hpp>
#include <posenc/schedule/hybrid_schedule.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// hybrid_schedule(huggingface::read("config.json"), mixer): layers that attend have the encodings of the configuration,
/// MLPs and experts that are layers of their own do not mix, and linear_attention is `mixer`, which a configuration does
/// not describe in full. Throws Error where the configuration does not say how many layers there are, and where some mix
/// otherwise (convolutions, cross attention).
[[nodiscard]] inline HybridSchedule hybrid_schedule(const config::Model& model,
                                                    const MixerOfLayer& mixer) {
  Problems problems;
  problems.require(model.num_layers > 0,
                   "the configuration does not say how many layers the model has.");
  problems.raise_if_any("posenc::hybrid_schedule");
  constexpr auto none = static_cast<std::size_t>(-1);
  HybridSchedule schedule;
  schedule.of_layer.assign(static_cast<std::size_t>(model.num_layers), none);
  const auto place = [&](Index layer) {
    problems.require(layer >= 0 && layer < model.num_layers, "layer ", layer, " is none of the ",
                     model.num_layers, " layers.");
    problems.raise_if_any("posenc::hybrid_schedule");
    schedule.of_layer[static_cast<std::size_t>(layer)] = schedule.kinds.size() - 1;
  };
  for (const config::LayerKind& kind : model.layers) {
    const bool is_mixer = kind.name == "linear_attention";
    if (is_mixer && !mixer.is_shared()) {
      for (const Index layer : kind.layers) {
        schedule.kinds.push_back(mixer(layer));
        place(layer);
      }
      continue;
    }
    if (kind.attends)
      schedule.kinds.push_back(kind.encoding());
    else if (is_mixer)
      schedule.kinds.push_back(mixer(kind.layers.empty() ? 0 : kind.layers.front()));
    else if (kind.name == "mlp" || kind.name == "moe" || kind.name == "no_op")
      schedule.kinds.push_back(NoMixing{});
    else
      problems.add("layers of the kind ", kind.name,
                   " are neither attention, nor linear_attention, nor without mixing.");
    if (problems.empty()) std::ranges::for_each(kind.layers, place);
  }
  const Index idle = std::ranges::count(schedule.of_layer, none);
  problems.require(!problems.empty() || idle == 0, idle, " of the ", model.num_layers,
                   " layers are of no kind that the configuration has.");
  problems.raise_if_any("posenc::hybrid_schedule");
  return schedule;
}

POSENC_NAMESPACE_END
