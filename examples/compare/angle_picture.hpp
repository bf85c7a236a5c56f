// SPDX-License-Identifier: MIT
//
// Angles that leave the training: a panel for each of the schemes at the top of the ranking.
#pragma once

#include "curves.hpp"

#include <optional>

namespace compare {

/// The distance at which a pair's angle reaches `times` its bound of training, at most the mask's
/// reach.
inline double leaves_at(const RotationReport& r, const Setting& at, Index pair, double times) {
  const auto reach = static_cast<double>(r.reach);
  if (full_turn(r.before[pair], at.trained) || r.after[pair] <= 0) return reach;
  const double bound = times * static_cast<double>(at.trained) * r.before[pair] / r.after[pair];
  const auto grid = distance_grid(at.target);
  for (std::size_t i = 1; i < grid.size(); ++i) {
    const double g0 = r.distances[i - 1], g1 = r.distances[i];
    if (g1 < bound) continue;
    const double share = g1 > g0 ? std::max(0.0, bound - g0) / (g1 - g0) : 0;
    return std::min(reach, std::lerp(static_cast<double>(grid[i - 1]), static_cast<double>(grid[i]),
                                     share));
  }
  return reach;
}

inline Index pairs_with_full_turn(const RotationReport& r, const Setting& at) {
  Index count = 0;
  while (count < r.before.size() && full_turn(r.before[count], at.trained)) ++count;
  return count;
}

/// The edges of the coloured areas of one panel; two points per pair make steps.
inline std::string angle_table(const RotationReport& r, const Setting& at) {
  std::ostringstream table;
  table << "# pair\tdistance where its angle reaches 1, 2 and 4 times the bound of training\treach "
           "of the "
           "mask\n";
  for (Index i = 0; i < r.before.size(); ++i)
    for (const double edge : {-0.5, 0.4999}) {
      table << static_cast<double>(i) + edge;
      for (const double times : {1.0, 2.0, 4.0}) table << "\t" << leaves_at(r, at, i, times);
      table << "\t" << r.reach << "\n";
    }
  return table.str();
}

/// Which pair leaves the angles of training, and from which distance on: a panel per scheme.
inline std::optional<Picture> angle_picture(const Comparison& c,
                                            const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  constexpr std::size_t most_panels = 8;
  const auto panels = curves(
      c, most_panels,
      [](const Row& row) { return row.rotation.rotates() && row.family != Family::score; },
      [](const Row& a, const Row& b) {
        const RotationReport &r = a.rotation, &s = b.rotation;
        if (r.window != s.window) return false;
        return (r.pairs_out == 0 && s.pairs_out == 0) ||
               (equal_all(r.after, s.after) && equal_all(r.distances, s.distances));
      });
  if (panels.empty()) return std::nullopt;

  constexpr int columns = 4, panel_height = 226, first_row = 70;
  const int count = static_cast<int>(panels.size()), rows = (count + columns - 1) / columns;
  Picture picture("angles", "Which rotary pairs reach angles that training never showed",
                  105 + panel_height * rows);
  picture.caption =
      "Each panel: rotary pairs from fast to slow, over the distance between query and key. Pairs "
      "in the grey block completed a full turn in training and know every angle. Coloured: the "
      "angle lies beyond those of training, at the distance on the left. Dashed: the trained "
      "length.";

  constexpr const char *solid = "solid", *light = "transparent solid 0.25",
                       *hatched = "transparent pattern 4";
  constexpr const char* colours[] = {"#F5B041", "#D55E00", "#7B241C"};
  struct LegendBox {
    double x;
    const char *colour, *fill, *text;
  };
  constexpr LegendBox legend[] = {{14, colours[0], solid, "up to twice the bound of training"},
                                  {285, colours[1], solid, "2 to 4 times"},
                                  {415, colours[2], solid, "more"},
                                  {485, Picture::shade, light, "came full circle in training"},
                                  {720, Picture::shade, hatched, "hidden by the mask"}};
  constexpr int first_id = 20, last_id = first_id + static_cast<int>(std::size(legend)) - 1;
  picture.line("set multiplot");
  for (int id = first_id; id <= last_id; ++id) {
    const LegendBox& box = legend[id - first_id];
    picture.rectangle(id, picture.on_screen(box.x, 57), picture.on_screen(box.x + 18, 43),
                      box.colour, box.fill);
    picture.label(id, box.text, picture.on_screen(box.x + 24, 50), 13);
  }
  picture.line("unset key; unset grid; set tics font ',12' front; set border 3 front");
  picture.line("set yrange [0:", at.target, "]");

  for (int p = 0; p < count; ++p) {
    const Curve& panel = panels[static_cast<std::size_t>(p)];
    const RotationReport& r = panel.row->rotation;
    const std::string data = "data/angles_" + plain(panel.row->name) + ".tsv";
    write_file(folder / data, angle_table(r, at));

    const int column = p % columns, row = p / columns;
    const double left = 78 + 231 * column, top = first_row + panel_height * row;
    picture.axes(left, left + 212, top + 44, top + panel_height - 34);
    picture.line("set xrange [-0.5:", r.before.size(), "-0.5]");
    picture.line("set xtics 0,", std::max<Index>(1, r.before.size() / 4));
    picture.line("set ytics ", linear_tics(at.target, column == 0));
    picture.axis_label('x', p + columns >= count ? "pair, fast to slow" : "", 12);
    picture.axis_label('y', column == 0 ? "distance, tokens" : "", 12);

    if (panel.label != panel.names) picture.caption += " Alike: " + panel.names + ".";
    picture.label(9, panel.label, "graph 0,graph 1 offset 0,1.6", 14);
    if (r.pairs_out == 0)
      picture.label(10, "no pair leaves", "graph 0,graph 1 offset 0,0.6", 12, "#009E73");
    else
      picture.label(10,
                    std::to_string(r.pairs_out) + " of " + std::to_string(r.before.size()) +
                        " pairs leave, up to ×" + fixed(r.worst_ratio, 2),
                    "graph 0,graph 1 offset 0,0.6", 12, colours[1]);
    picture.rectangle(10, "graph 0,graph 0",
                      fixed(static_cast<double>(pairs_with_full_turn(r, at)) - 0.5, 1) + ",graph 1",
                      Picture::shade, light);
    picture.line("unset object 11");
    if (r.window < distance_grid(at.target).back())
      picture.rectangle(11, "graph 0,first " + std::to_string(r.window), "graph 1,graph 1",
                        Picture::shade, hatched);
    picture.line("plot \\");
    for (int band = 0; band < 3 && r.pairs_out != 0; ++band)
      picture.line("  '", data, "' using 1:", band + 2, ":", band + 3,
                   " with filledcurves fillcolor rgb '", colours[band], "', \\");
    picture.line("  ", at.trained, " with lines linecolor rgb '", Picture::ink,
                 "' linewidth 1 dashtype 2");
    if (p == 0) picture.drawn(first_id, last_id);
  }
  picture.line("unset multiplot");
  return picture;
}

}  // namespace compare
