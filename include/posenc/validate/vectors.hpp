// SPDX-License-Identifier: MIT
//
// Vectors by distance: buckets against the tables and against their order. Frequencies: whether they follow
// the length, against what the type says of it. Embeddings: what is written, against the width.
#pragma once

#include <posenc/validate/samples.hpp>

#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The tables of a component: how many buckets each has.
template <class S, class F>
void for_tables(const S& stage, const F& f) {
  if constexpr (RelativeKeys<S>) f("relative_keys", stage.relative_keys());
  if constexpr (RelativeQueries<S>) f("relative_queries", stage.relative_queries());
  if constexpr (RelativeValues<S>) f("relative_values", stage.relative_values());
}

template <DistanceBuckets S>
void validate_buckets(Problems& problems, const S& stage, const ValidateOptions& options) {
  Position least = -2 * options.extent, greatest = 2 * options.extent;
  if constexpr (requires { stage.distances(); }) {
    const Interval has = stage.distances();
    problems.require(has.first <= has.last, "distances() is an interval that ends at ", has.last,
                     " before it begins, at ", has.first, ".");
    least = std::max(least, has.first), greatest = std::min(greatest, has.last);
  }
  Finding outside, turns;
  Index before = 0;
  int direction = 0;
  for (Position distance = least; distance <= greatest; ++distance) {
    const auto bucket = static_cast<Index>(stage.bucket(distance));
    for_tables(stage, [&](const char* name, const RelativeTable& table) {
      outside.require(!table.data || (bucket >= 0 && bucket < table.buckets), "bucket says ",
                      bucket, " of distance ", distance, ", but ", name, " has buckets 0 to ",
                      table.buckets - 1, ".");
    });
    const int change = distance == least ? 0 : (bucket > before) - (bucket < before);
    turns.require(change * direction >= 0, "bucket turns back at distance ", distance, ", from ",
                  before, " to ", bucket, ": it must only rise or only fall.");
    if (direction == 0) direction = change;
    before = bucket;
  }
  outside.report(problems);
  turns.report(problems);
}

/// The frequencies at many lengths. A type that does not say depends_on_length is evaluated once.
template <FrequencyTransform C>
void validate_transform(Problems& problems, const C& component, const ValidateOptions& options) {
  const Index dim = options.shape.head_dim > 0 ? options.shape.head_dim : 64;
  const auto at_length = [&](Position length) {
    RotaryState state{
        .inv_freq = geometric_frequencies(10000, dim), .head_dim = dim, .rotary_dim = dim};
    state.length = length;
    state.kv_heads = std::max<Index>(options.shape.num_kv_heads, 1);
    return state;
  };
  RotaryState first = at_length(1);
  if constexpr (ChecksState<C>) {
    Problems own;
    component.check(own, first);
    for (const std::string& sentence : own.sentences()) problems.add(sentence);
    if (!own.empty()) return;
  }
  component.transform(first);
  problems.require(first.inv_freq.size() == dim / 2 && first.inv_freq.allFinite(),
                   "transform leaves ", first.inv_freq.size(), " frequencies for ", dim / 2,
                   " rotary pairs, or some that are not finite.");
  const Index scaled = first.head_scale.size(), all = first.kv_heads * dim / 2;
  problems.require(scaled == 0 || (scaled == all && first.head_scale.allFinite()),
                   "transform leaves head_scale of ", scaled, " values for ", first.kv_heads,
                   " key heads of ", dim / 2, " rotary pairs, or some that are not finite.");
  Finding follows;
  for (Position length = 2; !LengthDependent<C> && length <= 64 * options.extent; length *= 2) {
    RotaryState later = at_length(length);
    component.transform(later);
    follows.require(later.inv_freq.size() == first.inv_freq.size() &&
                        (later.inv_freq == first.inv_freq).all() &&
                        later.head_scale.size() == first.head_scale.size() &&
                        (later.head_scale == first.head_scale).all() &&
                        later.attention_factor == first.attention_factor,
                    "transform gives other frequencies at length ", length,
                    " than at length 1, but "
                    "the type does not say `static constexpr bool depends_on_length = true`: keys "
                    "that were rotated at one length would meet queries rotated at another.");
  }
  follows.report(problems);
}

template <InputEmbedding C>
void validate_embedding(Problems& problems, const C& component, const ValidateOptions& options) {
  const auto width = static_cast<Index>(component.embedding_width());
  if (width < 1) return problems.add("embedding_width must be positive, got ", width, ".");
  Finding left_out, repeats;
  SeededRandom random(options.seed);
  for (int i = 0; i < 64; ++i) {
    const auto position = static_cast<double>(i < 8 ? i : random.integer(0, options.extent));
    if constexpr (requires(Problems& own) { component.check_position(own, position); }) {
      Problems own;
      component.check_position(own, position);
      if (!own.empty()) continue;
    }
    std::vector<double> once(static_cast<std::size_t>(width),
                             std::numeric_limits<double>::quiet_NaN()),
        again(once.size(), 1.0);
    component.embed(position, once);
    component.embed(position, again);
    for (std::size_t c = 0; c < once.size(); ++c) {
      left_out.require(!std::isnan(once[c]), "embed leaves element ", c, " of ", width,
                       " unwritten at position ", position, ", or writes no number.");
      repeats.require(std::isnan(once[c]) || once[c] == again[c], "embed says ", once[c],
                      " and then ", again[c], " of element ", c, " at position ", position,
                      ": it must write the vector, not add to it.");
    }
  }
  left_out.report(problems);
  repeats.report(problems);
}

}  // namespace detail

POSENC_NAMESPACE_END
