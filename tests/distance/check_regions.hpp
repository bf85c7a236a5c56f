// SPDX-License-Identifier: MIT
//
// What every distance map promises: its regions reproduce its distance, regions(tile) names the
// regions that occur in a tile, and key_copy(region) names the first that has the same keys.
#pragma once

#include <posenc/core/concepts.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <random>

/// Every pair of positions.
constexpr posenc::Tile tile_of(posenc::Interval query, posenc::Interval key) {
  return {.query = query, .key = key, .query_index = query, .key_index = key};
}

/// In every region, query_position * step - key_position * step is the distance.
template <posenc::DistanceMap M>
void regions_reproduce_distance(const M& map, posenc::Position from, posenc::Position to,
                                double tolerance) {
  double worst = 0;
  for (posenc::Position query = from; query < to; ++query)
    for (posenc::Position key = from; key < to; ++key) {
      const int region = map.region(query, key);
      const double step = map.step(region);
      const double split = map.query_position(region, query) * step -
                           static_cast<double>(map.key_position(region, key)) * step;
      worst = std::max(worst, std::abs(split - map.distance(query, key)));
    }
  CHECK(worst <= tolerance);
}

/// Compares regions(tile) with the regions of all pairs, for single pairs and for random tiles.
template <posenc::DistanceMap M>
void regions_of_tiles_are_exact(const M& map, posenc::Position extent, unsigned seed) {
  using posenc::Position;
  std::mt19937 random(seed);
  const auto below = [&](Position n) { return posenc_test::integer(random, 0, n - 1); };
  int wrong = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const Position rows = trial % 4 == 0 ? 1 : 1 + below(24),
                   columns = trial % 4 == 0 ? 1 : 1 + below(24);
    const Position query = below(extent), key = below(extent);
    const posenc::Tile tile = tile_of({query, query + rows - 1}, {key, key + columns - 1});
    posenc::RegionSet occur = 0;
    for (Position q = query; q < query + rows; ++q)
      for (Position k = key; k < key + columns; ++k) occur |= 1U << map.region(q, k);
    wrong += occur != map.regions(tile);
  }
  CHECK(wrong == 0);
}

/// key_copy(region) is the least region whose step and key_position are the same for all these keys.
template <posenc::DistanceMap M>
void key_copies_are_least(const M& map, posenc::Position from, posenc::Position to) {
  const auto same_keys = [&](int a, int b) {
    bool same = map.step(a) == map.step(b);
    for (posenc::Position key = from; key < to; ++key)
      same = same && map.key_position(a, key) == map.key_position(b, key);
    return same;
  };
  for (int region = 0; region < M::num_regions; ++region) {
    int least = 0;
    while (!same_keys(least, region)) ++least;
    CHECK(map.key_copy(region) == least);
  }
}
