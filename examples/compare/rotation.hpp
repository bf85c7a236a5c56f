// SPDX-License-Identifier: MIT
//
// What a scheme does to the rotary pairs: which of them reach angles that training never showed.
//
// In training, the angles of pair i stay below w_i * trained. A pair that completed a full turn has
// seen them all and cannot leave. Of the others, those leave whose greatest angle at the target,
//
//   w'_i g(farthest key that is visible)
//
// is not below that; w' are the frequencies of the scheme and g its distances. A pair that never
// turned in training leaves as soon as it turns.
#pragma once

#include "setting.hpp"

#include <posenc/bind/bind.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace compare {

using posenc::Frequencies;

struct RotationReport {
  Frequencies before, after;    ///< radians per token; empty without rotation
  double attention_factor = 1;  ///< amplitude of queries and of keys
  double score_factor = 1;  ///< all that multiplies scores at the target: its square, temperatures
  Position reach = 0;       ///< distance of the farthest visible key at the target
  Position window = 0;      ///< distance up to which every key is visible
  double seen = 0;          ///< share of the earlier tokens that the last one sees
  std::vector<double> distances{};  ///< g at distance_grid()
  Index pairs_out = 0;
  double worst_ratio = 1;  ///< greatest angle over the bound of training, of those pairs
  double step = 1;         ///< what the fastest pair turns from token to token, of training's
  bool rewrites_distances = false;

  [[nodiscard]] bool rotates() const { return before.size() > 0; }
};

/// 0 .. target - 1 in even steps.
inline std::vector<Position> distance_grid(Position target) {
  std::vector<Position> grid;
  const Position steps = std::min<Position>(target - 1, 256);
  for (Position i = 0; i <= steps; ++i) grid.push_back(steps == 0 ? 0 : (target - 1) * i / steps);
  return grid;
}

inline bool full_turn(double inv_freq, Position trained) {
  return inv_freq * static_cast<double>(trained) >= 2 * std::numbers::pi;
}

inline RotationReport rotation_report(const posenc::AnyBound& bound, const Setting& at) {
  RotationReport report;
  const Position query = at.target - 1;
  report.score_factor = bound.temperature(query);
  const auto visible = [&](Position key) {
    return bound.answers().visible({query, key, query, key, 0});
  };
  Position key = 0;
  while (key < query && !visible(key)) ++key;
  report.reach = query - key;
  report.rewrites_distances = bound.has_distance_map();
  // A map means nothing where a mask hides the key (StreamingLLM): there the last distance stays.
  double used = 0, seen = 0;
  for (const Position d : distance_grid(at.target)) {
    const bool is_seen = visible(query - d);
    seen += is_seen ? 1 : 0;
    if (is_seen && seen == static_cast<double>(report.distances.size() + 1)) report.window = d;
    if (!report.rewrites_distances || is_seen)
      used = bound.distance_map().distance(query, query - d);
    report.distances.push_back(used);
  }
  report.seen = seen / static_cast<double>(report.distances.size());

  if (bound.has_rotary()) {
    const posenc::RotaryState& state = bound.rotary().state;
    for (const auto& component : bound.encoding().components())
      if (component.describe->rotary_state)
        report.before = component.describe->rotary_state(component.self.get()).inv_freq;
    report.after = state.inv_freq;
    if (at.frequencies.size() == report.after.size()) report.before = at.frequencies;
    if (report.before.size() > 0 && report.before[0] > 0)
      report.step = report.after[0] / report.before[0] *
                    (query > 0 ? bound.distance_map().distance(query, query - 1) : 1);
    report.attention_factor = state.attention_factor;
    report.score_factor *= state.attention_factor * state.attention_factor * state.score_factor;
    double farthest = bound.distance_map().distance(query, key);
    if (report.rewrites_distances)
      farthest = std::max(farthest, *std::ranges::max_element(report.distances));
    for (Index i = 0; i < report.before.size(); ++i) {
      if (full_turn(report.before[i], at.trained)) continue;
      const double ratio =
          report.after[i] * farthest / (report.before[i] * static_cast<double>(at.trained));
      if (!(ratio > 1 + 1e-9)) continue;
      ++report.pairs_out;
      report.worst_ratio = std::max(report.worst_ratio, ratio);
    }
  }
  return report;
}

}  // namespace compare
