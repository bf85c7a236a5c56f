// SPDX-License-Identifier: MIT
//
// Results over seeds, as numbers and as the table for a terminal.
#pragma once

#include "../support/text.hpp"
#include "results.hpp"

#include <ostream>

namespace lab_example {

using example::fixed;

/// The mean over seeds, and how far they lie apart.
struct Value {
  double mean = 0, spread = 0;
  Index seeds = 0;
};
inline Value value_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  double sum = 0;
  for (const double x : values) sum += x;
  return {sum / static_cast<double>(values.size()), *most - *least, std::ssize(values)};
}

/// One name at one length.
struct Cell {
  Index length = 0;
  Value bits{}, last_bits{}, first_copy{}, second_copy{};
  double keys_share = 1;              ///< that was read, the mean over seeds
  std::vector<double> by_position{};  ///< means over seeds
};
struct SummaryRow {
  std::string name;
  Index steps = 0;
  std::vector<Cell> cells{};
};

/// Rows of the setting's seeds, in the order in which names come first, with steps rising; where names are given, of
/// these.
inline std::vector<SummaryRow> summary(const Setting& setting, const std::vector<Line>& found,
                                       const std::vector<std::string>& names = {}) {
  std::vector<Line> lines;
  for (const Line& line : found) {
    const auto& seeds = setting.seeds;
    if (std::find(seeds.begin(), seeds.end(), line.seed) != seeds.end() &&
        (names.empty() || std::find(names.begin(), names.end(), line.name) != names.end()))
      lines.push_back(line);
  }
  std::vector<SummaryRow> rows;
  for (const Line& line : lines) {
    if (std::any_of(rows.begin(), rows.end(), [&](const SummaryRow& r) {
          return r.name == line.name && r.steps == line.steps;
        }))
      continue;
    SummaryRow row{line.name, line.steps};
    for (const lab::Curve& first : line.curves.text) {
      std::vector<double> bits, last, one, two, keys;
      Cell cell{.length = first.length};
      cell.by_position.resize(first.by_position.size());
      for (const Line& other : lines) {
        if (other.name != line.name || other.steps != line.steps) continue;
        for (const lab::Curve& c : other.curves.text) {
          if (c.length != first.length) continue;
          bits.push_back(c.bits), last.push_back(c.last_bits), keys.push_back(c.keys_share);
          for (std::size_t i = 0; i < std::min(cell.by_position.size(), c.by_position.size()); ++i)
            cell.by_position[i] += c.by_position[i];
        }
        for (const lab::RepeatedCurve& c : other.curves.repeated)
          if (c.length == first.length) one.push_back(c.first_bits), two.push_back(c.second_bits);
      }
      for (double& x : cell.by_position) x /= static_cast<double>(bits.size());
      cell.bits = value_of(bits), cell.last_bits = value_of(last);
      cell.keys_share = value_of(keys).mean;
      cell.first_copy = value_of(one), cell.second_copy = value_of(two);
      row.cells.push_back(std::move(cell));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Each scheme as it was trained, followed by what the methods that go with it make of it.
inline std::vector<SummaryRow> summary_of_selections(const Setting& setting,
                                                     const Results& results) {
  std::vector<SummaryRow> rows;
  for (const std::string& scheme : setting.schemes) {
    std::vector<SummaryRow> chosen;
    for (const ReadSelector& method : setting.selects)
      for (SummaryRow& row : summary(setting, results.selections, {selection_name(scheme, method)}))
        chosen.push_back(std::move(row));
    if (chosen.empty()) continue;
    for (SummaryRow& row : summary(setting, results.runs, {scheme})) rows.push_back(std::move(row));
    for (SummaryRow& row : chosen) rows.push_back(std::move(row));
  }
  return rows;
}

/// The greatest spread of seeds among rows: smaller differences are no order. 0 with one seed.
inline double greatest_spread(const std::vector<SummaryRow>& rows) {
  double most = 0;
  for (const SummaryRow& row : rows)
    for (const Cell& cell : row.cells)
      most = std::max({most, cell.bits.spread, cell.last_bits.spread});
  return most;
}

/// "ALiBi, T5, RoPE", from the fewest bits of whole windows at the last length.
inline std::string ranked(std::vector<SummaryRow> rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const SummaryRow& a, const SummaryRow& b) {
    return example::nan_last(a.cells.back().bits.mean) <
           example::nan_last(b.cells.back().bits.mean);
  });
  std::string text;
  for (const SummaryRow& row : rows)
    text += (text.empty() ? "" : ", ") + row.name + " " + fixed(row.cells.back().bits.mean, 3);
  return text;
}

inline std::string cell_text(const Cell& cell) {
  return fixed(cell.bits.mean, 3) + "/" + fixed(cell.last_bits.mean, 3);
}

/// Names of rows down, lengths across: whole windows / last bytes.
inline void print_rows(std::ostream& out, const std::string& title,
                       const std::vector<SummaryRow>& rows) {
  if (rows.empty()) return;
  out << "\n" << std::left << std::setw(20) << title << std::right;
  for (const Cell& cell : rows.front().cells) out << std::setw(14) << cell.length;
  out << "\n";
  for (const SummaryRow& row : rows) {
    out << std::left << std::setw(20) << row.name << std::right;
    for (const Cell& cell : row.cells) out << std::setw(14) << cell_text(cell);
    out << "\n";
  }
}

inline std::string percent(double share) { return fixed(100 * share, 1) + " %"; }

/// As print_rows, with the share of the keys that was read; names are long, so each has a line of its own.
inline void print_selections(std::ostream& out, const Setting& setting, const Results& results) {
  const std::vector<SummaryRow> rows = summary_of_selections(setting, results);
  if (rows.empty()) return;
  out << "\n" << std::left << std::setw(16) << "read with keys" << std::right;
  for (const Cell& cell : rows.front().cells) out << std::setw(20) << cell.length;
  out << "\n";
  for (const SummaryRow& row : rows) {
    out << row.name << "\n" << std::setw(16) << "";
    for (const Cell& cell : row.cells)
      out << std::setw(20) << cell_text(cell) + " " + percent(cell.keys_share);
    out << "\n";
  }
}

/// Schedules in the order of their definition, then the model of the trained length, read with YaRN and not trained on.
/// Names that stand twice get their number of steps.
inline std::vector<SummaryRow> summary_of_schedules(const Setting& setting,
                                                    const Results& results) {
  std::vector<SummaryRow> rows = summary(setting, results.stages);
  if (rows.empty()) return rows;
  for (SummaryRow row : summary(setting, results.readings)) {
    if (row.name != "YaRN") continue;
    std::vector<Cell> cells;
    for (const Cell& cell : row.cells)
      for (const Index length : setting.lengths_of_schedules())
        if (cell.length == length) cells.push_back(cell);
    if (cells.size() == rows.front().cells.size())
      rows.push_back({std::to_string(setting.training.length) + ", read with YaRN",
                      setting.training.steps, cells});
  }
  return rows;
}
/// Milliseconds of a step of a schedule's training, the mean over seeds.
inline double milliseconds_of(const Setting& setting, const Results& results,
                              const SummaryRow& row) {
  std::vector<double> seconds;
  for (const std::uint64_t seed : setting.seeds)
    if (const auto at = results.seconds_per_step.find(schedule_run(row.name, seed, row.steps));
        at != results.seconds_per_step.end())
      seconds.push_back(real_of(*at));
  return seconds.empty() ? NAN : 1000 * value_of(seconds).mean;
}
inline void print_schedules(std::ostream& out, const Setting& setting, const Results& results) {
  const std::vector<SummaryRow> rows = summary_of_schedules(setting, results);
  if (rows.empty()) return;
  out << "\n"
      << std::left << std::setw(20) << "RoPE, trained by" << std::right << std::setw(8) << "steps"
      << std::setw(8) << "ms each";
  for (const Cell& cell : rows.front().cells) out << std::setw(14) << cell.length;
  out << "\n";
  for (const SummaryRow& row : rows) {
    out << std::left << std::setw(20) << row.name << std::right << std::setw(8) << row.steps
        << std::setw(8) << fixed(milliseconds_of(setting, results, row), 0);
    for (const Cell& cell : row.cells) out << std::setw(14) << cell_text(cell);
    out << "\n";
  }
}

inline const SummaryRow* find_row(const std::vector<SummaryRow>& rows, const std::string& name,
                                  Index steps) {
  for (const SummaryRow& row : rows)
    if (row.name == name && row.steps == steps) return &row;
  return nullptr;
}

/// The model with the longer length in all of its training, of as many steps as the one of the trained length.
inline const SummaryRow* throughout(const Setting& setting, const std::vector<SummaryRow>& stages) {
  return find_row(stages, std::to_string(setting.extended_length()) + " throughout",
                  setting.training.steps);
}

/// Schemes down, numbers of steps across.
inline void print_steps(std::ostream& out, const Setting& setting, const Results& results) {
  const std::vector<SummaryRow> rows = summary(setting, results.steps);
  if (rows.empty()) return;
  out << "\n"
      << std::left << std::setw(20) << "steps at " + std::to_string(setting.extended_length())
      << std::right;
  for (const Index steps : setting.extension_steps) out << std::setw(14) << steps;
  out << "\n";
  std::vector<std::string> done;
  for (const SummaryRow& row : rows) {
    if (std::find(done.begin(), done.end(), row.name) != done.end()) continue;
    done.push_back(row.name);
    out << std::left << std::setw(20) << row.name << std::right;
    for (const Index steps : setting.extension_steps) {
      const SummaryRow* at = find_row(rows, row.name, steps);
      out << std::setw(14) << (at ? cell_text(at->cells.front()) : "");
    }
    out << "\n";
  }
}

/// What can be said, a sentence a line.
inline std::vector<std::string> conclusions(const Setting& setting, const Results& results) {
  std::vector<std::string> lines;
  const std::vector<SummaryRow> runs = summary(setting, results.runs, setting.schemes);
  if (runs.empty()) return lines;
  const double spread = greatest_spread(runs);
  lines.push_back("At " + std::to_string(setting.lengths.back()) + " bytes, trained on " +
                  std::to_string(setting.training.length) +
                  ", bits of whole windows from the fewest: " + ranked(runs) + ".");
  if (const auto read = summary(setting, results.readings); !read.empty())
    lines.push_back("The RoPE model read at " + std::to_string(setting.lengths.back()) +
                    " without training: " + ranked(read) + ".");
  for (const ReadSelector& method : setting.selects)
    for (const std::string& scheme : setting.schemes)
      if (const std::string why =
              why_not(named_scheme(scheme).make(setting.shape, setting.training.length),
                      setting.shape, method);
          !why.empty())
        lines.push_back(method.text + " is left out with " + scheme + ": " + why);
  lines.push_back(setting.seeds.size() > 1
                      ? "Seeds lie up to " + fixed(spread, 3) +
                            " bits apart: smaller differences are no order."
                      : "One seed: differences of a few hundredths of a bit may be chance (--seeds "
                        "3 shows how far seeds lie apart).");
  if (!results.steps.empty() && results.stages.empty())
    lines.push_back("Schedules of growing length were not trained (--schedules trains them).");
  return lines;
}

inline void print_table(std::ostream& out, const Setting& setting, const Results& results) {
  out << "Bits per byte, whole window / its last " << setting.evaluation.last << " bytes. "
      << setting.shape.num_weights() << " weights, " << setting.training.steps << " steps of "
      << setting.training.sequences << " x " << setting.training.length << " bytes, "
      << setting.seeds.size() << (setting.seeds.size() == 1 ? " seed.\n" : " seeds.\n");
  print_rows(out, "trained with", summary(setting, results.runs, setting.schemes));
  print_selections(out, setting, results);
  print_rows(out, "RoPE, read with", summary(setting, results.readings));
  print_steps(out, setting, results);
  print_schedules(out, setting, results);
  out << "\n";
  for (const std::string& line : conclusions(setting, results))
    example::print_wrapped(out, line, 92);
}

}  // namespace lab_example
