// SPDX-License-Identifier: MIT
//
// Decode equals prefill, for every encoding of the gallery: a token is appended and decoded at a
// time, and what comes out is its row of attention() over the whole.
// The encodings are composed at run time; that their types decode to the same bits is checked at the end of
// each. One file for each layout.
#pragma once

#include "calls.hpp"

#include <posenc/gallery.hpp>

#include <functional>
#include <string>

namespace decode_test {

constexpr Index gallery_tokens = 70, gallery_heads = 4, gallery_width = 16;

using Known = std::function<Output<float>(TensorView<const float>,
                                          const KeyValueCache<KeyState::raw, float>&)>;

/// `known` decodes by the type of the encoding.
template <KeyState State>
void check_steps(const std::string& name, const AnyBound& bound, const Known& known) {
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
  if constexpr (State == KeyState::raw) {
    const Output<float> a = decoded(q.slice(gallery_tokens - 3, 3), *by_length, bound),
                        b = known(q.slice(gallery_tokens - 3, 3), *by_length);
    for (Index r = 0; r < 3; ++r) CHECK(off(a, r, b, r) == 0);
  }
}

inline void check_entry(const std::string& name, const AnyBound& bound, const Known& known) {
  check_steps<KeyState::raw>(name, bound, known);
  if (!bound.has_rotary() || bound.depends_on_length()) return;
  // The state that the map of distances asks for; rotated where there is none.
  const KeyState kept = bound.answers().facts().stored_keys;
  if (kept == KeyState::rotated) check_steps<KeyState::rotated>(name, bound, known);
  if (kept == KeyState::reduced) check_steps<KeyState::reduced>(name, bound, known);
}

/// Every encoding; returns how many there are.
template <class LayoutT>
int check_gallery() {
  int entries = 0;
  for_each_in_gallery<LayoutT>(
      {.head_dim = gallery_width, .num_heads = gallery_heads, .trained = 32, .target = 64},
      [&](const GalleryEntry& entry, const auto& encoding) {
        ++entries;
        const BindOptions options{.num_heads = gallery_heads, .num_kv_heads = 2};
        check_entry(std::string(entry.name), bind(AnyEncoding(encoding), options),
                    [bound = bind(encoding, options)](TensorView<const float> q,
                                                      const auto& cache) {
                      return decoded(q, cache, bound);
                    });
      });
  return entries;
}

}  // namespace decode_test
