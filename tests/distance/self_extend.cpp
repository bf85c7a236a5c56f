// SPDX-License-Identifier: MIT
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/self_extend.hpp>

#include "../support/sentences.hpp"
#include "check_regions.hpp"

#include <cmath>

using namespace posenc;

namespace self_extend_cases {

/// The paper's distance for a key that is not in the future, with real floors.
double paper(Position query, Position key, Position window, Position group) {
  const auto floor = [](Position a, Position b) {
    return std::floor(static_cast<double>(a) / static_cast<double>(b));
  };
  return query - key < window ? static_cast<double>(query - key)
                              : floor(query, group) - floor(key, group) +
                                    static_cast<double>(window) - floor(window, group);
}

constexpr SelfExtend maps[] = {{1, 1}, {2, 1},  {2, 2},  {6, 3},   {7, 7},
                               {8, 2}, {16, 4}, {16, 8}, {30, 10}, {500, 5}};

TEST_CASE("SelfExtend: the paper's distance, odd, at negative positions too") {
  for (const SelfExtend& map : maps) {
    int wrong = 0;
    for (Position query = -60; query < 90; ++query)
      for (Position key = -60; key <= query; ++key) {
        const double expected = paper(query, key, map.window, map.group);
        wrong += map.distance(query, key) != expected;
        wrong += map.distance(key, query) != -expected;
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("SelfExtend: regions") {
  for (const SelfExtend& map : maps) {
    regions_reproduce_distance(map, -60, 90, 0);
    regions_of_tiles_are_exact(map, 100, 3);
    key_copies_are_least(map, -60, 90);
  }
}

TEST_CASE("SelfExtend: published numbers") {
  // Defaults of the reference; its README: (trained - window) group + window.
  constexpr SelfExtend map{};
  static_assert(map.window == 1024 && map.group == 8);
  static_assert(map.greatest_length(4096) == 25'600);
  static_assert(SelfExtend{.window = 2048, .group = 16}.greatest_length(8192) == 100'352);
  static_assert(map.greatest_length(1000) == 1000);
  CHECK(map.distance(1024, 0) == 1024);
  CHECK(map.distance(1031, 0) == 1024);
  CHECK(map.distance(1032, 0) == 1025);
  CHECK(map.distance(1032, 7) == 1025);
  CHECK(map.distance(1032, 8) == 1024);
  // The last trained distance, 4095, is met by the last query of that length and not before.
  CHECK(map.distance(25'599, 0) == 4095);
  CHECK(map.distance(25'600, 0) == 4096);
}

TEST_CASE("SelfExtend: the greatest length, by trial") {
  for (const SelfExtend& map : maps)
    for (const Position trained : {1, 17, 40}) {
      Position length = 1;
      while (map.distance(length, 0) < static_cast<double>(trained)) ++length;
      CHECK(map.greatest_length(trained) == length);
    }
}

TEST_CASE("SelfExtend: the least group for a length, by trial") {
  const auto farthest = [](Position window, Position group, Position length) {
    return SelfExtend{.window = window / group * group, .group = group}.distance(length - 1, 0);
  };
  for (const Position trained : {64, 100, 1000})
    for (const Position window : {trained / 4, trained / 3, trained / 2})
      for (Position length = trained; length < 8 * trained; length += 37) {
        CAPTURE(trained, window, length);
        const SelfExtend map = SelfExtend::to_length(window, trained, length);
        CHECK(map.window == window / map.group * map.group);
        CHECK(farthest(window, map.group, length) < static_cast<double>(trained));
        Position least = 2;
        while (farthest(window, least, length) >= static_cast<double>(trained)) least *= 2;
        CHECK(map.group == least);
      }
  CHECK(SelfExtend::to_length(16, 64, 1 << 20).group == 64);  // none is enough
  CHECK(SelfExtend::to_length(0, 0, 0).window == 0);
}

TEST_CASE("SelfExtend: group 1 and a window of everything are RoPE") {
  constexpr SelfExtend single{.window = 5, .group = 1}, wide{.window = 200, .group = 8};
  for (Position query = 0; query < 100; ++query)
    for (Position key = 0; key < 100; ++key) {
      CHECK(single.distance(query, key) == static_cast<double>(query - key));
      CHECK(wide.distance(query, key) == static_cast<double>(query - key));
    }
}

TEST_CASE("SelfExtend: continuous at the window; a group is equally far; translation") {
  constexpr SelfExtend map{.window = 12, .group = 4};
  for (Position key = -20; key < 20; ++key) CHECK(map.distance(key + 12, key) == 12);
  for (Position query = 40; query < 50; ++query)
    for (Position key = 0; key < 20; ++key)
      CHECK(map.distance(query, key) == map.distance(query, key / 4 * 4));
  int other_shifts = 0;
  for (Position query = -40; query < 40; ++query)
    for (Position key = -40; key < 40; ++key) {
      CHECK(map.distance(query + 4, key + 4) == map.distance(query, key));
      const double moved = map.distance(query + 3, key + 3) - map.distance(query, key);
      CHECK(std::abs(moved) <= 1);
      other_shifts += moved != 0;
    }
  CHECK(other_shifts > 0);
}

TEST_CASE("SelfExtend: within 1 of LeakyReRoPE, which has no floors") {
  constexpr SelfExtend map{.window = 16, .group = 8};
  constexpr LeakyReRoPE leaky{.window = 16, .factor = 8};
  for (Position query = 0; query < 150; ++query)
    for (Position key = 0; key < 150; ++key)
      CHECK(std::abs(map.distance(query, key) - leaky.distance(query, key)) < 1);
}

TEST_CASE("SelfExtend: the greatest positions") {
  constexpr Position last = Position{1} << 52, most = std::numeric_limits<Position>::max();
  constexpr SelfExtend map{};
  static_assert(map.distance(last, 0) == 0x1p49 + 896 && map.distance(0, last) == -0x1p49 - 896);
  static_assert(map.distance(0, -last) == 0x1p49 + 896);
  static_assert(map.regions(tile_of({0, last}, {0, last})) == 0b111);
  constexpr SelfExtend unlimited{.window = most, .group = 1};
  static_assert(unlimited.region(last, 0) == SelfExtend::near &&
                unlimited.distance(0, last) == -0x1p52);
  static_assert(map.greatest_length(most) == most);
  static_assert(SelfExtend{.window = 1024, .group = 1024}.greatest_length(last) ==
                (last - 1024) * 1024 + 1024);
}

TEST_CASE("SelfExtend: what is wrong is said") {
  CHECK(sentences_of(SelfExtend{}).empty());
  CHECK_THAT(sentences_of(SelfExtend{.window = 0}),
             ContainsSubstring("window must be positive, got 0"));
  CHECK_THAT(sentences_of(SelfExtend{.group = -2}),
             ContainsSubstring("group must be positive, got -2"));
  CHECK(sentences_of(SelfExtend{.window = 10, .group = 4}) ==
        "SelfExtend: group must divide window, got window 10 and group 4.\n");
}

}  // namespace self_extend_cases
