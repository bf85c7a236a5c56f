// SPDX-License-Identifier: MIT
//
// Plan: how the work of one call to attention is divided, among threads and among caches.
#pragma once

#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/core/arena.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// Sizes of one call.
struct AttentionShape {
  Index queries = 0;
  Index keys = 0;
  Index head_dim = 0;
  Index value_dim = 0;
};

namespace detail {

/// Are sizes small enough for sums and roundings of them?
inline bool has_usable_sizes(const AttentionShape& shape) {
  constexpr Index most = Index{1} << 48;
  for (const Index size : {shape.queries, shape.keys, shape.head_dim, shape.value_dim})
    if (size < 0 || size > most) return false;
  return true;
}

/// Bytes of a workspace, as `who` returns them. Throws Error for negative ones: sizes that do not fit.
inline std::size_t usable_bytes(Index bytes, const AttentionShape& shape, const char* who) {
  Problems problems;
  problems.require(bytes >= 0, "sizes must not be negative and must fit in memory, got ",
                   shape.queries, " queries, ", shape.keys, " keys, widths ", shape.head_dim,
                   " and ", shape.value_dim, ".");
  problems.raise_if_any(who);
  return static_cast<std::size_t>(bytes);
}

/// Queries side by side: rows [first, first + queries) of the block.
struct Panel {
  Index first = 0;
  Index queries = 0;
  Index width = 0;  ///< queries, padded to whole vectors
  bool consecutive = false;
};

/// How the work of a call is divided.
///
/// A task is a block of queries of one key head, with all query heads of its group. It walks through
/// the keys in chunks that stay in a core's cache: a chunk is rotated and copied once and then meets
/// every panel of queries of the task, tile by tile. Where queries are too few to keep threads busy,
/// the keys are divided too: each part of them has a softmax of its own, and they are
/// merged in pairs (score/softmax_state.hpp).
///
/// What is computed for a query depends on the parts, so these follow from the shape alone; it does
/// not depend on the blocks, so these may follow from the number of threads.
struct Plan {
  Index panel = 0;   ///< queries in a panel
  Index block = 0;   ///< queries in a task
  Index tile = 0;    ///< keys in a tile
  Index chunk = 0;   ///< keys in a chunk, a multiple of the tile
  Index blocks = 0;  ///< blocks of queries per key head
  Index group = 0;   ///< query heads per key head
  Index tasks = 0;   ///< blocks of all key heads
  Index parts = 1;   ///< of the keys
  Index part = 0;    ///< keys in a part, a multiple of the chunk
  Index most_workers = 1;
  Index value_buckets = 0;  ///< of relative values, whose sums are rows beside the outputs

  template <class T>
  POSENC_DETAIL_COLD Plan(const TileLeaves<T>& leaves, const HeadShape& heads,
                          const AttentionShape& shape, Index concurrency, Index value_buckets_ = 0)
      : value_buckets(value_buckets_) {
    group = heads.num_heads / heads.num_kv_heads;
    const Index queries = std::max<Index>(shape.queries, 1), keys = std::max<Index>(shape.keys, 1);
    tile = leaves.tile_keys;
    panel = std::min(leaves.panel, round_up(queries, leaves.panel_step));
    // Many rows share the work on a chunk; enough tasks keep every thread busy to the end.
    constexpr Index most_rows = 1024, tasks_per_worker = 8;
    const Index wanted = (concurrency * tasks_per_worker - 1) / heads.num_kv_heads + 1;
    const Index even = concurrency == 1 ? queries : (queries - 1) / wanted + 1;
    block = std::min({round_up(queries, panel), round_up(even, panel),
                      round_up(std::max<Index>(most_rows / group, 1), panel)});
    // Keys and values of 128 floats each are 256 KiB, which leaves room in a core's own cache.
    constexpr Index most_keys = 256;
    chunk = round_up(std::min(keys, most_keys), tile);
    blocks = (shape.queries + block - 1) / block;
    tasks = blocks * heads.num_kv_heads;
    const Index panels = ((queries - 1) / panel + 1) * heads.num_kv_heads;
    const Index useful = std::min((enough_panels - 1) / panels + 1, keys / least_part);
    part = round_up((keys - 1) / std::max<Index>(useful, 1) + 1, chunk);
    parts = (keys - 1) / part + 1;
    // Below this many multiply-adds a call is over before another thread has begun.
    constexpr double worth_a_thread = 1 << 21;
    const double work = static_cast<double>(shape.queries) * static_cast<double>(shape.keys) *
                        static_cast<double>(shape.head_dim + shape.value_dim) *
                        static_cast<double>(heads.num_heads);
    most_workers = work >= worth_a_thread ? concurrency : 1;
  }

  [[nodiscard]] Index workers() const {
    return std::max<Index>(std::min(tasks * parts, most_workers), 1);
  }

  static constexpr Index enough_panels = 16;  ///< keys are divided for fewer
  static constexpr Index least_part = 2048;   ///< keys that are worth a softmax of their own
};

}  // namespace detail

POSENC_NAMESPACE_END
