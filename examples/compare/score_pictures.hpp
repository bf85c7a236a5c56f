// SPDX-License-Identifier: MIT
//
// Pictures of scores: biases, and how scores decay with distance.
#pragma once

#include "gnuplot.hpp"
#include "style.hpp"

namespace compare {

/// (d) Biases over distance, a panel each, a curve per sampled head.
inline Picture bias_picture(const Comparison& c, const std::filesystem::path& folder) {
  const Setting& at = c.setting;
  const auto panels = curves(
      c, [](const Row& row) { return !row.biases.empty(); },
      [](const Row& a, const Row& b) {
        return a.biases.size() == b.biases.size() &&
               std::equal(a.biases.begin(), a.biases.end(), b.biases.begin(), [](const auto& x, const auto& y) { return equal_all(x, y); });
      });
  const std::size_t columns = 3, rows = (panels.size() + columns - 1) / columns;
  Picture picture{"biases", "Biases over distance", "", 1000, static_cast<int>(85 + 245 * rows), ""};
  picture.caption = "Added to the score, in nats, for a few heads. A key 16 nats below another has a ten-millionth of its weight: "
                    "what leaves the picture is forgotten. Biases that models learn (T5, KERPLE) are drawn with example values.";
  std::ostringstream gp;
  const double top = 1 - 70.0 / picture.height, step = (top - 30.0 / picture.height) / static_cast<double>(std::max<std::size_t>(1, rows));
  gp << "set multiplot\nset label 1 'What biases add to a score' at screen 0.012,screen " << 1 - 22.0 / picture.height << " font ',19' textcolor rgb '"
     << Picture::ink << "'\nunset key\nset tics font ',12'\nset logscale x 2\nset xrange [1:" << at.target << "]\nset xtics " << log_tics(at.target)
     << "\nset yrange [-16:1]\nset ytics -16,4\n";
  std::size_t heads = 0;
  for (std::size_t p = 0; p < panels.size(); ++p) {
    const Row& row = *panels[p].row;
    heads = row.biases.size();
    const std::string data = "data/bias_" + plain(row.name) + ".tsv";
    std::ostringstream table;
    table << "# distance\tbias of each sampled head\n";
    for (std::size_t b = 0; b < row.scores.decay.size(); ++b) {
      table << row.scores.decay[b].first;
      for (const auto& head : row.biases) table << "\t" << head[b];
      table << "\n";
    }
    write_file(folder / data, table.str());
    const std::size_t column = p % columns, line = p / columns;
    const double x0 = 0.06 + 0.94 * static_cast<double>(column) / columns, y1 = top - step * static_cast<double>(line);
    gp << "set lmargin at screen " << x0 << "\nset rmargin at screen " << x0 + 0.94 / columns - 0.04 << "\nset tmargin at screen "
       << y1 - 28.0 / picture.height << "\nset bmargin at screen " << y1 - step + 42.0 / picture.height << "\n"
       << "set label 9 " << quoted(panels[p].label) << " at graph 0,graph 1 offset 0,0.8 font ',14' textcolor rgb '" << Picture::ink << "'\n"
       << (p + columns >= panels.size() ? "set xlabel 'distance, tokens (log scale)' font ',12' offset 0,0.6\n" : "set xlabel ''\n")
       << (column == 0 ? "set ylabel 'nats' font ',12' offset 1,0\n" : "set ylabel ''\n") << "plot ";
    for (std::size_t h = 0; h < heads; ++h)
      gp << (h == 0 ? "'" + data + "'" : ", ''") << " using 1:" << h + 2 << " with lines linewidth 2 linecolor rgb '" << palette[h % std::size(palette)] << "'";
    gp << "\n";
    if (p == 0) gp << "unset label 1\n@unset_legend\n";
  }
  // The legend: heads of the model that the sample stands for.
  std::ostringstream legend, remove;
  for (std::size_t h = 0; h < heads; ++h) {
    const double x = 0.40 + 0.145 * static_cast<double>(h), y = 1 - 22.0 / picture.height;
    legend << "set arrow " << h + 1 << " from screen " << x << ",screen " << y << " to screen " << x + 0.03 << ",screen " << y
           << " nohead linewidth 3 linecolor rgb '" << palette[h % std::size(palette)] << "'\nset label " << h + 2 << " 'head "
           << at.model_head(static_cast<Index>(h)) << "' at screen " << x + 0.037 << ",screen " << y << " font ',13' textcolor rgb '" << Picture::ink << "'\n";
    remove << "unset arrow " << h + 1 << "\nunset label " << h + 2 << "\n";
  }
  std::string script = gp.str();
  if (const auto place = script.find("@unset_legend\n"); place != std::string::npos) script.replace(place, 14, remove.str());
  picture.script = panels.empty() ? "" : legend.str() + script + "unset multiplot\n";
  return picture;
}

/// (e) Mean score over distance: a panel per idea, plain RoPE in all of them.
inline Picture decay_picture(const Comparison& c, const std::filesystem::path& folder) {
  struct Panel {
    const char* title;
    std::vector<Family> families;
    std::vector<Curve> lines{};
  };
  std::vector<Panel> panels{{"frequencies", {Family::frequency}},
                            {"bases and distances", {Family::base, Family::distance}},
                            {"biases", {Family::bias}},
                            {"masks and scores", {Family::mask, Family::score}}};
  const auto means = [](const Row& row) {
    std::vector<double> values;
    for (const DistanceBin& bin : row.scores.decay) values.push_back(bin.mean());
    return values;
  };
  for (Panel& panel : panels)
    panel.lines = curves(
        c,
        [&](const Row& row) {
          return row.configured || row.name == c.baseline ||
                 std::find(panel.families.begin(), panel.families.end(), row.family) != panel.families.end();
        },
        [&](const Row& a, const Row& b) { return equal_all(means(a), means(b)); });
  std::erase_if(panels, [&](const Panel& panel) {
    return std::none_of(panel.lines.begin(), panel.lines.end(), [&](const Curve& line) { return !line.row->configured && line.row->name != c.baseline; });
  });

  double least = 0, greatest = 1;
  for (const Row& row : c.rows) {
    std::ostringstream table;
    table << "# first and last distance of a bin\tmean score\n";
    for (const DistanceBin& bin : row.scores.decay) {
      table << bin.first << "\t" << bin.last << "\t" << bin.distance() << "\t" << (bin.count > 0 ? std::to_string(bin.mean()) : "nan") << "\n";
      if (bin.count > 0) least = std::min(least, bin.mean()), greatest = std::max(greatest, bin.mean());
    }
    write_file(folder / ("data/decay_" + plain(row.name) + ".tsv"), table.str());
  }

  const Setting& at = c.setting;
  const std::size_t rows = std::max<std::size_t>(1, panels.size());
  Picture picture{"decay", "How scores decay with distance", "", 1000, static_cast<int>(90 + 270 * rows), ""};
  picture.caption = "Mean score before softmax, of queries and keys that share their content. Left of the dashed line are the distances of "
                    "training: a scheme that changes scores there asks for more fine-tuning; one that oscillates or rises right of it mistakes "
                    "far tokens for near ones.";
  std::ostringstream gp;
  const double top = 1 - 45.0 / picture.height, step = (top - 15.0 / picture.height) / static_cast<double>(rows);
  gp << "set multiplot\nset label 1 'Mean score over distance' at screen 0.012,screen " << 1 - 22.0 / picture.height << " font ',19' textcolor rgb '" << Picture::ink
     << "'\nset logscale x 2\nset xrange [1:" << at.target << "]\nset xtics " << log_tics(at.target) << "\nset yrange [" << std::max(-10.0, std::floor(least))
     << ":" << std::ceil(greatest) << "]\nset lmargin at screen 0.07\nset rmargin at screen 0.70\nset ylabel 'score, nats'\n"
     << "set key at screen 0.72,graph 1 left top vertical Left reverse samplen 2.5 font ',13'\n"
     << "set arrow 1 from " << at.trained << ",graph 0 to " << at.trained << ",graph 1 nohead linecolor rgb '" << Picture::ink << "' dashtype 2\n";
  for (std::size_t p = 0; p < panels.size(); ++p) {
    const double y1 = top - step * static_cast<double>(p);
    gp << "set tmargin at screen " << y1 - 30.0 / picture.height << "\nset bmargin at screen " << y1 - step + 45.0 / picture.height << "\n"
       << "set label 9 '" << panels[p].title << "' at graph 0,graph 1 offset 0,0.7 font ',15' textcolor rgb '" << Picture::ink << "'\n"
       << (p + 1 == panels.size() ? "set xlabel 'distance between query and key, tokens (log scale)' offset 0,0.3\n" : "set xlabel ''\n");
    const char* separator = "plot ";
    for (const Curve& line : panels[p].lines) {
      gp << separator << "'data/decay_" << plain(line.row->name) << ".tsv' using 3:4 " << line.lines() << " title " << quoted(line.label);
      separator = ", ";
    }
    gp << "\n";
    if (p == 0) gp << "unset label 1\n";
  }
  picture.script = panels.empty() ? "" : gp.str() + "unset multiplot\n";
  return picture;
}

}  // namespace compare
