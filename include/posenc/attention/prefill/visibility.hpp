// SPDX-License-Identifier: MIT
//
// Visibility: what masks say of rectangles of a block of queries and a chunk of keys, so that hidden ones
// are not computed.
#pragma once

#include <posenc/attention/prefill/buffers.hpp>
#include <posenc/attention/score/rectangle.hpp>
#include <posenc/attention/score/tile.hpp>
#include <posenc/bind/answers.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Part of a tile: some lanes, and the keys [first, last) that some of their queries see.
struct TilePart {
  Index width = 0;
  Index first = 0, last = 0;
};
using TileHalves = std::array<TilePart, 2>;

template <class T>
class Visibility {
 public:
  Visibility(const Answers& answers, const Plan& plan, const PrefillBuffers<T>& buffers,
             Index sequence)
      : answers_(answers), plan_(plan), buffers_(buffers), sequence_(sequence) {}

  /// The query heads that are asked about from now on: all of a group, or one.
  void of_group(Index kv_head) {
    heads_ = {kv_head * plan_.group, (kv_head + 1) * plan_.group - 1};
  }
  void of_head(Index head) { heads_ = {head, head}; }

  void begin_block(Index queries) {
    query_ = Places(buffers_.query, queries);
    query_index_ = Places(buffers_.query_index, queries);
  }
  void begin_chunk(Index keys) {
    key_ = Places(buffers_.key, keys);
    key_index_ = Places(buffers_.key_index, keys);
  }
  [[nodiscard]] Interval queries(Index count) const { return query_.bounds(0, count); }

  [[gnu::noinline]] [[nodiscard]] Tile tile_of(const Rectangle& r) const {
    return {query_.bounds(r.query, r.queries),
            key_.bounds(r.key, r.keys),
            query_index_.bounds(r.query, r.queries),
            key_index_.bounds(r.key, r.keys),
            heads_,
            sequence_};
  }
  [[nodiscard]] bool is_hidden(const Rectangle& r) const {
    return answers_.classify(tile_of(r)) == TileClass::none;
  }

  /// What is between the first tile and the last that some query sees.
  [[nodiscard]] Rectangle seen(Rectangle r) const {
    while (r.keys > plan_.tile && is_hidden({r.query, r.queries, r.key, plan_.tile})) {
      r.key += plan_.tile;
      r.keys -= plan_.tile;
    }
    for (Index last; r.keys > plan_.tile; r.keys -= last) {
      last = (r.keys - 1) % plan_.tile + 1;
      if (!is_hidden({r.query, r.queries, r.key + r.keys - last, last})) break;
    }
    return r;
  }

  /// Half of a panel of `width` lanes sees only half of the keys where the edge of a mask cuts off a
  /// corner. Lanes are divided in steps of `step`.
  [[nodiscard]] TileHalves halves(const Rectangle& tile, Index width, Index step) const {
    const Index half = width / 2;
    if (half % step != 0 || tile.queries <= half || tile.keys < 2) return {{{width, 0, tile.keys}}};
    const Index middle = tile.keys / 2;
    const auto part = [&](Index query, Index queries) {
      const auto hidden = [&](Index key, Index keys) {
        return is_hidden({tile.query + query, queries, tile.key + key, keys});
      };
      return TilePart{half, hidden(0, middle) ? middle : 0,
                      hidden(middle, tile.keys - middle) ? middle : tile.keys};
    };
    return {part(0, half), part(half, tile.queries - half)};
  }

 private:
  const Answers& answers_;
  const Plan& plan_;
  const PrefillBuffers<T>& buffers_;
  Places query_, query_index_;  ///< of the block
  Places key_, key_index_;      ///< of the chunk
  Index sequence_;
  Interval heads_{};
};

}  // namespace detail

POSENC_NAMESPACE_END
