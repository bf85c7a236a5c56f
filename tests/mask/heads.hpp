// SPDX-License-Identifier: MIT
//
// What every mask that differs by head promises: it shows the pairs that its definition shows to each head, and
// what it says of a tile is true of all its pairs, of one head and of several.
#pragma once

#include "check_mask.hpp"

#include <string>

/// What check() says of a component bound to these heads.
template <class C>
std::string sentences_of(const C& component, const posenc::HeadShape& shape) {
  posenc::Problems problems;
  component.check(problems, shape);
  std::string all;
  for (const std::string& sentence : problems.sentences()) all += sentence + "\n";
  return all;
}

enum class Fullness { exact, cautious };

/// Compares a prepared mask with `visible(head, query_index, key_index)`. `none` has to be exact of one head; `full`
/// may be missed where the second argument says so.
template <posenc::TiledMask M, class Visible>
void mask_of_heads_is(const M& mask, posenc::Index heads, Visible visible, Fullness fullness,
                      posenc::Position extent = 70) {
  using namespace posenc;
  int wrong_pairs = 0;
  for (Index head = 0; head < heads; ++head)
    for (Position query = 0; query < extent; ++query)
      for (Position key = 0; key < extent; ++key) {
        Score at = pair(query, key);
        at.head = head;
        wrong_pairs += mask.visible(at) != visible(head, query, key);
      }
  CHECK(wrong_pairs == 0);

  std::mt19937 random(407);
  const auto below = [&](Position n) { return posenc_test::integer(random, 0, n - 1); };
  int wrong_tiles = 0, seen[3] = {0, 0, 0};
  for (int trial = 0; trial < 4000; ++trial) {
    const Position rows = 1 + below(trial % 3 == 0 ? 2 : 20),
                   columns = 1 + below(trial % 3 == 0 ? 2 : 20);
    const Interval query{below(extent), 0}, key{below(extent), 0};
    Tile tile =
        tile_of({query.first, query.first + rows - 1}, {key.first, key.first + columns - 1});
    tile.query = {-1000, 1000};  // positions say nothing
    tile.key = {-2000, 2000};
    tile.heads.first = below(heads);
    tile.heads.last =
        trial % 2 == 0 ? tile.heads.first : tile.heads.first + below(heads - tile.heads.first);
    bool none = true, all = true;
    for (Position head = tile.heads.first; head <= tile.heads.last; ++head)
      for (Position q = tile.query_index.first; q <= tile.query_index.last; ++q)
        for (Position k = tile.key_index.first; k <= tile.key_index.last; ++k) {
          const bool shown = visible(head, q, k);
          none = none && !shown;
          all = all && shown;
        }
    const TileClass truth = none ? TileClass::none : all ? TileClass::full : TileClass::partial;
    const TileClass answer = mask.classify(tile);
    const bool cautious =
        fullness == Fullness::cautious && truth == TileClass::full && answer == TileClass::partial;
    wrong_tiles += answer != truth && !cautious;
    ++seen[static_cast<int>(answer)];
  }
  CHECK(wrong_tiles == 0);
  CHECK(seen[static_cast<int>(TileClass::partial)] > 0);
}
