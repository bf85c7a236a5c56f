// SPDX-License-Identifier: MIT
//
// The leaves of long convolutions and state spaces at each level, as pointers; only the definitions of this folder
// include it.
#pragma once

#include <posenc/simd/dispatch.hpp>

#include <algorithm>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

#define POSENC_DETAIL_LEAVES "posenc/mixers/convolution/leaves.inl"
#include <posenc/simd/every_level.inl>

namespace detail {

/// See mixers/convolution/leaves.inl.
struct ConvolutionLeaves {
  void (*direct)(Index rows, Index taps, Index before, const double* u, const double* h, double* y);
  void (*diagonal)(Index tokens, Index pairs, const double* modes, double* x, const double* u,
                   double* y);
  void (*low_rank)(Index tokens, Index pairs, const double* modes, double* x, const double* u,
                   double* y);
  Index zero_rows;  ///< that the direct form wants before its input
  Index lanes;      ///< doubles in a vector
};

template <class L>
constexpr ConvolutionLeaves convolution_leaves_of() {
  return {L::direct, L::diagonal, L::low_rank, L::tile_rows - 1, L::width};
}

inline const ConvolutionLeaves& convolution_leaves() {
  static constexpr auto table = simd::by_level<float>([]<class Level>(Level) {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
    if constexpr (std::is_same_v<Level, simd::Avx512>)
      return convolution_leaves_of<simd::avx512::ConvolutionLeaves>();
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
    if constexpr (std::is_same_v<Level, simd::Avx2>)
      return convolution_leaves_of<simd::avx2::ConvolutionLeaves>();
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
    if constexpr (std::is_same_v<Level, simd::Neon>)
      return convolution_leaves_of<simd::neon::ConvolutionLeaves>();
#endif
    if constexpr (std::is_same_v<Level, simd::Scalar>)
      return convolution_leaves_of<simd::scalar::ConvolutionLeaves>();
  });
  return table[static_cast<std::size_t>(simd::level())];
}

}  // namespace detail

POSENC_NAMESPACE_END
