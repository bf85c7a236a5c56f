// SPDX-License-Identifier: MIT
//
// PrefixLM: everybody sees the prefix; what follows it is causal.
//
//   Raffel et al., arXiv 1910.10683, section 3.2.1; Dong et al., UniLM, arXiv 1905.03197.
//
//   visible: key_index < prefix or key_index <= query_index
//
// prefix = 0 is Causal. Do not add Causal{}: masks intersect, and nothing of the prefix's own
// bidirectional part would be left.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN

struct PrefixLM {
  Position prefix = 0;  ///< tokens at the start of the sequence that see each other both ways

  [[nodiscard]] constexpr bool visible(const Score& at) const {
    return at.key_index < prefix || at.key_index <= at.query_index;
  }

  /// The first key is the easiest to see for the last query, and the last key the hardest for the
  /// first.
  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    if (tile.key_index.last < prefix || tile.key_index.last <= tile.query_index.first)
      return TileClass::full;
    if (tile.key_index.first >= prefix && tile.key_index.first > tile.query_index.last)
      return TileClass::none;
    return TileClass::partial;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(prefix >= 0, "PrefixLM: prefix must not be negative, got ", prefix, ".");
  }
};

POSENC_NAMESPACE_END
