// SPDX-License-Identifier: MIT
//
// How the work of a call to decode is divided, and the memory that this takes.
#pragma once

#include <posenc/attention/score/softmax_state.hpp>
#include <posenc/bind/answers.hpp>
#include <posenc/core/arena.hpp>

#include <atomic>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A task is a block of queries of one sequence, of all heads, against a part of its keys; each
/// part has a softmax of its own, and then they are merged. Parts follow from the number of keys
/// alone, and so does the result.
struct DecodePlan {
  static constexpr Index most_queries = 8;  ///< in a block
  /// More queries of a sequence than these go through the tiles of prefill, and all whose positions are counted from
  /// the last key on: parts of keys know nothing of those behind them.
  [[nodiscard]] static Index few_queries(const Answers& answers) {
    return answers.facts().context_positions > 0 ? 0 : 8;
  }
  /// Rotated, scored and summed at a time: the memory of a head is read in pieces of so many rows,
  /// and with every piece reading starts anew.
  static constexpr Index block_keys = 512;
  /// Of which keys lie in at most so many places: pages, chosen ranges, the two ends of a ring.
  static constexpr Index most_runs = 64;
  /// Blocks of which a mask hides a part, or that lie in several regions, are halved down to this.
  static constexpr Index mixed_keys = 64;
  static constexpr Index least_part = 512, most_parts = 32;
  /// Keys turn in registers for so many rows of queries, four at a time; for more, once into a buffer,
  /// so many keys at a time.
  static constexpr Index rows_that_turn = 8, turned_keys = 16;
  static constexpr Index pad = 16;  ///< rows are padded to the longest vectors
  /// A row of scores of a block. A product with the keys of one place writes up to a multiple of `pad`, and they need
  /// not begin at one.
  static constexpr Index score_row = block_keys + pad;
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
  Index heads = 0, kv_heads = 0;  ///< of a task: all of them, or those of one choice of keys
  Index head_dim = 0, value_dim = 0, pairs = 0;
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
  U* outputs = nullptr;                  ///< [row][output_row]
  U* shift = nullptr;                    ///< [row]
  U* sum = nullptr;                      ///< [row]
  U *most = nullptr, *spread = nullptr;  ///< [row], of RowSpread

  RowSums(const DecodeShape& shape, Arena& arena)
      : outputs(arena.take<U>(shape.rows(), shape.output_row())),
        shift(arena.take<U>(1, shape.rows())), sum(arena.take<U>(1, shape.rows())),
        most(arena.take<U>(1, shape.rows())), spread(arena.take<U>(1, shape.rows())) {}

  [[nodiscard]] RowSpread<U> spread_of(Index row) const { return {most[row], spread[row]}; }
};

/// What workers share.
template <class U>
struct SharedDecode {
  Index* first_task = nullptr;          ///< [sequence + 1]
  std::atomic_flag* arrived = nullptr;  ///< [task], see score/softmax_state.hpp
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
template <class U>
struct DecodeRelativeBuffers {
  static constexpr Index few = 4;  ///< buckets that keys meet at a time
  static constexpr Index terms_bytes = 256;

  U* queries = nullptr;         ///< [row][query_row], scaled only
  U* factor = nullptr;          ///< [query in block], scale and temperature
  Index* buckets = nullptr;     ///< [component][query in block][key in block]
  U* of_queries = nullptr;      ///< [relative keys][row][bucket], products
  U* of_keys = nullptr;         ///< [one of few buckets][key in block], products
  Interval* windows = nullptr;  ///< [relative keys], the buckets that `of_queries` holds
  U* plain = nullptr;           ///< [key in block][head_dim], keys as they were passed
  U* outputs = nullptr;         ///< [row][value_row], set aside
  U* vectors = nullptr;         ///< [bucket][head_dim or value_dim], as numbers of U without gaps
  std::byte* terms = nullptr;   ///< where DecodeRelativeTerms is

  POSENC_DETAIL_COLD DecodeRelativeBuffers(const Answers& answers, const DecodeShape& shape,
                                           Arena& arena) {
    constexpr Index most_queries = DecodePlan::most_queries, keys = DecodePlan::block_keys;
    const RelativeCounts& counts = answers.relative();
    if (counts.buckets == 0) return;
    // Queries as they were passed differ from those that meet keys.
    if (counts.keys > 0 && (answers.rotates() || counts.query_biases > 0))
      queries = arena.take<U>(shape.rows(), shape.query_row());
    factor = arena.take<U>(1, most_queries);
    buckets = arena.take<Index>(counts.buckets * most_queries, keys);
    of_queries = arena.take<U>(counts.keys * shape.rows(), DecodePlan::most_buckets);
    windows = arena.take<Interval>(1, counts.keys);
    if (counts.queries > 0) {
      of_keys = arena.take<U>(few, keys);
      plain = arena.take<U>(keys, shape.head_dim);
    }
    if (counts.values > 0) outputs = arena.take<U>(shape.rows(), shape.value_row());
    vectors = arena.take<U>(DecodePlan::most_buckets, std::max(shape.head_dim, shape.value_dim));
    terms = arena.take<std::byte>(1, terms_bytes);
  }
};

/// The buffers of one worker.
template <class U>
struct DecodeBuffers {
  static constexpr Index block = DecodePlan::block_keys;

  U* queries = nullptr;              ///< [region][row][query_row], scaled and rotated
  U* scores = nullptr;               ///< [row of a key head][score_row]
  U* blend = nullptr;                ///< the same, the second product of a mixed block
  U* sums = nullptr;                 ///< [row of a key head][value_row], of a block
  U* keys = nullptr;                 ///< [one of turned_keys][head_dim], rotated
  U* values = nullptr;               ///< [key in block][value_dim], rotated
  U *cos = nullptr, *sin = nullptr;  ///< [copy][key in block][angle_row]
  Position *query = nullptr, *query_index = nullptr;  ///< [query in block]
  Position *key = nullptr, *key_index = nullptr;      ///< [key in block], padded
  Position* key_copy = nullptr;                       ///< [key in block], positions of a region
  std::int32_t* region_of = nullptr;                  ///< [key in block]
  DecodeRelativeBuffers<U> relative;

  POSENC_DETAIL_COLD DecodeBuffers(const Answers& answers, const DecodeShape& shape, Arena& arena)
      : relative(answers, shape, arena) {
    const Index regions = answers.map().regions();
    queries = arena.take<U>(regions * shape.rows(), shape.query_row());
    scores = arena.take<U>(shape.group_rows(), DecodePlan::score_row);
    if (regions > 1) blend = arena.take<U>(shape.group_rows(), DecodePlan::score_row);
    sums = arena.take<U>(shape.group_rows(), shape.value_row());
    if (answers.rotates()) {
      const bool values_turn = answers.facts().rotates_values;
      // Angles of the keys by region, and of the values: these have none of the magnitudes of xPos.
      const Index copies = regions + (values_turn ? 1 : 0);
      keys = arena.take<U>(DecodePlan::turned_keys, shape.head_dim);
      if (values_turn) values = arena.take<U>(block, shape.value_dim);
      // Products read angles up to a multiple of the padding as well.
      cos = arena.take<U>(copies * block + DecodePlan::pad, shape.angle_row());
      sin = arena.take<U>(copies * block + DecodePlan::pad, shape.angle_row());
    }
    query = arena.take<Position>(1, DecodePlan::most_queries);
    query_index = arena.take<Position>(1, DecodePlan::most_queries);
    key = arena.take<Position>(1, block);
    key_index = arena.take<Position>(1, block);
    if (answers.map()) {
      key_copy = arena.take<Position>(1, block);
      region_of = arena.take<std::int32_t>(1, block);
    }
  }
};

/// Bytes that one worker needs, and all of them; -1 when that does not fit in memory.
template <class U>
Index decode_worker_bytes(const Answers& answers, const DecodeShape& shape) {
  Arena measure(nullptr);
  DecodeBuffers<U>(answers, shape, measure);
  RowSums<U>(shape, measure);
  return measure.used();
}
template <class U>
POSENC_DETAIL_COLD Index decode_bytes(const Answers& answers, const DecodeShape& shape,
                                      Index workers) {
  const Index each = decode_worker_bytes<U>(answers, shape);
  Arena measure(nullptr);
  SharedDecode<U>(shape, measure);
  Index bytes = 0;
  const bool fits = each >= 0 && measure.used() >= 0 && multiply(each, workers, bytes) &&
                    bytes <= std::numeric_limits<Index>::max() - measure.used();
  return fits ? bytes + measure.used() : -1;
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT Index decode_bytes<float>(const Answers&, const DecodeShape&, Index);
POSENC_DETAIL_DOUBLE Index decode_bytes<double>(const Answers&, const DecodeShape&, Index);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
