// SPDX-License-Identifier: MIT
//
// What was compared, in words, and the table for a terminal, 92 columns wide.
#pragma once

#include "../support/text.hpp"
#include "advice.hpp"
#include "comparison.hpp"

#include <iomanip>
#include <ostream>
#include <sstream>
#include <utility>

namespace compare {

inline std::string pairs_text(const RotationReport& r) {
  return r.rotates() ? std::to_string(r.pairs_out) + "/" + std::to_string(r.before.size()) : "-";
}
inline std::string ratio_text(const RotationReport& r, const std::string& times = "x") {
  if (r.pairs_out == 0) return "-";
  return std::isinf(r.worst_ratio) ? "new"
                                   : times + fixed(r.worst_ratio, r.worst_ratio < 100 ? 2 : 0);
}
/// A factor, with two digits of it where it is small.
inline std::string factor_text(double factor) {
  return fixed(factor, factor < 0.095 ? 3 : factor < 99.5 ? 2 : 0);
}
/// How many times as many keys attention spreads over as in the reference.
inline std::string spread_text(const Row& row) {
  return factor_text(std::exp(row.evidence.entropy_change()));
}
inline std::string loss_text(const Row& row) {
  return row.evidence.nats ? fixed(*row.evidence.nats, 3) : "-";
}

/// What was compared and what was sampled, a sentence per line.
inline std::vector<std::string> facts(const Comparison& c) {
  const Setting& at = c.setting;
  const auto& sample = c.sample;
  std::vector<std::string> lines;
  std::ostringstream line;
  const auto end = [&] {
    lines.push_back(std::move(line).str());
    line = std::ostringstream();
  };
  line << at.model.model_type << ", layers \"" << at.layer.name << "\": " << at.layer.num_heads
       << " query and " << at.layer.num_kv_heads << " key heads of " << at.layer.head_dim
       << " channels";
  if (at.rotates())
    line << ", " << at.layer.rotary->rotary_dim << " of them rotating ("
         << to_string(at.layer.rotary->layout) << "), base " << at.layer.rotary->base;
  line << ".";
  end();
  line << "Trained on " << at.trained << " tokens (" << at.why_trained << "), compared at "
       << at.target << " (" << at.why_target << ").";
  end();
  if (at.layer.ahead != 0) {
    line << "These layers see both ways; here every scheme is causal, as the last tokens are.";
    end();
  }
  line << "Sampled: the last " << sample.num_queries() << " queries, " << sample.num_heads()
       << " heads, ";
  if (sample.all_keys())
    line << "all " << sample.num_keys() << " keys";
  else
    line << sample.num_keys() << " keys (the first " << Sample::slice_keys << ", the last "
         << sample.near_keys() << ", slices between)";
  line << "; synthetic content, score " << Sample::peak << " at distance 0, noise of deviation "
       << Sample::noise << ".";
  end();
  line << "Time: CPU time of attention from the last " << c.timed_queries << " tokens to ";
  if (c.timed_keys == at.target)
    line << "all " << c.timed_keys << " keys";
  else
    line << "the last " << c.timed_keys << " keys of " << at.target;
  line << ", median of " << c.rounds << " rounds; " << c.baseline().name << " is 1.";
  end();
  lines.insert(lines.end(), c.loss_facts.begin(), c.loss_facts.end());
  return lines;
}

/// What has to be said about single rows, a sentence each.
inline std::vector<std::string> notes(const Comparison& c) {
  std::vector<std::string> sentences;
  for (auto row = c.rows.begin(); row != c.rows.end(); ++row) {
    const auto same = [&](const Row& other) { return other.note == row->note; };
    if (row->note.empty() || std::any_of(c.rows.begin(), row, same)) continue;
    std::string names;
    for (auto other = row; other != c.rows.end(); ++other)
      if (same(*other)) names += (names.empty() ? "" : ", ") + other->name;
    sentences.push_back(names + ": " + row->note + ".");
  }
  for (const std::string& sentence : c.left_out) sentences.push_back("Left out: " + sentence);
  return sentences;
}

inline Question question_of(const Comparison& c) {
  const Setting& at = c.setting;
  return {.trained = at.trained,
          .target = at.target,
          .promised = at.model.max_position_embeddings,
          .rotates = at.rotates(),
          .alibi = at.layer.alibi.has_value()};
}

/// Recommendation and reasons, then what was not measured.
inline std::vector<std::string> advice_of(const Comparison& c) {
  std::vector<Choice> ordered;
  for (const std::size_t place : c.order) {
    const Row& row = c.rows[place];
    ordered.push_back({row.name, row.parameters, row.evidence, row.raw_keys,
                       row.kind == Row::baseline, row.kind == Row::configured});
  }
  std::vector<std::string> lines = advice(question_of(c), ordered);
  std::string parameters;
  for (const std::size_t place : c.order)
    if (const Row& row = c.rows[place]; !row.expression.empty()) {
      parameters = row.parameters;
      break;
    }
  const std::string expression =
      c.setting.rotates() ? expression_for_evaluate(c.setting, parameters) : "";
  if (c.setting.rotates() && !c.setting.fits())
    for (const std::string& line : not_measured(question_of(c), expression, c.by_loss))
      lines.push_back(line);
  return lines;
}

/// Rows as they are shown, with the title of their class before the first of each.
template <class Title, class Show>
void for_each_shown(const Comparison& c, Title&& title, Show&& show) {
  show(*c.find(Row::reference), 0);
  std::string last;
  int rank = 0;
  for (const std::size_t place : c.order) {
    const Row& row = c.rows[place];
    const bool has_loss = row.evidence.nats.has_value();
    const std::string now = has_loss && std::isnan(*row.evidence.nats)
                                ? "measured: the loss is no number"
                            : has_loss && c.by_loss ? "measured, from the least loss"
                            : c.setting.rotates()   ? title_of(class_of(row.evidence))
                                                    : "";
    if (now != last && !now.empty()) title(now);
    last = now;
    show(row, ++rank);
  }
  bool first = true;
  for (const Row& row : c.rows)
    if (row.kind == Row::other) {
      if (std::exchange(first, false)) title("not ranked: no readings of this model as it is");
      show(row, 0);
    }
}

inline void print_table(std::ostream& out, const Comparison& c) {
  constexpr std::size_t width = 92;
  for (const std::string& fact : facts(c)) print_wrapped(out, fact, width);
  out << "\n";
  for (const std::string& line : advice_of(c)) print_wrapped(out, line, width);
  const bool losses = !c.loss_facts.empty();
  out << "\n"
      << std::left << std::setw(26) << "" << std::right << std::setw(8) << "pairs" << std::setw(8)
      << "worst" << std::setw(10) << "neighb." << std::setw(8) << "near" << std::setw(10)
      << "keys per" << std::setw(9) << "time" << (losses ? "    loss" : "") << "\n"
      << std::left << std::setw(26) << "scheme" << std::right << std::setw(8) << "out"
      << std::setw(8) << "angle" << std::setw(10) << "step" << std::setw(8) << "change"
      << std::setw(10) << "reference" << std::setw(9) << "" << (losses ? "    nats" : "") << "\n"
      << std::string(width, '-') << "\n";
  for_each_shown(
      c, [&](const std::string& title) { out << title << "\n"; },
      [&](const Row& row, int rank) {
        const bool timed = row.kind != Row::reference, turns = row.rotation.rotates();
        out << std::right << std::setw(3) << (rank > 0 ? std::to_string(rank) : "") << " "
            << std::left << std::setw(22) << row.name.substr(0, 21) << std::right << std::setw(8)
            << pairs_text(row.rotation) << std::setw(8) << ratio_text(row.rotation) << std::setw(10)
            << (turns ? factor_text(row.rotation.step) : "-") << std::setw(8)
            << (timed ? fixed(row.evidence.near_change, 2) : "-") << std::setw(10)
            << spread_text(row) << std::setw(8)
            << (timed ? factor_text(row.relative_time) + "x" : "-")
            << (losses ? "   " + loss_text(row) : "") << "\n";
      });
  out << "\n";
  print_wrapped(
      out,
      "pairs out: rotary pairs that reach angles never seen in training, of all; worst angle: how "
      "far, "
      "against training. neighb. step: what the fastest pair turns between neighbours, against "
      "training. near "
      "change: of mean scores within a quarter of the trained length, nats, temperature aside. "
      "keys per "
      "reference: keys that attention spreads over (e^H, H its entropy), against the reference's.",
      width, "");
  out << "\nParameters:\n";
  for_each_shown(
      c, [](const std::string&) {},
      [&](const Row& row, int) {
        std::string text = "  " + row.name + ": " + row.parameters;
        if (!row.rule.empty()) text += " (" + row.rule + ")";
        if (!row.why_not.empty()) text += "; " + row.why_not;
        out << "  ";
        print_wrapped(out, text + ".", width - 2, "      ");
      });
  for (const std::string& sentence : notes(c)) print_wrapped(out, sentence, width);
}

}  // namespace compare
