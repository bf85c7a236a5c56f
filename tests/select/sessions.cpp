// SPDX-License-Identifier: MIT
//
// Summaries after any edits of a cache are those of a cache that is summarised for the first time.
#include "../support/backwards.hpp"
#include "../support/bits.hpp"
#include "../support/cases.hpp"
#include "choices.hpp"

#include <posenc/cache/rerotate.hpp>
#include <posenc/eigen.hpp>
#include <posenc/rotary/xpos.hpp>

#include <optional>

namespace select_test {
namespace sessions_cases {

/// Summarises its last block although it is not complete.
struct Means {
  static constexpr std::string_view name = "Means";
  static constexpr bool rotated = true;
  Index block = 4;
  ChoicePer per = ChoicePer::query_head;
  void check(Problems&) const {}
  [[nodiscard]] Index summary_width(Index n) const { return n; }
  void summarize(const KeyBlock& keys, float* to) const { detail::block_mean(keys, to); }
  void meet(const float* query, Index n, float* to) const { std::copy_n(query, n, to); }
  [[nodiscard]] ForcedBlocks forced(Index) const { return {}; }
  [[nodiscard]] Index top() const { return 2; }
};
/// The same of keys as they were passed.
struct RawMeans : Means {
  static constexpr bool rotated = false;
};
/// The sum of keys by the mass of each, per query head.
struct Weighed : Means {
  static constexpr bool needs_mass = true;
  void summarize(const KeyBlock& keys, float* to) const {
    for (Index c = 0; c < keys.width; ++c) {
      double sum = 0;
      for (Index t = 0; t < keys.tokens; ++t)
        sum += keys.mass[size(t)] * static_cast<double>(keys.key(t)[size(c)]);
      to[c] = static_cast<float>(sum);
    }
  }
};

constexpr Index sequences = 3, kv_heads = 2, width = 8, page_tokens = 4;

template <KeyState State, class C>
struct Session {
  using CacheT = KeyValueCache<State, C>;
  Random random;
  std::vector<C> pool_keys, pool_values;
  CacheT cache;
  bool is_paged;
  std::vector<int> encoding = std::vector<int>(size(sequences));

  Session(unsigned seed, bool paged)
      : random(seed), pool_keys(size(64 * kv_heads * page_tokens * width)), pool_values(pool_keys),
        cache(paged
                  ? CacheT::paged(shape(), {pool_keys.data(), pool_values.data(), 64, page_tokens})
                  : CacheT::contiguous(shape())),
        is_paged(paged) {
    for (Index s = 0; s < sequences && paged; ++s) {
      std::vector<Index> table;
      for (Index p = 0; p < 15; ++p) table.push_back(s * 15 + (p * 4) % 15);
      cache.set_pages(s, table);
    }
  }
  static CacheShape shape() {
    return {.sequences = sequences, .kv_heads = kv_heads, .head_dim = width, .capacity = 60};
  }

  template <class B>
  void step(const B& a, const B& b) {
    const Index s = random.integer(0, sequences - 1), n = cache.next_index(s);
    const Position from = random.integer(0, n), to = random.integer(from, n);
    const B& bound = encoding[size(s)] == 0 ? a : b;
    switch (random.integer(0, 9)) {
      case 0:
        return cache.truncate(s, random.integer(n / 2, n));
      case 1:
        return cache.evict(s, from, std::min(to, from + 5));
      case 2: {
        std::vector<Position> path;
        const Position first = std::max<Position>(0, n - 5);
        for (Position i = first; i < n; ++i)
          if (random.chance(0.5)) path.push_back(i);
        return cache.keep_path(s, first, path);
      }
      case 3: {
        const Index other = (s + 1) % sequences;
        cache.fork(s, other, to);
        encoding[size(other)] = encoding[size(s)];
        return;
      }
      case 4:
        if constexpr (State == KeyState::raw)
          return shift(cache, s, from, to, random.integer(-20, 20));
        else
          return shift(cache, s, from, to, random.integer(-20, 20), bound);
      case 5:
        if constexpr (State == KeyState::rotated) {
          rebase(cache, s, bound, encoding[size(s)] == 0 ? b : a);
          encoding[size(s)] = 1 - encoding[size(s)];
        }
        return;
      case 6:
        if (random.chance(0.3)) cache.clear(s);
        return;
      default: {
        const Index more = std::min<Index>(random.integer(0, 9), 60 - n);
        append(cache, s, numbers(more * kv_heads * width, random), bound);
      }
    }
  }
};

template <class T, class S, KeyState State, class C, class B>
void run_session(const S& selector, const B& a, const B& b, unsigned seed) {
  for (const bool paged : {false, true}) {
    Session<State, C> session(seed, paged);
    auto& cache = session.cache;
    Summaries<S, T> summaries(selector, cache, a);
    Index compared = 0;
    const Index steps = std::max<Index>(posenc_test::some_of(400), 40);  // fewer show nothing
    for (Index step = 0; step < steps; ++step) {
      session.step(a, b);
      if (session.random.chance(0.4)) continue;  // several edits before the next look
      const Index s = session.random.integer(0, sequences - 1);
      // Raw keys may be read by either encoding.
      const bool first =
          State == KeyState::raw ? session.random.chance(0.8) : session.encoding[size(s)] == 0;
      const B& bound = first ? a : b;
      INFO("paged " << paged << ", step " << step);
      SummaryOptions options;
      if (session.random.chance(0.2)) options.tokens = session.random.integer(0, 60);
      std::vector<double> mass;
      if (detail::needs_mass<S>) {
        // Mass of a token follows from its key, so that what was not computed anew is still right.
        for (Index t = 0; t < cache.tokens(s); ++t)
          for (Index h = 0; h < 4; ++h)
            mass.push_back(std::abs(static_cast<double>(widen(cache.key(s, t, 0)[0]))) +
                           static_cast<double>(h));
        options.mass = mass;
      }
      summaries.update(cache, s, bound, options);
      Summaries<S, T> fresh(selector, cache, bound);
      options.executor = posenc_test::Backwards{3};
      fresh.update(cache, s, bound, options);
      REQUIRE(summaries.tokens(s) == fresh.tokens(s));
      REQUIRE(summaries.blocks(s) == fresh.blocks(s));
      for (Index h = 0; h < summaries.heads(); ++h) {
        const Index n = summaries.blocks(s) * summaries.width();
        REQUIRE(std::equal(summaries.row(s, h), summaries.row(s, h) + n, fresh.row(s, h),
                           [](T x, T y) { return posenc_test::same_bits(x, y); }));
        compared += n;
      }
    }
    CHECK(compared > 0);
  }
}

auto rope(double base) {
  return bind(RoPE<HalfSplit>{.head_dim = width, .base = base} | Causal{},
              {.num_heads = 4, .num_kv_heads = kv_heads});
}
auto xpos(double base) {
  return bind(RoPE<Interleaved>{.head_dim = width, .base = base} | XPos{.scale_base = 512} |
                  Causal{},
              {.num_heads = 4, .num_kv_heads = kv_heads});
}

TEST_CASE("summaries follow every edit of a cache") {
  const auto a = rope(100), b = rope(10'000);
  for (unsigned seed = 1; seed <= 3; ++seed) {
    run_session<float, Quest, KeyState::raw, float>({.block = 4}, a, b, seed);
    run_session<Eigen::bfloat16, Quest, KeyState::rotated, Eigen::bfloat16>({.block = 3}, a, b,
                                                                            seed);
    run_session<float, MoBA, KeyState::rotated, float>({.block = 8, .topk = 1}, a, b, seed);
    run_session<Eigen::half, Means, KeyState::raw, double>({}, a, b, seed);
    run_session<float, Means, KeyState::rotated, Eigen::half>({.block = 5}, a, b, seed);
    run_session<float, RawMeans, KeyState::raw, float>({}, a, b, seed);
    run_session<float, Weighed, KeyState::raw, float>({}, a, b, seed);
  }
  run_session<float, Quest, KeyState::raw, float>({.block = 4}, xpos(100), xpos(10'000), 4);
  run_session<float, Quest, KeyState::rotated, float>({.block = 4}, xpos(100), xpos(100), 5);
}

TEST_CASE("a token that is appended costs its own block, and nothing before that is complete") {
  struct Counting : Means {
    Index* count = nullptr;
    bool is_forced = false;
    void summarize(const KeyBlock& keys, float* to) const {
      ++*count;
      Means::summarize(keys, to);
    }
    [[nodiscard]] ForcedBlocks forced(Index) const { return {.last = is_forced ? 1 : 0}; }
  };
  const auto bound = without_positions(1, 1);
  Random random(6);
  for (const bool is_forced : {false, true}) {
    auto cache = KeyValueCache<KeyState::raw>::contiguous({.head_dim = 8, .capacity = 100});
    Index count = 0;
    Counting selector;
    selector.count = &count, selector.is_forced = is_forced;
    Summaries summaries(selector, cache, bound);
    append(cache, 0, numbers(50 * 8, random), bound);
    summaries.update(cache, 0, bound);
    CHECK(count == (is_forced ? 12 : 13));
    for (Index t = 0; t < 8; ++t) {
      append(cache, 0, numbers(8, random), bound);
      count = 0;
      summaries.update(cache, 0, bound);
      CHECK(count == (is_forced ? (51 + t) % 4 == 0 : 1));
      count = 0;
      summaries.update(cache, 0, bound);
      CHECK(count == 0);
    }
    cache.truncate(0, 30);
    append(cache, 0, numbers(20 * 8, random), bound);
    summaries.update(cache, 0, bound);
    CHECK(count == (is_forced ? 5 : 6));  // tokens 28 to 49
  }
}

}  // namespace sessions_cases
}  // namespace select_test
