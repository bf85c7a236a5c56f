// SPDX-License-Identifier: MIT
//
// The leaves of the mixers at each level; see leaves.hpp.
#pragma once

#include <posenc/mixers/leaves.hpp>
#include <posenc/simd/dispatch.hpp>

#include <type_traits>

POSENC_NAMESPACE_BEGIN

#define POSENC_DETAIL_LEAVES "posenc/mixers/leaves.inl"
#include <posenc/simd/every_level.inl>
#define POSENC_DETAIL_LEAVES "posenc/mixers/scan.inl"
#include <posenc/simd/every_level.inl>
#define POSENC_DETAIL_LEAVES "posenc/mixers/gradients.inl"
#include <posenc/simd/every_level.inl>
#define POSENC_DETAIL_LEAVES "posenc/mixers/scan_gradients.inl"
#include <posenc/simd/every_level.inl>

namespace mixers {

template <class L, class S, class G, class H>
constexpr Leaves leaves_of() {
  return {L::product,
          L::exponentials,
          L::decay_parts,
          L::minus_exponentials,
          L::sigmoid,
          L::softplus,
          L::copy_rows,
          L::fill,
          L::scale_rows,
          L::multiply_rows,
          L::multiply,
          L::divide,
          L::decay_products,
          L::decay_state,
          L::step,
          L::erase,
          L::solve,
          L::wkv,
          L::decay_scores,
          L::mask_scores,
          L::block_decays,
          L::block_scores,
          L::dot,
          L::dot3,
          L::sum,
          L::add_scaled,
          {S::prepare, S::scan, S::gate, S::activate, S::convolve},
          {G::pairs, G::decays, G::add, G::add_products, H::forward, H::back}};
}
template <class Level>
constexpr Leaves leaves_at() {
#if defined(POSENC_DETAIL_LEVEL_AVX512)
  if constexpr (std::is_same_v<Level, simd::Avx512>)
    return leaves_of<simd::avx512::MixerLeaves, simd::avx512::ScanLoops,
                     simd::avx512::GradientLoops, simd::avx512::ScanGradientLoops>();
#endif
#if defined(POSENC_DETAIL_LEVEL_AVX2)
  if constexpr (std::is_same_v<Level, simd::Avx2>)
    return leaves_of<simd::avx2::MixerLeaves, simd::avx2::ScanLoops, simd::avx2::GradientLoops,
                     simd::avx2::ScanGradientLoops>();
#endif
#if defined(POSENC_DETAIL_LEVEL_NEON)
  if constexpr (std::is_same_v<Level, simd::Neon>)
    return leaves_of<simd::neon::MixerLeaves, simd::neon::ScanLoops, simd::neon::GradientLoops,
                     simd::neon::ScanGradientLoops>();
#endif
  if constexpr (std::is_same_v<Level, simd::Scalar>)
    return leaves_of<simd::scalar::MixerLeaves, simd::scalar::ScanLoops,
                     simd::scalar::GradientLoops, simd::scalar::ScanGradientLoops>();
}

POSENC_DETAIL_MIXERS const Leaves& leaves() {
  static constexpr auto table =
      simd::by_level<float>([]<class Level>(Level) { return leaves_at<Level>(); });
  return table[static_cast<std::size_t>(simd::level())];
}

}  // namespace mixers

POSENC_NAMESPACE_END
