// SPDX-License-Identifier: MIT
//
// How the work of a call to decode is divided, and the memory that this takes.
#pragma once

#include <posenc/attention/prefill/buffers.hpp>
#include <posenc/cache/slots.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A task is a block of queries of one sequence, of all heads, against a part of its keys; each
/// part has a softmax of its own, and then they are merged. Parts follow from the number of keys
/// alone, and so does the result.
struct DecodePlan {
  static constexpr Index most_queries = 8;  ///< in a block
  /// Rotated, scored and summed at a time: the memory of a head is read in pieces of so many rows,
  /// and with every piece reading starts anew.
  static constexpr Index block_keys = 256;
  /// Blocks of which a mask hides a part, or that lie in several regions, are halved down to this.
  static constexpr Index mixed_keys = 64;
  static constexpr Index least_part = 512, most_parts = 32;
  static constexpr Index pad = 16;  ///< rows are padded to the longest vectors
  /// Vectors by distance that are met at a time: as many as there are distances between a block of
  /// queries and one of keys, padded.
  static constexpr Index most_buckets = round_up(block_keys + most_queries, pad);

  [[nodiscard]] static Index part_of(Index keys) {
    return std::max(least_part, round_up((keys - 1) / most_parts + 1, mixed_keys));
  }
  /// At least one, which sees nothing where there are no keys.
  [[nodiscard]] static Index parts_of(Index keys) {
    return keys == 0 ? 1 : (keys - 1) / part_of(keys) + 1;
  }
  [[nodiscard]] static Index most_parts_of(Index keys) {
    return std::max<Index>(1, std::min(most_parts, (keys - 1) / least_part + 1));
  }
  [[nodiscard]] static Index blocks_of(Index queries) {
    return (queries + most_queries - 1) / most_queries;
  }
};

/// Sizes of a call: of its widths, and of its work.
struct DecodeShape {
  Index heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0, pairs = 0;
  Index value_buckets = 0;  ///< of relative values
  Index sequences = 0;
  Index queries = 0;  ///< most of a sequence
  Index tasks = 0;

  [[nodiscard]] Index rows() const { return heads * std::min(queries, DecodePlan::most_queries); }
  /// Of one key head.
  [[nodiscard]] Index group_rows() const { return rows() / kv_heads; }
  [[nodiscard]] Index query_row() const { return round_up(head_dim, DecodePlan::pad); }
  [[nodiscard]] Index value_row() const { return round_up(value_dim, DecodePlan::pad); }
  /// Outputs, and behind them the sums of weights by bucket.
  [[nodiscard]] Index output_row() const {
    return value_row() + round_up(value_buckets, DecodePlan::pad);
  }
  [[nodiscard]] Index angle_row() const { return round_up(pairs, AngleTable::pair_block); }
};

/// What the softmax of a task has summed.
template <class U>
struct RowSums {
  U* outputs = nullptr;  ///< [row][output_row]
  U* shift = nullptr;    ///< [row]
  U* sum = nullptr;      ///< [row]

  RowSums(const DecodeShape& shape, Arena& arena)
      : outputs(arena.take<U>(shape.rows(), shape.output_row())),
        shift(arena.take<U>(1, shape.rows())), sum(arena.take<U>(1, shape.rows())) {}
};

/// What workers share.
template <class U>
struct SharedDecode {
  Index* first_task = nullptr;          ///< [sequence + 1]
  std::atomic_flag* arrived = nullptr;  ///< [first task of a right half]: one half is done
  std::byte* memory = nullptr;          ///< [task]: sums
  Index stride = 0;

  SharedDecode(const DecodeShape& shape, Arena& arena) {
    Arena measure(nullptr);
    RowSums<U>(shape, measure);
    stride = measure.used();
    first_task = arena.take<Index>(1, shape.sequences + 1);
    arrived = arena.take<std::atomic_flag>(1, shape.tasks);
    memory = stride < 0 ? nullptr : arena.take<std::byte>(shape.tasks, stride);
  }
  [[nodiscard]] RowSums<U> of(const DecodeShape& shape, Index task) const {
    Arena arena(memory + task * stride);
    return RowSums<U>(shape, arena);
  }
};

/// What vectors by distance need of a worker; nothing, where no component has them.
template <class U, class BoundT>
struct DecodeRelativeBuffers {
  using Counts =
      RelativeCounts<std::remove_cvref_t<decltype(std::declval<const BoundT&>().stages())>>;
  static constexpr bool in_scores = Counts::keys + Counts::queries > 0;
  static constexpr bool in_values = Counts::values > 0;
  /// Queries as they were passed differ from those that meet keys.
  static constexpr bool has_queries = Counts::keys > 0 &&
                                      (BoundT::has_rotary || Counts::query_biases > 0);
  static constexpr Index few = 4;  ///< buckets that keys meet at a time

  U* queries = nullptr;      ///< [row][query_row], scaled only
  U* factor = nullptr;       ///< [query in block], scale and temperature
  Index* buckets = nullptr;  ///< [component][query in block][key in block]
  U* of_queries = nullptr;   ///< [relative keys][row][bucket], products
  U* of_keys = nullptr;      ///< [one of few buckets][key in block], products
  U* vectors = nullptr;      ///< [bucket][head_dim or value_dim], as elements of U without gaps

  DecodeRelativeBuffers(const DecodeShape& shape, Arena& arena) {
    constexpr Index most_queries = DecodePlan::most_queries, keys = DecodePlan::block_keys;
    if (has_queries) queries = arena.take<U>(shape.rows(), shape.query_row());
    if (in_scores) factor = arena.take<U>(1, most_queries);
    if (Counts::buckets > 0)
      buckets = arena.take<Index>(Index{Counts::buckets} * most_queries, keys);
    if (Counts::keys > 0)
      of_queries = arena.take<U>(Index{Counts::keys} * shape.rows(), DecodePlan::most_buckets);
    if (Counts::queries > 0) of_keys = arena.take<U>(few, keys);
    if (in_values || (in_scores && !std::is_same_v<U, float>))
      vectors = arena.take<U>(DecodePlan::most_buckets, std::max(shape.head_dim, shape.value_dim));
  }
};

/// The buffers of one worker.
template <class U, class BoundT>
struct DecodeBuffers {
  using Relative = DecodeRelativeBuffers<U, BoundT>;
  static constexpr int regions =
      std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>::num_regions;
  static constexpr Index block = DecodePlan::block_keys;
  /// Angles of the keys by region, and of the values: these have none of the magnitudes of xPos.
  static constexpr int copies = regions + (BoundT::rotates_values ? 1 : 0);

  U* queries = nullptr;              ///< [region][row][query_row], scaled and rotated
  U* scores = nullptr;               ///< [row of a key head][key in block]
  U* blend = nullptr;                ///< the same, the second product of a mixed block
  U* sums = nullptr;                 ///< [row of a key head][value_row], of a block
  U* keys = nullptr;                 ///< [key in block][head_dim], rotated
  U* values = nullptr;               ///< [key in block][value_dim], rotated
  U *cos = nullptr, *sin = nullptr;  ///< [copy][key in block][angle_row]
  Position *query = nullptr, *query_index = nullptr;  ///< [query in block]
  Position *key = nullptr, *key_index = nullptr;      ///< [key in block], padded
  Position* key_copy = nullptr;                       ///< [key in block], positions of a region
  Relative relative;

  DecodeBuffers(const DecodeShape& shape, Arena& arena) : relative(shape, arena) {
    queries = arena.take<U>(regions * shape.rows(), shape.query_row());
    scores = arena.take<U>(shape.group_rows(), block);
    if (regions > 1) blend = arena.take<U>(shape.group_rows(), block);
    sums = arena.take<U>(shape.group_rows(), shape.value_row());
    if (BoundT::has_rotary) {
      keys = arena.take<U>(block, shape.head_dim);
      if (BoundT::rotates_values) values = arena.take<U>(block, shape.value_dim);
      cos = arena.take<U>(copies * block, shape.angle_row());
      sin = arena.take<U>(copies * block, shape.angle_row());
    }
    query = arena.take<Position>(1, DecodePlan::most_queries);
    query_index = arena.take<Position>(1, DecodePlan::most_queries);
    key = arena.take<Position>(1, block);
    key_index = arena.take<Position>(1, block);
    if (BoundT::has_distance_map) key_copy = arena.take<Position>(1, block);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
