// SPDX-License-Identifier: MIT
#include "contradictions.hpp"

using namespace validate_test;

namespace masks_cases {

/// Keys up to `reach` back. What it says of tiles is off by `full` and `none` tokens.
struct Window {
  Position reach = 1000;
  Position full = 0, none = 0;

  bool visible(const Score& at) const {
    const Position back = at.query_index - at.key_index;
    return back >= 0 && back <= reach;
  }
  TileClass classify(const Tile& tile) const {
    const Position nearest = tile.query_index.first - tile.key_index.last,
                   farthest = tile.query_index.last - tile.key_index.first;
    if (nearest > reach + none || farthest < 0) return TileClass::none;
    return nearest >= 0 && farthest <= reach + full ? TileClass::full : TileClass::partial;
  }
};

TEST_CASE("validate: a mask that tells the truth, at whatever size") {
  for (const Position reach : {0, 1, 63, 64, 1000, 4000})
    CHECK(contradictions(Window{.reach = reach}).text.empty());
}

TEST_CASE("validate: one token too many in a full tile") {
  for (const Position reach : {0, 7, 64, 1000, 3000}) {
    const Said said = contradictions(Window{.reach = reach, .full = 1});
    says(said, "classify says full of the tile of queries ");
    CHECK_THAT(said.text, ContainsSubstring("but visible hides query "));
  }
}

TEST_CASE("validate: one token too few in a tile of none") {
  for (const Position reach : {1, 7, 64, 1000, 3000}) {
    const Said said = contradictions(Window{.reach = reach, .none = -1});
    says(said, "classify says none of the tile of queries ");
    CHECK_THAT(said.text, ContainsSubstring("but visible shows query "));
  }
}

TEST_CASE("validate: both at once are two sentences; other seeds find them too") {
  for (const std::uint64_t seed : {2U, 3U, 4U, 5U})
    CHECK(contradictions(Window{.full = 1, .none = -1}, ValidateOptions{.seed = seed}).count == 2);
}

/// Classifies by positions what it hides by indices.
struct OfPositions {
  bool visible(const Score& at) const { return at.key_index <= at.query_index; }
  TileClass classify(const Tile& tile) const {
    if (tile.key.last <= tile.query.first) return TileClass::full;
    return tile.key.first > tile.query.last ? TileClass::none : TileClass::partial;
  }
};
/// Shows other keys to one head, and forgets that heads differ.
struct OfHeads {
  bool visible(const Score& at) const { return at.head != 2 || at.key_index % 2 == 0; }
  TileClass classify(const Tile&) const { return TileClass::full; }
};

TEST_CASE("validate: masks that take positions for indices, or one head for all") {
  CHECK(contradictions(OfPositions{}).count == 2);
  says(contradictions(OfHeads{}), ", head 2");
}

/// Its twin is asked, not the mask that prepares it.
struct Doubled {
  Position reach = 100;
  bool visible(const Score&) const { return true; }
  Window prepare(const HeadShape& shape) const {
    return {.reach = shape.num_heads * reach, .full = 1};
  }
};

TEST_CASE("validate: a prepared twin answers in its mask's stead") {
  says(contradictions(Doubled{}), "classify says full");
}

TEST_CASE("validate: options and parameters that are wrong are sentences") {
  says(contradictions(Window{}, ValidateOptions{.extent = 2}),
       "extent must lie within [8, 2^24], got 2.");
  says(contradictions(Window{}, ValidateOptions{.tiles = 7}), "tiles must be at least 8, got 7.");
  says(contradictions(Window{}, ValidateOptions{.tolerance = -1}),
       "tolerance must be finite and not negative, got -1.");
  says(contradictions(Window{}, ValidateOptions{.shape = {.num_heads = 0}}), "got 0 heads");
}

}  // namespace masks_cases
