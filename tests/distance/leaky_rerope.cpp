// SPDX-License-Identifier: MIT
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>

#include "../support/sentences.hpp"
#include "check_regions.hpp"

using namespace posenc;

namespace leaky_rerope_cases {
/// g of the article, in long double and made odd.
long double article(Position d, Position window, long double k) {
  if (d < 0) return -article(-d, window, k);
  return d < window ? static_cast<long double>(d)
                    : static_cast<long double>(window) + (d - window) / k;
}

TEST_CASE("LeakyReRoPE: the article's map, odd") {
  for (const Position window : {1, 5, 16})
    for (const double factor : {1.0, 1.7, 8.0, 16.0, 0.25}) {
      const LeakyReRoPE map{window, factor};
      for (Position d = -300; d <= 300; ++d)
        CHECK_THAT(map.distance(1000 + d, 1000),
                   WithinRel(static_cast<double>(article(d, window, factor)), 1e-15));
    }
}

TEST_CASE("LeakyReRoPE: the reference's far copies give the same distances") {
  constexpr Position window = 12;
  constexpr double k = 16;
  const LeakyReRoPE map{window, k};
  for (Position query = 0; query < 200; ++query)
    for (Position key = 0; key + window <= query; ++key) {
      const double far_query = (static_cast<double>(query) + window * (k - 1)) / k;
      CHECK_THAT(map.distance(query, key),
                 WithinAbs(far_query - static_cast<double>(key) / k, 1e-13));
    }
}

TEST_CASE("LeakyReRoPE: regions") {
  for (const Position window : {1, 2, 7, 16, 500})
    for (const double factor : {1.0, 16.0, 3.3, 0.1}) {
      const LeakyReRoPE map{window, factor};
      regions_reproduce_distance(map, 0, 90, 1e-11);
      regions_of_tiles_are_exact(map, 100, 2);
      key_copies_are_least(map, -30, 30);
    }
  for (const int region : {0, 1, 2}) CHECK(LeakyReRoPE{}.key_position(region, 77) == 77);
}

TEST_CASE("LeakyReRoPE: continuous at the window, rising, odd") {
  for (const double factor : {1.0, 2.5, 16.0, 0.5}) {
    const LeakyReRoPE map{.window = 9, .factor = factor};
    CHECK(map.distance(9, 0) == 9);
    CHECK(map.distance(0, 9) == -9);
    for (Position d = 0; d < 500; ++d) {
      const double growth = map.distance(d + 1, 0) - map.distance(d, 0);
      CHECK_THAT(growth, WithinAbs(d < 9 ? 1 : 1 / factor, 1e-12));
      CHECK(map.distance(0, d) == -map.distance(d, 0));
    }
  }
}

TEST_CASE("LeakyReRoPE: factor 1 is RoPE, and a great factor is ReRoPE") {
  const LeakyReRoPE identity{.window = 7, .factor = 1}, rectified{.window = 7, .factor = 1e18};
  const ReRoPE rerope{.window = 7};
  for (Position d = -5000; d <= 5000; ++d) {
    CHECK(identity.distance(5000 + d, 5000) == static_cast<double>(d));
    CHECK_THAT(rectified.distance(5000 + d, 5000),
               WithinAbs(rerope.distance(5000 + d, 5000), 1e-14));
  }
}

TEST_CASE("LeakyReRoPE: to_length ends at the last trained distance") {
  for (const Position target : {4096, 5000, 32'768, 1'000'000}) {
    const LeakyReRoPE map = LeakyReRoPE::to_length(512, 4096, target);
    CHECK_THAT(map.distance(target - 1, 0), WithinRel(4095.0, 1e-14));
  }
  static_assert(LeakyReRoPE::to_length(512, 4096, 4096).factor == 1);
  CHECK_THROWS_WITH(
      LeakyReRoPE::to_length(4095, 4096, 8192),
      ContainsSubstring("got window 4095, trained_length 4096 and target_length 8192"));
  CHECK_THROWS_WITH(LeakyReRoPE::to_length(512, 4096, 4095),
                    ContainsSubstring("trained_length <= target_length"));
  CHECK_THROWS_AS(LeakyReRoPE::to_length(0, 4096, 8192), Error);
}

TEST_CASE("LeakyReRoPE: inverse grows faster beyond the window") {
  constexpr LeakyReRoPE map = LeakyReRoPE::inverse(128, 16);
  static_assert(map.factor == 0.0625 && map.step(LeakyReRoPE::far_past) == 16);
  CHECK(map.distance(127, 0) == 127);
  CHECK(map.distance(511, 0) == 128 + 16 * (511 - 128));
}

TEST_CASE("LeakyReRoPE: the greatest positions") {
  constexpr Position last = Position{1} << 52;
  constexpr LeakyReRoPE map{.window = 512, .factor = 16};
  static_assert(map.distance(last, 0) == 512 + (0x1p52 - 512) / 16 &&
                map.distance(0, last) == -map.distance(last, 0));
  static_assert(map.regions(tile_of({0, last}, {0, last})) == 0b111);
  regions_reproduce_distance(map, last - 1100, last - 1000, 0);
  constexpr LeakyReRoPE unlimited{.window = std::numeric_limits<Position>::max()};
  static_assert(unlimited.region(last, 0) == LeakyReRoPE::near &&
                unlimited.distance(0, last) == -0x1p52);
}

TEST_CASE("LeakyReRoPE: what is wrong is said") {
  CHECK(sentences_of(LeakyReRoPE{}).empty());
  CHECK_THAT(sentences_of(LeakyReRoPE{.window = -4}),
             ContainsSubstring("window must be positive, got -4"));
  CHECK_THAT(sentences_of(LeakyReRoPE{.factor = 0}),
             ContainsSubstring("factor must be positive and finite, got 0"));
  CHECK_THAT(sentences_of(LeakyReRoPE{.factor = std::nan("")}),
             ContainsSubstring("factor must be positive"));
  CHECK_THAT(sentences_of(LeakyReRoPE::inverse(128, 0)),
             ContainsSubstring("a step beyond the window of 0"));
}

}  // namespace leaky_rerope_cases
