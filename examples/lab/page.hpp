// SPDX-License-Identifier: MIT
//
// Page: tables, charts and everything that was set, in one HTML file.
#pragma once

#include "../support/chart.hpp"
#include "../support/html.hpp"
#include "summary.hpp"

namespace lab_example {

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

inline std::vector<example::Chart> charts(const Setting& setting, const Results& results) {
  std::vector<example::Chart> all;
  const std::string last = "last " + std::to_string(setting.evaluation.last) + " bytes";
  const auto runs = six_of(summary(setting, results.runs, true), "RoPE");
  const std::string trained = std::to_string(setting.training.length);
  if (!runs.empty()) {
    all.push_back(chart_over_length(
        "length", "Trained on " + trained + " bytes, tested on more",
        "Bits of the " + last +
            " of windows, over their length: what a long context costs or gives. At most six "
            "schemes are drawn, those with the fewest bits at the longest length; the table has "
            "all.",
        runs));
    example::Chart chart{"position",
                         "Where in a long window it breaks",
                         "Bits by position within windows of " +
                             std::to_string(setting.lengths.back()) + " bytes.",
                         "position",
                         "bits per byte",
                         false};
    for (const SummaryRow& row : runs) {
      chart.lines.push_back(example::ChartLine::of(row.name));
      const std::vector<double>& bins = row.cells.back().by_position;
      for (std::size_t i = 0; i < bins.size(); ++i)
        chart.lines.back().points.emplace_back(
            (static_cast<double>(i) + 0.5) * static_cast<double>(setting.evaluation.bin), bins[i]);
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
  if (const auto steps = summary(setting, results.steps); !steps.empty()) {
    const std::string length = std::to_string(setting.extended_length());
    example::Chart chart{"steps", "Training on at " + length + " bytes",
                         "Bits of whole windows of " + length +
                             " bytes after some steps of training at that length, from the "
                             "model that was trained on " +
                             trained + ". Dashed: a model with that length in all of its training.",
                         "steps", "bits per byte"};
    for (const SummaryRow& row : steps) {
      if (row.steps == 0) {
        chart.dashed_y = row.cells.front().bits.mean, chart.dashed_name = row.name;
        continue;
      }
      auto line = std::find_if(chart.lines.begin(), chart.lines.end(),
                               [&](const auto& l) { return l.name == row.name; });
      if (line == chart.lines.end())
        line = chart.lines.insert(line, example::ChartLine::of(row.name));
      line->points.emplace_back(static_cast<double>(row.steps), row.cells.front().bits.mean);
    }
    all.push_back(std::move(chart));
  }
  return all;
}

inline std::string html_value(const Value& value) {
  return fixed(value.mean, 3) +
         (value.seeds > 1 ? " <small>±" + fixed(value.spread / 2, 3) + "</small>" : "");
}

inline std::string html_rows(const std::string& title, const std::vector<SummaryRow>& rows) {
  if (rows.empty()) return {};
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th rowspan=2>" << example::escaped(title);
  for (const Cell& cell : rows.front().cells) html << "<th colspan=3>" << cell.length;
  html << "</tr>\n<tr>";
  for (std::size_t i = 0; i < rows.front().cells.size(); ++i) html << "<th>whole<th>last<th>copy";
  html << "</tr></thead>\n";
  for (const SummaryRow& row : rows) {
    html << "<tr><th>" << example::escaped(row.name);
    for (const Cell& cell : row.cells)
      html << "<td>" << html_value(cell.bits) << "<td>" << html_value(cell.last_bits) << "<td>"
           << (cell.first_copy.seeds ? fixed(cell.second_copy.mean - cell.first_copy.mean, 3)
                                     : "–");
    html << "</tr>\n";
  }
  html << "</table></div>\n";
  return html.str();
}

inline std::string html_steps(const Setting& setting, const std::vector<SummaryRow>& rows) {
  if (rows.empty()) return {};
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th>trained on at " << setting.extended_length()
       << ", bits of whole windows";
  for (const Index steps : setting.extension_steps) html << "<th>" << steps << " steps";
  html << "<th>all</tr></thead>\n";
  std::vector<std::string> done;
  for (const SummaryRow& row : rows) {
    if (std::find(done.begin(), done.end(), row.name) != done.end()) continue;
    done.push_back(row.name);
    html << "<tr><th>" << example::escaped(row.name);
    for (const Index steps : steps_and_all(setting)) {
      const SummaryRow* at = find_row(rows, row.name, steps);
      html << "<td>" << (at ? html_value(at->cells.front().bits) : "");
    }
    html << "</tr>\n";
  }
  html << "</table></div>\n";
  return html.str();
}

/// Writes pictures and page, and says where.
inline std::string write_page(const Setting& setting, const Results& results) {
  const std::filesystem::path folder = setting.out;
  const bool gnuplot = example::has_gnuplot();
  std::ostringstream html;
  html << example::page_head("Encodings, judged by a model") << "<ul class=facts>\n";
  for (const std::string& line : conclusions(setting, results))
    html << "<li>" << example::escaped(line) << "\n";
  html << "</ul>\n"
       << html_rows("trained with", summary(setting, results.runs, true))
       << html_rows("RoPE, read with", summary(setting, results.readings))
       << html_steps(setting, summary(setting, results.steps))
       << "<p class=legend>Bits per byte of held-out text. <b>Whole</b>: windows that do not "
          "overlap. <b>Last</b>: their last "
       << setting.evaluation.last
       << " bytes, which have the longest context. <b>Copy</b>: what the second copy of a passage "
          "of half the window costs, "
          "less the first; negative where the model looks back so far. ± is half of how far seeds "
          "lie apart.</p>\n";
  for (const example::Chart& chart : charts(setting, results)) {
    const example::Picture picture = example::draw_chart(chart, folder);
    if (example::draw(folder, picture, gnuplot))
      html << "<figure>\n<div class=wide>"
           << example::inline_svg(folder / (picture.name + ".svg"), picture.title)
           << "</div>\n<figcaption>" << example::escaped(picture.caption)
           << "</figcaption>\n</figure>\n";
  }
  if (!gnuplot)
    html << "<p class=warning>The pictures are missing because gnuplot is not installed. Their "
            "scripts and data lie beside "
            "this page.</p>\n";
  html << "<details><summary>Settings</summary>\n<pre>"
       << example::escaped(results.setting().dump(2)) << "</pre></details>\n"
       << "<details><summary>Seconds per step of training</summary>\n<pre>"
       << example::escaped(results.seconds_per_step.dump(2))
       << "</pre></details>\n</main>\n</html>\n";
  example::write_file(folder / "lab.html", html.str());
  return "Wrote " + (folder / "lab.html").string() + " and " + results.path().string() + ".";
}

}  // namespace lab_example
