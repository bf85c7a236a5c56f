// SPDX-License-Identifier: MIT
//
// ContextSchedule: how the length of training sequences, and the rotary base with it, grow over the tokens of
// a training run. Presets are in schedule/presets.hpp.
//
//   const ContextSchedule schedule = prolong();
//   schedule.at(token).length           // of sequences, now
//   schedule.encoding(model, token)     // the model's encoding, with the stage's base or scheme
//   std::cout << explain(schedule, model, {.num_heads = 32});
#pragma once

#include <posenc/bind/any.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/frequency/abf.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Of so many tokens.
struct ContextStage {
  Index length = 0;   ///< tokens of a sequence, or of what a token may see, at the end of the stage
  double base = 0;    ///< rotary base; 0: the model's own
  double tokens = 0;  ///< that are trained in it; 0, in the last stage alone: all that follow
  Index from = 0;     ///< length at its start, from which it grows evenly; 0: `length` throughout
  double full_share = 1;  ///< of the sequences that are `length` long; the others are shorter
  AnyEncoding scheme{};  ///< behind the model's encoding and its base, such as YaRN; empty: nothing
};

/// Where a schedule stands.
struct ContextNow {
  std::size_t stage = 0;
  Index length = 0;
};

struct ContextSchedule {
  std::vector<ContextStage> stages{};

  /// Throws Error with every problem. (Other members do so, too.)
  void check() const {
    Problems problems;
    problems.require(!stages.empty(), "a schedule needs at least one stage.");
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const ContextStage& s = stages[i];
      const auto require = [&](bool holds, const auto&... sentence) {
        problems.require(holds, "stage ", i, ": ", sentence...);
      };
      require(s.length > 0 && s.length <= greatest_position, "length must be positive, got ",
              s.length, ".");
      require(s.from >= 0 && s.from <= s.length, "from must lie within [0, length = ", s.length,
              "], got ", s.from, ".");
      require(s.base == 0 || (std::isfinite(s.base) && s.base > 1),
              "base must be finite and exceed 1 (0: the model's own), got ", s.base, ".");
      require(s.tokens <= 1e18 && (s.tokens > 0 || (s.tokens == 0 && i + 1 == stages.size())),
              "tokens must lie within (0, 1e18] (0 in the last stage: all that follow), got ",
              s.tokens, ".");
      require(s.from == 0 || s.from == s.length || s.tokens > 0,
              "its length grows, so it needs a number of tokens.");
      require(s.full_share > 0 && s.full_share <= 1, "full_share must lie within (0, 1], got ",
              s.full_share, ".");
    }
    problems.raise_if_any("posenc::ContextSchedule");
  }

  /// Of a token, by how many were trained before it. Behind the last stage its length stays.
  [[nodiscard]] ContextNow at(double token) const {
    check();
    if (!(token >= 0))
      throw Error("posenc::ContextSchedule",
                  {"tokens count from 0, got " + std::to_string(token) + "."});
    std::size_t i = 0;
    for (; i + 1 < stages.size() && token >= stages[i].tokens; ++i) token -= stages[i].tokens;
    const ContextStage& s = stages[i];
    if (s.from == 0 || token >= s.tokens) return {i, s.length};
    // Every length from `from` on holds for as many tokens, the last one from the end of the stage on.
    const double steps = static_cast<double>(s.length - s.from);
    return {i, s.from + static_cast<Index>(steps * token / s.tokens)};
  }

  /// The model's encoding with the base and the scheme of the stage that a token is in.
  [[nodiscard]] AnyEncoding encoding(const AnyEncoding& model, double token) const {
    return of_stage(model, stages[at(token).stage]);
  }

  /// The model's encoding in a stage.
  [[nodiscard]] static AnyEncoding of_stage(const AnyEncoding& model, const ContextStage& stage) {
    AnyEncoding encoding = model;
    if (stage.base != 0) encoding |= Base{stage.base};
    if (stage.scheme.size() != 0) encoding |= stage.scheme;
    return encoding;
  }

 private:
  /// ABF to a base, whatever the base was.
  struct Base {
    double base;
    void transform(RotaryState& state) const { ABF{.beta = base / state.base}.transform(state); }
  };
};

/// What each stage means for the pairs: how many make a full turn within its length, and how many reach angles
/// that no stage before has met.
/// Throws Error where the schedule or the encoding is wrong, or has no rotary base.
[[nodiscard]] inline std::string explain(const ContextSchedule& schedule, const AnyEncoding& model,
                                         BindOptions options = {}) {
  schedule.check();
  std::ostringstream out;
  std::vector<double> met;  // the greatest angle of each pair so far, 2 pi for all of them
  constexpr double turn = 2 * std::numbers::pi;
  for (std::size_t i = 0; i < schedule.stages.size(); ++i) {
    const ContextStage& s = schedule.stages[i];
    options.length = s.length;
    const AnyBound bound = bind(ContextSchedule::of_stage(model, s), options);
    if (!bound.has_rotary())
      throw Error(
          "posenc::explain",
          {"a schedule is explained by the angles of rotary pairs, and this encoding has no "
           "rotary base."});
    const Rotary& rotary = bound.rotary();
    if (!met.empty() && static_cast<std::size_t>(rotary.pairs()) != met.size())
      throw Error("posenc::explain",
                  {"stage " + std::to_string(i) + " rotates " + std::to_string(rotary.pairs()) +
                   " pairs, and the stages before rotate " + std::to_string(met.size()) +
                   ": only frequencies may change."});
    out << "stage " << i << ": " << s.length << " tokens";
    if (s.from != 0 && s.from != s.length) out << " (growing from " << s.from << ")";
    out << ", base " << rotary.state.base;
    if (s.tokens != 0) out << ", trained on " << s.tokens << " tokens";
    if (s.full_share < 1) out << ", " << 100 * s.full_share << " % of the sequences that long";
    std::vector<double> angle;
    for (Index p = 0; p < rotary.pairs(); ++p)
      angle.push_back(std::min(static_cast<double>(s.length) * rotary.state.inv_freq[p], turn));
    out << "\n  " << std::count(angle.begin(), angle.end(), turn) << " of " << rotary.pairs()
        << " pairs make a full turn\n";
    if (!met.empty()) {
      Index beyond = 0;
      double most = 1;
      for (std::size_t p = 0; p < met.size(); ++p)
        if (angle[p] > met[p] * (1 + 1e-9)) {
          ++beyond;
          if (met[p] > 0) most = std::max(most, angle[p] / met[p]);
        }
      if (beyond == 0)
        out << "  every angle was met in the stages before\n";
      else
        out << "  " << beyond << " pairs reach angles that no stage before has met, up to " << most
            << " times as far\n";
    }
    if (met.empty()) met.assign(angle.size(), 0);
    for (std::size_t p = 0; p < met.size(); ++p) met[p] = std::max(met[p], angle[p]);
  }
  return std::move(out).str();
}

POSENC_NAMESPACE_END
