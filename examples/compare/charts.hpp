// SPDX-License-Identifier: MIT
//
// Charts of at most six lines: rescaled frequencies, rewritten distances, scores over distance,
// loss by position.
#pragma once

#include "curves.hpp"

#include <optional>

namespace compare {

/// By how much each scheme divides each frequency.
inline std::optional<Chart> rescale_chart(const Comparison& c) {
  const auto lines = curves(
      c, most_lines,
      [](const Row& row) {
        return row.rotation.rotates() && row.kind != Row::baseline &&
               row.family == Family::frequency;
      },
      [](const Row& a, const Row& b) { return equal_all(a.rotation.after, b.rotation.after); });
  if (lines.empty()) return std::nullopt;
  Chart chart{
      "rescale",
      "By how much each scheme slows each pair",
      "Frequency before over frequency after. Left of the dashed line pairs came full circle in "
      "training and "
      "know every angle: what is moved there moves neighbours. Below 1 a pair turns faster.",
      "rotary pair, fast to slow",
      "times slower (log scale)",
      false};
  chart.log_y = true, chart.dots = false;
  chart.y_least = 0.5, chart.y_most = std::max(4.0, 8 * c.setting.factor());
  Index turned = 0;
  for (const Curve& curve : lines) {
    const RotationReport& r = curve.row->rotation;
    chart.lines.push_back(curve.line());
    turned = 0;
    while (turned < r.before.size() && full_turn(r.before[turned], c.setting.trained)) ++turned;
    for (Index i = 0; i < r.before.size(); ++i)
      chart.lines.back().points.emplace_back(static_cast<double>(i),
                                             r.after[i] > 0 ? r.before[i] / r.after[i] : NAN);
  }
  chart.dashed_x = static_cast<double>(turned) - 0.5;
  if (c.setting.factor() > 1)
    chart.dashed_y = c.setting.factor(), chart.dashed_name = "asked / trained length";
  return chart;
}

/// Rewritten distances.
inline std::optional<Chart> distance_chart(const Comparison& c) {
  const Setting& at = c.setting;
  const auto lines = curves(
      c, most_lines,
      [](const Row& row) {
        return row.rotation.rewrites_distances ||
               (row.kind == Row::baseline && row.rotation.rotates());
      },
      [](const Row& a, const Row& b) {
        return equal_all(a.rotation.distances, b.rotation.distances);
      });
  if (lines.size() < 2 || at.target < 3) return std::nullopt;
  Chart chart{"distances",
              "Distances as the rotation sees them",
              "Curves that stay below the dashed line show the model no distance that it has not "
              "met in training.",
              "distance between query and key, tokens",
              "distance used, tokens",
              false};
  chart.dots = false;
  chart.x_tics = linear_tics(at.target);
  chart.y_tics = linear_tics(at.trained * 3 / 2);
  chart.y_most = 1.5 * static_cast<double>(at.trained);
  chart.dashed_y = static_cast<double>(at.trained), chart.dashed_name = "trained length";
  const auto grid = distance_grid(at.target);
  for (const Curve& curve : lines) {
    chart.lines.push_back(curve.line());
    for (std::size_t i = 0; i < grid.size(); ++i)
      chart.lines.back().points.emplace_back(static_cast<double>(grid[i]),
                                             curve.row->rotation.distances[i]);
  }
  return chart;
}

inline std::vector<double> mean_scores(const Row& row) {
  std::vector<double> means;
  for (const DistanceBin& bin : row.scores.decay) means.push_back(bin.mean());
  return means;
}

/// Mean score over distance of the rows of some families.
inline std::optional<Chart> decay_chart(const Comparison& c, const char* name,
                                        const std::string& what,
                                        const std::vector<Family>& families) {
  const Setting& at = c.setting;
  const auto common = [](const Row& row) {
    return row.kind == Row::baseline || row.kind == Row::configured;
  };
  const auto lines = curves(
      c, most_lines,
      [&](const Row& row) {
        return common(row) ||
               std::find(families.begin(), families.end(), row.family) != families.end();
      },
      [](const Row& a, const Row& b) { return equal_all(mean_scores(a), mean_scores(b)); });
  if (at.target < 3 ||
      std::all_of(lines.begin(), lines.end(), [&](const Curve& l) { return common(*l.row); }))
    return std::nullopt;
  Chart chart{name, "How scores decay with distance: " + what,
              "Mean score before softmax, of queries and keys that share their content. Left of "
              "the dashed line are the "
              "distances of training: a scheme that changes scores there asks for more "
              "fine-tuning; one that oscillates "
              "or rises right of it mistakes far tokens for near ones.",
              "distance between query and key, tokens (log scale)", "mean score, nats"};
  chart.dots = false;
  chart.x_tics = log_tics(at.target);
  chart.y_least = -10;
  if (!at.fits()) chart.dashed_x = static_cast<double>(at.trained);
  for (const Curve& curve : lines) {
    chart.lines.push_back(curve.line());
    for (const DistanceBin& bin : curve.row->scores.decay)
      chart.lines.back().points.emplace_back(bin.distance(), bin.mean());
  }
  return chart;
}

/// Measured nats by position: the model at its trained length, and others at the asked one.
inline std::optional<Chart> loss_chart(const Comparison& c) {
  const auto lines = curves(
      c, most_lines - 1, [](const Row& row) { return !row.by_position.empty(); },
      [](const Row&, const Row&) { return false; });
  if (lines.empty()) return std::nullopt;
  Chart chart{"loss",
              "Measured loss by position",
              "Nats per token of the text, by position in the window. The reference has a shorter "
              "window that ends at "
              "the same token, and is drawn there.",
              "position, tokens",
              "nats per token",
              false};
  const auto add = [&](ChartLine line, const Row& row, Position shift) {
    chart.lines.push_back(std::move(line));
    for (const auto& [end, nats] : row.by_position)
      chart.lines.back().points.emplace_back(static_cast<double>(end + shift), nats);
  };
  const Row& reference = *c.find(Row::reference);
  const Position longer = c.setting.target - c.setting.trained;
  add({.name = reference.name, .colour = Picture::ink, .dash = 3}, reference, longer);
  for (const Curve& curve : lines) add(curve.line(), *curve.row, 0);
  if (!c.setting.fits()) chart.dashed_x = static_cast<double>(c.setting.trained);
  return chart;
}

inline std::vector<Chart> charts(const Comparison& c) {
  using enum Family;
  std::vector<Chart> all;
  for (std::optional<Chart> chart :
       {loss_chart(c), rescale_chart(c), distance_chart(c),
        decay_chart(c, "decay", "frequencies", {frequency}),
        decay_chart(c, "decay_distances", "distances", {distance}),
        decay_chart(c, "decay_biases", "biases and vectors by distance", {bias, vectors}),
        decay_chart(c, "decay_others", "bases, masks and temperatures", {base, mask, score})})
    if (chart) all.push_back(std::move(*chart));
  return all;
}

}  // namespace compare
