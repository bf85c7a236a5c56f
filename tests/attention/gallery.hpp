// SPDX-License-Identifier: MIT
//
// What holds for every encoding of the gallery; one translation unit for each layout.
#pragma once

#include <posenc/gallery.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace gallery_tests {

using namespace posenc;

/// Greatest difference, relative to numbers above 1; infinite for a NaN.
template <class A, class B>
double worst(const A& got, const B& expected) {
  double off = got.size() == expected.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const double g = static_cast<double>(got[i]), e = static_cast<double>(expected[i]);
    const double d = g == e ? 0 : std::abs(g - e) / std::max(1.0, std::abs(e));
    off = std::isnan(d) ? HUGE_VAL : std::max(off, d);
  }
  return off;
}

constexpr Index tokens = 70, heads = 4, kv_heads = 2, width = 16, value_width = 16;

/// Queries, keys and values of one sequence.
struct Tensors {
  std::vector<float> q = noise(tokens * heads * width, 1), k = noise(tokens * kv_heads * width, 2),
                     v = noise(tokens * kv_heads * value_width, 3);
  TensorView<const float> queries{q.data(), tokens, heads, width},
      keys{k.data(), tokens, kv_heads, width}, values{v.data(), tokens, kv_heads, value_width};

  static std::vector<float> noise(Index n, unsigned seed) {
    return posenc_test::noise<float, float>(n, seed, -2, 2);
  }
};

struct Result {
  std::vector<float> out, lse;
  explicit Result(Index rows)
      : out(static_cast<std::size_t>(rows * heads * value_width)),
        lse(static_cast<std::size_t>(rows * heads)) {}
  TensorView<float> view(Index rows) { return {out.data(), rows, heads, value_width}; }
  bool operator==(const Result&) const = default;
};

/// Kernel against reference, and a token decoded alone against the same token among all.
inline Result check(std::string_view name, const AnyBound& bound, const Tensors& x) {
  Result all(tokens);
  attention(x.queries, x.keys, x.values, all.view(tokens), bound, {.lse = all.lse});
  const ReferenceResult expected = reference_attention(x.queries, x.keys, x.values, bound);
  CHECK(worst(all.out, expected.out) <= 1e-5);
  CHECK(worst(all.lse, expected.lse) <= 1e-5);

  for (const Index token : {Index{0}, Index{40}, tokens - 1}) {
    Result row(1);
    // The same frequencies as in the call with all tokens, also where these depend on the length.
    const AnyBound at_length = bound.at_length(tokens);
    attention(x.queries.slice(token, 1), x.keys.slice(0, token + 1), x.values.slice(0, token + 1),
              row.view(1), at_length, {.lse = row.lse});
    // Causal or not: an encoding that looks ahead gets to see all keys.
    if (name == "PrefixLM")
      attention(x.queries.slice(token, 1), x.keys, x.values, row.view(1), at_length,
                {.query_offset = token, .lse = row.lse});
    const auto first = all.out.begin() + token * heads * value_width;
    const auto first_lse = all.lse.begin() + token * heads;
    CHECK(worst(row.out, std::vector<float>(first, first + heads * value_width)) <= 2e-6);
    CHECK(worst(row.lse, std::vector<float>(first_lse, first_lse + heads)) <= 2e-6);
  }
  return all;
}

/// An entry, composed while the program runs; `known` are the results of its type.
inline void check_entry(const GalleryEntry& entry, const AnyEncoding& encoding,
                        const BindOptions& options, const Tensors& x, const Result& known) {
  INFO(std::string(entry.name));
  CHECK_FALSE(entry.source.empty());
  CHECK(known == check(entry.name, bind(encoding, options), x));
}

/// The same for the type of an encoding: its results have the same bits.
template <class LayoutT>
void check_all() {
  const Tensors x;
  const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
  std::set<std::string> names;
  int entries = 0;
  for_each_in_gallery<LayoutT>({.head_dim = width, .num_heads = heads, .trained = 32, .target = 64},
                               [&](const GalleryEntry& entry, const auto& encoding) {
                                 ++entries;
                                 names.emplace(entry.name);
                                 Result known(tokens);
                                 attention(x.queries, x.keys, x.values, known.view(tokens),
                                           bind(encoding, options), {.lse = known.lse});
                                 check_entry(entry, encoding, options, x, known);
                               });
  CHECK(entries >= 30);
  CHECK(static_cast<int>(names.size()) == entries);
}

}  // namespace gallery_tests
