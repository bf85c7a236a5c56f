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

/// Kernel against reference, and a token decoded alone against the same token among all.
template <class LayoutT>
void check_all() {
  constexpr Index tokens = 70, heads = 4, kv_heads = 2, width = 16, value_width = 16;
  const auto noise = [](Index n, unsigned seed) {
    return posenc_test::noise<float, float>(n, seed, -2, 2);
  };
  const std::vector<float> q = noise(tokens * heads * width, 1),
                           k = noise(tokens * kv_heads * width, 2),
                           v = noise(tokens * kv_heads * value_width, 3);
  const TensorView<const float> queries(q.data(), tokens, heads, width),
      keys(k.data(), tokens, kv_heads, width), values(v.data(), tokens, kv_heads, value_width);
  std::set<std::string> names;
  int entries = 0;
  for_each_in_gallery<LayoutT>(
      {.head_dim = width, .num_heads = heads, .trained = 32, .target = 64},
      [&](const GalleryEntry& entry, const auto& encoding) {
        INFO(std::string(entry.name));
        ++entries;
        names.emplace(entry.name);
        CHECK_FALSE(entry.source.empty());
        const auto bound = bind(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});

        std::vector<float> out(tokens * heads * value_width), lse(tokens * heads);
        attention(queries, keys, values, TensorView<float>(out.data(), tokens, heads, value_width),
                  bound, {.lse = lse});
        const ReferenceResult expected =
            reference_attention<const float>(queries, keys, values, bound);
        CHECK(worst(out, expected.out) <= 1e-5);
        CHECK(worst(lse, expected.lse) <= 1e-5);

        for (const Index token : {Index{0}, Index{40}, tokens - 1}) {
          std::vector<float> row(heads * value_width), row_lse(heads);
          // The same frequencies as in the call with all tokens, also where these depend on the length.
          const auto at_length = bound.at_length(tokens);
          attention(queries.slice(token, 1), keys.slice(0, token + 1), values.slice(0, token + 1),
                    TensorView<float>(row.data(), 1, heads, value_width), at_length,
                    {.lse = row_lse});
          // Causal or not: an encoding that looks ahead gets to see all keys.
          if (entry.name == "PrefixLM")
            attention(queries.slice(token, 1), keys, values,
                      TensorView<float>(row.data(), 1, heads, value_width), at_length,
                      {.query_offset = token, .lse = row_lse});
          const auto first = out.begin() + token * heads * value_width;
          CHECK(worst(row, std::vector<float>(first, first + heads * value_width)) <= 2e-6);
          CHECK(worst(row_lse, std::vector<float>(lse.begin() + token * heads,
                                                  lse.begin() + (token + 1) * heads)) <= 2e-6);
        }
      });
  CHECK(entries >= 30);
  CHECK(static_cast<int>(names.size()) == entries);
}

}  // namespace gallery_tests
