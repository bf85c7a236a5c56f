// SPDX-License-Identifier: MIT
#include <posenc/bias/alibi.hpp>
#include <posenc/distance/streaming_llm.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>

#include "../support/sentences.hpp"
#include "../support/sequence.hpp"
#include "check_regions.hpp"

using namespace posenc;

namespace streaming_llm_cases {

constexpr auto rope = Sequence::rope;
constexpr StreamingLLM scheme{.sinks = 4, .recent = 12};

/// Indices of what a cache of `scheme` holds when token n has come.
std::vector<Index> kept_at(Index n) {
  std::vector<Index> kept;
  for (Index j = 0; j <= n; ++j)
    if (j < 4 || j > n - 12) kept.push_back(j);
  return kept;
}

bool kept(Index i, Index j) { return j <= i && (j < 4 || i - j < 12); }

TEST_CASE("StreamingLLM: distances within the cache") {
  static_assert(scheme.capacity() == 16 && StreamingLLM{}.capacity() == 512);
  static_assert(scheme.distance(15, 0) == 15 && scheme.distance(16, 0) == 15);
  static_assert(scheme.distance(1'000'000, 0) == 15 && scheme.distance(1'000'000, 3) == 12);
  static_assert(scheme.distance(1'000'000, 999'989) == 11);
  for (Position query = 0; query < 100; ++query) {
    const std::vector<Index> held = kept_at(query);
    for (std::size_t place = 0; place < held.size(); ++place)
      CHECK(scheme.distance(query, held[place]) ==
            static_cast<double>(held.size()) - 1 - static_cast<double>(place));
  }
}

TEST_CASE("StreamingLLM: regions") {
  for (const Position sinks : {0, 1, 4, 30})
    for (const Position recent : {1, 2, 16, 50}) {
      const StreamingLLM map{.sinks = sinks, .recent = recent};
      regions_reproduce_distance(map, 0, 90, 0);
      regions_of_tiles_are_exact(map, 100, 1);
      key_copies_are_least(map, -30, 30);
    }
}

TEST_CASE("StreamingLLM: shows what the cache holds") {
  for (Position query = 0; query < 80; ++query)
    for (Position key = 0; key < 80; ++key) {
      const Score at{.query_index = query, .key_index = key};
      CHECK(scheme.visible(at) == kept(query, key));
      CHECK(scheme.classify(tile_of({query, query}, {key, key})) ==
            (kept(query, key) ? TileClass::full : TileClass::none));
    }
}

TEST_CASE("StreamingLLM: the formula") {
  const Sequence s(150);
  const auto g = [](Index i, Index j) { return j < 4 ? std::min<Index>(i, 15) - j : i - j; };
  CHECK(difference(s.attend(rope | scheme), s.dense(g, kept)) < 1e-13);
}

TEST_CASE("StreamingLLM: full attention until the cache is full") {
  const Sequence s(16);
  CHECK(difference(s.attend(rope | scheme), s.attend(rope | Causal{})) == 0);
  const Sequence longer(17);
  CHECK(difference(row_of(longer.attend(rope | scheme), 16),
                   row_of(longer.attend(rope | Causal{}), 16)) > 1e-3);
}

TEST_CASE("StreamingLLM: full attention over the tokens that are kept, numbered anew") {
  const Sequence s(150);
  const Rows out = s.attend(rope | scheme);
  for (Index n = 0; n < s.tokens; ++n) {
    const Sequence rest = s.some(kept_at(n));
    const Rows expected = rest.attend(rope | Causal{});  // positions 0 to at most 15
    CHECK(difference(row_of(out, n), row_of(expected, rest.tokens - 1)) < 1e-13);
  }
}

TEST_CASE("StreamingLLM: token by token over a streaming cache of raw keys") {
  const Sequence s(150);
  auto cache = KeyValueCache<KeyState::raw, double>::streaming(Sequence::cache_of(16), 4);
  CHECK(difference(s.decode(cache, encoding(rope)), s.attend(rope | scheme)) < 1e-13);
}

TEST_CASE("StreamingLLM: token by token over a ring, of rotated and of raw keys") {
  const Sequence s(150);
  const Rows expected = s.attend(rope | scheme);
  auto rotated = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(16), 4);
  CHECK(difference(s.decode(rotated, rope | scheme), expected) < 1e-13);
  auto raw = KeyValueCache<KeyState::raw, double>::ring(Sequence::cache_of(16), 4);
  CHECK(difference(s.decode(raw, rope | scheme), expected) < 1e-13);
  // The mask alone decides what is seen, so a larger cache changes nothing.
  auto all = KeyValueCache<KeyState::rotated, double>::contiguous(Sequence::cache_of(150));
  CHECK(difference(s.decode(all, rope | scheme), expected) < 1e-13);
}

TEST_CASE("StreamingLLM: several tokens at a time over a ring with room for them") {
  const Sequence s(150);
  const Rows expected = s.attend(rope | scheme);
  const auto bound = bind(rope | scheme, {.num_heads = s.heads, .num_kv_heads = s.kv_heads});
  auto cache = KeyValueCache<KeyState::rotated, double>::ring(Sequence::cache_of(16 + 4), 4);
  Rows out(s.q.size());
  for (Index t = 0; t < s.tokens; t += 5) {
    cache.append(0, s.keys().slice(t, 5), s.values().slice(t, 5), bound);
    decode(s.queries().slice(t, 5), cache,
           TensorView(out.data() + t * s.heads * s.width, 5, s.heads, s.width), bound);
  }
  CHECK(difference(out, expected) < 1e-13);
}

TEST_CASE("StreamingLLM: without sinks it is a sliding window") {
  const Sequence s(150);
  CHECK(difference(s.attend(rope | StreamingLLM{.sinks = 0, .recent = 12}),
                   s.attend(rope | SlidingWindow::from_token_count(12))) == 0);
}

TEST_CASE("StreamingLLM: biases see the true distance, those of a streaming cache places in it") {
  const Sequence s(60);
  const auto g = [](Index i, Index j) { return j < 4 ? std::min<Index>(i, 15) - j : i - j; };
  const auto slope = [](Index h) { return std::exp2(-2 * static_cast<double>(h + 1)); };
  CHECK(difference(s.attend(rope | scheme | ALiBi{}),
                   s.dense(g, kept, [&](Index h, Index i, Index j) {
                     return -slope(h) * static_cast<double>(i - j);
                   })) < 1e-13);
  auto cache = KeyValueCache<KeyState::raw, double>::streaming(Sequence::cache_of(16), 4);
  CHECK(
      difference(s.decode(cache, rope | ALiBi{}), s.dense(g, kept, [&](Index h, Index i, Index j) {
        return -slope(h) * static_cast<double>(g(i, j));
      })) < 1e-13);
}

TEST_CASE("StreamingLLM: the greatest positions") {
  constexpr Position last = greatest_position;
  static_assert(scheme.distance(last, 3) == 12 && scheme.distance(last, last - 11) == 11);
  static_assert(scheme.regions(tile_of({0, last}, {0, last})) == 0b11);
  constexpr StreamingLLM unlimited{.sinks = last, .recent = last};
  static_assert(unlimited.region(last, 0) == StreamingLLM::near);
}

TEST_CASE("StreamingLLM: what is wrong is said") {
  CHECK(sentences_of(StreamingLLM{}).empty());
  CHECK(sentences_of(StreamingLLM{.sinks = 0, .recent = 1}).empty());
  CHECK_THAT(sentences_of(StreamingLLM{.sinks = -1}),
             ContainsSubstring("sinks must lie within [0, 2^52], got -1"));
  CHECK_THAT(sentences_of(StreamingLLM{.recent = 0}), ContainsSubstring("[1, 2^52], got 0"));
  constexpr Position most = std::numeric_limits<Position>::max();
  CHECK(!sentences_of(StreamingLLM{.sinks = most}).empty());
  CHECK(!sentences_of(StreamingLLM{.recent = most}).empty());
}

}  // namespace streaming_llm_cases
