// SPDX-License-Identifier: MIT
//
// The HybridSchedule of a model's configuration, which says which layers attend and how.
#pragma once

#include <posenc/schedule/hybrid_schedule.hpp>
#include <posenc/schedule/kind_of_layer.hpp>

POSENC_NAMESPACE_BEGIN

/// hybrid_schedule(huggingface::read("config.json"), mixer): layers that attend have the encodings of the configuration,
/// MLPs and experts that are layers of their own do not mix, and linear_attention is `mixer`, which a configuration does
/// not describe in full. Throws Error where the configuration does not say how many layers there are, and where some mix
/// otherwise (convolutions, cross attention).
[[nodiscard]] inline HybridSchedule hybrid_schedule(const config::Model& model,
                                                    const MixerOfLayer& mixer) {
  constexpr std::string_view what = "posenc::hybrid_schedule";
  detail::KindOfLayer of_layer(model, what);
  HybridSchedule schedule;
  Problems problems;
  for (const config::LayerKind& kind : model.layers) {
    const bool is_mixer = kind.name == "linear_attention";
    if (is_mixer && !mixer.is_shared()) {
      for (const Index layer : kind.layers) {
        of_layer.place(layer, schedule.kinds.size());
        schedule.kinds.push_back(mixer(layer));
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
    if (problems.empty())
      for (const Index layer : kind.layers) of_layer.place(layer, schedule.kinds.size() - 1);
  }
  const Index idle = of_layer.without_kind();
  problems.require(!problems.empty() || idle == 0, idle, " of the ", of_layer.size(),
                   " layers are of no kind that the configuration has.");
  problems.raise_if_any(what);
  schedule.of_layer = std::move(of_layer).kinds();
  return schedule;
}

POSENC_NAMESPACE_END
