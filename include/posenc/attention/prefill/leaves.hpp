// SPDX-License-Identifier: MIT
//
// The leaves that prefill calls, as pointers: the kernel itself is compiled once, not once more for
// each level. A call is worth thousands of operations.
#pragma once

#include <posenc/attention/prefill/relative.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/bind/score_loops.hpp>
#include <posenc/rotate/rows.hpp>
#include <posenc/simd/dispatch.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A relative bias of one head, tabulated by distance.
template <class T>
struct BiasTable {
  const T* data = nullptr;
  Position least_distance = 0;  ///< that of data[0]
};

/// Adds it to the scores of a tile: queries next to each other want distances next to each other.
template <class Level, class T>
void add_bias_table(const ScoreTile& tile, const BiasTable<T>& table, T* scores) noexcept {
  const ScoreTile at = tile;  // a copy that no store to the scores can change
  const T* const data = table.data;
  const Position least = table.least_distance;
  if (at.consecutive)
    Level::map(at.keys, at.width, scores, [=, first = at.query[0] - least](T x, Index k, Index j) {
      return x + data[first - at.key[k] + j];
    });
  else
    Level::map(at.keys, at.width, scores,
               [=](T x, Index k, Index j) { return x + data[at.query[j] - at.key[k] - least]; });
}

/// What does not depend on the encoding; see simd/leaves/attention.inl.
template <class T>
struct TileLeaves {
  using Product = void (*)(Index rows, Index inner, Index width, const T* a, Index a_row,
                           Index a_inner, const T* b, T* c, Index stride);
  Index panel = 0;       ///< most queries side by side
  Index panel_step = 0;  ///< a panel is a multiple of this wide
  Index tile_keys = 0;
  Product scores = nullptr;                 ///< C = A B
  Product values = nullptr;                 ///< C += A B
  Product values_skipping_zeros = nullptr;  ///< the same, where zeros in B hide what is not finite
  bool (*copy_finite)(Index n, const T* x, T* y) = nullptr;
  void (*choose)(Index n, const std::int32_t* kind, std::int32_t which, const T* x, T* y) = nullptr;
};

template <class T>
const simd::ByLevel<TileLeaves<T>>& tile_leaves() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    return TileLeaves<T>{
        Level::template panel<T>,
        Level::template panel_step<T>,
        Level::tile_keys,
        &Level::template product<false, false, T>,
        &Level::template product<true, false, T>,
        &Level::template product<true, true, T>,
        &Level::template copy_finite<T>,
        &Level::template choose<T>,
    };
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<TileLeaves<float>>& tile_leaves<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<TileLeaves<double>>& tile_leaves<double>();
#endif

/// What only the forward pass calls; gradients have the sums of the softmax already.
template <class T>
struct SoftmaxLeaves {
  bool (*softmax)(Index keys, Index width, T* scores, T* shift, T* sum, T* factor) = nullptr;
  bool (*softmax_spread)(Index keys, Index width, T* scores, T* shift, T* sum, T* factor, T* most,
                         T* spread) = nullptr;
  void (*scale_rows)(Index rows, Index width, T* x, const T* factor) = nullptr;
};

template <class T>
const SoftmaxLeaves<T>& softmax_leaves(std::size_t level) {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    return SoftmaxLeaves<T>{&Level::template softmax<T>, &Level::template softmax_spread<T>,
                            &Level::template scale_rows<T>};
  });
  return table[level];
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const SoftmaxLeaves<float>& softmax_leaves<float>(std::size_t level);
POSENC_DETAIL_DOUBLE const SoftmaxLeaves<double>& softmax_leaves<double>(std::size_t level);
#endif

/// add_bias_table by level.
template <class T>
using AddBiasTable = void (*)(const ScoreTile& tile, const BiasTable<T>& table, T* scores) noexcept;
template <class T>
const simd::ByLevel<AddBiasTable<T>>& bias_table_leaves() {
  static constexpr auto table = simd::by_level<T>(
      []<class Level>(Level) -> AddBiasTable<T> { return &add_bias_table<Level, T>; });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<AddBiasTable<float>>& bias_table_leaves<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<AddBiasTable<double>>& bias_table_leaves<double>();
#endif

/// Rotates rows of T by the layout of an encoding.
template <class T>
using RotateRows = void (*)(const Rotary& rotary, const AngleTable& table, const Turn& turn,
                            const Positions& positions, const TensorView<const T>& x,
                            const TensorView<T>& y) noexcept;

/// By level; null for encodings without a rotary base.
template <class LayoutT, class T>
const simd::ByLevel<RotateRows<T>>& rotation_leaves() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) -> RotateRows<T> {
    if constexpr (Layout<LayoutT> || std::is_same_v<LayoutT, AnyLayout>)
      return &rotate_rows<Level, LayoutT, T, T>;
    else
      return nullptr;
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<RotateRows<float>>& rotation_leaves<HalfSplit, float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<RotateRows<float>>& rotation_leaves<Interleaved, float>();
POSENC_DETAIL_FLOAT const simd::ByLevel<RotateRows<float>>& rotation_leaves<AnyLayout, float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RotateRows<double>>& rotation_leaves<HalfSplit, double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RotateRows<double>>&
rotation_leaves<Interleaved, double>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<RotateRows<double>>& rotation_leaves<AnyLayout, double>();
#endif

/// All that a call needs of the level that runs.
template <class T>
struct PrefillLeaves {
  const TileLeaves<T>* tile = nullptr;
  RotateRows<T> rotate = nullptr;
  AddBiasTable<T> add_bias_table = nullptr;     ///< null for encodings without relative biases
  const RelativeLeaves<T>* relative = nullptr;  ///< null for encodings without vectors by distance
  std::size_t level = 0;
};

/// For encodings E.
template <class E, class T>
PrefillLeaves<T> prefill_leaves(std::size_t level) {
  PrefillLeaves<T> leaves{.tile = &tile_leaves<T>()[level],
                          .rotate = rotation_leaves<typename Bound<E>::layout, T>()[level],
                          .level = level};
  if constexpr (Bound<E>::encoding_facts.has_relative_biases)
    leaves.add_bias_table = bias_table_leaves<T>()[level];
  if constexpr (Bound<E>::encoding_facts.has_relative_vectors)
    leaves.relative = &relative_leaves<T>()[level];
  return leaves;
}

}  // namespace detail

POSENC_NAMESPACE_END
