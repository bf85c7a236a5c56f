// SPDX-License-Identifier: MIT
//
// validate: does a component contradict itself?
//
// Much of what a component answers it states twice: a mask by pairs and by tiles, a distance map by
// distances and by regions, a bias by scores and by tiles. Attention takes the fast answer, the reference
// and the pictures the plain one; where the two differ, nothing stops, and some scores are wrong. Call this
// once in the test of a component of your own:
//
//   posenc::validate(SlidingBlock{.block = 128});   // throws Error with every finding, a sentence each
//
//   what                          against
//   classify(tile)                visible(at) of every pair                               masks.hpp
//   distance(query, key)          region, step, query_position, key_position              distance_maps.hpp
//   regions(tile)                 region of every pair
//   key_copy, stored_keys         key_position and step of the regions
//   tile_bias(tile, head, use)    score_bias(at) or relative_bias; `use` is called once   biases.hpp
//   relative_bias                 score_bias, where a component has both
//   the derivative of map_score   differences of map_score, and float against double
//   bucket                        the tables' buckets, and its own order                  vectors.hpp
//   depends_on_length             transform at several lengths
//   embedding_width               what embed writes
//   ..._gradient                  that it adds, in proportion; the tile's against the     gradients.hpp
//                                 scores'; differences, where parameters can be moved
//
// Where a component is prepared, its twin is asked. Tiles and pairs are sampled (samples.hpp), so that
// nothing found is no proof; what was found is wrong. Slow enough for tests only, a second or two
// unoptimised.
#pragma once

#include <posenc/core/pipeline.hpp>
#include <posenc/validate/biases.hpp>
#include <posenc/validate/distance_maps.hpp>
#include <posenc/validate/gradients.hpp>
#include <posenc/validate/masks.hpp>
#include <posenc/validate/vectors.hpp>

#include <cmath>
#include <concepts>
#include <string>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Reports what the component's own check says of its parameters, and whether that is nothing.
template <class C>
bool passes_its_check(Problems& problems, const C& component, const HeadShape& shape) {
  Problems own;
  if constexpr (Checks<C>) component.check(own, shape);
  for (const std::string& sentence : own.sentences()) problems.add(sentence);
  return own.empty();
}

template <class C>
void find_contradictions(Problems& problems, const C& component, const ValidateOptions& options) {
  static_assert(members_are_answers<C> && Component<C>,
                "posenc: validate takes a component: a type that answers one of the questions of "
                "posenc/core/concepts.hpp, or an encoding of such.");
  if (!passes_its_check(problems, component, options.shape)) return;
  if constexpr (FrequencyTransform<C>) validate_transform(problems, component, options);
  if constexpr (InputEmbedding<C>) validate_embedding(problems, component, options);
  const auto stage = prepare(component, options.shape);
  using S = prepared_t<C>;
  if constexpr (KnowsTokens<S>)
    if (const Position known = stage.known_tokens(0); known < options.extent)
      return problems.add("there are data of ", known, " tokens of sequence 0, but extent is ",
                          options.extent, ": make it at most that.");
  if constexpr (TiledMask<S>) validate_tiles(problems, stage, options);
  if constexpr (DistanceMap<S>) validate_map(problems, stage, options);
  if constexpr (RelativeBias<S> || ScoreBias<S> || ScoreMap<S>)
    validate_bias(problems, stage, options);
  if constexpr (DistanceBuckets<S>) validate_buckets(problems, stage, options);
  if constexpr (Parameters<S>) validate_gradients(problems, stage, options);
}

inline void check_options(const ValidateOptions& options, double step = 1) {
  Problems problems;
  problems.require(options.extent >= 8 && options.extent <= Position{1} << 24,
                   "extent must lie within [8, 2^24], got ", options.extent, ".");
  problems.require(options.tiles >= 8, "tiles must be at least 8, got ", options.tiles, ".");
  problems.require(options.tolerance >= 0 && std::isfinite(options.tolerance),
                   "tolerance must be finite and not negative, got ", options.tolerance, ".");
  problems.require(step > 0 && std::isfinite(step), "step must be positive and finite, got ", step,
                   ".");
  problems.require(options.shape.num_heads > 0 && options.shape.num_kv_heads > 0 &&
                       options.shape.head_dim >= 0 && options.shape.head_dim % 2 == 0,
                   "the shape must have heads of an even number of channels, got ",
                   options.shape.num_heads, " heads, ", options.shape.num_kv_heads,
                   " key heads and ", options.shape.head_dim, " channels.");
  problems.raise_if_any("posenc::validate");
}

}  // namespace detail

/// Throws Error with a sentence for each contradiction found: component, tile and values. See the head of
/// this file.
template <class C>
void validate(const C& component, const ValidateOptions& options = {}) {
  detail::check_options(options);
  Problems problems;
  detail::find_contradictions(problems, component, options);
  problems.raise_if_any("posenc::validate");
}

/// Every component of an encoding; sentences begin with its number, counted from 1.
template <class... Ts>
void validate(const Encoding<Ts...>& encoding, const ValidateOptions& options = {}) {
  detail::check_options(options);
  Problems problems;
  int number = 0;
  encoding.for_each([&](const auto& component) {
    ++number;
    Problems own;
    detail::find_contradictions(own, component, options);
    for (const std::string& sentence : own.sentences())
      problems.add("component ", number, ": ", sentence);
  });
  problems.raise_if_any("posenc::validate");
}

/// What a component learns, too: `with(i, by)` is the same component with its ith parameter greater by that
/// much, of which the gradients have to be the derivative. `step` is what parameters are moved by.
template <class C, class F>
  requires std::same_as<std::invoke_result_t<const F&, Index, double>, C>
void validate(const C& component, const F& with, double step = 1e-4,
              const ValidateOptions& options = {}) {
  detail::check_options(options, step);
  validate(component, options);
  static_assert(Parameters<prepared_t<C>>,
                "posenc: this component learns nothing: it has no num_parameters().");
  Problems problems;
  const auto moved = [&](Index i, double by) {
    return detail::prepare(with(i, by), options.shape);
  };
  detail::validate_parameters(problems, detail::prepare(component, options.shape), moved, step,
                              options);
  problems.raise_if_any("posenc::validate");
}

POSENC_NAMESPACE_END
