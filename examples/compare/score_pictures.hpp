// SPDX-License-Identifier: MIT
//
// Pictures of scores: biases, and how scores decay with distance.
#pragma once

#include "../support/gnuplot.hpp"
#include "style.hpp"

#include <optional>

namespace compare {

/// (d) Biases over distance: a panel each, a curve per sampled head.
inline std::optional<Picture> bias_picture(const Comparison& c,
                                           const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto panels = curves(
      c, [](const Row& row) { return !row.biases.empty(); },
      [](const Row& a, const Row& b) {
        return std::equal(a.biases.begin(), a.biases.end(), b.biases.begin(), b.biases.end(),
                          [](const auto& x, const auto& y) { return equal_all(x, y); });
      });
  if (panels.empty() || at.target < 3) return std::nullopt;

  constexpr int columns = 3, panel_height = 245, first_row = 60, first_id = 20;
  const int count = static_cast<int>(panels.size()), rows = (count + columns - 1) / columns;
  const int heads = static_cast<int>(panels.front().row->biases.size());
  const auto colour = [](int head) {
    return palette[static_cast<std::size_t>(head) % std::size(palette)];
  };
  Picture picture("biases", "What biases add to a score", 75 + panel_height * rows);
  picture.caption =
      "Added to the score, in nats, for a few heads. A key 16 nats below another has a "
      "ten-millionth of its weight: what leaves the picture is forgotten. Biases that models "
      "learn (T5, KERPLE) are drawn with example values.";
  picture.line("set multiplot");
  for (int h = 0; h < heads; ++h) {
    const double x = 400 + 145 * h;
    picture.line("set arrow ", first_id + h, " from ", picture.on_screen(x, 22), " to ",
                 picture.on_screen(x + 30, 22), " nohead linewidth 3 linecolor rgb '", colour(h),
                 "'");
    picture.label(first_id + h, "head " + std::to_string(at.model_head(h)),
                  picture.on_screen(x + 37, 22), 13);
  }
  picture.line("unset key; set tics font ',12'; set logscale x 2");
  picture.line("set xrange [1:", std::max<Position>(2, at.target), "]; set xtics ",
               log_tics(at.target));
  picture.line("set yrange [-16:1]; set ytics -16,4");

  for (int p = 0; p < count; ++p) {
    const Row& row = *panels[static_cast<std::size_t>(p)].row;
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
    picture.axes(left, left + 260, top + 28, top + panel_height - 42);
    picture.label(9, panels[static_cast<std::size_t>(p)].label, "graph 0,graph 1 offset 0,0.8", 14);
    picture.axis_label('x', p + columns >= count ? "distance, tokens (log scale)" : "", 12);
    picture.axis_label('y', column == 0 ? "nats" : "", 12);
    for (int h = 0; h < heads; ++h)
      plot << (h == 0 ? "plot '" + data + "'" : ", ''") << " using 1:" << h + 2
           << " with lines linewidth 2 linecolor rgb '" << colour(h) << "'";
    picture.line(plot.str());
    if (p == 0) picture.drawn(first_id, first_id + heads - 1);
  }
  picture.line("unset multiplot");
  return picture;
}

inline std::vector<double> mean_scores(const Row& row) {
  std::vector<double> means;
  for (const DistanceBin& bin : row.scores.decay) means.push_back(bin.mean());
  return means;
}

inline std::string decay_table(const Row& row) {
  std::ostringstream table;
  table << "# first and last distance of a bin\tmiddle\tmean score\n";
  for (const DistanceBin& bin : row.scores.decay)
    table << bin.first << "\t" << bin.last << "\t" << bin.distance() << "\t"
          << (bin.count > 0 ? std::to_string(bin.mean()) : "NaN") << "\n";
  return table.str();
}

/// (e) Mean score over distance: a panel per idea, plain RoPE in all of them.
inline std::optional<Picture> decay_picture(const Comparison& c,
                                            const std::filesystem::path& folder) {
  constexpr const char* titles[] = {"frequencies", "bases and distances",
                                    "biases and vectors by distance", "masks and scores"};
  struct Panel {
    const char* title;
    std::vector<Curve> lines;
    int height;
    double least = 0;
  };
  std::vector<Panel> panels;
  double greatest = 1;
  int height = 80;
  const auto common = [&](const Row& row) { return row.configured || row.name == c.baseline; };
  for (int group = 0; group < static_cast<int>(std::size(titles)); ++group) {
    Panel panel{
        titles[group],
        curves(
            c, [&](const Row& row) { return common(row) || group_of(row.family) == group; },
            [](const Row& a, const Row& b) { return equal_all(mean_scores(a), mean_scores(b)); }),
        0};
    if (std::all_of(panel.lines.begin(), panel.lines.end(),
                    [&](const Curve& l) { return common(*l.row); }) &&
        group != 1)
      continue;
    panel.height = 80 + std::max(185, 21 * static_cast<int>(panel.lines.size()));  // for the legend
    height += panel.height;
    for (const Curve& line : panel.lines)
      for (const double mean : mean_scores(*line.row)) {
        if (std::isnan(mean)) continue;
        panel.least = std::min(panel.least, mean);
        greatest = std::max(greatest, mean);
      }
    panels.push_back(std::move(panel));
  }
  for (const Row& row : c.rows)
    write_file(folder / ("data/decay_" + plain(row.name) + ".tsv"), decay_table(row));

  const Setting& at = c.setting;
  if (at.target < 3) return std::nullopt;
  Picture picture("decay", "How scores decay with distance", height);
  picture.caption =
      "Mean score before softmax, of queries and keys that share their content. Left of the "
      "dashed line are the distances of training: a scheme that changes scores there asks for "
      "more fine-tuning; one that oscillates or rises right of it mistakes far tokens for near "
      "ones.";
  picture.line("set multiplot; set logscale x 2");
  picture.line("set xrange [1:", at.target, "]; set xtics ", log_tics(at.target));
  picture.line(
      "set key at screen 0.71,graph 1 left top vertical maxrows 20 Left reverse samplen 2 font "
      "',13'");
  picture.axis_label('y', "mean score, nats");
  if (at.trained < at.target) picture.mark_x(1, static_cast<double>(at.trained));
  double top = 40;
  for (std::size_t p = 0; p < panels.size(); ++p) {
    const Panel& panel = panels[p];
    picture.axes(75, 700, top + 32, top + panel.height - 35);
    picture.line("set yrange [", std::max(-10.0, std::floor(panel.least)), ":", std::ceil(greatest),
                 "]");
    picture.label(9, panel.title, "graph 0,graph 1 offset 0,0.7", 15);
    picture.axis_label(
        'x', p + 1 == panels.size() ? "distance between query and key, tokens (log scale)" : "");
    std::ostringstream plot;
    for (const Curve& line : panel.lines)
      plot << (line.row == panel.lines.front().row ? "plot " : ", ") << "'data/decay_"
           << plain(line.row->name) << ".tsv' using 3:4" << line.lines() << " title "
           << quoted(line.label);
    picture.line(plot.str());
    if (p == 0) picture.drawn(2, 1);
    top += panel.height;
  }
  picture.line("unset multiplot");
  return picture;
}

}  // namespace compare
