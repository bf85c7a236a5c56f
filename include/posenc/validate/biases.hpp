// SPDX-License-Identifier: MIT
//
// Biases and score maps: what a component says of a tile, of a distance or of a derivative, against the
// plain question about one score.
#pragma once

#include <posenc/bind/derivatives.hpp>
#include <posenc/validate/samples.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The bias of one score, by the plain question.
template <class S>
double plain_bias(const S& stage, const Score& at) {
  if constexpr (ScoreBias<S>)
    return static_cast<double>(stage.score_bias(at));
  else
    return static_cast<double>(stage.relative_bias(at.head, at.distance()));
}

/// What the plain question is called.
template <class S>
inline constexpr const char* plain_question = ScoreBias<S> ? "score_bias" : "relative_bias";

/// Both questions: attention asks relative_bias then, and never score_bias. No bias is NaN.
template <class S>
void validate_plain_bias(Problems& problems, const S& stage, Samples& samples) {
  Finding nan, two;
  for (Index i = 0; i < 4 * samples.options().tiles; ++i) {
    const SampledTile s = samples.tile(0);
    const Score at = s.score(0, std::ssize(s.key_positions) - 1, samples.head());
    const double bias = plain_bias(stage, at);
    nan.require(!std::isnan(bias), "the bias is not a number at ", ScoreText{at},
                "; it is asked about pairs that a mask hides too, and about negative distances.");
    if constexpr (RelativeBias<S> && ScoreBias<S>) {
      const auto relative = static_cast<double>(stage.relative_bias(at.head, at.distance()));
      two.require(agree(relative, bias, samples.options().tolerance), "relative_bias says ",
                  relative, " and score_bias says ", bias, " at ", ScoreText{at},
                  "; attention asks relative_bias alone.");
    }
  }
  nan.report(problems);
  two.report(problems);
}

/// Tiles as attention asks about: queries one after another, and some lanes beyond the last of them, for
/// which the function is called and its answer is not used.
template <TiledBias S>
void validate_tile_bias(Problems& problems, const S& stage, Samples& samples) {
  // Cases of a definition meet where the bias bends along a row.
  const Position last = samples.options().extent - 1;
  samples.find_edges(0, [&](Position query, Position key) {
    if (key == 0 || key == last) return 0;
    const auto bias = [&](Position k) { return plain_bias(stage, Score{query, k, query, k, 0}); };
    const double here = bias(key), bend = bias(key - 1) - 2 * here + bias(key + 1);
    return static_cast<int>(std::abs(bend) > 1e-6 * (1 + std::abs(here)));
  });
  Finding calls, values;
  for (Index i = 0; i < samples.options().tiles; ++i) {
    const SampledTile s = samples.tile(0, true);
    const Index head = samples.head(), beyond = samples.random().integer(0, 63);
    Tile tile = s.tile;
    tile.query.last += beyond;
    tile.query_index.last += beyond;
    int called = 0;
    stage.tile_bias(tile, head, [&](const auto& bias) {
      ++called;
      samples.for_pairs(s, [&](Index q, Index k) {
        const Score at = s.score(q, k, head);
        const auto in_tile = static_cast<double>(bias(at));
        const double plain = plain_bias(stage, at);
        const bool both_nan = std::isnan(in_tile) && std::isnan(plain);  // a finding already
        values.require(both_nan || agree(in_tile, plain, samples.options().tolerance),
                       "tile_bias says ", in_tile, " and ", plain_question<S>, " says ", plain,
                       " at ", ScoreText{at}, ", in the tile of ", TileText{tile}, ".");
      });
      Score lane = s.score(std::ssize(s.query_positions) - 1, 0, head);
      for (Index n = 0; n < beyond; ++n) {
        ++lane.query, ++lane.query_index;
        (void)bias(lane);
      }
    });
    calls.require(called == 1, "tile_bias calls the function that it is given ", called,
                  " times, and not once, for the tile of ", TileText{tile}, ".");
  }
  calls.report(problems);
  values.report(problems);
}

/// True where a map that is given a double computes in float.
template <ScoreMap S>
bool rounds_to_float(const S& map, double x, const Score& at) {
  const auto as_float = static_cast<double>(static_cast<float>(x));
  return std::is_same_v<std::remove_cvref_t<decltype(map.map_score(x, at))>, float> ||
         map.map_score(x, at) == map.map_score(as_float, at);
}

/// Differences of a map, and what it says of floats. Where it has a kink its derivative may be that of
/// either side. Differences of a map in float need a step at which rounding hardly counts.
template <ScoreMap S>
void validate_map_derivative(Problems& problems, const S& map, Samples& samples) {
  Finding derivatives, floats;
  for (Index i = 0; i < 4 * samples.options().tiles; ++i) {
    const SampledTile s = samples.tile(0);
    const Score at = s.score(0, 0, samples.head());
    const double x = samples.random().real(-60, 60);
    const auto value = [&](double of) { return static_cast<double>(map.map_score(of, at)); };
    const auto as_float = static_cast<float>(x);
    const auto in_float = static_cast<double>(map.map_score(as_float, at));
    const double in_double = value(static_cast<double>(as_float));
    floats.require(agree(in_float, in_double, 1e-4), "map_score says ", in_float, " of the float ",
                   as_float, " and ", in_double, " of the same number as a double, at ",
                   ScoreText{at}, ".");
    if constexpr (DifferentiableMap<S, double>) {
      double says = 0;
      if constexpr (StatesDerivative<S, double>)
        says = static_cast<double>(map.map_score_derivative(x, at));
      else
        says = map.map_score(Dual<double>(x, 1), at).derivative;
      const bool rounds = rounds_to_float(map, x, at);
      const double h = rounds ? 1e-2 : 1e-5, here = value(x);
      const double left = (here - value(x - h)) / h, right = (value(x + h) - here) / h;
      const double rounding = (rounds ? 0x1p-22 : 0x1p-51) * (std::abs(here) + std::abs(x)) / h;
      const double slack =
          (rounds ? 1e-2 : 1e-3) * std::max({1.0, std::abs(left), std::abs(right)}) + rounding;
      derivatives.require(
          says >= std::min(left, right) - slack && says <= std::max(left, right) + slack,
          "the derivative of map_score is said to be ", says, " at ", x,
          ", but differences of map_score are ", left, " and ", right, ", at ", ScoreText{at}, ".");
    }
  }
  derivatives.report(problems);
  floats.report(problems);
}

template <class S>
void validate_bias(Problems& problems, const S& stage, const ValidateOptions& options) {
  Samples samples(options);
  if constexpr (RelativeBias<S> || ScoreBias<S>) validate_plain_bias(problems, stage, samples);
  if constexpr (TiledBias<S>) validate_tile_bias(problems, stage, samples);
  if constexpr (ScoreMap<S>) validate_map_derivative(problems, stage, samples);
}

}  // namespace detail

POSENC_NAMESPACE_END
