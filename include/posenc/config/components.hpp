// SPDX-License-Identifier: MIT
//
// Components whose rule is chosen at run time, for models that are read from a file.
//
// A program writes YaRN or Llama3; a file says which. Every frequency scheme ends as a table, so
// one type can hold any of them, and a dozen schemes times two layouts times a few masks are not a
// hundred kernels. What the types must tell apart is kept apart: a scheme that depends on the
// length (LengthScheme) cannot stand in a variant with those that do not.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/rescale_factors.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/step_temperature.hpp>

#include <cmath>
#include <optional>
#include <variant>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace config {

/// Plain RoPE: rope_type "default".
struct Unscaled {
  void transform(RotaryState&) const {}
  void check(Problems&, const RotaryState&) const {}
};

/// Any static frequency scheme.
struct Scheme {
  std::variant<Unscaled, PI, NTK, YaRN, Llama3, LongRoPELong, LongRoPEShort, Proportional,
               RescaleFactors>
      rule{};

  void transform(RotaryState& state) const {
    std::visit([&](const auto& scheme) { scheme.transform(state); }, rule);
  }
  void check(Problems& problems, const RotaryState& state) const {
    std::visit([&](const auto& scheme) { scheme.check(problems, state); }, rule);
  }
};

/// Any scheme whose frequencies follow the current length.
struct LengthScheme {
  static constexpr bool depends_on_length = true;

  std::variant<DynamicNTK, LongRoPE, Dynamic<YaRN>> rule{};

  void transform(RotaryState& state) const {
    std::visit([&](const auto& scheme) { scheme.transform(state); }, rule);
  }
  void check(Problems& problems, const RotaryState& state) const {
    std::visit([&](const auto& scheme) { scheme.check(problems, state); }, rule);
  }
};

/// Positions of several coordinates, in models that also see images; nothing in others.
struct Axes {
  std::optional<MRoPE> rule{};
  std::vector<int> of_pair{};  ///< the coordinate of each pair, of three, where no rule has it

  void transform(RotaryState& state) const {
    if (rule) rule->transform(state);
    if (of_pair.empty()) return;
    state.axes = 3;
    state.axis = of_pair;
  }
  void check(Problems& problems, const RotaryState& state) const {
    if (rule) rule->check(problems, state);
    problems.require(of_pair.empty() || std::ssize(of_pair) == state.pairs(),
                     "the list of coordinates must have a value per rotary pair, ", state.pairs(),
                     " of them, got ", of_pair.size(), ".");
  }
};

/// The softmax scale and the temperature of a query row.
struct ScoreRule {
  std::variant<std::monostate, StepTemperature, LogN> rule{};
  double softmax_scale = 0;  ///< 0: 1/sqrt(head_dim)

  [[nodiscard]] double temperature(Position query) const {
    if (const auto* step = std::get_if<StepTemperature>(&rule)) return step->temperature(query);
    if (const auto* log_n = std::get_if<LogN>(&rule)) return log_n->temperature(query);
    return 1;
  }
  [[nodiscard]] double score_scale(Index head_dim) const {
    return softmax_scale != 0 ? softmax_scale : 1 / std::sqrt(static_cast<double>(head_dim));
  }
  void check(Problems& problems, const HeadShape& shape) const {
    if (const auto* step = std::get_if<StepTemperature>(&rule)) step->check(problems, shape);
    if (const auto* log_n = std::get_if<LogN>(&rule)) log_n->check(problems, shape);
    problems.require(std::isfinite(softmax_scale) && softmax_scale >= 0,
                     "the softmax scale must be positive and finite, got ", softmax_scale, ".");
  }
};

}  // namespace config
POSENC_NAMESPACE_END
