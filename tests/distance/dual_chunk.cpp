// SPDX-License-Identifier: MIT
#include <posenc/distance/dual_chunk.hpp>

#include "../support/sentences.hpp"
#include "check_regions.hpp"

#include <algorithm>
#include <limits>

using namespace posenc;

namespace dual_chunk_cases {

constexpr DualChunk maps[] = {{1, 1},  {1, 5},  {4, 4},   {6, 9},   {6, 11},
                              {6, 12}, {5, 40}, {20, 24}, {16, 20}, {500, 600}};

/// The distance as the reference's tables of positions give it, for a key that is not in the
/// future, at positions from 0.
Position reference(Position query, Position key, const DualChunk& map) {
  const Position s = map.chunk, c = map.cap;
  const auto successive = [&](Position i) { return std::min(i + s, c); };
  const Position back = query / s - key / s, i = query % s, j = key % s;
  return back == 0 ? i - j : back == 1 ? successive(i) - j : successive(s - 1) - j;
}

TEST_CASE("DualChunk: the reference's distances") {
  for (const DualChunk& map : maps) {
    int wrong = 0;
    for (Position query = 0; query < 120; ++query)
      for (Position key = 0; key <= query; ++key)
        wrong += map.distance(query, key) != static_cast<double>(reference(query, key, map));
    CHECK(wrong == 0);
  }
}

TEST_CASE("DualChunk: the future mirrors the past") {
  for (const DualChunk& map : maps) {
    int wrong = 0;
    for (Position query = -90; query < 90; ++query)
      for (Position key = -90; key < 90; ++key)
        wrong += map.distance(-1 - query, -1 - key) != -map.distance(query, key);
    CHECK(wrong == 0);
  }
}

TEST_CASE("DualChunk: regions") {
  for (const DualChunk& map : maps) {
    regions_reproduce_distance(map, -60, 90, 0);
    regions_of_tiles_are_exact(map, 100, 4);
    key_copies_are_least(map, -60, 90);
  }
}

TEST_CASE("DualChunk: the paper's figure 2") {
  // Chunks of 6, trained at 10: queries stand at 6 7 8 9 9 9 for the chunk before, at 9 for others.
  constexpr DualChunk map{.chunk = 6, .cap = 9};
  const double successive[] = {6, 7, 8, 9, 9, 9};
  for (Position i = 0; i < 6; ++i) {
    CHECK(map.query_position(DualChunk::intra, 12 + i) == static_cast<double>(i));
    CHECK(map.query_position(DualChunk::successive, 12 + i) == successive[i]);
    CHECK(map.query_position(DualChunk::inter, 12 + i) == 9);
    CHECK(map.key_position(DualChunk::inter, 12 + i) == i);
  }
  CHECK(map.distance(6, 5) == 1);
  CHECK(map.distance(11, 0) == 9);
  CHECK(map.distance(12, 5) == 4);
}

TEST_CASE("DualChunk: named parameters") {
  const auto is = [](const DualChunk& map, Position chunk, Position cap) {
    return map.chunk == chunk && map.cap == cap;
  };
  CHECK(is(DualChunk{}, 2560, 3072));
  CHECK(is(DualChunk::chunk_llama(4096), 2560, 3072));
  CHECK(is(DualChunk::paper(4096), 3072, 4095));
  CHECK(is(DualChunk::qwen2_5_1m(), 253'952, 262'144));
  CHECK(is(DualChunk::from_sizes(8192, 512), 7680, 8192));
  CHECK(DualChunk::chunk_llama(4096).query_position(DualChunk::inter, 0) == 3072);
}

TEST_CASE("DualChunk: exact nearby, never above the true distance nor the cap") {
  for (const DualChunk& map : maps) {
    const auto exact = static_cast<double>(std::min(map.cap - map.chunk + 1, map.chunk));
    int wrong = 0;
    for (Position query = -50; query < 120; ++query)
      for (Position key = -50; key <= query; ++key) {
        const auto d = static_cast<double>(query - key);
        const double g = map.distance(query, key);
        wrong += g < 0 || g > d || g > static_cast<double>(map.cap);
        wrong += d <= exact && g != d;
        if (map.region(query, key) == DualChunk::inter) wrong += g < exact;
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("DualChunk: a chunk of everything is RoPE; translation by chunks") {
  constexpr DualChunk whole{.chunk = 100, .cap = 120}, map{.chunk = 8, .cap = 11};
  int other_shifts = 0;
  for (Position query = 0; query < 100; ++query)
    for (Position key = 0; key < 100; ++key) {
      CHECK(whole.distance(query, key) == static_cast<double>(query - key));
      CHECK(map.distance(query + 16, key + 16) == map.distance(query, key));
      CHECK(map.distance(query - 96, key - 96) == map.distance(query, key));
      other_shifts += map.distance(query + 3, key + 3) != map.distance(query, key);
    }
  CHECK(other_shifts > 0);
}

TEST_CASE("DualChunk: the greatest positions") {
  constexpr Position last = Position{1} << 52, most = std::numeric_limits<Position>::max();
  constexpr DualChunk map{};
  static_assert(map.distance(last, 0) == 3072 && map.distance(last, last - 1) == 1);
  static_assert(map.distance(-last, last) >= -3072 && map.distance(-last, last) < 0);
  static_assert(map.regions(tile_of({0, last}, {0, last})) == 0b11111);
  constexpr DualChunk unlimited{.chunk = most, .cap = most};
  static_assert(unlimited.distance(last, 0) == 0x1p52 && unlimited.distance(0, last) == -0x1p52);
  static_assert(unlimited.query_position(DualChunk::successive, last) == 0x1p63 &&
                unlimited.query_position(DualChunk::inter_future, last) == -1);
}

TEST_CASE("DualChunk: what is wrong is said") {
  CHECK(sentences_of(DualChunk{}).empty());
  CHECK(sentences_of(DualChunk::qwen2_5_1m()).empty());
  CHECK_THAT(sentences_of(DualChunk{.chunk = 0}),
             ContainsSubstring("chunk must be positive, got 0"));
  CHECK(sentences_of(DualChunk{.chunk = 8, .cap = 7}) ==
        "DualChunk: cap must be at least chunk, got chunk 8 and cap 7.\n");
  CHECK_THAT(sentences_of(DualChunk::from_sizes(512, 512)),
             ContainsSubstring("chunk must be positive"));
  CHECK_THAT(sentences_of(DualChunk::from_sizes(512, -1)),
             ContainsSubstring("got chunk 513 and cap 512"));
}

}  // namespace dual_chunk_cases
