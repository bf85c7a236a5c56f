// SPDX-License-Identifier: MIT
//
// The table for a terminal, 92 columns wide.
#pragma once

#include "../support/text.hpp"
#include "comparison.hpp"

#include <iomanip>
#include <ostream>
#include <sstream>

namespace compare {

inline std::string_view family_title(Family family) {
  switch (family) {
    case Family::base:
      return "bases";
    case Family::frequency:
      return "frequencies";
    case Family::distance:
      return "distances";
    case Family::bias:
      return "biases (instead of rotation)";
    case Family::vectors:
      return "vectors by distance (instead of rotation)";
    case Family::mask:
      return "masks";
    case Family::score:
      return "scores";
  }
  return "";
}

inline std::string pairs_text(const RotationReport& r) {
  return r.rotates() ? std::to_string(r.pairs_out) + "/" + std::to_string(r.before.size()) : "-";
}
inline std::string ratio_text(const RotationReport& r, const std::string& times = "x") {
  return r.pairs_out > 0 ? times + fixed(r.worst_ratio, r.worst_ratio < 100 ? 2 : 0) : "-";
}

/// A score: one decimal, none where it is large.
inline std::string score_text(double score) {
  return fixed(score, std::abs(score) < 99.95 ? 1 : 0);
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
  line << "Time: CPU time of attention over this sample, median of " << c.rounds << " rounds; "
       << c.baseline << " is 1.";
  end();
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

inline void print_table(std::ostream& out, const Comparison& c) {
  constexpr std::size_t width = 92;
  for (const std::string& fact : facts(c)) print_wrapped(out, fact, width);
  const auto probe = probes(c.setting);
  out << "\n"
      << std::left << std::setw(16) << "" << std::right << std::setw(8) << "pairs" << std::setw(8)
      << "worst" << std::setw(7) << "att." << "   mean score at distance       " << std::setw(8)
      << "eff." << std::setw(7) << "H/" << std::setw(7) << "time" << "\n";
  out << std::left << std::setw(16) << "scheme" << std::right << std::setw(8) << "out"
      << std::setw(8) << "angle" << std::setw(7) << "factor";
  for (const Position d : probe) out << std::setw(7) << short_count(d);
  out << std::setw(10) << "keys" << std::setw(8) << "ln n" << std::setw(7) << "" << "\n"
      << std::string(width, '-') << "\n";

  const Row* last = nullptr;
  for (const Row& row : c.rows) {
    if (!row.configured && (!last || last->configured || last->family != row.family))
      out << family_title(row.family) << "\n";
    out << std::left << std::setw(16) << (row.configured ? row.name : "  " + row.name) << std::right
        << std::setw(8) << pairs_text(row.rotation) << std::setw(8) << ratio_text(row.rotation)
        << std::setw(7) << (row.rotation.rotates() ? fixed(row.rotation.attention_factor, 3) : "-");
    for (const DistanceBin& bin : row.scores.probe) out << std::setw(7) << score_text(bin.mean());
    out << std::setw(10) << fixed(row.scores.effective_keys, 0) << std::setw(8)
        << fixed(row.scores.relative, 2) << std::setw(6) << fixed(row.relative_time, 2) << "x\n";
    last = &row;
  }
  out << "\n";
  print_wrapped(
      out,
      "pairs out: rotary pairs that reach angles never seen in training, of all; worst angle: how "
      "far, "
      "against training. eff. keys: e^H, H the entropy of the attention. H/ln n: 1 is uniform.",
      width, "");
  for (const std::string& sentence : notes(c)) print_wrapped(out, sentence, width);
}

}  // namespace compare
