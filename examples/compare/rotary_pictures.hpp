// SPDX-License-Identifier: MIT
//
// Pictures of rotation: angles that leave the training, rescaled frequencies, rewritten distances.
#pragma once

#include "gnuplot.hpp"
#include "style.hpp"

namespace compare {

/// First place on the distance grid at which a pair's angle reaches `times` its bound of training.
inline double leaves_at(const Row& row, const Setting& at, Index pair, double times) {
  const RotationReport& r = row.rotation;
  if (full_turn(r.before[pair], at.trained) || r.after[pair] <= 0) return static_cast<double>(r.reach);
  const double least = times * static_cast<double>(at.trained) * r.before[pair] / r.after[pair];  // in g
  const auto grid = distance_grid(at.target);
  for (std::size_t i = 1; i < grid.size(); ++i) {
    const double g0 = r.distances[i - 1], g1 = r.distances[i];
    if (g1 < least) continue;
    const double share = g1 > g0 ? std::max(0.0, least - g0) / (g1 - g0) : 0;
    const double d = static_cast<double>(grid[i - 1]) + share * static_cast<double>(grid[i] - grid[i - 1]);
    return std::min(d, static_cast<double>(r.reach));
  }
  return static_cast<double>(r.reach);
}

/// (a) Which pair leaves the angles of training, and from which distance on: a panel per scheme.
inline Picture angle_picture(const Comparison& c, const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto panels = curves(
      c, [](const Row& row) { return row.rotation.rotates() && row.family != Family::score; },
      [](const Row& a, const Row& b) {
        return equal_all(a.rotation.after, b.rotation.after) && equal_all(a.rotation.distances, b.rotation.distances) &&
               a.rotation.reach == b.rotation.reach;
      });
  const std::size_t columns = std::min<std::size_t>(4, std::max<std::size_t>(1, panels.size()));
  const std::size_t rows = (panels.size() + columns - 1) / columns;
  Picture picture{"angles", "Angles that training never showed", "", 1000, static_cast<int>(90 + 215 * rows), ""};
  picture.caption = "Each panel: rotary pairs from fast to slow, over the distance between query and key. Pairs in the grey "
                    "block completed a full turn in training and know every angle. Coloured: the angle lies beyond those of "
                    "training. Hatched: the mask hides keys this far away. Dashed: the trained length.";

  std::ostringstream gp;
  const double top = 1 - 75.0 / picture.height, bottom = 45.0 / picture.height, step = (top - bottom) / static_cast<double>(rows);
  gp << "set multiplot\nset label 1 'Angles beyond those of training, by rotary pair and distance' at screen 0.012,screen "
     << 1 - 22.0 / picture.height << " font ',19' textcolor rgb '" << Picture::ink << "'\n";
  const char* colours[] = {"#F5B041", "#D55E00", "#7B241C"};
  const char* names[] = {"up to twice", "two to four times", "more than four times the bound of training"};
  const double places[] = {0.014, 0.15, 0.34};
  for (int k = 0; k < 3; ++k)
    gp << "set object " << k + 1 << " rectangle from screen " << places[k] << ",screen " << 1 - 56.0 / picture.height << " to screen "
       << places[k] + 0.018 << ",screen " << 1 - 42.0 / picture.height << " fillcolor rgb '" << colours[k]
       << "' fillstyle solid noborder\nset label " << k + 2 << " '" << names[k] << "' at screen " << places[k] + 0.025 << ",screen "
       << 1 - 49.0 / picture.height << " font ',13' textcolor rgb '" << Picture::ink << "'\n";
  gp << "unset key\nunset grid\nset tics font ',12' front\nset border 3 front\nset yrange [0:" << at.target << "]\nset ytics "
     << linear_tics(at.target) << "\n";

  for (std::size_t p = 0; p < panels.size(); ++p) {
    const Row& row = *panels[p].row;
    const RotationReport& r = row.rotation;
    const std::string data = "data/angles_" + plain(row.name) + ".tsv";
    std::ostringstream table;
    table << "# pair\tfull_turn\tdistance where the angle reaches 1, 2 and 4 times the bound of training\treach of the mask\n";
    Index turned = 0;
    for (Index i = 0; i < r.before.size(); ++i) {
      turned += full_turn(r.before[i], at.trained) ? 1 : 0;
      for (const double edge : {-0.5, 0.4999}) {
        table << static_cast<double>(i) + edge << "\t" << full_turn(r.before[i], at.trained);
        for (const double times : {1.0, 2.0, 4.0}) table << "\t" << leaves_at(row, at, i, times);
        table << "\t" << r.reach << "\n";
      }
    }
    write_file(folder / data, table.str());
    const std::size_t column = p % columns, line = p / columns;
    const double x0 = 0.055 + 0.945 * static_cast<double>(column) / static_cast<double>(columns);
    const double y1 = top - step * static_cast<double>(line);
    std::string label = panels[p].label;
    if (label.size() > 30) label = label.substr(0, label.find(',')) + " and " + std::to_string(std::count(label.begin(), label.end(), ',')) + " alike";
    gp << "set lmargin at screen " << x0 << "\nset rmargin at screen " << x0 + 0.945 / static_cast<double>(columns) - 0.03
       << "\nset tmargin at screen " << y1 - 45.0 / picture.height << "\nset bmargin at screen " << y1 - step + 32.0 / picture.height << "\n"
       << "set xrange [-0.5:" << r.before.size() << "-0.5]\nset xtics 0," << std::max<Index>(1, r.before.size() / 4) << "\n"
       << "set label 9 " << quoted(label) << " at graph 0,graph 1 offset 0,1.75 font ',14' textcolor rgb '" << Picture::ink << "'\n"
       << "set label 10 " << quoted(r.pairs_out == 0 ? "no pair leaves" : std::to_string(r.pairs_out) + " of " + std::to_string(r.before.size()) + " pairs leave, up to ×" + fixed(r.worst_ratio, 2))
       << " at graph 0,graph 1 offset 0,0.7 font ',12' textcolor rgb '" << (r.pairs_out == 0 ? "#009E73" : "#D55E00") << "'\n"
       << (line + 1 == rows || p + columns >= panels.size() ? "set xlabel 'pair, fast to slow' font ',12' offset 0,0.7\n" : "set xlabel ''\n")
       << (column == 0 ? "set ylabel 'distance, tokens' font ',12' offset 0.5,0\n" : "set ylabel ''\n");
    gp << "set object 10 rectangle from graph 0,graph 0 to first " << static_cast<double>(turned) - 0.5
       << ",graph 1 fillcolor rgb '#999999' fillstyle transparent solid 0.25 noborder behind\n";
    if (r.reach + 1 < at.target)
      gp << "set object 11 rectangle from graph 0,first " << r.reach << " to graph 1,graph 1 fillcolor rgb '#999999' fillstyle transparent pattern 4 noborder\n";
    else
      gp << "unset object 11\n";
    gp << "plot '" << data << "' using 1:3:4 with filledcurves fillcolor rgb '" << colours[0] << "', '' using 1:4:5 with filledcurves fillcolor rgb '"
       << colours[1] << "', '' using 1:5:6 with filledcurves fillcolor rgb '" << colours[2] << "', " << at.trained
       << " with lines linecolor rgb '" << Picture::ink << "' linewidth 1 dashtype 2\n";
    if (p == 0) gp << "unset label 1\nunset label 2\nunset label 3\nunset label 4\nunset object 1\nunset object 2\nunset object 3\n";
  }
  gp << "unset multiplot\n";
  picture.script = gp.str();
  return picture;
}

/// (b) By how much each scheme divides each frequency.
inline Picture rescale_picture(const Comparison& c, const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto lines = curves(
      c, [](const Row& row) { return row.rotation.rotates() && (row.family == Family::frequency || row.configured); },
      [](const Row& a, const Row& b) { return equal_all(a.rotation.after, b.rotation.after); });
  Picture picture{"rescale", "By how much each frequency is divided", "", 1000, 520, ""};
  picture.caption = "Left of the vertical line, pairs came full circle in training, and most schemes leave them alone; right of it they "
                    "did not. A triangle: the pair does not turn at all. A factor below 1 makes a pair faster.";
  std::ostringstream gp, plot;
  const char* separator = "plot ";
  Index turned = 0, pairs = 0;
  for (const Curve& line : lines) {
    const RotationReport& r = line.row->rotation;
    const std::string data = "data/rescale_" + plain(line.row->name) + ".tsv";
    std::ostringstream table;
    table << "# pair\twavelength before, tokens\twavelength after\tfactor\n";
    bool frozen = false;
    turned = 0;
    pairs = std::max<Index>(pairs, r.before.size());
    for (Index i = 0; i < r.before.size(); ++i) {
      const bool stops = r.after[i] == 0;
      frozen = frozen || stops;
      turned += full_turn(r.before[i], at.trained) ? 1 : 0;
      table << i << "\t" << 2 * std::numbers::pi / r.before[i] << "\t" << (stops ? "nan" : std::to_string(2 * std::numbers::pi / r.after[i]))
            << "\t" << (stops ? "nan" : std::to_string(r.before[i] / r.after[i])) << "\t" << (stops ? "1" : "nan") << "\n";
    }
    write_file(folder / data, table.str());
    plot << separator << "'" << data << "' using 1:4 " << line.lines() << " title " << quoted(line.label);
    separator = ", ";
    if (frozen)
      plot << ", '' using 1:(top*$5) every 2 with points pointtype 8 pointsize 0.6 linecolor rgb '" << line.colour << "' notitle";
  }
  const double s = at.factor();
  gp << "set title 'By how much each scheme divides each frequency' font ',19' offset 0,0.3\nset key outside right top vertical Left reverse samplen 2.5 font ',13' width -2\n"
     << "set logscale y 2\ntop = " << std::max(8.0, 3 * s) << "\nset yrange [0.5:top*1.15]\nset xrange [-0.5:" << static_cast<double>(pairs) - 0.5 << "]\n"
     << "set xlabel 'rotary pair, fast to slow'\nset ylabel 'old over new frequency (log scale)'\nset format y '×%g'\n"
     << "set arrow 1 from " << static_cast<double>(turned) - 0.5 << ",graph 0 to " << static_cast<double>(turned) - 0.5 << ",graph 1 nohead linecolor rgb '" << Picture::ink << "' dashtype 2\n"
     << "set label 1 'full turn in training ' right at " << static_cast<double>(turned) - 1 << ",graph 0.045 font ',12' textcolor rgb '" << Picture::ink << "'\n"
     << "set label 2 ' not' left at " << turned << ",graph 0.045 font ',12' textcolor rgb '" << Picture::ink << "'\n";
  if (s > 1)
    gp << "set arrow 2 from graph 0,first " << s << " to graph 1,first " << s << " nohead linecolor rgb '" << Picture::ink
       << "' dashtype 3\nset label 3 'target / trained = " << s << "' at graph 0.01,first " << s << " offset 0,0.6 font ',12' textcolor rgb '" << Picture::ink << "'\n";
  picture.script = lines.empty() ? "" : gp.str() + plot.str() + "\n";
  return picture;
}

/// (c) Rewritten distances.
inline Picture distance_picture(const Comparison& c, const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto lines = curves(
      c, [](const Row& row) { return row.rotation.rewrites_distances; },
      [](const Row& a, const Row& b) { return equal_all(a.rotation.distances, b.rotation.distances); });
  Picture picture{"distances", "Distances as rotation sees them", "", 1000, 440, ""};
  picture.caption = "Curves that stay below the dashed line show the model no distance that it has not met in training.";
  std::ostringstream gp;
  gp << "set title 'Distances as rotation sees them' font ',19' offset 0,0.3\nset key outside right top vertical Left reverse samplen 2.5 font ',13'\n"
     << "set xrange [0:" << at.target << "]\nset yrange [0:" << std::min<double>(static_cast<double>(at.target), 1.5 * static_cast<double>(at.trained)) << "]\n"
     << "set xtics " << linear_tics(at.target) << "\nset ytics " << linear_tics(std::min(at.target, at.trained * 3 / 2)) << "\n"
     << "set xlabel 'distance between query and key, tokens'\nset ylabel 'distance used, tokens'\n"
     << "set arrow 1 from graph 0,first " << at.trained << " to graph 1,first " << at.trained << " nohead linecolor rgb '" << Picture::ink << "' dashtype 2\n"
     << "set label 1 'trained length' right at graph 0.99,first " << at.trained << " offset 0,0.6 font ',12' textcolor rgb '" << Picture::ink << "'\n"
     << "plot x with lines linecolor rgb '" << reference_colour << "' linewidth 3 title 'RoPE'";
  for (const Curve& line : lines) {
    const std::string data = "data/distances_" + plain(line.row->name) + ".tsv";
    std::ostringstream table;
    table << "# distance\tdistance used\n";
    const auto grid = distance_grid(at.target);
    for (std::size_t i = 0; i < grid.size(); ++i) table << grid[i] << "\t" << line.row->rotation.distances[i] << "\n";
    write_file(folder / data, table.str());
    gp << ", '" << data << "' using 1:2 " << line.lines() << " title " << quoted(line.label);
  }
  picture.script = lines.empty() ? "" : gp.str() + "\n";
  return picture;
}

}  // namespace compare
