// SPDX-License-Identifier: MIT
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/mask/causal.hpp>

#include "../support/sentences.hpp"
#include "../support/sequence.hpp"
#include "check_regions.hpp"

#include <numeric>

using namespace posenc;

namespace lm_infinite_cases {
constexpr auto rope = Sequence::rope;
constexpr LMInfinite scheme{.window = 12, .sinks = 5};

TEST_CASE("LMInfinite: distances, and who is seen") {
  static_assert(scheme.capacity() == 17);
  static_assert(scheme.distance(11, 0) == 11 && scheme.distance(12, 0) == 12 &&
                scheme.distance(1'000'000, 4) == 12);
  for (Position query = 0; query < 80; ++query)
    for (Position key = 0; key < 80; ++key) {
      const Score at{.query_index = query, .key_index = key};
      const bool seen = key <= query && (key < 5 || query - key < 12);
      CHECK(scheme.visible(at) == seen);
      CHECK(scheme.classify(tile_of({query, query}, {key, key})) ==
            (seen ? TileClass::full : TileClass::none));
    }
}

TEST_CASE("LMInfinite: regions") {
  for (const Position window : {1, 2, 16, 500}) {
    const LMInfinite map{.window = window, .sinks = 3};
    regions_reproduce_distance(map, 0, 90, 0);
    regions_of_tiles_are_exact(map, 100, 1);
    key_copies_are_least(map, -30, 30);
  }
}

TEST_CASE("LMInfinite: the formula") {
  const Sequence s(150);
  CHECK(difference(s.attend(rope | scheme),
                   s.dense([](Index i, Index j) { return std::min<Index>(i - j, 12); },
                           [](Index i, Index j) { return j <= i && (j < 5 || i - j < 12); })) <
        1e-13);
}

TEST_CASE("LMInfinite: ReRoPE with a lambda-shaped mask") {
  const Sequence s(150);
  CHECK(s.attend(rope | scheme) ==
        s.attend(rope | ReRoPE{12} | SinkWindow{.sinks = 5, .window = 12}));
  CHECK(difference(s.attend(rope | scheme), s.attend(rope | SinkWindow{5, 12})) > 1e-3);
}

TEST_CASE("LMInfinite: full attention up to the window") {
  // The last query is 12 tokens from the first key: at the ceiling, and not beyond.
  const Sequence s(13);
  CHECK(difference(s.attend(rope | scheme), s.attend(rope | Causal{})) < 1e-13);
}

TEST_CASE("LMInfinite: the window of the reference, at most T - 1, changes nothing") {
  for (const Index tokens : {2, 7, 12, 13}) {
    const Sequence s(tokens);
    const LMInfinite reference{.window = std::min<Position>(12, tokens - 1), .sinks = 5};
    CHECK(difference(row_of(s.attend(rope | scheme), tokens - 1),
                     row_of(s.attend(rope | reference), tokens - 1)) < 1e-13);
  }
}

TEST_CASE("LMInfinite: the order of sinks that are far has no effect") {
  const Sequence s(60);
  std::vector<Index> order(60);
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[0], order[3]);
  std::swap(order[1], order[4]);
  const Rows out = s.attend(rope | scheme), other = s.some(order).attend(rope | scheme);
  for (Index n = 16; n < 60; ++n)  // the last sink, 4, is 12 tokens away
    CHECK(difference(row_of(out, n), row_of(other, n)) < 1e-13);
  CHECK(difference(row_of(out, 15), row_of(other, 15)) > 1e-3);
}

TEST_CASE("LMInfinite: token by token over a ring of raw keys") {
  const Sequence s(200);
  auto cache = KeyValueCache<KeyState::raw, double>::ring(Sequence::cache_of(17), 5);
  CHECK(difference(s.decode(cache, rope | scheme), s.attend(rope | scheme)) < 1e-13);
  CHECK(cache.tokens(0) == 17);
}

TEST_CASE("LMInfinite: shifted by a million tokens") {
  const Sequence s(100);
  const Rows moved =
      s.attend(rope | scheme, {.query_positions = 1'000'000, .key_positions = 1'000'000});
  CHECK(difference(moved, s.attend(rope | scheme)) < 1e-8);
}

TEST_CASE("LMInfinite: the greatest positions") {
  constexpr Position last = greatest_position;
  static_assert(scheme.distance(last, 0) == 12 && scheme.distance(0, last) == -12);
  static_assert(scheme.regions(tile_of({0, last}, {0, last})) == 0b111);
}

TEST_CASE("LMInfinite: what is wrong is said") {
  CHECK(sentences_of(LMInfinite{}).empty());
  CHECK(sentences_of(LMInfinite{.window = 1, .sinks = 0}).empty());
  CHECK_THAT(sentences_of(LMInfinite{.window = 0}), ContainsSubstring("[1, 2^52], got 0"));
  CHECK_THAT(sentences_of(LMInfinite{.sinks = -1}),
             ContainsSubstring("sinks must lie within [0, 2^52], got -1"));
  constexpr Position most = std::numeric_limits<Position>::max();
  CHECK(!sentences_of(LMInfinite{.window = most}).empty());
  CHECK(!sentences_of(LMInfinite{.sinks = most}).empty());
}

}  // namespace lm_infinite_cases
