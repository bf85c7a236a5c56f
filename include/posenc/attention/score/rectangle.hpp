// SPDX-License-Identifier: MIT
//
// Rectangle: some queries and some keys, of a call, a block or a tile.
#pragma once

#include <posenc/core/types.hpp>

#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Queries [query, query + queries) and keys [key, key + keys).
struct Rectangle {
  Index query = 0, queries = 0;
  Index key = 0, keys = 0;

  /// Two halves of the longer side; of more than one pair.
  [[nodiscard]] std::pair<Rectangle, Rectangle> halves() const {
    Rectangle one = *this, other = *this;
    const bool by_query = queries > keys;
    Index &count = by_query ? one.queries : one.keys, &rest = by_query ? other.queries : other.keys;
    count /= 2;
    rest -= count;
    (by_query ? other.query : other.key) += count;
    return {one, other};
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
