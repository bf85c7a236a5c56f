// SPDX-License-Identifier: MIT
//
// Causal: a query sees the keys that are not later in the sequence than itself.
//
// Indices are absolute: with a cache of n tokens, the first new query has index n.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN

struct Causal {
  [[nodiscard]] constexpr bool visible(const Score& at) const {
    return at.key_index <= at.query_index;
  }

  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    if (tile.key_index.last <= tile.query_index.first) return TileClass::full;
    if (tile.key_index.first > tile.query_index.last) return TileClass::none;
    return TileClass::partial;
  }
};

POSENC_NAMESPACE_END
