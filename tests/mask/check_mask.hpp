// SPDX-License-Identifier: MIT
//
// What every mask promises: it shows the pairs that its definition shows, by their indices, and
// what it says of a tile is true of all its pairs.
#pragma once

#include <posenc/core/concepts.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <random>

/// A pair whose positions say nothing: masks ask about indices.
inline posenc::Score pair(posenc::Position query, posenc::Position key) {
  return {.query = 5 - 3 * query, .key = 7 * key, .query_index = query, .key_index = key};
}

enum class Tiles {
  exact,         ///< partial only where a tile has both kinds of pairs
  conservative,  ///< partial anywhere
};

/// Compares a mask with `visible(query_index, key_index)`, for all pairs and for random tiles.
template <posenc::TiledMask M, class Visible>
void mask_is(const M& mask, Visible visible, Tiles tiles, posenc::Position extent = 70) {
  using namespace posenc;
  int wrong_pairs = 0, wrong_tiles = 0;
  for (Position query = 0; query < extent; ++query)
    for (Position key = 0; key < extent; ++key)
      wrong_pairs += mask.visible(pair(query, key)) != visible(query, key);
  CHECK(wrong_pairs == 0);

  std::mt19937 random(20'240'229);
  const auto below = [&](Position n) { return posenc_test::integer(random, 0, n - 1); };
  for (int trial = 0; trial < 3000; ++trial) {
    const Position rows = 1 + below(trial % 3 == 0 ? 2 : 20),
                   columns = 1 + below(trial % 3 == 0 ? 2 : 20);
    const Interval query{below(extent), 0}, key{below(extent), 0};
    Tile tile;
    tile.query_index = {query.first, query.first + rows - 1};
    tile.key_index = {key.first, key.first + columns - 1};
    tile.query = {-1000, 1000};
    tile.key = {-2000, 2000};
    Position shown = 0;
    for (Position q = tile.query_index.first; q <= tile.query_index.last; ++q)
      for (Position k = tile.key_index.first; k <= tile.key_index.last; ++k)
        shown += visible(q, k) ? 1 : 0;
    const TileClass truth = shown == 0                ? TileClass::none
                            : shown == rows * columns ? TileClass::full
                                                      : TileClass::partial;
    const TileClass answer = mask.classify(tile);
    const bool cautious = tiles == Tiles::conservative && answer == TileClass::partial;
    wrong_tiles += answer != truth && !cautious;
  }
  CHECK(wrong_tiles == 0);
}

/// A tile of indices.
constexpr posenc::Tile tile_of(posenc::Interval query, posenc::Interval key) {
  return {.query = query, .key = key, .query_index = query, .key_index = key};
}
