// SPDX-License-Identifier: MIT
//
// Workspace: how much scratch memory a call to attention needs, and how it is divided.
//
// One layout function serves both: asked without memory it measures, asked with memory it hands
// out. So the size that a user is told and the size that the kernel uses cannot drift apart.
#pragma once

#include <posenc/attention/stages.hpp>

#include <cstddef>

POSENC_NAMESPACE_BEGIN

/// Sizes of one call.
struct AttentionShape {
  Index queries = 0;
  Index keys = 0;
  Index head_dim = 0;
  Index value_dim = 0;
};

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

constexpr Index round_up(Index n, Index block) { return (n + block - 1) / block * block; }

/// The buffers of the kernel, for one key head and one tile of its queries.
template <class Level, class T, class BoundT>
struct Buffers {
  static constexpr int regions =
      std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>::num_regions;

  Index value_stride = 0;  ///< value width, padded for product()
  T* queries = nullptr;    ///< [region][head in group][query][head_dim], scaled and rotated
  T* keys = nullptr;       ///< [region][head_dim][key], rotated, transposed
  T* values = nullptr;     ///< [key][value_stride]
  T* scores = nullptr;     ///< [query][key]
  T* blend = nullptr;      ///< [query][key], the second product of a mixed tile
  T* outputs = nullptr;    ///< [head in group][query][value_stride]
  T* row = nullptr;        ///< [head_dim or value width], one key before it is transposed
  SoftmaxRow<T>* softmax = nullptr;  ///< [head in group][query]
  T* bias = nullptr;                 ///< [relative bias][head in group][distance]

  Buffers(const BoundT& bound, const AttentionShape& shape, Arena& arena) {
    constexpr Index tq = Level::tile_queries, tk = Level::tile_keys;
    const Index group = bound.shape().num_heads / bound.shape().num_kv_heads;
    value_stride = round_up(shape.value_dim, Level::column_block);
    queries = arena.template take<T>(regions * group * tq, shape.head_dim);
    keys = arena.template take<T>(regions * tk, shape.head_dim);
    values = arena.template take<T>(tk, value_stride);
    scores = arena.template take<T>(tq, tk);
    if (regions > 1) blend = arena.template take<T>(tq, tk);
    outputs = arena.template take<T>(group * tq, value_stride);
    row = arena.template take<T>(1, std::max(shape.head_dim, shape.value_dim));
    softmax = arena.template take<SoftmaxRow<T>>(group, tq);
    constexpr Index biases = []<class... S>(const std::tuple<S...>*) {
      return num_relative_biases<S...>;
    }(static_cast<const std::remove_cvref_t<decltype(bound.stages())>*>(nullptr));
    if (biases > 0) bias = arena.template take<T>(biases * group, shape.queries + shape.keys);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
