// SPDX-License-Identifier: MIT
//
// What bind() asks a component before anything runs, as a table of functions: its checks, its part in
// the frequencies, the softmax scale, and what it is prepared to. See questions.hpp.
#pragma once

#include <posenc/bind/questions.hpp>
#include <posenc/core/layout.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What the types of an encoding's components tell.
struct EncodingFacts {
  int rotary_bases = 0, distance_maps = 0, score_scales = 0, context_positions = 0;
  bool transforms_frequencies = false;
  bool depends_on_length = false;
  bool rotates_values = false;
  bool embeds_positions = false;
  bool has_relative_biases = false;
  bool has_relative_vectors = false, has_relative_queries = false;
  /// The state in which one copy of a key serves every pair; rotated without a distance map.
  KeyState stored_keys = KeyState::rotated;

  constexpr void add(const EncodingFacts& other) {
    rotary_bases += other.rotary_bases;
    distance_maps += other.distance_maps;
    score_scales += other.score_scales;
    context_positions += other.context_positions;
    transforms_frequencies |= other.transforms_frequencies;
    depends_on_length |= other.depends_on_length;
    rotates_values |= other.rotates_values;
    embeds_positions |= other.embeds_positions;
    has_relative_biases |= other.has_relative_biases;
    has_relative_vectors |= other.has_relative_vectors;
    has_relative_queries |= other.has_relative_queries;
    if (other.distance_maps > 0) stored_keys = other.stored_keys;
  }
};

template <class C>
constexpr EncodingFacts facts_of() {
  using S = prepared_t<C>;
  EncodingFacts facts{.rotary_bases = RotaryBase<C>,
                      .distance_maps = DistanceMap<S>,
                      .score_scales = ScoreScale<C>,
                      .context_positions = ContextPositions<S>,
                      .transforms_frequencies = FrequencyTransform<C>,
                      .depends_on_length = LengthDependent<C>,
                      .rotates_values = ValueRotation<C>,
                      .embeds_positions = InputEmbedding<C>,
                      .has_relative_biases = RelativeBias<S>,
                      .has_relative_vectors = RelativeVectors<C> || ContextPositions<S>,
                      .has_relative_queries = RelativeQueries<S>};
  if constexpr (DistanceMap<S>) {
    facts.stored_keys = KeyState::raw;
    if constexpr (requires { S::stored_keys; }) facts.stored_keys = S::stored_keys;
  }
  return facts;
}

/// Null where the component has none of it. `self` is the component as it was written.
struct Description {
  EncodingFacts facts{};
  void (*check)(const void* self, Problems& problems, const HeadShape& shape) = nullptr;

  RotaryState (*rotary_state)(const void* self) = nullptr;
  Index (*rotary_offset)(const void* self) = nullptr;
  const LayoutRule* layout = nullptr;

  void (*check_state)(const void* self, Problems& problems, const RotaryState& state) = nullptr;
  void (*transform)(const void* self, RotaryState& state) = nullptr;
  double (*score_scale)(const void* self, Index head_dim) = nullptr;
};

template <class C>
constexpr Description make_description() {
  Description d{.facts = facts_of<C>()};
  if constexpr (Checks<C>)
    d.check = [](const void* self, Problems& problems, const HeadShape& shape) {
      as<C>(self).check(problems, shape);
    };
  if constexpr (RotaryBase<C>) {
    d.rotary_state = [](const void* self) { return as<C>(self).rotary_state(); };
    d.rotary_offset = [](const void* self) {
      return static_cast<Index>(as<C>(self).rotary_offset);
    };
    d.layout = &layout_rule<typename C::layout>;
  }
  if constexpr (FrequencyTransform<C>) {
    if constexpr (ChecksState<C>)
      d.check_state = [](const void* self, Problems& problems, const RotaryState& state) {
        as<C>(self).check(problems, state);
      };
    d.transform = [](const void* self, RotaryState& state) { as<C>(self).transform(state); };
  }
  if constexpr (ScoreScale<C>)
    d.score_scale = [](const void* self, Index head_dim) {
      return static_cast<double>(as<C>(self).score_scale(head_dim));
    };
  return d;
}
template <class C>
inline constexpr Description description = make_description<C>();

/// One component of an encoding, as it was written.
struct Described {
  const void* self = nullptr;
  const Description* ask = nullptr;
};

}  // namespace detail

POSENC_NAMESPACE_END
