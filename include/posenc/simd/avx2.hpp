// SPDX-License-Identifier: MIT
//
// The AVX2 level: x86-64-v3, machines from 2013 on.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/layout.hpp>
#include <posenc/simd/level.hpp>
#include <posenc/simd/region.hpp>
#include <posenc/simd/row_access.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(POSENC_DETAIL_LEVEL_AVX2)
#include <immintrin.h>

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace avx2 {
POSENC_REGION_BEGIN("avx2,fma,f16c")
// clang-format off: each needs the one before it
#include <posenc/simd/avx2/vector.inl>
#include <posenc/simd/leaves/rotary.inl>
#include <posenc/simd/leaves/attention.inl>
#include <posenc/simd/leaves/gradients.inl>
#include <posenc/simd/leaves/across_lanes.inl>
#include <posenc/simd/leaves/prefetcher.inl>
#include <posenc/simd/leaves/decode.inl>
// clang-format on
POSENC_REGION_END
}  // namespace avx2

struct Avx2 : avx2::RotaryLeaves, avx2::AttentionLeaves, avx2::GradientLeaves, avx2::DecodeLeaves {
  static constexpr Level level = Level::avx2;
};

}  // namespace simd

POSENC_NAMESPACE_END
#endif
