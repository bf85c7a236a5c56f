// SPDX-License-Identifier: MIT
//
// Page: tables, charts and everything that was set, in one HTML file.
#pragma once

#include "../support/html.hpp"
#include "charts.hpp"

namespace lab_example {

inline std::string html_value(const Value& value) {
  return fixed(value.mean, 3) +
         (value.seeds > 1 ? " <small>±" + fixed(value.spread / 2, 3) + "</small>" : "");
}

inline std::string html_rows(const std::string& title, const std::vector<SummaryRow>& rows,
                             bool with_keys = false) {
  if (rows.empty()) return {};
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th rowspan=2>" << example::escaped(title);
  for (const Cell& cell : rows.front().cells)
    html << "<th colspan=" << (with_keys ? 4 : 3) << ">" << cell.length;
  html << "</tr>\n<tr>";
  for (std::size_t i = 0; i < rows.front().cells.size(); ++i)
    html << "<th>whole<th>last<th>copy" << (with_keys ? "<th>keys" : "");
  html << "</tr></thead>\n";
  for (const SummaryRow& row : rows) {
    html << "<tr><th>" << example::escaped(row.name);
    for (const Cell& cell : row.cells)
      html << "<td>" << html_value(cell.bits) << "<td>" << html_value(cell.last_bits) << "<td>"
           << (cell.first_copy.seeds ? fixed(cell.second_copy.mean - cell.first_copy.mean, 3) : "–")
           << (with_keys ? "<td>" + percent(cell.keys_share) : "");
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
  html << "</tr></thead>\n";
  std::vector<std::string> done;
  for (const SummaryRow& row : rows) {
    if (std::find(done.begin(), done.end(), row.name) != done.end()) continue;
    done.push_back(row.name);
    html << "<tr><th>" << example::escaped(row.name);
    for (const Index steps : setting.extension_steps) {
      const SummaryRow* at = find_row(rows, row.name, steps);
      html << "<td>" << (at ? html_value(at->cells.front().bits) : "");
    }
    html << "</tr>\n";
  }
  html << "</table></div>\n";
  return html.str();
}

inline std::string html_schedules(const Setting& setting, const Results& results) {
  const std::vector<SummaryRow> rows = summary_of_schedules(setting, results);
  if (rows.empty()) return {};
  std::ostringstream html;
  html << "<div class=wide><table>\n<thead><tr><th rowspan=2>RoPE, trained by<th rowspan=2>steps"
          "<th rowspan=2>ms each";
  for (const Cell& cell : rows.front().cells) html << "<th colspan=2>" << cell.length;
  html << "</tr>\n<tr>";
  for (std::size_t i = 0; i < rows.front().cells.size(); ++i) html << "<th>whole<th>last";
  html << "</tr></thead>\n";
  for (const SummaryRow& row : rows) {
    html << "<tr><th>" << example::escaped(row.name) << "<td>" << row.steps << "<td>"
         << fixed(milliseconds_of(setting, results, row), 0);
    for (const Cell& cell : row.cells)
      html << "<td>" << html_value(cell.bits) << "<td>" << html_value(cell.last_bits);
    html << "</tr>\n";
  }
  html << "</table></div>\n<ul class=legend>\n";
  for (const NamedSchedule& schedule : setting.schedules())
    html << "<li><b>" << example::escaped(schedule.name) << "</b>, " << schedule.steps
         << " steps: " << example::escaped(schedule.what) << ".\n";
  html << "</ul>\n";
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
       << html_rows("trained with", summary(setting, results.runs, setting.schemes))
       << html_rows("read with chosen keys", summary_of_selections(setting, results), true)
       << html_rows("RoPE, read with", summary(setting, results.readings))
       << html_steps(setting, summary(setting, results.steps)) << html_schedules(setting, results)
       << "<p class=legend>Bits per byte of held-out text. <b>Whole</b>: windows that do not "
          "overlap. <b>Last</b>: their last "
       << setting.evaluation.last
       << " bytes, which have the longest context. <b>Copy</b>: what the second copy of a passage "
          "of half the window costs, "
          "less the first; negative where the model looks back so far. <b>Keys</b>: of those that "
          "the layers of attention may see in whole windows, what was read. ± is half of how far "
          "seeds "
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
