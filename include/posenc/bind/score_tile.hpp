// SPDX-License-Identifier: MIT
//
// The scores that a loop works on, and where they stand.
#pragma once

#include <posenc/core/score.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A tile of scores of one head, [keys][width]: keys run down the rows, queries along the lanes. Lanes
/// beyond the last query repeat it, so that what is asked about them is no new question.
struct ScoreTile {
  Index keys = 0;
  Index queries = 0;
  Index width = 0;  ///< queries, padded to whole vectors
  Index head = 0;
  const Position* query = nullptr;        ///< by lane
  const Position* query_index = nullptr;  ///< by lane
  const Position* key = nullptr;          ///< by row
  const Position* key_index = nullptr;    ///< by row
  bool consecutive = false;               ///< queries that are there stand one after another
  Tile where{};                           ///< of the queries that are there

  [[nodiscard]] Score score(Index row, Index lane) const {
    return {query[lane], key[row], query_index[lane], key_index[row], head, where.sequence};
  }

  /// The same where queries are consecutive, as if lanes beyond the last one went on like that: the
  /// next lane reads the next entry of a table.
  [[nodiscard]] Score consecutive_score(Index row, Index lane) const {
    return {query[0] + lane, key[row], query_index[0] + lane, key_index[row], head, where.sequence};
  }
  [[nodiscard]] Tile consecutive_tile() const {
    Tile tile = where;
    tile.query.last += width - queries;
    tile.query_index.last += width - queries;
    return tile;
  }
};

/// Scores of one query and one head, which run along the keys.
struct KeyRow {
  Index keys = 0;  ///< padded to whole vectors; padding repeats the last
  Position query = 0, query_index = 0;
  Index head = 0;
  const Position* key = nullptr;
  const Position* key_index = nullptr;
  Tile where{};  ///< of the query

  [[nodiscard]] Score score(Index k) const {
    return {query, key[k], query_index, key_index[k], head, where.sequence};
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
