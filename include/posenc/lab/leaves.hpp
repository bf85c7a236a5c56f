// SPDX-License-Identifier: MIT
//
// The lab's leaves (simd/dispatch.hpp): products of matrices, GELU, norms and exponentials at the level that
// runs, so that a program needs no -m flags and no BLAS to train at the speed of the machine.
#pragma once

#include <posenc/simd/dispatch.hpp>
#include <posenc/simd/panels.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// A matrix whose neighbours are `row` and `column` elements apart.
struct MatrixElements {
  const float* data;
  Index row, column;

  [[nodiscard]] MatrixElements from(Index i, Index j) const {
    return {data + i * row + j * column, row, column};
  }
};

}  // namespace lab

#define POSENC_DETAIL_LEAVES "posenc/lab/leaves.inl"
#include <posenc/simd/every_level.inl>

namespace lab {

/// See lab/leaves.inl.
struct Leaves {
  void (*product)(Index rows, Index inner, Index columns, const MatrixElements& a,
                  const MatrixElements& b, bool add, float* c, Index c_row);
  void (*gelu)(Index n, const float* x, float* y, float* slope);
  void (*multiply)(Index n, float* x, const float* y);
  float (*norm)(Index n, const float* x, const float* gain, float* y);
  void (*norm_backward)(Index n, const float* x, const float* gain, float inverse, const float* dy,
                        float* dx, float* d_gain);
  float (*exponentials)(Index n, const float* x, float shift, float* y);

  template <class L>
  static constexpr Leaves of() {
    return {L::product, L::gelu, L::multiply, L::norm, L::norm_backward, L::exponentials};
  }
  template <class Level>
  static constexpr Leaves at() {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
    if constexpr (std::is_same_v<Level, simd::Avx512>) return of<simd::avx512::LabLeaves>();
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
    if constexpr (std::is_same_v<Level, simd::Avx2>) return of<simd::avx2::LabLeaves>();
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
    if constexpr (std::is_same_v<Level, simd::Neon>) return of<simd::neon::LabLeaves>();
#endif
    if constexpr (std::is_same_v<Level, simd::Scalar>) return of<simd::scalar::LabLeaves>();
  }
};

/// Those of the level that runs. Throws Error when a level was asked for that this machine or program lacks.
[[nodiscard]] inline const Leaves& leaves() {
  static constexpr auto table =
      simd::by_level<float>([]<class Level>(Level) { return Leaves::at<Level>(); });
  return table[static_cast<std::size_t>(simd::level())];
}

}  // namespace lab

POSENC_NAMESPACE_END
