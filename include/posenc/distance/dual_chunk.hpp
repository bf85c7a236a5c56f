// SPDX-License-Identifier: MIT
//
// Dual chunk attention: positions start anew in every chunk, and queries know how many chunks back.
//
//   An et al., arXiv 2402.17463; HKUNLP/ChunkLlama; Qwen2.5-1M, arXiv 2501.15383.
//
// A key stands at its place within its chunk, j' = key mod chunk. A query at i' = query mod chunk
// looks at it from
//
//   intra        i'                          the key's chunk is its own
//   successive   min(i' + chunk, cap)        the one before
//   inter        min(2 chunk - 1, cap)       an older one
//
// so no distance exceeds cap, however long the input, and none the true one. Distances up to
// min(cap - chunk + 1, chunk) are exact; those to older chunks lie between that and cap, rising and
// falling again with every chunk.
//
// The paper needs a causal mask. Without one, the future is the past's mirror image,
// g(-1 - query, -1 - key) = -g(query, key): queries look ahead from
//
//   successive_future   max(i' - chunk, chunk - 1 - cap)
//   inter_future        max(-chunk, chunk - 1 - cap)
//
// which keeps every key at its one place. Chunks begin at multiples of `chunk`, also at negative
// positions; shifting all positions by a multiple of it changes nothing. A chunk of the whole
// sequence is RoPE.
//
// Errata: the paper caps at the trained length less one and has chunk + local = trained length; its
// code caps at three quarters of the trained length, and a query's place towards older chunks is
// the last of its table, which is below a cap of 2 chunk or more. Both are named below. The
// temperature that the code adds beyond the trained length is not part of the map.
//
// Cache: reduced keys (one copy of a key, rotated at j', serves all regions), or raw ones.
#pragma once

#include <posenc/distance/threshold.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

struct DualChunk {
  Position chunk = 2560;  ///< s: tokens per chunk
  Position cap = 3072;    ///< greatest distance, at least chunk; c of the code, c - 1 of the paper

  enum Region : int { intra, successive, inter, successive_future, inter_future };
  static constexpr int num_regions = 5;
  static constexpr KeyState stored_keys = KeyState::reduced;

  /// The paper's choice for a trained length: chunks of three quarters of it, all of it in reach.
  [[nodiscard]] static constexpr DualChunk paper(Position trained_length) {
    return {trained_length * 3 / 4, trained_length - 1};
  }
  /// As configurations say it: dual_chunk_attention_config.chunk_size and .local_size.
  [[nodiscard]] static constexpr DualChunk from_sizes(Position chunk_size, Position local_size) {
    return {chunk_size - local_size, chunk_size};
  }
  /// The choice of ChunkLlama's code for a trained length.
  [[nodiscard]] static constexpr DualChunk chunk_llama(Position trained_length) {
    return from_sizes(trained_length * 3 / 4, trained_length / 8);
  }
  /// Qwen2.5-1M, trained at 262,144 tokens.
  [[nodiscard]] static constexpr DualChunk qwen2_5_1m() { return from_sizes(262'144, 8'192); }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const int r = region(query, key);
    return query_position(r, query) - static_cast<double>(key_position(r, key));
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    const Position chunks = chunk_of(query) - chunk_of(key);
    if (chunks == 0) return intra;
    if (chunks > 0) return chunks == 1 ? successive : inter;
    return chunks == -1 ? successive_future : inter_future;
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    const Position least = chunk_of(tile.query.first) - chunk_of(tile.key.last);
    const Position greatest = chunk_of(tile.query.last) - chunk_of(tile.key.first);
    const auto between = [&](Position chunks) { return least <= chunks && chunks <= greatest; };
    RegionSet set = 0;
    if (between(0)) set |= 1U << intra;
    if (between(1)) set |= 1U << successive;
    if (greatest >= 2) set |= 1U << inter;
    if (between(-1)) set |= 1U << successive_future;
    if (least <= -2) set |= 1U << inter_future;
    return set;
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    return static_cast<double>(place_of_query(region, detail::floor_modulo(query, chunk)));
  }
  [[nodiscard]] constexpr Position key_position(int, Position key) const {
    return detail::floor_modulo(key, chunk);
  }
  [[nodiscard]] constexpr int key_copy(int) const { return intra; }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(chunk > 0, "DualChunk: chunk must be positive, got ", chunk, ".");
    problems.require(cap >= chunk, "DualChunk: cap must be at least chunk, got chunk ", chunk,
                     " and cap ", cap, ".");
  }

 private:
  [[nodiscard]] constexpr Position chunk_of(Position position) const {
    return detail::floor_divide(position, chunk);
  }
  /// i' of the query, seen from the key's chunk. The sums of the formulas are arranged so that they
  /// cannot overflow.
  [[nodiscard]] constexpr Position place_of_query(int region, Position i) const {
    const Position local = cap - chunk;
    switch (region) {
      case successive:
        return chunk + std::min(i, local);
      case inter:
        return chunk + std::min(chunk - 1, local);
      case successive_future:
        return -1 - std::min(chunk - 1 - i, local);
      case inter_future:
        return -1 - std::min(chunk - 1, local);
      default:
        return i;
    }
  }
};

POSENC_NAMESPACE_END
