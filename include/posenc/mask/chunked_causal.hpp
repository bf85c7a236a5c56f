// SPDX-License-Identifier: MIT
//
// ChunkedCausal: a query sees the earlier keys of its own chunk.
//
//   visible: key_index <= query_index, and floor(key_index / chunk) == floor(query_index / chunk)
//
// Chunks count tokens of the sequence, not positions: after an eviction from a cache the borders lie
// where they would lie had the evicted tokens never been there.
//
// Llama 4: attention_chunk_size 8192 on its rotary layers. Unlike a sliding window, the first token
// of a chunk sees itself only.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN

struct ChunkedCausal {
  Position chunk = 8192;  ///< tokens of a chunk; one begins at token 0

  [[nodiscard]] constexpr bool visible(const Score& at) const {
    return at.key_index <= at.query_index && chunk_of(at.key_index) == chunk_of(at.query_index);
  }

  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    const Position first_query = chunk_of(tile.query_index.first);
    const Position last_query = chunk_of(tile.query_index.last);
    const Position first_key = chunk_of(tile.key_index.first);
    const Position last_key = chunk_of(tile.key_index.last);
    if (tile.key_index.first > tile.query_index.last) return TileClass::none;
    if (last_key < first_query || first_key > last_query) return TileClass::none;
    const bool one_chunk = first_query == last_query && first_key == last_key;
    const bool past = tile.key_index.last <= tile.query_index.first;
    return one_chunk && past ? TileClass::full : TileClass::partial;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(chunk > 0, "ChunkedCausal: chunk must be positive, got ", chunk, ".");
  }

 private:
  [[nodiscard]] constexpr Position chunk_of(Position index) const {
    return index >= 0 ? index / chunk : (index + 1) / chunk - 1;
  }
};

POSENC_NAMESPACE_END
