// SPDX-License-Identifier: MIT
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>

#include "contradictions.hpp"

using namespace validate_test;

namespace distance_maps_cases {

/// Beyond a window on either side distances grow at half the pace, written out by itself.
struct Slower {
  static constexpr int num_regions = 3;
  Position window = 300;
  // What is wrong with it:
  double shift = 0;      ///< of query_position
  Position late = 0;     ///< tokens by which regions() misses the window
  int copy_of_far = 1;   ///< key_copy(2)
  Position overlap = 0;  ///< tokens by which distance() misses the window
  int out_of_range = 0;  ///< added to the region of far pairs

  double distance(Position query, Position key) const {
    const Position d = query - key, from = window + overlap;
    if (d >= from) return static_cast<double>(window) + static_cast<double>(d - window) / 2;
    if (d <= -from) return -static_cast<double>(window) + static_cast<double>(d + window) / 2;
    return static_cast<double>(d);
  }
  int region(Position query, Position key) const {
    const Position d = query - key;
    return d >= window ? 1 + out_of_range : d <= -window ? 2 : 0;
  }
  RegionSet regions(const Tile& tile) const {
    RegionSet set = 1;
    if (tile.greatest_distance() >= window + late) set |= 2;
    if (tile.least_distance() <= -window) set |= 4;
    return set;
  }
  double step(int region) const { return region == 0 ? 1 : 0.5; }
  double query_position(int region, Position query) const {
    const auto at = static_cast<double>(query), far = static_cast<double>(window);
    return region == 0 ? at : region == 1 ? at + far + shift : at - far;
  }
  Position key_position(int, Position key) const { return key; }
  int key_copy(int region) const { return region == 2 ? copy_of_far : region; }
};

TEST_CASE("validate: a distance map that tells the truth") {
  CHECK(contradictions(Slower{}).text.empty());
  for (const Position window : {1, 2, 64, 3000})
    CHECK(contradictions(Slower{.window = window}).text.empty());
  CHECK(contradictions(ReRoPE{.window = 100}).text.empty());
  CHECK(contradictions(LeakyReRoPE{.window = 100, .factor = 0.3}).text.empty());
}

TEST_CASE("validate: a distance that the regions do not compute") {
  const Said shifted = contradictions(Slower{.shift = 1});
  says(shifted, "distance says ");
  CHECK_THAT(shifted.text, ContainsSubstring(", but region 1 has "));
  says(contradictions(Slower{.overlap = 2}),
       "distance says ");  // the map has no step at the window
}

TEST_CASE("validate: a region that regions() leaves out, by one token") {
  for (const Position window : {2, 300, 3000})
    says(contradictions(Slower{.window = window, .late = 1}),
         "regions leaves out region 1 of the tile of queries ");
}

TEST_CASE("validate: a region that there is not") {
  says(contradictions(Slower{.out_of_range = 2}), "region says 3 of query ");
}

TEST_CASE("validate: keys that are said to be the same") {
  says(contradictions(Slower{.copy_of_far = 0}),
       "key_copy says that regions 0 and 2 have the same keys");
  says(contradictions(Slower{.copy_of_far = 3}),
       "key_copy of region 2 is 3, which is not the least");
}

/// Stores one copy of the keys, at a place of their own, and says that it is the keys' own place.
template <KeyState state>
struct Stored {
  static constexpr int num_regions = 2;
  static constexpr KeyState stored_keys = state;
  Position far_key = 0;  ///< what keys of the other region are moved by

  double distance(Position query, Position key) const {
    return query_position(0, query) - static_cast<double>(key_position(region(query, key), key));
  }
  int region(Position query, Position key) const { return query < key ? 1 : 0; }
  RegionSet regions(const Tile&) const { return 3; }
  double step(int) const { return 1; }
  double query_position(int, Position query) const { return static_cast<double>(query); }
  Position key_position(int region, Position key) const {
    return key + 3 + (region == 1 ? far_key : 0);
  }
};

TEST_CASE("validate: what a cache is told that keys are") {
  CHECK(contradictions(Stored<KeyState::raw>{.far_key = 1}).text.empty());
  CHECK(contradictions(Stored<KeyState::reduced>{}).text.empty());
  says(contradictions(Stored<KeyState::reduced>{.far_key = 1}),
       "stored_keys says that regions 0 and 1 have the same keys");
  says(contradictions(Stored<KeyState::rotated>{}),
       "stored_keys says that keys stand at their own positions");
}

}  // namespace distance_maps_cases
