// SPDX-License-Identifier: MIT
//
// The leaves that the attention kernel calls, of one level, as pointers: so the kernel itself is
// compiled once for each encoding and not once more for each level. A call is worth thousands of
// operations.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/attention/score/relative.hpp>
#include <posenc/attention/score/stages.hpp>
#include <posenc/rotary/rotary.hpp>
#include <posenc/simd/dispatch.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

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
  bool (*softmax)(Index keys, Index width, T* scores, T* shift, T* sum, T* factor) = nullptr;
  void (*scale_rows)(Index rows, Index width, T* x, const T* factor) = nullptr;
  bool (*copy_finite)(Index n, const T* x, T* y) = nullptr;
  void (*to_panel)(Index rows, Index columns, Index width, const T* x, Index row, const T* factor,
                   T* y) = nullptr;
  void (*from_panel)(Index rows, Index columns, Index width, const T* x, const T* factor, T* y,
                     Index row, Index column) = nullptr;
};

template <class Level, class T>
inline constexpr TileLeaves<T> tile_leaves{
    Level::template panel<T>,
    Level::template panel_step<T>,
    Level::tile_keys,
    &Level::template product<false, false, T>,
    &Level::template product<true, false, T>,
    &Level::template product<true, true, T>,
    &Level::template softmax<T>,
    &Level::template scale_rows<T>,
    &Level::template copy_finite<T>,
    &Level::template to_panel<T>,
    &Level::template from_panel<T>,
};

/// The rotation of an encoding's layout, if it has one.
template <class T, class RotaryT>
struct RotationLeaf {
  void (*rotate)(const RotaryT& rotary, const AngleTable& table, const Turn& turn,
                 const Positions& positions, const TensorView<const T>& x,
                 const TensorView<T>& y) noexcept = nullptr;
};
template <class T>
struct RotationLeaf<T, NoRotary> {};

template <class Level, class T, class RotaryT>
constexpr RotationLeaf<T, RotaryT> rotation_leaf() {
  if constexpr (std::is_same_v<RotaryT, NoRotary>)
    return {};
  else
    return {&rotate_rows<Level, typename RotaryT::layout, T, T>};
}

/// What depends on the encoding's score stages and masks, of types Stages.
template <class T, class Stages>
struct StageLeaves {
  void (*stages)(const Stages& stages, const BiasTables<T>& tables, Index head_in_group,
                 const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*masks)(const Stages& stages, const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*relative_products)(const Stages& stages, const RelativeProducts<T, Stages>& products,
                            const ScoreTile& tile, const Tile& at, T* scores) noexcept = nullptr;
  void (*relative_weights)(const Stages& stages, const ScoreTile& tile, const Tile& at,
                           const T* weights, T* sums) noexcept = nullptr;
};

template <class T, class BoundT>
struct Leaves {
  using Stages = std::remove_cvref_t<decltype(std::declval<const BoundT&>().stages())>;
  TileLeaves<T> tile;
  RotationLeaf<T, typename BoundT::rotary_type> rotation;
  StageLeaves<T, Stages> stage;
};

template <class Level, class T, class... S>
constexpr StageLeaves<T, std::tuple<S...>> stage_leaves(const std::tuple<S...>*) {
  using Counts = RelativeCounts<std::tuple<S...>>;
  StageLeaves<T, std::tuple<S...>> own{&apply_stages<Level, T, S...>, &apply_masks<Level, T, S...>};
  if constexpr (Counts::keys + Counts::queries > 0)
    own.relative_products = &add_relative_products<Level, T, S...>;
  if constexpr (Counts::values > 0) own.relative_weights = &add_relative_weights<Level, T, S...>;
  return own;
}

/// The leaves of the level that runs.
template <class T, class BoundT>
Leaves<T, BoundT> leaves() {
  using Stages = typename Leaves<T, BoundT>::Stages;
  return simd::dispatch<T>([]<class Level>(Level) -> Leaves<T, BoundT> {
    return {tile_leaves<Level, T>, rotation_leaf<Level, T, typename BoundT::rotary_type>(),
            stage_leaves<Level, T>(static_cast<const Stages*>(nullptr))};
  });
}

}  // namespace detail

POSENC_NAMESPACE_END
