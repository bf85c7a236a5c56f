// SPDX-License-Identifier: MIT
#include <posenc/distance/rerope.hpp>

#include "../support/sentences.hpp"
#include "check_regions.hpp"

using namespace posenc;

TEST_CASE("ReRoPE: distances are kept within the window and rectified beyond") {
  constexpr ReRoPE map{.window = 8};
  static_assert(map.distance(107, 100) == 7 && map.distance(108, 100) == 8 &&
                map.distance(999, 100) == 8);
  static_assert(map.distance(100, 107) == -7 && map.distance(100, 108) == -8 &&
                map.distance(0, 900) == -8);
  for (Position d = -40; d <= 40; ++d)
    CHECK(map.distance(100 + d, 100) == static_cast<double>(std::clamp<Position>(d, -8, 8)));
}

TEST_CASE("ReRoPE: regions") {
  for (const Position window : {1, 2, 7, 16, 500}) {
    const ReRoPE map{.window = window};
    regions_reproduce_distance(map, 0, 90, 0);
    regions_of_tiles_are_exact(map, 100, 1);
    key_copies_are_least(map, -30, 30);
  }
  CHECK(ReRoPE{.window = 1}.distance(5, 5) == 0);
  CHECK(ReRoPE{.window = 1}.distance(9, 5) == 1);
}

TEST_CASE("ReRoPE: beyond every distance, the window changes nothing") {
  const ReRoPE map{.window = 1000};
  for (Position d = -900; d <= 900; ++d) CHECK(map.distance(d, 0) == static_cast<double>(d));
}

TEST_CASE("ReRoPE: the greatest positions") {
  constexpr Position last = Position{1} << 52;
  constexpr ReRoPE map{.window = 512};
  static_assert(map.distance(last, 0) == 512 && map.distance(0, last) == -512);
  static_assert(map.regions(tile_of({0, last}, {0, last})) == 0b111);
  constexpr ReRoPE unlimited{.window = std::numeric_limits<Position>::max()};
  static_assert(unlimited.region(last, 0) == ReRoPE::near &&
                unlimited.region(0, last) == ReRoPE::near);
}

TEST_CASE("ReRoPE: what is wrong is said") {
  CHECK(sentences_of(ReRoPE{}).empty());
  CHECK_THAT(sentences_of(ReRoPE{.window = 0}),
             ContainsSubstring("window must be positive, got 0"));
}
