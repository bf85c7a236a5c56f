// SPDX-License-Identifier: MIT
//
// Decode equals prefill, for every encoding of the gallery: a token is appended and decoded at a
// time, and what comes out is its row of attention() over the whole.
//
// What differs between schemes of frequencies is data, and so it is here: encodings that are
// nothing but a table of frequencies share one kernel. The others are divided among several files.
#pragma once

#include "calls.hpp"

#include <posenc/gallery.hpp>

#include <functional>
#include <set>
#include <string>

namespace decode_test {

/// The table that another encoding ends with.
struct Resolved {
  RotaryState resolved;
  void transform(RotaryState& state) const { state = resolved; }
};
/// The same for one that depends on the length.
struct ResolvedByLength {
  static constexpr bool depends_on_length = true;
  std::function<RotaryState(Position)> resolve;
  void transform(RotaryState& state) const { state = resolve(state.length); }
};

/// Which of the gallery a file runs.
enum class Part { frequencies, maps, biases, others };

template <class... Ts>
constexpr Part part_of(const Encoding<Ts...>*) {
  using E = Encoding<Ts...>;
  constexpr bool is_only_causal =
      (int(RotaryBase<Ts> || FrequencyTransform<Ts>) + ... + 0) + 1 == sizeof...(Ts) &&
      (std::is_same_v<Ts, Causal> || ...);
  if (E::num_distance_maps > 0) return Part::maps;
  if (E::num_rotary_bases == 0) return Part::biases;
  return is_only_causal && !E::rotates_values ? Part::frequencies : Part::others;
}

constexpr Index gallery_tokens = 70, gallery_heads = 4, gallery_width = 16;

template <KeyState State, class BoundT>
void check_steps(const std::string& name, const BoundT& bound) {
  INFO(name << ", keys " << static_cast<int>(State));
  const Sequence<float> sequence(gallery_tokens, gallery_heads, 2, gallery_width, gallery_width);
  const TensorView<const float> q = sequence.q.view();
  // Frequencies that follow the length are the same for all rows where they are bound with one.
  const auto whole = bound.at_length(gallery_tokens);
  const Output<float> prefill = attention_test::attend(sequence.last(gallery_tokens), whole);
  Holder<State, float> cache(Kind::paged, shape_for(sequence)),
      by_length(Kind::ring, shape_for(sequence));
  const auto off = [&](const Output<float>& a, Index row, const Output<float>& b, Index other) {
    double worst = 0;
    const auto compare = [&](float x, float y) {
      const double d = static_cast<double>(std::abs(x - y) / std::max(1.0F, std::abs(y)));
      worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
    };
    for (Index h = 0; h < gallery_heads; ++h) {
      compare(a.lse[size(row * gallery_heads + h)], b.lse[size(other * gallery_heads + h)]);
      for (Index c = 0; c < gallery_width; ++c)
        compare(a.out.view()(row, h, c), b.out.view()(other, h, c));
    }
    return worst;
  };
  for (Index n = 1; n <= gallery_tokens; ++n) {
    append(*cache, 0, sequence, n - 1, n, whole);
    append(*by_length, 0, sequence, n - 1, n, bound);
    // A prefix whose rows see later tokens is not all there yet.
    if (name == "PrefixLM" && n < 32) continue;
    CHECK(off(decoded(q.slice(n - 1, 1), *cache, whole), 0, prefill, n - 1) <= 2e-6);
    if (n % 9 != 7) continue;
    const Index queries = std::min<Index>(n, n % 4 + 1);
    const auto call = sequence.last(queries, n);
    const Output<float> some = decoded(call.q, *by_length, bound);
    const Output<float> expected = attention_test::attend(call, bound);
    for (Index r = 0; r < queries; ++r) CHECK(off(some, r, expected, r) <= 2e-6);
  }
}

/// Every encoding of one part; returns how many there are.
template <class LayoutT, Part part>
int check_gallery() {
  int entries = 0;
  for_each_in_gallery<LayoutT>(
      {.head_dim = gallery_width, .num_heads = gallery_heads, .trained = 32, .target = 64},
      [&]<class E>(const GalleryEntry& entry, const E& encoding) {
        if constexpr (part_of(static_cast<const E*>(nullptr)) == part) {
          ++entries;
          const std::string name(entry.name);
          const BindOptions options{.num_heads = gallery_heads, .num_kv_heads = 2};
          const auto bound = bind(encoding, options);
          if constexpr (part == Part::frequencies) {
            const RoPE<LayoutT> rope{.head_dim = gallery_width,
                                     .rotary_dim = bound.rotary().state.rotary_dim};
            if constexpr (E::depends_on_length) {
              const auto resolve = [bound](Position length) {
                return bound.at_length(length).rotary().state;
              };
              check_steps<KeyState::raw>(name, bind(rope | ResolvedByLength{resolve} | Causal{},
                                                    options));
            } else {
              const auto same = bind(rope | Resolved{bound.rotary().state} | Causal{}, options);
              check_steps<KeyState::raw>(name, same);
              check_steps<KeyState::rotated>(name, same);
            }
          } else {
            check_steps<KeyState::raw>(name, bound);
            // The state that the map of distances asks for; rotated where there is none.
            constexpr KeyState kept = Bound<E>::encoding_facts.stored_keys;
            if constexpr (kept != KeyState::raw && part != Part::biases)
              check_steps<kept>(name, bound);
          }
        }
      });
  return entries;
}

}  // namespace decode_test
