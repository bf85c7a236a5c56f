// SPDX-License-Identifier: MIT
//
// StreamingLLM: the first tokens and the recent ones, at the places that they have in the cache.
//
//   Xiao et al., arXiv 2309.17453; mit-han-lab/streaming-llm, kv_cache.py, pos_shift.
//
// A cache of C = sinks + recent tokens is what a query sees (SinkWindow), and positions are places
// in it: 0 to C - 1, the query's own the last. Recent tokens lie there as far apart as in the text.
// A sink does not move, and the query has no later place than C - 1, so once the cache is full
//
//   g(query, key) = C - 1 - key     key < sinks, query >= C
//                   query - key     otherwise
//
// No distance exceeds C - 1, however long the text. Here it is a distance map and a mask in one, so
// that a prompt is read in one call, with the numbers that the cache would give token by token.
//
// A key is always seen at its own position, so a cache may hold it rotated, where the reference
// keeps raw keys and rotates all of them for every token. Sinks are told by position in the map and
// by index in the mask: leave positions as they are by default.
//
// Errata: rotations see g, biases (ALiBi) the true distance, while the reference takes places in
// the cache for both: that is KeyValueCache::streaming, with an encoding without this component. A
// prompt that is longer than its cache is read by the reference with full attention at once.
//
// Cache: a ring of `capacity()` tokens with `sinks` sinks, keys rotated or raw.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/mask/sink_window.hpp>

POSENC_NAMESPACE_BEGIN

struct StreamingLLM {
  Position sinks = 4;     ///< tokens at the start that are kept for good
  Position recent = 508;  ///< most recent tokens, the query's own included

  enum Region : int { near, far_sink };
  static constexpr int num_regions = 2;
  static constexpr KeyState stored_keys = KeyState::rotated;

  /// Tokens of the cache.
  [[nodiscard]] constexpr Position capacity() const { return sinks + recent; }

  [[nodiscard]] constexpr bool visible(const Score& at) const { return mask().visible(at); }
  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    return mask().classify(tile);
  }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    return query_position(region(query, key), query) - static_cast<double>(key);
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return key < sinks && query >= capacity() ? far_sink : near;
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    RegionSet set = 0;
    if (tile.key.last >= sinks || tile.query.first < capacity()) set |= 1U << near;
    if (tile.key.first < sinks && tile.query.last >= capacity()) set |= 1U << far_sink;
    return set;
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    return static_cast<double>(region == near ? query : capacity() - 1);
  }
  [[nodiscard]] constexpr Position key_position(int, Position key) const { return key; }
  [[nodiscard]] constexpr int key_copy(int) const { return near; }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(sinks >= 0 && sinks <= greatest_position,
                     "StreamingLLM: sinks must lie within [0, 2^52], got ", sinks, ".");
    problems.require(recent >= 1 && recent <= greatest_position,
                     "StreamingLLM: recent counts tokens, the query's own included, and must lie "
                     "within [1, 2^52], got ",
                     recent, ".");
  }

 private:
  [[nodiscard]] constexpr SinkWindow mask() const { return {.sinks = sinks, .window = recent}; }
};

POSENC_NAMESPACE_END
