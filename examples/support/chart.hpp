// SPDX-License-Identifier: MIT
//
// A chart of few lines, each with its name at its end.
#pragma once

#include "gnuplot.hpp"
#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace example {

struct ChartLine {
  std::string name;
  std::string colour;
  int dash = 1;
  std::vector<std::pair<double, double>> points{};
};

struct Chart {
  std::string name, title, caption;
  std::string x_label, y_label;
  bool log_x = true;
  std::vector<ChartLine> lines{};
  double dashed_y = NAN;  ///< a horizontal mark with a name
  std::string dashed_name{};
};

/// Writes the data beside the script. Lines without points are left out.
inline Picture draw_chart(const Chart& chart, const std::filesystem::path& folder) {
  Picture picture(chart.name, chart.title, 460);
  picture.caption = chart.caption;
  double x0 = HUGE_VAL, x1 = -HUGE_VAL, y0 = HUGE_VAL, y1 = -HUGE_VAL;
  std::vector<const ChartLine*> lines;
  for (const ChartLine& line : chart.lines) {
    if (line.points.empty()) continue;
    lines.push_back(&line);
    for (const auto& [x, y] : line.points) {
      x0 = std::min(x0, x), x1 = std::max(x1, x);
      if (std::isfinite(y)) y0 = std::min(y0, y), y1 = std::max(y1, y);
    }
  }
  if (!std::isnan(chart.dashed_y))
    y0 = std::min(y0, chart.dashed_y), y1 = std::max(y1, chart.dashed_y);
  if (lines.empty() || !(y0 <= y1)) return picture;
  const double room = std::max(0.05 * (y1 - y0), 0.01);
  y0 -= room, y1 += room;
  if (x0 == x1) x0 -= 0.5 * std::abs(x0) + 0.1, x1 += 0.5 * std::abs(x1) + 0.1;  // a single point
  picture.axes(80, 800, 60, 400);
  picture.axis_label('x', chart.x_label);
  picture.axis_label('y', chart.y_label);
  picture.line("set ylabel offset 1.2,0");
  if (chart.log_x) {  // tics at the points themselves
    std::vector<double> at;
    for (const ChartLine* line : lines)
      for (const auto& point : line->points) at.push_back(point.first);
    std::sort(at.begin(), at.end());
    at.erase(std::unique(at.begin(), at.end()), at.end());
    std::ostringstream tics;
    for (const double x : at) tics << (tics.str().empty() ? "" : ",") << x;
    picture.line("set logscale x 2; set xtics (", tics.str(), ")");
  }
  picture.line("set xrange [", x0, ":", x1, "]; set yrange [", y0, ":", y1, "]");
  picture.line("unset key");

  // Names at the ends, moved apart where they would meet.
  constexpr double height = 340, least_gap = 19;  // pixels
  struct End {
    double at;
    std::string name, colour;
  };
  std::vector<End> ends;
  for (const ChartLine* line : lines)
    ends.push_back(
        {(line->points.back().second - y0) / (y1 - y0) * height, line->name, line->colour});
  if (!std::isnan(chart.dashed_y))
    ends.push_back({(chart.dashed_y - y0) / (y1 - y0) * height, chart.dashed_name, Picture::ink});
  std::stable_sort(ends.begin(), ends.end(),
                   [](const End& a, const End& b) { return a.at < b.at; });
  for (std::size_t i = 1; i < ends.size(); ++i)
    ends[i].at = std::max(ends[i].at, ends[i - 1].at + least_gap);
  double limit = height + 10;
  for (std::size_t i = ends.size(); i-- > 0; limit -= least_gap)
    ends[i].at = std::min(ends[i].at, limit);
  int id = 20;
  for (const End& end : ends)
    picture.label(id++, end.name, picture.on_screen(808, 400 - end.at), 14, end.colour.c_str());
  if (!std::isnan(chart.dashed_y)) picture.mark_y(id, chart.dashed_y);

  std::string plot = "plot ";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const ChartLine& line = *lines[i];
    const std::string data =
        "data/" + chart.name + "_" + std::to_string(i + 1) + "_" + file_name(line.name) + ".tsv";
    std::ostringstream table;
    table.precision(10);
    table << "# " << chart.x_label << "\t" << chart.y_label << ": " << line.name << "\n";
    for (const auto& [x, y] : line.points) table << x << "\t" << y << "\n";
    write_file(folder / data, table.str());
    plot += (i ? ", \\\n  " : "") + quoted(data) +
            " with linespoints pointtype 7 pointsize 0.4 linewidth 2 dashtype " +
            std::to_string(line.dash) + " linecolor rgb '" + line.colour + "' notitle";
  }
  picture.line(plot);
  return picture;
}

}  // namespace example
