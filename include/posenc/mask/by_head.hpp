// SPDX-License-Identifier: MIT
//
// What a mask that differs by head says of a tile of several heads: hidden when every head hides it, full when
// every head shows it.
#pragma once

#include <posenc/core/score.hpp>
#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// `classify_head(head)` for each head of the tile, until two of them differ.
template <class ClassifyHead>
[[nodiscard]] constexpr TileClass classify_heads(const Tile& tile,
                                                 const ClassifyHead& classify_head) {
  const TileClass first = classify_head(tile.heads.first);
  for (Position head = tile.heads.first + 1; head <= tile.heads.last; ++head)
    if (first == TileClass::partial || classify_head(head) != first) return TileClass::partial;
  return first;
}

}  // namespace detail

POSENC_NAMESPACE_END
