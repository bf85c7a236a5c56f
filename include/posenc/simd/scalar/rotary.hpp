// SPDX-License-Identifier: MIT
//
// The portable leaves of rotary position: plain loops. Blocks of fixed length go through local
// arrays, so that a compiler vectorises them for the baseline even though x and y may be the same.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/layout.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace simd::scalar {

struct RotaryLeaves {
  /// Products of n complex numbers: out = a * b. Each operand is n cosines and, `stride` further on,
  /// n sines. out may be a.
  static void multiply_angles(Index n, const double* a, Index a_stride, const double* b,
                              Index b_stride, double* out, Index out_stride) {
    for (Index i = 0; i < n; ++i) {
      const double ac = a[i], as = a[a_stride + i], bc = b[i], bs = b[b_stride + i];
      out[i] = multiply_add(ac, bc, -(as * bs));
      out[out_stride + i] = multiply_add(ac, bs, as * bc);
    }
  }

  /// The last product of the angles of some tokens, rounded to what tensors are computed in:
  /// factor * a * b[token], where `cos_factor` and `sin_factor` may differ in sign. Rows of b and of
  /// the results are b_row and row apart.
  template <class U>
  static void finish_angles(Index tokens, Index n, const double* a, Index a_stride, const double* b,
                            Index b_stride, Index b_row, double cos_factor, double sin_factor,
                            U* cos, U* sin, Index row) {
    for (Index t = 0; t < tokens; ++t, b += b_row, cos += row, sin += row)
      for (Index i = 0; i < n; ++i) {
        const double ac = a[i], as = a[a_stride + i], bc = b[i], bs = b[b_stride + i];
        cos[i] = static_cast<U>(multiply_add(cos_factor * ac, bc, -(cos_factor * as * bs)));
        sin[i] = static_cast<U>(multiply_add(sin_factor * ac, bs, sin_factor * as * bc));
      }
  }

  /// y = x where the mask is set (all bits, or none).
  template <class U>
  static void blend_into(Index n, const U* mask, const U* x, U* y) {
    for (Index i = 0; i < n; ++i) y[i] = std::signbit(mask[i]) ? x[i] : y[i];
  }

  /// Rotates pairs [first, first + count) of all heads of some tokens. Rotary blocks, of `pairs`
  /// pairs, begin at x, `stride` apart from head to head and `row` from token to token; y may be x.
  /// cos and sin are those of pair `first` and on, `angle_row` apart from token to token.
  template <class LayoutT, class X, class Y>
  static void rotate(Index tokens, Index heads, Index first, Index count, Index pairs, const X* x,
                     Index x_row, Index x_stride, Y* y, Index y_row, Index y_stride,
                     const arithmetic_t<X>* cos, const arithmetic_t<X>* sin, Index angle_row) {
    for (Index t = 0; t < tokens; ++t, x += x_row, y += y_row, cos += angle_row, sin += angle_row)
      for (Index h = 0; h < heads; ++h) {
        const X* from = x + h * x_stride;
        Y* to = y + h * y_stride;
        Index i = 0;
        for (; i + block <= count; i += block)
          rotate_some<LayoutT>(block, first + i, pairs, from, to, cos + i, sin + i);
        rotate_some<LayoutT>(count - i, first + i, pairs, from, to, cos + i, sin + i);
      }
  }

 private:
  static constexpr Index block = 8;

  /// a * b + c. Where the baseline has a fused instruction, compilers fuse one product or the other
  /// as they like; said explicitly, the same numbers come out of every loop.
  template <class U>
  static U multiply_add(U a, U b, U c) {
#if defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
  }

  template <class LayoutT, class X, class Y>
  static void rotate_some(Index n, Index first, Index pairs, const X* x, Y* y,
                          const arithmetic_t<X>* cos, const arithmetic_t<X>* sin) {
    using U = arithmetic_t<X>;
    U a[block], b[block];
    for (Index i = 0; i < n; ++i) {
      const U x0 = widen(x[LayoutT::first(first + i, pairs)]);
      const U x1 = widen(x[LayoutT::second(first + i, pairs)]);
      a[i] = multiply_add(x0, cos[i], -(x1 * sin[i]));
      b[i] = multiply_add(x0, sin[i], x1 * cos[i]);
    }
    for (Index i = 0; i < n; ++i) {
      y[LayoutT::first(first + i, pairs)] = narrow<Y>(a[i]);
      y[LayoutT::second(first + i, pairs)] = narrow<Y>(b[i]);
    }
  }
};

}  // namespace simd::scalar

POSENC_NAMESPACE_END
