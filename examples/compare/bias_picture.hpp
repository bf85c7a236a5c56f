// SPDX-License-Identifier: MIT
//
// Biases over distance: a panel each, in the colour of the scheme, a line per sampled head with its
// number where it leaves the panel.
#pragma once

#include "curves.hpp"

#include <optional>

namespace compare {

inline std::optional<Picture> bias_picture(const Comparison& c,
                                           const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto panels = curves(
      c, most_lines, [](const Row& row) { return !row.biases.empty(); },
      [](const Row& a, const Row& b) {
        return std::equal(a.biases.begin(), a.biases.end(), b.biases.begin(), b.biases.end(),
                          [](const auto& x, const auto& y) { return equal_all(x, y); });
      });
  if (panels.empty() || at.target < 3) return std::nullopt;

  constexpr int columns = 3, panel_height = 245, first_row = 35;
  constexpr double floor = -16;
  const int count = static_cast<int>(panels.size()), rows = (count + columns - 1) / columns;
  Picture picture("biases", "What biases add to a score", 50 + panel_height * rows);
  picture.caption =
      "Added to the score, in nats, for a few heads, with their numbers. A key 16 nats below "
      "another has a "
      "ten-millionth of its weight: what leaves the picture is forgotten. Biases that models "
      "learn (T5, KERPLE) are drawn with made-up values.";
  picture.line("set multiplot; unset key; set tics font ',12'; set logscale x 2");
  picture.line("set xrange [1:", std::max<Position>(2, at.target), "]; set xtics ",
               log_tics(at.target));
  picture.line("set yrange [", floor, ":1]; set ytics ", floor, ",4");

  for (int p = 0; p < count; ++p) {
    const Row& row = *panels[static_cast<std::size_t>(p)].row;
    const Look look = look_of(row.name);
    const std::string data = "data/bias_" + plain(row.name) + ".tsv";
    std::ostringstream table, plot;
    table << "# distance\tbias of each sampled head\n";
    for (std::size_t b = 0; b < row.scores.decay.size(); ++b) {
      table << row.scores.decay[b].first;
      for (const auto& head : row.biases) table << "\t" << head[b];
      table << "\n";
    }
    write_file(folder / data, table.str());

    const int column = p % columns;
    const double left = 65 + 312 * column, top = first_row + panel_height * (p / columns);
    picture.axes(left, left + 250, top + 28, top + panel_height - 42);
    picture.label(9, panels[static_cast<std::size_t>(p)].label, "graph 0,graph 1 offset 0,0.8", 14);
    picture.axis_label('x', p + columns >= count ? "distance, tokens (log scale)" : "", 12);
    picture.axis_label('y', column == 0 ? "nats" : "", 12);
    for (std::size_t h = 0; h < row.biases.size(); ++h) {
      const std::vector<double>& head = row.biases[h];
      const auto out = std::find_if(head.begin(), head.end(), [&](double x) { return x < floor; });
      const auto last =
          std::min<std::size_t>(static_cast<std::size_t>(out - head.begin()), head.size() - 1);
      const std::string name = std::to_string(at.model_head(static_cast<Index>(h)));
      const std::string where =
          out == head.end()
              ? "graph 1.02,first " + fixed(head[last], 3)
              : "first " + std::to_string(row.scores.decay[last].first) + ",graph 0.05";
      picture.label(30 + static_cast<int>(h), name, where, 11, look.colour);
      plot << (h == 0 ? "plot '" + data + "'" : ", ''") << " using 1:" << h + 2
           << " with lines linewidth 2 dashtype " << h + 1 << " linecolor rgb '" << look.colour
           << "'";
    }
    picture.line(plot.str());
    if (p == 0) picture.drawn(2, 1);
  }
  picture.line("unset multiplot");
  return picture;
}

}  // namespace compare
