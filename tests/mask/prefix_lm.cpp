// SPDX-License-Identifier: MIT
#include <posenc/mask/prefix_lm.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

using namespace posenc;

TEST_CASE("PrefixLM: pairs and tiles") {
  for (const Position prefix : {0, 1, 13, 40, 1000})
    mask_is(
        PrefixLM{prefix},
        [&](Position query, Position key) { return query >= key || prefix > key; }, Tiles::exact);
}

TEST_CASE("PrefixLM: extreme parameters and indices") {
  constexpr Position most = std::numeric_limits<Position>::max(), last = Position{1} << 52;
  mask_is(PrefixLM{most}, [](Position, Position) { return true; }, Tiles::exact);
  static_assert(PrefixLM{10}.classify(tile_of({0, last}, {0, 9})) == TileClass::full);
  static_assert(PrefixLM{10}.classify(tile_of({0, 9}, {10, last})) == TileClass::none);
}

TEST_CASE("PrefixLM: what is wrong is said") {
  CHECK(sentences_of(PrefixLM{}).empty());
  CHECK_THAT(sentences_of(PrefixLM{-1}), ContainsSubstring("prefix must not be negative, got -1"));
}
