// SPDX-License-Identifier: MIT
//
// The leaves of the gradients of the delta rules at each level, as pointers; only the definitions of this folder
// include it.
#pragma once

#include <posenc/mixers/leaves_definitions.hpp>

POSENC_NAMESPACE_BEGIN

#define POSENC_DETAIL_LEAVES "posenc/mixers/delta_gradients.inl"
#include <posenc/simd/every_level.inl>

namespace detail {

/// See mixers/delta_gradients.inl.
struct DeltaGradientLeaves {
  void (*comes)(Index rows, Index width, const float* q, const float* d_out, const float* k,
                const float* v, const float* w, const float* u, const float* s, float* ds,
                float* dq, float* dk, float* dv, float* dw, float* du);
  void (*back)(bool before, Index rows, Index width, const float* keep, const float* change,
               const float* z, const float* d_read, const float* s, float* ds, float* dz,
               float* dlog);

  template <class L>
  static constexpr DeltaGradientLeaves of() {
    return {L::comes, L::back};
  }
};

inline const DeltaGradientLeaves& delta_gradient_leaves() {
  static constexpr auto table = simd::by_level<float>([]<class Level>(Level) {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
    if constexpr (std::is_same_v<Level, simd::Avx512>)
      return DeltaGradientLeaves::of<simd::avx512::DeltaGradientLoops>();
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
    if constexpr (std::is_same_v<Level, simd::Avx2>)
      return DeltaGradientLeaves::of<simd::avx2::DeltaGradientLoops>();
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
    if constexpr (std::is_same_v<Level, simd::Neon>)
      return DeltaGradientLeaves::of<simd::neon::DeltaGradientLoops>();
#endif
    if constexpr (std::is_same_v<Level, simd::Scalar>)
      return DeltaGradientLeaves::of<simd::scalar::DeltaGradientLoops>();
  });
  return table[static_cast<std::size_t>(simd::level())];
}

}  // namespace detail

POSENC_NAMESPACE_END
