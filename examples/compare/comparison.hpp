// SPDX-License-Identifier: MIT
//
// Comparison: all rows, with times measured in turns.
#pragma once

#include "progress.hpp"
#include "schemes.hpp"

#include <ctime>

namespace compare {

struct Comparison {
  Setting setting;
  Sample sample;
  std::vector<Row> rows;
  std::vector<std::string> left_out;  ///< schemes that do not fit the setting, a sentence each
  std::string baseline;               ///< whose time is 1
  int rounds = 0;                     ///< of timing

  Comparison(Setting at, unsigned seed) : setting(std::move(at)), sample(setting, seed) {}
};

inline std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Refuses names that the gallery does not have.
inline void check_names(const Setting& at, const std::vector<std::string>& wanted) {
  std::vector<std::string> known;
  for_each_scheme(at, [&](const posenc::GalleryEntry& entry, const auto&) {
    known.emplace_back(entry.name);
  });
  posenc::Problems problems;
  for (const std::string& name : wanted) {
    if (std::any_of(known.begin(), known.end(),
                    [&](const auto& k) { return plain(k) == plain(name); }))
      continue;
    std::string all;
    for (const auto& k : known) all += (all.empty() ? "" : ", ") + k;
    problems.add("--schemes: there is no scheme '", name, "' for ",
                 at.rotates() ? "this model" : "a model without rotation", "; there are: ", all,
                 ".");
    break;
  }
  problems.raise_if_any("compare");
}

/// Rounds in which every scheme runs once, so that a busy machine is equally unfair to all.
inline void measure_times(Comparison& c, Progress& progress) {
  const auto cpu_seconds = [] {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  };  // one thread works
  constexpr int most_rounds = 9, least_rounds = 3;
  constexpr double budget = 15;
  std::vector<std::vector<double>> times(c.rows.size());
  const double start = cpu_seconds();
  c.rows.front().attend();  // warm up
  for (; c.rounds < most_rounds && (c.rounds < least_rounds || cpu_seconds() - start < budget);
       ++c.rounds) {
    progress.say("timing, round " + std::to_string(c.rounds + 1));
    for (std::size_t i = 0; i < c.rows.size(); ++i) {
      const double before = cpu_seconds();
      c.rows[i].attend();
      times[i].push_back(cpu_seconds() - before);
    }
  }
  const auto base = std::find_if(c.rows.begin(), c.rows.end(),
                                 [&](const Row& row) { return row.name == c.baseline; });
  const auto& base_times = times[static_cast<std::size_t>(base - c.rows.begin())];
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t r = 0; r < base_times.size(); ++r)
      ratios.push_back(times[i][r] / base_times[r]);
    std::nth_element(ratios.begin(), ratios.begin() + std::ssize(ratios) / 2, ratios.end());
    c.rows[i].relative_time = ratios[ratios.size() / 2];
  }
}

inline Comparison compare_all(const Setting& at, const Arguments& arguments, Progress& progress) {
  check_names(at, arguments.schemes);
  Comparison c(at, arguments.seed);
  c.baseline = at.rotates() ? "RoPE" : "NoPE";
  const auto wanted = [&](std::string_view name) {
    return arguments.schemes.empty() || name == c.baseline ||
           std::any_of(arguments.schemes.begin(), arguments.schemes.end(),
                       [&](const auto& n) { return plain(n) == plain(name); });
  };
  const auto add = [&](Row row, auto&& make) {
    progress.say(row.name);
    try {
      const auto encoding = make(row.note);
      c.rows.push_back(measure(row, encoding, c.setting, c.sample));
    } catch (const posenc::Error& error) {
      const std::string& why = error.problems().front();
      c.left_out.push_back(why.starts_with(row.name) ? why : row.name + ": " + why);
    }
  };

  at.layer.visit([&](const auto& encoding) {
    add({.name = "as configured", .source = "the file", .family = Family::base, .configured = true},
        [&](std::string& note) { return adapt_all(encoding, c.setting, c.sample, note); });
  });
  for_each_scheme(at, [&](const posenc::GalleryEntry& entry, const auto& encoding) {
    if (wanted(entry.name))
      add({.name = std::string(entry.name),
           .source = std::string(entry.source),
           .family = entry.family},
          [&](std::string& note) { return adapt_all(encoding, c.setting, c.sample, note); });
  });
  if (c.rows.empty())
    throw posenc::Error("compare",
                        {"no scheme can be bound to layers of the kind " + at.layer.name + ". " +
                         (c.left_out.empty() ? "" : c.left_out.front())});
  if (std::none_of(c.rows.begin(), c.rows.end(),
                   [&](const Row& row) { return row.name == c.baseline; }))
    c.baseline = c.rows.front().name;
  measure_times(c, progress);
  return c;
}

}  // namespace compare
