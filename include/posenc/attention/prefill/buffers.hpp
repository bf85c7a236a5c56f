// SPDX-License-Identifier: MIT
//
// The scratch memory of a worker of prefill, and of a call.
#pragma once

#include <posenc/attention/prefill/call.hpp>
#include <posenc/attention/prefill/table_rows.hpp>

#include <cstdint>
#include <limits>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What positions by context need of a worker; nothing, where no component has them.
template <class T>
struct ContextBuffers {
  ContextTable table{};
  T* products = nullptr;     ///< [head in group][panel][position, and one more][panel width]
  bool* are_made = nullptr;  ///< [head in group][query in block], told at the first of each panel
  GateSums<T> behind{};      ///< [head in group][query in block]
  GateSums<T> sums{};        ///< [key in tile][panel width]
  T* queries = nullptr;      ///< [head_dim][panel width]
  T* factor = nullptr;       ///< [panel width]
  T* rows = nullptr;  ///< [most_table_rows][head_dim], null where vectors are floats as it is

  [[nodiscard]] Index positions() const { return table.vectors.buckets; }

  ContextBuffers() = default;
  POSENC_DETAIL_COLD ContextBuffers(const Answers& answers, const Plan& plan,
                                    const AttentionShape& shape, Arena& arena) {
    for (const auto& [self, ask] : answers.asked())
      if (ask->context_positions) table = ask->context_positions(self);
    if (positions() == 0) return;
    const Index queries_of_block = plan.group * plan.block;
    products = arena.take<T>(queries_of_block, positions() + 1);
    are_made = arena.take<bool>(1, queries_of_block);
    behind = {arena.take<T>(1, queries_of_block), arena.take<T>(1, queries_of_block)};
    sums = {arena.take<T>(plan.tile, plan.panel), arena.take<T>(plan.tile, plan.panel)};
    queries = arena.take<T>(plan.panel, shape.head_dim);
    factor = arena.take<T>(1, plan.panel);
    if (!std::is_same_v<T, float>) rows = arena.take<T>(most_table_rows, shape.head_dim);
  }
};

/// What vectors by distance need of a worker; nothing, where no component has them.
template <class T>
struct RelativeBuffers {
  /// Products of queries with the vectors of a component.
  struct QueryTable {
    Stage stage{};
    RelativeTable table{};
    T* products = nullptr;  ///< [bucket][panel width]
    Index most = 0;         ///< buckets that there is room for
    Interval window{};      ///< those that `products` holds
  };
  /// Products of keys with the vectors of a component.
  struct KeyTable {
    Stage stage{};
    RelativeTable table{};
    Index lanes = 0;                   ///< buckets, padded to whole vectors
    T* vectors = nullptr;              ///< [head in group][head_dim][lanes]
    T* products = nullptr;             ///< [head in group][key in chunk][lanes]
    std::uint64_t* is_done = nullptr;  ///< [head in group], a bit for each tile of the chunk
  };

  T* queries = nullptr;  ///< [head in group][panel][head_dim][panel width], scaled only
  T* factor = nullptr;   ///< [panel width], scale and temperature
  T* rows = nullptr;     ///< [most_table_rows][head_dim or value_dim], vectors or keys as numbers
  std::span<QueryTable> query_tables{};
  std::span<KeyTable> key_tables{};
  ContextBuffers<T> context{};
  std::byte* terms = nullptr;  ///< where RelativeTerms is

  RelativeBuffers() = default;
  POSENC_DETAIL_COLD RelativeBuffers(const Answers& answers, const Plan& plan,
                                     const AttentionShape& shape, Arena& arena)
      : context(answers, plan, shape, arena) {
    const RelativeCounts& counts = answers.relative();
    if (counts.buckets == 0) return;
    // Queries as they were passed differ from those that meet keys.
    if (counts.keys > 0 && (answers.rotates() || counts.query_biases > 0))
      queries = arena.take<T>(plan.group * plan.block, shape.head_dim);
    factor = arena.take<T>(1, plan.panel);
    // Vectors of double calls become numbers there, and keys that meet vectors without their rotation.
    bool copies_rows = false;
    for (const auto& [self, ask] : answers.asked()) {
      const bool has_keys = ask->relative_queries && ask->relative_queries(self).data;
      const bool has_others = (ask->relative_keys && ask->relative_keys(self).data) ||
                              (ask->relative_values && ask->relative_values(self).data);
      copies_rows = copies_rows || (has_keys && answers.rotates()) ||
                    ((has_keys || has_others) && !std::is_same_v<T, float>);
    }
    if (copies_rows)
      rows = arena.take<T>(most_table_rows, std::max(shape.head_dim, shape.value_dim));
    query_tables = take<QueryTable>(counts.keys, arena);
    key_tables = take<KeyTable>(counts.queries, arena);
    std::size_t of_queries = 0, of_keys = 0;
    for (const Stage& stage : answers.asked()) {
      if (stage.ask->relative_keys) {
        QueryTable own{.stage = stage, .table = stage.ask->relative_keys(stage.self)};
        own.most = std::min(own.table.buckets, plan.chunk + plan.panel);
        own.products = arena.take<T>(own.most, plan.panel);
        if (query_tables.data()) new (&query_tables[of_queries++]) QueryTable(own);
      }
      if (stage.ask->relative_queries) {
        KeyTable own{.stage = stage, .table = stage.ask->relative_queries(stage.self)};
        own.lanes = round_up(own.table.buckets, workspace_alignment / Index{sizeof(T)});
        own.vectors = arena.take<T>(plan.group * own.lanes, shape.head_dim);
        own.products = arena.take<T>(plan.group * plan.chunk, own.lanes);
        own.is_done = arena.take<std::uint64_t>(1, plan.group);
        if (key_tables.data()) new (&key_tables[of_keys++]) KeyTable(own);
      }
    }
  }

 private:
  template <class X>
  static std::span<X> take(int count, Arena& arena) {
    X* const memory = arena.take<X>(1, count);
    return memory ? std::span<X>(memory, static_cast<std::size_t>(count)) : std::span<X>();
  }
};

/// The buffers of one worker.
template <class T>
struct PrefillBuffers {
  T* queries = nullptr;  ///< [region][head in group][panel][head_dim][panel width], scaled, rotated
  PanelSums<T> sums;     ///< of a task that has no parts
  T* keys = nullptr;     ///< [region][key in chunk][head_dim], rotated
  T* values = nullptr;   ///< [key in chunk][value_dim]
  T* scores = nullptr;   ///< [key in tile][panel width]
  T* blend = nullptr;    ///< the same, the second product of a mixed tile
  T* factor = nullptr;   ///< [panel width]
  T* rows = nullptr;     ///< [query in panel][head_dim or value_dim]
  T* bias = nullptr;     ///< [relative bias][head in group][distance]
  double* bias_row = nullptr;         ///< [distance], some of a table before it is rounded
  Position* query = nullptr;          ///< [query in block, padded], positions
  Position* query_index = nullptr;    ///< the same, places in the sequence
  Position* key = nullptr;            ///< [key in chunk], positions
  Position* key_index = nullptr;      ///< the same, places in the sequence
  Position* key_copy = nullptr;       ///< [key in chunk], positions of a region
  double* query_copy = nullptr;       ///< [query in panel], positions of a region
  std::int32_t* region_of = nullptr;  ///< [key in tile][panel]
  RelativeBuffers<T> relative;        ///< what RelativeLeaves::take took

  /// The scores of a panel and of keys [c, c + count) of the chunk, which stand at `where`.
  [[nodiscard]] ScoreTile score_tile(const Panel& p, Index head, Index c, Index count,
                                     const Tile& where) const {
    return {.keys = count,
            .queries = p.queries,
            .width = p.width,
            .head = head,
            .query = query + p.first,
            .query_index = query_index + p.first,
            .key = key + c,
            .key_index = key_index + c,
            .consecutive = p.consecutive,
            .where = where};
  }

  static constexpr Index bias_step = 256;  ///< distances that are tabulated at a time

  POSENC_DETAIL_COLD PrefillBuffers(const Answers& answers, const Plan& plan,
                                    const AttentionShape& shape, Arena& arena) {
    const Index group = plan.group, regions = answers.map().regions();
    queries = arena.take<T>(regions * group * plan.block, shape.head_dim);
    sums = PanelSums<T>(plan, shape, arena);
    keys = arena.take<T>(regions * plan.chunk, shape.head_dim);
    values = arena.take<T>(plan.chunk, shape.value_dim);
    scores = arena.take<T>(plan.tile, plan.panel);
    if (regions > 1) blend = arena.take<T>(plan.tile, plan.panel);
    factor = arena.take<T>(1, plan.panel);
    rows = arena.take<T>(plan.panel, std::max(shape.head_dim, shape.value_dim));
    query = arena.take<Position>(1, plan.block);
    query_index = arena.take<Position>(1, plan.block);
    key = arena.take<Position>(1, plan.chunk);
    key_index = arena.take<Position>(1, plan.chunk);
    if (answers.map()) {
      key_copy = arena.take<Position>(1, plan.chunk);
      query_copy = arena.take<double>(1, plan.panel);
      region_of = arena.take<std::int32_t>(plan.tile, plan.panel);
    }
    Index biases = 0;
    for (const Stage& stage : answers.asked()) biases += stage.ask->relative_bias ? 1 : 0;
    if (biases > 0) {
      // Lanes beyond the last query read past the last distance.
      bias = arena.take<T>(biases * group, shape.queries + shape.keys + plan.panel);
      bias_row = arena.take<double>(1, bias_step);
    }
  }
};

/// How a call with so many threads is divided.
template <class T>
Plan prefill_plan(const Answers& answers, const PrefillLeaves<T>& leaves,
                  const AttentionShape& shape, Index concurrency) {
  Plan plan(*leaves.tile, answers.shape(), shape, concurrency, answers.value_buckets());
  // Where a position depends on all keys behind one, nobody can begin in their middle.
  if (answers.facts().context_positions > 0)
    plan.parts = 1, plan.part = round_up(std::max<Index>(shape.keys, 1), plan.chunk);
  return plan;
}

/// The buffers of a worker, with those of vectors by distance where an encoding has them.
template <class T>
PrefillBuffers<T> prefill_buffers(const Answers& answers, const PrefillLeaves<T>& leaves,
                                  const Plan& plan, const AttentionShape& shape, Arena& arena) {
  PrefillBuffers<T> buffers(answers, plan, shape, arena);
  if (leaves.relative) leaves.relative->take(buffers, answers, plan, shape, arena);
  return buffers;
}

/// Bytes that one worker needs, or -1 when that does not fit in memory.
template <class T>
Index bytes_per_worker(const Answers& answers, const PrefillLeaves<T>& leaves, const Plan& plan,
                       const AttentionShape& shape) {
  Arena measure(nullptr);
  prefill_buffers(answers, leaves, plan, shape, measure);
  return measure.used();
}

/// Bytes that the kernel needs for this call or a smaller one, or -1 when that does not fit in
/// memory.
template <class T>
POSENC_DETAIL_COLD Index prefill_bytes(const Answers& answers, const PrefillLeaves<T>& leaves,
                                       const AttentionShape& shape, Index concurrency) {
  if (!has_usable_sizes(shape)) return -1;
  const Plan plan = prefill_plan(answers, leaves, shape, concurrency);
  const Index each = bytes_per_worker(answers, leaves, plan, shape);
  const Index shared = SharedSums<T>::most_bytes(plan, shape);
  Index bytes = 0;
  const bool fits = each >= 0 && shared >= 0 && multiply(each, plan.most_workers, bytes) &&
                    bytes <= std::numeric_limits<Index>::max() - shared;
  return fits ? bytes + shared : -1;
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT Index prefill_bytes<float>(const Answers&, const PrefillLeaves<float>&,
                                               const AttentionShape&, Index);
POSENC_DETAIL_DOUBLE Index prefill_bytes<double>(const Answers&, const PrefillLeaves<double>&,
                                                 const AttentionShape&, Index);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
