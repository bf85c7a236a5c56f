// SPDX-License-Identifier: MIT
//
// What a call to the prefill kernel is about; shared by its workers.
#pragma once

#include <posenc/attention/keys/source.hpp>
#include <posenc/attention/options.hpp>
#include <posenc/attention/prefill/plan.hpp>
#include <posenc/attention/score/softmax_state.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Queries of one sequence against its keys.
template <class T>
struct PrefillCall {
  Rows<T> q;
  KeySource<T> keys;
  OutRows<T> out;
  std::span<T> lse{};       ///< [query][head], or empty
  Positions query{};        ///< by row of q
  Positions query_index{};  ///< the same, places in the sequence
  Asked<T> asked{};
  PrefillLeaves<T> leaves{};
  Index sequence = 0;
  RowStatistics<T> rows{};

  [[nodiscard]] const Answers& answers() const { return *asked.answers; }
  [[nodiscard]] AttentionShape shape() const {
    return {q.tokens, keys.tokens, q.width, keys.values.width};
  }
};

/// What the softmax of a block of queries has summed; see score/softmax_state.hpp.
template <class T>
struct PanelSums {
  T* outputs = nullptr;  ///< [head in group][panel][value_dim + value buckets][panel width]
  T* shift = nullptr;    ///< [head in group][query]
  T* sum = nullptr;      ///< [head in group][query]
  T *most = nullptr, *spread = nullptr;  ///< the same, of RowSpread

  PanelSums() = default;
  PanelSums(const Plan& plan, const AttentionShape& shape, Arena& arena)
      : outputs(arena.take<T>(plan.group * plan.block, shape.value_dim + plan.value_buckets)),
        shift(arena.take<T>(plan.group, plan.block)), sum(arena.take<T>(plan.group, plan.block)),
        most(arena.take<T>(plan.group, plan.block)), spread(arena.take<T>(plan.group, plan.block)) {
  }

  [[nodiscard]] RowSpread<T> spread_of(Index row) const { return {most[row], spread[row]}; }
};

/// What the workers of a call share: the sums of every part, and which parts have been merged. Without
/// parts there is nothing to share.
template <class T>
struct SharedSums {
  std::atomic_flag* arrived = nullptr;  ///< [task][part]
  std::byte* memory = nullptr;          ///< [task][part]
  Index stride = 0;                     ///< bytes from one part to the next

  SharedSums(const Plan& plan, const AttentionShape& shape, Arena& arena) {
    if (plan.parts == 1) return;
    Arena measure(nullptr);
    PanelSums<T>(plan, shape, measure);
    stride = measure.used();
    arrived = arena.take<std::atomic_flag>(plan.parts, plan.tasks);
    memory = stride < 0 ? nullptr : arena.take<std::byte>(plan.tasks * plan.parts, stride);
  }
  /// Bytes that are enough for this call and for all that are smaller: some of them may have parts
  /// where this one has none. Negative when that does not fit in memory.
  [[nodiscard]] static Index most_bytes(const Plan& plan, const AttentionShape& shape) {
    if (shape.keys < 2 * Plan::least_part) return 0;
    // p panels have at most 15 / p + 1 parts, together fewer than 32 panels; the last block of a head
    // may be nearly empty, which at most doubles that.
    Plan panels = plan;
    panels.block = plan.panel;
    Arena arena(nullptr);
    for (Index i = 0; i < 4 * Plan::enough_panels; ++i) PanelSums<T>(panels, shape, arena);
    arena.take<std::atomic_flag>(4, Plan::enough_panels);
    return arena.used();
  }
  [[nodiscard]] PanelSums<T> of(const Plan& plan, const AttentionShape& shape, Index item) const {
    Arena arena(memory + item * stride);
    return PanelSums<T>(plan, shape, arena);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
