// SPDX-License-Identifier: MIT
//
// AngleLeaves: what computing angles calls of a level, as pointers.
#pragma once

#include <posenc/core/types.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What is called of a level; see simd/leaves/rotary.inl.
template <class U>
struct AngleLeaves {
  void (*multiply_angles)(Index n, const double* a, Index a_stride, const double* b, Index b_stride,
                          double* out, Index out_stride) = nullptr;
  void (*finish_angles)(Index tokens, Index n, const double* a, Index a_stride, const double* b,
                        Index b_stride, Index b_row, double cos_factor, double sin_factor, U* cos,
                        U* sin, Index row) = nullptr;
  void (*blend_into)(Index n, const U* mask, const U* x, U* y) = nullptr;
};
template <class Level, class U>
inline constexpr AngleLeaves<U> angle_leaves{
    &Level::multiply_angles, &Level::template finish_angles<U>, &Level::template blend_into<U>};

}  // namespace detail

POSENC_NAMESPACE_END
