// SPDX-License-Identifier: MIT
//
// Charts of results, each of at most six lines.
#pragma once

#include "../support/chart.hpp"
#include "summary.hpp"

namespace lab_example {

/// Where names follow the setting: by their place.
inline example::ChartLine line_for_place(const std::string& name, std::size_t place) {
  static const std::vector<std::string> colours{"#777777", "#0072B2", "#D55E00",
                                                "#333333", "#009E73", "#CC79A7"};
  return {name, colours[place % colours.size()], place < colours.size() ? 1 : 2, {}};
}

/// At most six rows: the one called `always` and those with the fewest bits at the longest length.
inline std::vector<SummaryRow> six_of(std::vector<SummaryRow> rows, const std::string& always) {
  std::stable_sort(rows.begin(), rows.end(), [&](const SummaryRow& a, const SummaryRow& b) {
    const auto key = [&](const SummaryRow& r) {
      return std::pair(r.name != always, r.cells.back().bits.mean);
    };
    return key(a) < key(b);
  });
  if (rows.size() > example::most_lines) rows.resize(example::most_lines);
  return rows;
}

inline example::Chart chart_over_length(const char* name, const std::string& title,
                                        const std::string& caption,
                                        const std::vector<SummaryRow>& rows) {
  example::Chart chart{name, title, caption, "length of the window, bytes", "bits per byte"};
  for (const SummaryRow& row : rows) {
    chart.lines.push_back(example::ChartLine::of(row.name));
    for (const Cell& cell : row.cells)
      chart.lines.back().points.emplace_back(static_cast<double>(cell.length), cell.last_bits.mean);
  }
  return chart;
}

/// Bits by position within a window, still without lines.
inline example::Chart chart_by_position(const char* name, const std::string& title,
                                        const std::string& caption) {
  return {name, title, caption, "position", "bits per byte", false};
}
inline void add_positions_of(example::ChartLine& line, const Cell& cell, const Setting& setting) {
  for (std::size_t i = 0; i < cell.by_position.size(); ++i)
    line.points.emplace_back((static_cast<double>(i) + 0.5) *
                                 static_cast<double>(setting.evaluation.bin),
                             cell.by_position[i]);
}

/// Models that were trained by schedules, by position within windows of the longer length.
inline example::Chart chart_of_schedules(const Setting& setting,
                                         const std::vector<SummaryRow>& rows) {
  const std::string length = std::to_string(setting.extended_length());
  example::Chart chart = chart_by_position(
      "schedules", "Lengths that grow in training, or " + length + " bytes throughout",
      "Bits by position within windows of " + length +
          " bytes. Models that have seen as many bytes as each other have as many steps; the "
          "number stands behind a name that occurs twice.");
  for (const SummaryRow& row : rows) {
    const bool twice = std::count_if(rows.begin(), rows.end(),
                                     [&](const SummaryRow& r) { return r.name == row.name; }) > 1;
    const std::string name = twice ? row.name + ", " + std::to_string(row.steps) : row.name;
    chart.lines.push_back(line_for_place(name, chart.lines.size()));
    add_positions_of(chart.lines.back(), row.cells.front(), setting);
  }
  return chart;
}

inline std::vector<example::Chart> charts(const Setting& setting, const Results& results) {
  std::vector<example::Chart> all;
  const std::string last = "last " + std::to_string(setting.evaluation.last) + " bytes";
  const auto runs = six_of(summary(setting, results.runs, setting.schemes), "RoPE");
  const std::string trained = std::to_string(setting.training.length);
  if (!runs.empty()) {
    all.push_back(chart_over_length(
        "length", "Trained on " + trained + " bytes, tested on more",
        "Bits of the " + last +
            " of windows, over their length: what a long context costs or gives. At most six "
            "schemes are drawn, those with the fewest bits at the longest length; the table has "
            "all.",
        runs));
    example::Chart chart = chart_by_position(
        "position", "Where in a long window it breaks",
        "Bits by position within windows of " + std::to_string(setting.lengths.back()) + " bytes.");
    for (const SummaryRow& row : runs) {
      chart.lines.push_back(example::ChartLine::of(row.name));
      add_positions_of(chart.lines.back(), row.cells.back(), setting);
    }
    all.push_back(std::move(chart));
  }
  if (const auto read = six_of(summary(setting, results.readings), "as trained"); !read.empty())
    all.push_back(chart_over_length(
        "readings", "The RoPE model, read with schemes that extend it",
        "Bits of the " + last +
            ", without any training at these lengths. At most six are drawn: "
            "as it was trained, and those with the fewest bits at the longest length.",
        read));
  const auto stages = summary(setting, results.stages);
  if (const auto steps = summary(setting, results.steps); !steps.empty()) {
    const std::string length = std::to_string(setting.extended_length());
    example::Chart chart{"steps", "Training on at " + length + " bytes",
                         "Bits of whole windows of " + length +
                             " bytes after some steps of training at that length, from the "
                             "model that was trained on " +
                             trained + ".",
                         "steps", "bits per byte"};
    if (const SummaryRow* row = throughout(setting, stages)) {
      chart.dashed_y = row->cells.front().bits.mean, chart.dashed_name = row->name;
      chart.caption += " Dashed: a model with that length in all of its training.";
    }
    for (const SummaryRow& row : steps) {
      auto line = std::find_if(chart.lines.begin(), chart.lines.end(),
                               [&](const auto& l) { return l.name == row.name; });
      if (line == chart.lines.end())
        line = chart.lines.insert(line, example::ChartLine::of(row.name));
      line->points.emplace_back(static_cast<double>(row.steps), row.cells.front().bits.mean);
    }
    all.push_back(std::move(chart));
  }
  if (!stages.empty()) all.push_back(chart_of_schedules(setting, stages));
  return all;
}

}  // namespace lab_example
