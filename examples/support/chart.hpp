// SPDX-License-Identifier: MIT
//
// A chart of few lines, each with its name at its end.
#pragma once

#include "gnuplot.hpp"
#include "scheme_look.hpp"
#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace example {

/// Lines of one picture: more cannot be told apart.
inline constexpr std::size_t most_lines = 6;

struct ChartLine {
  std::string name;
  std::string colour;
  int dash = 1;
  std::vector<std::pair<double, double>> points{};  ///< NaN: a gap

  /// In the look of its scheme.
  [[nodiscard]] static ChartLine of(const std::string& scheme) {
    const Look look = look_of(scheme);
    return {scheme, look.colour, look.dash};
  }
};

struct Chart {
  std::string name, title, caption;
  std::string x_label, y_label;
  bool log_x = true;
  std::vector<ChartLine> lines{};
  double dashed_y = NAN;  ///< a horizontal mark with a name
  std::string dashed_name{};
  double dashed_x = NAN;  ///< a vertical mark
  bool log_y = false;
  bool dots = true;      ///< at the points
  std::string x_tics{};  ///< of gnuplot; empty: at the points of a logarithmic axis, else its own
  std::string y_tics{};  ///< the same of y; empty: gnuplot's own
  double y_least = -HUGE_VAL, y_most = HUGE_VAL;  ///< what lies beyond is cut off
};

namespace chart_detail {

/// What both axes show.
struct Range {
  double x0 = HUGE_VAL, x1 = -HUGE_VAL, y0 = HUGE_VAL, y1 = -HUGE_VAL;
  bool log_y = false;

  /// Share of the height.
  [[nodiscard]] double height_of(double y) const {
    const double at = std::clamp(y, y0, y1);
    return log_y ? std::log(at / y0) / std::log(y1 / y0) : (at - y0) / (y1 - y0);
  }
};

inline Range range_of(const Chart& chart) {
  Range r;
  r.log_y = chart.log_y;
  const auto take = [&](double y) {
    if (!std::isfinite(y) || (chart.log_y && y <= 0)) return;
    y = std::clamp(y, chart.y_least, chart.y_most);
    r.y0 = std::min(r.y0, y), r.y1 = std::max(r.y1, y);
  };
  for (const ChartLine& line : chart.lines)
    for (const auto& [x, y] : line.points) {
      r.x0 = std::min(r.x0, x), r.x1 = std::max(r.x1, x);
      take(y);
    }
  take(chart.dashed_y);
  if (!(r.y0 <= r.y1)) return r;
  if (chart.log_y) {
    r.y0 /= 1.1, r.y1 *= 1.1;
  } else {
    const double room = std::max(0.05 * (r.y1 - r.y0), 0.01);
    r.y0 -= room, r.y1 += room;
  }
  if (r.x0 == r.x1) {  // a single point
    const double room = 0.5 * std::abs(r.x0) + 0.1;
    r.x0 -= room, r.x1 += room;
  }
  return r;
}

/// Names at the ends of lines, moved apart where they would meet.
inline void label_ends(Picture& picture, const Chart& chart, const Range& range) {
  constexpr double height = 340, least_gap = 19;  // pixels
  struct End {
    double at;
    std::string name, colour;
  };
  std::vector<End> ends;
  for (const ChartLine& line : chart.lines) {
    const auto last = std::find_if(line.points.rbegin(), line.points.rend(),
                                   [](const auto& p) { return std::isfinite(p.second); });
    if (last != line.points.rend())
      ends.push_back({range.height_of(last->second) * height, line.name, line.colour});
  }
  if (!std::isnan(chart.dashed_y))
    ends.push_back({range.height_of(chart.dashed_y) * height, chart.dashed_name, Picture::ink});
  std::stable_sort(ends.begin(), ends.end(),
                   [](const End& a, const End& b) { return a.at < b.at; });
  // Names that meet make a block around the middle of where they would be.
  struct Block {
    std::size_t first, count;
    double middle;
    [[nodiscard]] double bottom() const { return middle - half(); }
    [[nodiscard]] double top() const { return middle + half(); }
    [[nodiscard]] double half() const { return least_gap * static_cast<double>(count) / 2; }
  };
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    blocks.push_back({i, 1, ends[i].at});
    while (blocks.size() > 1 && blocks.back().bottom() < blocks[blocks.size() - 2].top()) {
      const Block last = blocks.back();
      blocks.pop_back();
      Block& into = blocks.back();
      const auto of_last = static_cast<double>(last.count),
                 of_into = static_cast<double>(into.count);
      into.middle = (into.middle * of_into + last.middle * of_last) / (of_into + of_last);
      into.count += last.count;
    }
  }
  for (const Block& block : blocks)
    for (std::size_t i = 0; i < block.count; ++i)
      ends[block.first + i].at = block.bottom() + least_gap * (static_cast<double>(i) + 0.5);
  int id = 20;
  for (const End& end : ends)
    picture.label(id++, end.name, picture.on_screen(808, 400 - end.at), 14, end.colour.c_str());
}

/// Tics at the points themselves.
inline std::string tics_at_points(const Chart& chart) {
  std::vector<double> at;
  for (const ChartLine& line : chart.lines)
    for (const auto& point : line.points) at.push_back(point.first);
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  std::ostringstream tics;
  for (const double x : at) tics << (tics.str().empty() ? "(" : ",") << x;
  return tics.str() + ")";
}

}  // namespace chart_detail

/// Writes the data beside the script. Lines without points are left out.
inline Picture draw_chart(const Chart& wanted, const std::filesystem::path& folder) {
  Chart chart = wanted;
  std::erase_if(chart.lines, [](const ChartLine& line) { return line.points.empty(); });
  Picture picture(chart.name, chart.title, 460);
  picture.caption = chart.caption;
  const chart_detail::Range range = chart_detail::range_of(chart);
  if (chart.lines.empty() || !(range.y0 <= range.y1)) return picture;
  picture.axes(80, 800, 60, 400);
  picture.axis_label('x', chart.x_label);
  picture.axis_label('y', chart.y_label);
  picture.line("set ylabel offset 1.2,0");
  if (chart.log_x) picture.line("set logscale x 2");
  if (chart.log_y) picture.line("set logscale y 2; set format y '×%g'");
  if (!chart.x_tics.empty())
    picture.line("set xtics ", chart.x_tics);
  else if (chart.log_x)
    picture.line("set xtics ", chart_detail::tics_at_points(chart));
  if (!chart.y_tics.empty()) picture.line("set ytics ", chart.y_tics);
  picture.line("set xrange [", range.x0, ":", range.x1, "]; set yrange [", range.y0, ":", range.y1,
               "]");
  picture.line("unset key");
  chart_detail::label_ends(picture, chart, range);
  if (!std::isnan(chart.dashed_y)) picture.mark_y(40, chart.dashed_y);
  if (!std::isnan(chart.dashed_x)) picture.mark_x(41, chart.dashed_x);

  std::string plot = "plot ";
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const ChartLine& line = chart.lines[i];
    const std::string data =
        "data/" + chart.name + "_" + std::to_string(i + 1) + "_" + file_name(line.name) + ".tsv";
    std::ostringstream table;
    table.precision(10);
    table << "# " << chart.x_label << "\t" << chart.y_label << ": " << line.name << "\n";
    for (const auto& [x, y] : line.points)
      if (std::isfinite(y))
        table << x << "\t" << y << "\n";
      else
        table << x << "\tNaN\n";
    write_file(folder / data, table.str());
    plot += (i ? ", \\\n  " : "") + quoted(data) +
            (chart.dots ? " with linespoints pointtype 7 pointsize 0.4" : " with lines") +
            " linewidth 2 dashtype " + std::to_string(line.dash) + " linecolor rgb '" +
            line.colour + "' notitle";
  }
  picture.line(plot);
  return picture;
}

}  // namespace example
