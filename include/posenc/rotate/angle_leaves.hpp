// SPDX-License-Identifier: MIT
//
// AngleLeaves: what computing angles calls of a level, as pointers.
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/rotary/angles.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// x and y times the magnitudes a b of xPos, n of each: whole blocks of AngleTable::pair_block.
template <class Level, class U>
void magnify(Index n, const double* a, const double* b, U* x, U* y) {
  Level::run([=] {
    constexpr Index block = AngleTable::pair_block;
    for (Index first = 0; first < n; first += block) {
      double magnitude[block];
      for (Index i = 0; i < block; ++i) magnitude[i] = a[first + i] * b[first + i];
      for (U* const rows : {x + first, y + first}) {
        U product[block];
        for (Index i = 0; i < block; ++i)
          product[i] = static_cast<U>(magnitude[i] * static_cast<double>(rows[i]));
        std::copy_n(product, block, rows);
      }
    }
  });
}

/// What is called of a level; see simd/leaves/rotary.inl.
template <class U>
struct AngleLeaves {
  void (*multiply_angles)(Index n, const double* a, Index a_stride, const double* b, Index b_stride,
                          double* out, Index out_stride) = nullptr;
  void (*finish_angles)(Index tokens, Index n, const double* a, Index a_stride, const double* b,
                        Index b_stride, Index b_row, double cos_factor, double sin_factor, U* cos,
                        U* sin, Index row) = nullptr;
  void (*blend_into)(Index n, const U* mask, const U* x, U* y) = nullptr;
  void (*magnify)(Index n, const double* a, const double* b, U* x, U* y) = nullptr;
};
template <class Level, class U>
inline constexpr AngleLeaves<U> angle_leaves{&Level::multiply_angles,
                                             &Level::template finish_angles<U>,
                                             &Level::template blend_into<U>, &magnify<Level, U>};

}  // namespace detail

POSENC_NAMESPACE_END
