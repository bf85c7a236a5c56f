// SPDX-License-Identifier: MIT
//
// What bind() checks of heads and of the frequencies that all components together have made; see
// resolve.hpp.
#pragma once

#include <posenc/bind/resolve.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION HeadShape check_heads(Problems& problems, const BindOptions& options) {
  HeadShape shape{options.num_heads,
                  options.num_kv_heads == 0 ? options.num_heads : options.num_kv_heads,
                  options.head_dim};
  constexpr Index most_heads = Index{1} << 20;
  problems.require(shape.num_heads > 0 && shape.num_heads <= most_heads,
                   "num_heads must lie within [1, ", most_heads, "], got ", shape.num_heads, ".");
  problems.require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                   "num_kv_heads must divide num_heads, got ", shape.num_kv_heads,
                   " key heads for ", shape.num_heads, " query heads.");
  problems.require(shape.head_dim >= 0, "head_dim must not be negative, got ", shape.head_dim, ".");
  problems.require(!options.scale || std::isfinite(*options.scale), "scale must be finite, got ",
                   options.scale.value_or(0), ".");
  problems.require(options.length >= 0 && options.length <= Position{1} << 52,
                   "length must lie within [0, 2^52], got ", options.length, ".");
  return shape;
}

/// Every pair has one of the coordinates of a position.
POSENC_DETAIL_DEFINITION void check_axes(Problems& problems, const RotaryState& state,
                                         bool has_distance_map) {
  problems.require(state.axes >= 1 && state.axes <= Positions::most_axes,
                   "the encoding ends with positions of ", state.axes, " coordinates, but 1 to ",
                   Positions::most_axes, " are possible.");
  const Index pairs = state.rotary_dim / 2, mapped = std::ssize(state.axis);
  problems.require(mapped == pairs || (mapped == 0 && state.axes == 1),
                   "the encoding ends with a coordinate for ", mapped, " of ", pairs,
                   " rotary pairs.");
  for (const int axis : state.axis)
    if (axis < 0 || axis >= state.axes)
      return problems.add("the encoding ends with a pair that turns by coordinate ", axis,
                          " of positions that have ", state.axes, ".");
  problems.require(state.ladder.empty() || std::ssize(state.ladder) == pairs,
                   "the encoding ends with a pair of the ladder for ", state.ladder.size(), " of ",
                   pairs, " rotary pairs.");
  for (const Index pair : state.ladder)
    if (pair < 0 || pair >= pairs)
      return problems.add("the encoding ends with pair ", pair, " of a ladder of ", pairs,
                          " rotary pairs.");
  problems.require(!has_distance_map || state.axes == 1,
                   "a distance map (ReRoPE, LeakyReRoPE, ...) rewrites one distance, but "
                   "positions of this encoding have ",
                   state.axes, " coordinates: leave one of the two out.");
}

/// xPos: every pair has a finite magnitude.
POSENC_DETAIL_DEFINITION void check_magnitudes(Problems& problems, const RotaryState& state,
                                               bool has_distance_map) {
  const Index pairs = state.rotary_dim / 2, grown = state.growth.size();
  problems.require(grown == 0 || grown == pairs, "the encoding ends with a growth for ", grown,
                   " of ", pairs, " rotary pairs.");
  problems.require(state.growth.allFinite(),
                   "the encoding ends with a growth of magnitudes that is not finite.");
  problems.require(state.centre >= -greatest_position && state.centre <= greatest_position,
                   "the centre of growth must lie within +-2^52, got ", state.centre, ".");
  problems.require(!has_distance_map || grown == 0,
                   "a distance map (ReRoPE, LeakyReRoPE, ...) cannot be combined with magnitudes "
                   "that grow with position (XPos): they would follow the true distance, and "
                   "angles another one.");
}

/// Heads with rates of their own have a finite one for every pair.
POSENC_DETAIL_DEFINITION void check_head_scale(Problems& problems, const RotaryState& state) {
  const Index size = state.head_scale.size(), all = state.kv_heads * state.pairs();
  problems.require(size == 0 || size == all, "the encoding ends with head_scale of ", size,
                   " values for ", state.kv_heads, " key heads of ", state.pairs(),
                   " rotary pairs: it needs ", all, ".");
  problems.require(state.head_scale.allFinite() && (state.head_scale >= 0).all(),
                   "the encoding ends with a head_scale that is negative or not finite: check what "
                   "it multiplies the frequencies of each key head by.");
}

/// What all frequency transforms together have made.
POSENC_DETAIL_DEFINITION void check_frequencies(Problems& problems, const RotaryState& state,
                                                bool has_distance_map) {
  problems.require(state.inv_freq.size() == state.rotary_dim / 2, "the encoding ends with ",
                   state.inv_freq.size(), " frequencies for ", state.rotary_dim / 2,
                   " rotary pairs.");
  problems.require(state.inv_freq.allFinite() && (state.inv_freq >= 0).all(),
                   "the encoding ends with a frequency that is negative or not finite: check the "
                   "parameters of its frequency transforms.");
  problems.require(std::isfinite(state.attention_factor) && std::isfinite(state.score_factor),
                   "the encoding ends with an attention factor that is not finite.");
  check_axes(problems, state, has_distance_map);
  check_head_scale(problems, state);
  check_magnitudes(problems, state, has_distance_map);
}

POSENC_DETAIL_DEFINITION Rotary resolve_frequencies(Problems& problems,
                                                    std::span<const Described> components,
                                                    Index kv_heads, Position length) {
  Rotary rotary;
  RotaryState& state = rotary.state;
  bool has_distance_map = false;
  for (const auto& [self, ask] : components) {
    has_distance_map |= ask->facts.distance_maps > 0;
    if (!ask->rotary_state) continue;
    state = ask->rotary_state(self);
    state.length = length;
    state.kv_heads = kv_heads;
    rotary.offset = ask->rotary_offset(self);
    rotary.layout = ask->layout;
  }
  if (!rotary.layout) return rotary;
  for (const auto& [self, ask] : components) {
    if (!ask->transform) continue;
    if (ask->check_state) ask->check_state(self, problems, state);
    if (problems.empty()) ask->transform(self, state);
  }
  if (problems.empty()) check_frequencies(problems, state, has_distance_map);
  return rotary;
}

/// Tables of the angles of one head, or of all that turn alike.
POSENC_DETAIL_DEFINITION void tabulate_head(Rotary& rotary, Angles mode, const void* map,
                                            const MapQuestions* ask) {
  rotary.angles = AngleTable(rotary.state, mode);
  if (!ask) return;
  const auto regions = static_cast<std::size_t>(ask->regions);
  rotary.table_of_region = std::vector<int>(regions, -1);
  rotary.scaled_angles = std::vector<AngleTable>(regions);  // those of other steps than before
  std::size_t tables = 0;
  for (std::size_t region = 0; region < regions; ++region) {
    const double step = ask->step(map, static_cast<int>(region));
    if (step == 1) continue;
    int& table = rotary.table_of_region[region];
    for (std::size_t t = 0; t < tables; ++t)
      if (rotary.scaled_angles[t].step() == step) table = static_cast<int>(t);
    if (table >= 0) continue;
    table = static_cast<int>(tables);
    rotary.scaled_angles[tables++] = AngleTable(rotary.state, mode, step);
  }
}

POSENC_DETAIL_DEFINITION void tabulate_angles(Rotary& rotary, Angles mode, const void* map,
                                              const MapQuestions* ask) {
  tabulate_head(rotary, mode, map, ask);
  if (rotary.state.head_scale.size() == 0) return;
  rotary.heads = std::vector<Rotary>(static_cast<std::size_t>(rotary.state.kv_heads));
  for (Index h = 0; h < rotary.state.kv_heads; ++h) {
    Rotary& own = rotary.heads[static_cast<std::size_t>(h)];
    own.state = rotary.state.of_head(h);
    own.offset = rotary.offset;
    own.layout = rotary.layout;
    tabulate_head(own, mode, map, ask);
  }
}

POSENC_DETAIL_DEFINITION Resolved resolve(Problems& problems, std::span<const Described> components,
                                          const BindOptions& options) {
  const HeadShape shape = check_heads(problems, options);
  for (const auto& [self, ask] : components)
    if (ask->check) ask->check(self, problems, shape);
  Resolved all{.shape = shape,
               .rotary = resolve_frequencies(
                   problems, components, std::max<Index>(shape.num_kv_heads, 1), options.length)};
  if (all.rotary.layout) all.shape.head_dim = all.rotary.state.head_dim;
  for (const Described& component : components)
    if (component.ask->score_scale) all.score_scale = component;
  problems.raise_if_any("posenc::bind");
  return all;
}

}  // namespace detail

POSENC_NAMESPACE_END
