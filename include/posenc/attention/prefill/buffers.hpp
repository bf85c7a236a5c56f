// SPDX-License-Identifier: MIT
//
// Workspace: how much scratch memory a call to attention needs, and how it is divided.
//
// One layout function serves both: asked without memory it measures, asked with memory it hands
// out. So the size that a user is told and the size that the kernel uses cannot drift apart.
#pragma once

#include <posenc/attention/prefill/plan.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index workspace_alignment = 64;

/// Hands out consecutive aligned pieces; counts only, when it begins without memory.
class Arena {
 public:
  explicit Arena(std::byte* memory) : memory_(memory) {}

  /// Room for rows * columns elements; used() is negative once a size did not fit.
  template <class T>
  T* take(Index rows, Index columns) {
    Index count = 0, bytes = 0;
    if (used_ < 0 || !multiply(rows, columns, count) ||
        !multiply(count, static_cast<Index>(sizeof(T)), bytes) ||
        bytes > std::numeric_limits<Index>::max() / 2 - used_) {
      used_ = -1;
      return nullptr;
    }
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (bytes + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
    return piece;
  }
  [[nodiscard]] Index used() const { return used_; }

 private:
  std::byte* memory_ = nullptr;
  Index used_ = 0;
};

/// What the softmax of a block has summed so far.
template <class T>
struct Sums {
  T* outputs = nullptr;  ///< [head in group][panel][value_dim + value buckets][panel width]
  T* shift = nullptr;    ///< [head in group][query]
  T* sum = nullptr;      ///< [head in group][query]

  Sums() = default;
  Sums(const Plan& plan, const AttentionShape& shape, Arena& arena)
      : outputs(arena.take<T>(plan.group * plan.block, shape.value_dim + plan.value_buckets)),
        shift(arena.take<T>(plan.group, plan.block)), sum(arena.take<T>(plan.group, plan.block)) {}
};

/// What the workers of a call share: the sums of every part, and how many parts a task waits for.
/// Without parts there is nothing to share.
template <class T>
struct SharedSums {
  std::atomic<Index>* waiting = nullptr;  ///< [task]
  std::byte* memory = nullptr;            ///< [task][part]
  Index stride = 0;                       ///< bytes from one part to the next

  SharedSums(const Plan& plan, const AttentionShape& shape, Arena& arena) {
    if (plan.parts == 1) return;
    Arena measure(nullptr);
    Sums<T>(plan, shape, measure);
    stride = measure.used();
    waiting = arena.take<std::atomic<Index>>(1, plan.tasks);
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
    for (Index i = 0; i < 4 * Plan::enough_panels; ++i) Sums<T>(panels, shape, arena);
    arena.take<std::atomic<Index>>(1, Plan::enough_panels);
    return arena.used();
  }
  [[nodiscard]] Sums<T> of(const Plan& plan, const AttentionShape& shape, Index item) const {
    Arena arena(memory + item * stride);
    return Sums<T>(plan, shape, arena);
  }
};

/// What vectors by distance need of a worker; nothing, where no component has them.
template <class T, class BoundT>
struct RelativeBuffers {
  using Counts = RelativeCounts<typename Leaves<T, BoundT>::Stages>;
  /// Queries as they were passed differ from those that meet keys.
  static constexpr bool has_queries = Counts::keys > 0 &&
                                      (BoundT::has_rotary || Counts::query_biases > 0);
  static constexpr bool converts = !std::is_same_v<T, float> && Counts::keys + Counts::values > 0;
  static constexpr Index most_rows = 64;

  struct OfKeys {
    RelativeTable table;
    T* products = nullptr;  ///< [bucket][panel width]
    Index most = 0;         ///< buckets that there is room for
  };
  struct OfQueries {
    RelativeTable table;
    Index lanes = 0;                   ///< buckets, padded to whole vectors
    T* vectors = nullptr;              ///< [head in group][head_dim][lanes]
    T* products = nullptr;             ///< [head in group][key in chunk][lanes]
    std::uint64_t* is_done = nullptr;  ///< [head in group], a bit for each tile of the chunk
  };

  T* queries = nullptr;  ///< [head in group][panel][head_dim][panel width], scaled only
  T* factor = nullptr;   ///< [panel width], scale and temperature
  T* rows = nullptr;     ///< [most_rows][head_dim or value_dim], vectors as elements of T
  std::array<OfKeys, Counts::keys> of_keys{};
  std::array<OfQueries, Counts::queries> of_queries{};

  RelativeBuffers(const BoundT& bound, const Plan& plan, const AttentionShape& shape,
                  Arena& arena) {
    if (has_queries) queries = arena.take<T>(plan.group * plan.block, shape.head_dim);
    if (Counts::keys + Counts::queries > 0) factor = arena.take<T>(1, plan.panel);
    if (converts) rows = arena.take<T>(most_rows, std::max(shape.head_dim, shape.value_dim));
    [[maybe_unused]] std::size_t key_index = 0, query_index = 0;
    [[maybe_unused]] const auto take = [&]<class S>(const S& stage) {
      if constexpr (RelativeKeys<S>) {
        OfKeys& own = of_keys[key_index++];
        own.table = stage.relative_keys();
        own.most = std::min(own.table.buckets, plan.chunk + plan.panel);
        own.products = arena.take<T>(own.most, plan.panel);
      }
      if constexpr (RelativeQueries<S>) {
        OfQueries& own = of_queries[query_index++];
        own.table = stage.relative_queries();
        own.lanes = round_up(own.table.buckets, workspace_alignment / Index{sizeof(T)});
        own.vectors = arena.take<T>(plan.group * own.lanes, shape.head_dim);
        own.products = arena.take<T>(plan.group * plan.chunk, own.lanes);
        own.is_done = arena.take<std::uint64_t>(1, plan.group);
      }
    };
    std::apply([&](const auto&... stage) { (take(stage), ...); }, bound.stages());
  }
};

/// The buffers of one worker.
template <class T, class BoundT>
struct Buffers {
  static constexpr int regions =
      std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>::num_regions;

  T* queries = nullptr;  ///< [region][head in group][panel][head_dim][panel width], scaled, rotated
  Sums<T> sums;          ///< of a task that has no parts
  T* keys = nullptr;     ///< [region][key in chunk][head_dim], rotated
  T* values = nullptr;   ///< [key in chunk][value_dim]
  T* scores = nullptr;   ///< [key in tile][panel width]
  T* blend = nullptr;    ///< the same, the second product of a mixed tile
  T* factor = nullptr;   ///< [panel width]
  T* rows = nullptr;     ///< [query in panel][head_dim or value_dim]
  T* bias = nullptr;     ///< [relative bias][head in group][distance]
  Position* query = nullptr;        ///< [query in block, padded], positions
  Position* query_index = nullptr;  ///< the same, places in the sequence
  Position* key = nullptr;          ///< [key in chunk], positions
  Position* key_copy = nullptr;     ///< [key in tile], positions of a region
  double* query_copy = nullptr;     ///< [query in panel], positions of a region
  RelativeBuffers<T, BoundT> relative;

  Buffers(const BoundT& bound, const Plan& plan, const AttentionShape& shape, Arena& arena)
      : relative(bound, plan, shape, arena) {
    const Index group = plan.group;
    queries = arena.take<T>(regions * group * plan.block, shape.head_dim);
    sums = Sums<T>(plan, shape, arena);
    keys = arena.take<T>(regions * plan.chunk, shape.head_dim);
    values = arena.take<T>(plan.chunk, shape.value_dim);
    scores = arena.take<T>(plan.tile, plan.panel);
    if (regions > 1) blend = arena.take<T>(plan.tile, plan.panel);
    factor = arena.take<T>(1, plan.panel);
    rows = arena.take<T>(plan.panel, std::max(shape.head_dim, shape.value_dim));
    query = arena.take<Position>(1, plan.block);
    query_index = arena.take<Position>(1, plan.block);
    key = arena.take<Position>(1, plan.chunk);
    if (BoundT::has_distance_map) key_copy = arena.take<Position>(1, plan.tile);
    if (BoundT::has_distance_map) query_copy = arena.take<double>(1, plan.panel);
    constexpr Index biases = []<class... S>(const std::tuple<S...>*) {
      return num_relative_biases<S...>;
    }(static_cast<const typename Leaves<T, BoundT>::Stages*>(nullptr));
    // Lanes beyond the last query read past the last distance.
    if (biases > 0) bias = arena.take<T>(biases * group, shape.queries + shape.keys + plan.panel);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
