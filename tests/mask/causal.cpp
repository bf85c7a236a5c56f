// SPDX-License-Identifier: MIT
#include <posenc/mask/causal.hpp>

#include "check_mask.hpp"

using namespace posenc;

TEST_CASE("Causal: pairs and tiles") {
  mask_is(Causal{}, [](Position query, Position key) { return key <= query; }, Tiles::exact);
}

TEST_CASE("Causal: the diagonal is visible, and indices are absolute") {
  static_assert(Causal{}.visible({.query_index = 7, .key_index = 7}));
  static_assert(!Causal{}.visible({.query_index = 7, .key_index = 8}));
  static_assert(Causal{}.classify(tile_of({100, 103}, {0, 100})) == TileClass::full);
  static_assert(Causal{}.classify(tile_of({100, 103}, {0, 101})) == TileClass::partial);
  static_assert(Causal{}.classify(tile_of({100, 103}, {104, 110})) == TileClass::none);
  constexpr Position last = Position{1} << 52;
  static_assert(Causal{}.classify(tile_of({0, last}, {0, last})) == TileClass::partial);
}
