// SPDX-License-Identifier: MIT
//
// Where a score stands: the coordinates that biases, score maps, masks and distance maps are asked
// about, one score at a time (`Score`) or a rectangle of them at once (`Tile`).
//
// A token has an index, its place among the tokens of the sequence, and a position, the number that
// rotations, distances and biases use. They are the same unless the caller passes position ids
// (packed documents, left padding, multimodal input). Masks ask about indices: "causal" means
// "not later in the sequence" even where several tokens share a position, and "the last w tokens" are
// w tokens of the sequence, whatever their positions. Tokens that were taken out of a cache are none.
#pragma once

#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN

/// One (query, key) pair of one head.
struct Score {
  Position query = 0;        ///< position of the query token
  Position key = 0;          ///< position of the key token
  Position query_index = 0;  ///< place of the query token in the sequence
  Position key_index = 0;    ///< place of the key token in the sequence
  Index head = 0;            ///< query head
  Index sequence = 0;        ///< which sequence of a ragged call or of a cache

  /// query - key; positive for keys in the past. Exact.
  [[nodiscard]] constexpr Position distance() const { return query - key; }
};

/// A closed interval of positions or indices.
struct Interval {
  Position first = 0;
  Position last = 0;
};

/// A rectangle of scores: every pair of a query and a key within the intervals, of one head or of several
/// that are asked about together. With position ids the intervals are the least and greatest value, so an
/// answer about a Tile is conservative.
struct Tile {
  Interval query{};        ///< positions
  Interval key{};          ///< positions
  Interval query_index{};  ///< places in the sequence
  Interval key_index{};    ///< places in the sequence
  Interval heads{};        ///< query heads
  Index sequence = 0;

  [[nodiscard]] constexpr Position least_distance() const { return query.first - key.last; }
  [[nodiscard]] constexpr Position greatest_distance() const { return query.last - key.first; }
};

/// What a mask says of a tile: every pair hidden, some hidden, none hidden.
enum class TileClass { none, partial, full };

POSENC_NAMESPACE_END
