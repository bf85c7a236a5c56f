// SPDX-License-Identifier: MIT
//
// The picture of rewritten distances.
#pragma once

#include "../support/gnuplot.hpp"
#include "style.hpp"

#include <optional>

namespace compare {

/// (c) Rewritten distances.
inline std::optional<Picture> distance_picture(const Comparison& c,
                                               const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto lines = curves(
      c, [](const Row& row) { return row.rotation.rewrites_distances; },
      [](const Row& a, const Row& b) {
        return equal_all(a.rotation.distances, b.rotation.distances);
      });
  if (lines.empty()) return std::nullopt;

  Picture picture("distances", "Distances as the rotation sees them", 440);
  picture.caption =
      "Curves that stay below the dashed line show the model no distance that it has not met in "
      "training.";
  const Position height = std::min(at.target, at.trained * 3 / 2);
  picture.axes(95, 815, 55, 370);
  picture.line(
      "set key at screen 0.835,graph 1 left top vertical Left reverse samplen 2 font ',13'");
  picture.line("set xrange [0:", at.target, "]; set xtics ", linear_tics(at.target));
  picture.line("set yrange [0:", height, "]; set ytics ", linear_tics(height));
  picture.axis_label('x', "distance between query and key, tokens");
  picture.axis_label('y', "distance used, tokens");
  picture.mark_y(1, static_cast<double>(at.trained));
  picture.label(2, "trained length",
                "graph 0.99,first " + std::to_string(at.trained) + " right offset 0,0.6", 12);
  std::ostringstream plot;
  plot << "plot x with lines linecolor rgb '" << reference_colour << "' linewidth 3 title 'RoPE'";
  for (const Curve& line : lines) {
    const std::string data = "data/distances_" + plain(line.row->name) + ".tsv";
    std::ostringstream table;
    table << "# distance\tdistance used\n";
    const auto grid = distance_grid(at.target);
    for (std::size_t i = 0; i < grid.size(); ++i)
      table << grid[i] << "\t" << line.row->rotation.distances[i] << "\n";
    write_file(folder / data, table.str());
    plot << ", '" << data << "' using 1:2" << line.lines() << " title " << quoted(line.label);
  }
  picture.line(plot.str());
  return picture;
}

}  // namespace compare
