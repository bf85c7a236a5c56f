// SPDX-License-Identifier: MIT
//
// A cache with some tokens, and the blocks that a selector chooses of it.
#pragma once

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <posenc/cache/key_value_cache.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>
#include <posenc/select/select.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace select_test {

using namespace posenc;
using posenc_test::Random;

inline std::size_t size(Index n) { return static_cast<std::size_t>(n); }

inline std::vector<float> numbers(Index n, Random& random, double reach = 1) {
  std::vector<float> x(size(n));
  for (float& one : x) one = static_cast<float>(random.real(-reach, reach));
  return x;
}

/// Without positions, keys and queries are what they are.
inline auto without_positions(Index heads, Index kv_heads) {
  return bind(Causal{}, {.num_heads = heads, .num_kv_heads = kv_heads});
}

/// Keys [token][head][channel] as values too.
template <class CacheT, class B>
void append(CacheT& cache, Index sequence, const std::vector<float>& keys, const B& bound,
            const AppendOptions& options = {}) {
  const CacheShape& shape = cache.shape();
  const Index tokens = std::ssize(keys) / (shape.kv_heads * shape.head_dim);
  const auto append = [&](const auto* from) {
    const TensorView k(from, tokens, shape.kv_heads, shape.head_dim);
    cache.append(sequence, k, k, bound, options);
  };
  if constexpr (std::is_same_v<typename CacheT::element, double>)
    append(std::vector<double>(keys.begin(), keys.end()).data());
  else
    append(keys.data());
}

using Blocks = std::vector<Index>;

/// The blocks that a choice reads, each as far as a query of rank `own` sees it.
inline Blocks blocks_of(const Selection::Choice& choice, Index block, Index own) {
  Blocks blocks;
  Index tokens = 0, end = -1;
  for (const KeyRange& range : choice.ranges) {
    REQUIRE(range.tokens > 0);
    REQUIRE(range.first > end);  // apart: those that touch are one
    REQUIRE(range.first % block == 0);
    end = range.first + range.tokens;
    REQUIRE((end % block == 0 || end == own + 1));
    REQUIRE(end <= own + 1);
    for (Index b = range.first / block; b * block < end; ++b) blocks.push_back(b);
    tokens += range.tokens;
  }
  REQUIRE(tokens == choice.tokens);
  return blocks;
}

template <class T, class S, class CacheT, class B>
Selection chosen_by(const S& selector, const CacheT& cache, const B& bound,
                    const std::vector<float>& q, Index heads, const SelectOptions& options = {}) {
  Summaries<S, T> summaries(selector, cache, bound);
  for (Index s = 0; s < cache.shape().sequences; ++s)
    if (cache.tokens(s) > 0) summaries.update(cache, s, bound, {.executor = options.executor});
  Selection chosen;
  const Index width = cache.shape().head_dim;
  select(TensorView<const float>(q.data(), std::ssize(q) / (heads * width), heads, width), cache,
         summaries, bound, chosen, options);
  return chosen;
}

}  // namespace select_test
