// SPDX-License-Identifier: MIT
//
// Comparison: all rows, in their order.
#pragma once

#include "timing.hpp"

namespace compare {

struct Comparison {
  Setting setting;
  Sample sample;
  std::vector<Row> rows{};              ///< reference and baseline first
  std::vector<std::size_t> order{};     ///< of the ranked rows, the best first
  bool by_loss = false;                 ///< losses were measured that order them
  std::vector<std::string> left_out{};  ///< schemes that do not fit the setting, a sentence each
  int rounds = 0;                       ///< of timing
  Index timed_queries = 0, timed_keys = 0;
  std::vector<std::string> loss_facts{};  ///< what was measured with weights; empty: nothing

  Comparison(Setting at, unsigned seed) : setting(std::move(at)), sample(setting, seed) {}

  [[nodiscard]] const Row* find(Row::Kind kind) const {
    const auto row =
        std::find_if(rows.begin(), rows.end(), [=](const Row& r) { return r.kind == kind; });
    return row == rows.end() ? nullptr : &*row;
  }
  [[nodiscard]] const Row& baseline() const { return *find(Row::baseline); }

  /// Orders the ranked rows by what is known of them.
  void rank() {
    std::vector<std::size_t> places;
    std::vector<Evidence> evidence;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i].is_ranked()) places.push_back(i), evidence.push_back(rows[i].evidence);
    by_loss = losses_decide(evidence);
    order.clear();
    for (const std::size_t place : ranked(evidence)) order.push_back(places[place]);
  }
};

/// Collects rows, and sentences of those that cannot be bound.
class RowMaker {
 public:
  RowMaker(Comparison& c, const example::Progress& progress) : c_(c), progress_(progress) {}

  /// Returns what to bind.
  using Make = std::function<Adapted(std::string& note)>;
  void add(Row row, const Setting& at, const Sample& sample, const Make& make) {
    progress_.say(row.name);
    try {
      row.adapted = make(row.note);
      if (row.parameters.empty()) row.parameters = row.adapted.parameters;
      c_.rows.push_back(measure(std::move(row), at, sample));
    } catch (const posenc::Error& error) {
      const std::string& why = error.problems().front();
      c_.left_out.push_back(why.starts_with(row.name) ? why : row.name + ": " + why);
    }
  }
  void add(Row row, const Make& make) { add(std::move(row), c_.setting, c_.sample, make); }

 private:
  Comparison& c_;
  const example::Progress& progress_;
};

inline bool names_equal(std::string_view a, std::string_view b) { return plain(a) == plain(b); }

/// What --schemes names: expressions as they are, and names that there must be.
inline void check_names(const Setting& at, const std::vector<std::string>& wanted) {
  std::vector<std::string> known;
  const auto add = [&](std::string_view name) {
    if (std::none_of(known.begin(), known.end(),
                     [&](const auto& k) { return names_equal(k, name); }))
      known.emplace_back(name);
  };
  for (const Candidate& candidate : candidates(at)) add(candidate.name);
  for (const GalleryScheme& scheme : gallery_schemes(at)) add(scheme.entry.name);
  posenc::Problems problems;
  for (const std::string& name : wanted) {
    if (name.find_first_of("|{") != std::string::npos) {
      static_cast<void>(read_expression(name, at));  // throws what is wrong with it
      continue;
    }
    if (std::any_of(known.begin(), known.end(),
                    [&](const auto& k) { return names_equal(k, name); }))
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

inline void add_rows(Comparison& c, const Arguments& arguments, const example::Progress& progress) {
  const Setting& at = c.setting;
  RowMaker maker(c, progress);
  const std::string trained_name = at.rotates() ? "RoPE" : at.layer.alibi ? "ALiBi" : "NoPE";
  const char* of_file = "the file";

  const Setting then = at.at_trained_length();
  const Sample sample_then(then, arguments.seed);
  maker.add({.name = "reference",
             .source = of_file,
             .kind = Row::reference,
             .rule = "the model at its trained length, " + short_count(then.target) + " tokens"},
            then, sample_then, [&](std::string&) { return as_trained(then); });
  maker.add({.name = trained_name,
             .source = of_file,
             .kind = Row::baseline,
             .rule = "as trained, nothing changed"},
            [&](std::string&) { return as_trained(at); });
  if (c.rows.size() < 2)
    throw posenc::Error("compare", {"layers of the kind " + at.layer.name + " cannot be bound. " +
                                    (c.left_out.empty() ? "" : c.left_out.front())});
  if (file_extends(at.layer, at.trained))
    maker.add({.name = "as configured",
               .source = of_file,
               .family = Family::frequency,
               .kind = Row::configured,
               .rule = "the file's own scheme"},
              [&](std::string&) { return as_configured(at); });

  const auto wanted = [&](std::string_view name) {
    return std::any_of(arguments.schemes.begin(), arguments.schemes.end(),
                       [&](const auto& n) { return names_equal(n, name); });
  };
  const bool all = arguments.all, by_default = arguments.schemes.empty();
  const auto has = [&](std::string_view name) {
    return std::any_of(c.rows.begin() + 1, c.rows.end(),
                       [&](const Row& r) { return names_equal(r.name, name); });
  };
  for (const Candidate& one : candidates(at))
    if (by_default || wanted(one.name))
      maker.add({.name = one.name,
                 .source = one.source,
                 .family = one.family,
                 .rule = one.rule,
                 .expression = one.expression},
                [&](std::string&) { return read_expression(one.expression, at); });
  if (at.layer.alibi && by_default && !at.fits())
    maker.add({.name = "ALiBi interpolated",
               .source = "2310.13017",
               .family = Family::bias,
               .rule = "slopes times the trained over the asked length"},
              [&](std::string&) {
                return as_trained(at,
                                  static_cast<double>(at.trained) / static_cast<double>(at.target));
              });
  for (const std::string& text : arguments.schemes)
    if (text.find_first_of("|{") != std::string::npos)
      maker.add({.name = short_name(text),
                 .source = "--schemes",
                 .family = Family::score,
                 .rule = "as given"},
                [&](std::string&) { return read_expression(text, at); });
  for (const auto& [entry, adapted] : gallery_schemes(at)) {
    if (has(entry.name)) continue;
    const auto [why, rule] = note_of(entry, at);
    if (!all && !wanted(entry.name) && !(by_default && why.empty() && !at.fits())) continue;
    maker.add({.name = std::string(entry.name),
               .source = std::string(entry.source),
               .family = entry.family,
               .kind = why.empty() ? Row::reading : Row::other,
               .rule = rule,
               .why_not = why},
              [&](std::string& note) { return adapted(c.setting, c.sample, note); });
  }
}

inline Comparison compare_all(const Setting& at, const Arguments& arguments,
                              const example::Progress& progress) {
  check_names(at, arguments.schemes);
  Comparison c(at, arguments.seed);
  add_rows(c, arguments, progress);
  TimedCall call(c.setting, arguments.seed);
  c.timed_queries = call.num_queries(), c.timed_keys = call.num_keys();
  c.rounds = measure_times(c.rows, call, arguments.rounds, progress);
  const double entropy_then = c.find(Row::reference)->scores.entropy;
  for (Row& row : c.rows) {
    const RotationReport& r = row.rotation;
    row.evidence = {.pairs_out = static_cast<int>(r.pairs_out),
                    .worst_ratio = r.worst_ratio,
                    .step = r.step,
                    .near_change =
                        row.kind == Row::reference ? 0 : near_change(row, c.baseline(), at),
                    .entropy = row.scores.entropy,
                    .entropy_then = entropy_then,
                    .time = row.relative_time,
                    .reads_all = r.seen >= c.baseline().rotation.seen,
                    .given = row.kind == Row::baseline || row.kind == Row::configured};
  }
  c.rank();
  return c;
}

}  // namespace compare
