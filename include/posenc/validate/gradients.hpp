// SPDX-License-Identifier: MIT
//
// Gradients of parameters: that they are added, in proportion to what they are given, that those of a tile
// are the sum of those of its scores, and, where a component with another parameter can be made, that they
// are what differences say.
#pragma once

#include <posenc/core/gradients.hpp>
#include <posenc/validate/biases.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Numbers that a gradient of a stage is summed in, before gradient_of_sums.
template <class S>
std::size_t num_sums_of(const S& stage) {
  if constexpr (GradientSums<S>)
    return static_cast<std::size_t>(stage.num_sums());
  else
    return static_cast<std::size_t>(stage.num_parameters());
}

/// What `ask(dx, sums)` adds to zeros, for dx of 1; reports where it does not add, or not in proportion.
template <class F>
std::vector<double> added_by(Finding& finding, const char* who, std::size_t size, double tolerance,
                             const F& ask) {
  std::vector<double> once(size, 0.0), onto(size, 7.0), twice(size, 0.0);
  ask(1.0, once);
  ask(1.0, onto);
  ask(2.0, twice);
  for (std::size_t i = 0; i < size; ++i) {
    finding.require(agree(onto[i], 7 + once[i], tolerance), who, " makes ", onto[i],
                    " of 7 in element ", i, " where it makes ", once[i], " of 0: it must add.");
    finding.require(agree(twice[i], 2 * once[i], tolerance), who, " adds ", twice[i],
                    " to element ", i, " for a gradient of 2 and ", once[i],
                    " for one of 1: it must multiply by it.");
  }
  return once;
}

/// Calls f(name, ask, value) for each gradient of the stage at a score: ask(dx, sums), and value(stage), the
/// number that it is the gradient of.
template <class S, class F>
void for_gradients(const S& stage, const Score& at, const F& f) {
  if constexpr (RelativeBiasGradient<S>)
    f(
        "relative_bias_gradient",
        [&, at](double dx, std::span<double> sums) {
          stage.relative_bias_gradient(at.head, at.distance(), dx, sums);
        },
        [at](const auto& c) {
          return static_cast<double>(c.relative_bias(at.head, at.distance()));
        });
  if constexpr (ScoreBiasGradient<S>)
    f(
        "score_bias_gradient",
        [&, at](double dx, std::span<double> sums) { stage.score_bias_gradient(at, dx, sums); },
        [at](const auto& c) { return static_cast<double>(c.score_bias(at)); });
  if constexpr (TemperatureGradient<S>)
    f(
        "temperature_gradient",
        [&, at](double dx, std::span<double> sums) {
          stage.temperature_gradient(at.query, dx, sums);
        },
        [at](const auto& c) { return static_cast<double>(c.temperature(at.query)); });
  if constexpr (SinkLogitGradient<S>)
    f(
        "sink_logit_gradient",
        [&, at](double dx, std::span<double> sums) {
          stage.sink_logit_gradient(at.head, dx, sums);
        },
        [at](const auto& c) { return static_cast<double>(c.sink_logit(at.head)); });
}

template <TiledBiasGradient S>
void validate_tile_gradient(Problems& problems, const S& stage, Samples& samples) {
  Finding finding;
  for (Index i = 0; i < samples.options().tiles / 8; ++i) {
    const SampledTile s = samples.tile(0, true);
    const Index queries = std::ssize(s.query_positions), keys = std::ssize(s.key_positions);
    if (queries > 64 || keys > 64) continue;  // as attention asks
    const Index head = samples.head();
    std::vector<double> dx(static_cast<std::size_t>(queries * keys));
    std::vector<double> by_tile(num_sums_of(stage), 0.0), by_score(by_tile);
    for (Index k = 0; k < keys; ++k)
      for (Index q = 0; q < queries; ++q) {
        double& d = dx[static_cast<std::size_t>(k * queries + q)];
        d = samples.random().real(-1, 1);
        stage.score_bias_gradient(s.score(q, k, head), d, by_score);
      }
    stage.tile_bias_gradient(s.tile, head, std::span<const Position>(s.key_positions), dx.data(),
                             queries, std::span<double>(by_tile));
    for (std::size_t j = 0; j < by_tile.size(); ++j)
      finding.require(agree(by_tile[j], by_score[j], 1e-9 * static_cast<double>(dx.size()) + 1e-9),
                      "tile_bias_gradient adds ", by_tile[j], " to element ", j,
                      " and score_bias_gradient ", by_score[j], " for the tile of ",
                      TileText{s.tile}, ", head ", head, ".");
  }
  finding.report(problems);
}

template <Parameters S>
void validate_gradients(Problems& problems, const S& stage, const ValidateOptions& options) {
  Samples samples(options);
  Finding adds;
  const std::size_t size = num_sums_of(stage);
  for (int i = 0; i < 50; ++i) {
    const SampledTile s = samples.tile(0);
    for_gradients(stage, s.score(0, 0, samples.head()),
                  [&](const char* who, const auto& ask, const auto&) {
                    (void)added_by(adds, who, size, 1e-9, ask);
                  });
  }
  if constexpr (GradientSums<S>)
    (void)added_by(adds, "gradient_of_sums", static_cast<std::size_t>(stage.num_parameters()), 1e-9,
                   [&](double dx, std::span<double> gradient) {
                     const std::vector<double> sums(size, dx);
                     stage.gradient_of_sums(sums, gradient);
                   });
  adds.report(problems);
  if constexpr (TiledBiasGradient<S>) validate_tile_gradient(problems, stage, samples);
}

/// The gradient by each parameter against central differences of the answer. `moved(i, by)` is what the
/// component would be prepared to with its ith parameter greater by that much.
template <Parameters S, class F>
void validate_parameters(Problems& problems, const S& stage, const F& moved, double step,
                         const ValidateOptions& options) {
  Samples samples(options);
  Finding finding, adds;
  const auto parameters = static_cast<Index>(stage.num_parameters());
  for (int i = 0; i < 50; ++i) {
    const SampledTile s = samples.tile(0);
    const Score at = s.score(0, 0, samples.head());
    const Index p = samples.random().integer(0, std::max<Index>(0, parameters - 1));
    if (parameters == 0) return;
    const auto compare = [&](const char* who, double says, const auto& value) {
      const double here = value(stage);
      const double left = (here - value(moved(p, -step))) / step,
                   right = (value(moved(p, step)) - here) / step;
      const double slack = 0.01 * std::max({1e-3, std::abs(left), std::abs(right)});
      finding.require(says >= std::min(left, right) - slack &&
                          says <= std::max(left, right) + slack,
                      who, " says ", says, " of parameter ", p, ", but differences are ", left,
                      " and ", right, ", at ", ScoreText{at}, ".");
    };
    for_gradients(stage, at, [&](const char* who, const auto& ask, const auto& value) {
      const std::vector<double> sums = added_by(adds, who, num_sums_of(stage), 1e-9, ask);
      std::vector<double> gradient = sums;
      if constexpr (GradientSums<S>) {
        gradient.assign(static_cast<std::size_t>(parameters), 0.0);
        stage.gradient_of_sums(sums, gradient);
      }
      compare(who, gradient[static_cast<std::size_t>(p)], value);
    });
    if constexpr (MapParameterDerivative<S>) {
      const double x = samples.random().real(-60, 60);
      compare("map_parameter_derivative",
              static_cast<double>(stage.map_parameter_derivative(p, x, at)),
              [&](const auto& c) { return static_cast<double>(c.map_score(x, at)); });
    }
  }
  finding.report(problems);
}

}  // namespace detail

POSENC_NAMESPACE_END
