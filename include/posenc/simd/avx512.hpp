// SPDX-License-Identifier: MIT
//
// The AVX-512 levels: x86-64-v4 (F, BW, DQ, VL), and the same with AVX512_BF16, which differs in how
// bfloat16 is rounded.
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

#if defined(POSENC_DETAIL_LEVEL_AVX512)
#include <immintrin.h>

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace avx512 {
POSENC_REGION_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
// clang-format off: each needs the one before it
#include <posenc/simd/avx512/bfloat16.inl>
#include <posenc/simd/avx512/vector.inl>
#include <posenc/simd/leaves/rotary.inl>
#include <posenc/simd/leaves/attention.inl>
#include <posenc/simd/leaves/gradients.inl>
#include <posenc/simd/leaves/across_lanes.inl>
#include <posenc/simd/leaves/prefetcher.inl>
#include <posenc/simd/leaves/decode.inl>
// clang-format on
POSENC_REGION_END
}  // namespace avx512

namespace avx512_bf16 {
POSENC_REGION_BEGIN("avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
// clang-format off: each needs the one before it
#include <posenc/simd/avx512_bf16/bfloat16.inl>
#include <posenc/simd/avx512/vector.inl>
#include <posenc/simd/leaves/rotary.inl>
// clang-format on
POSENC_REGION_END
}  // namespace avx512_bf16

struct Avx512 : avx512::RotaryLeaves,
                avx512::AttentionLeaves,
                avx512::GradientLeaves,
                avx512::DecodeLeaves {
  static constexpr Level level = Level::avx512;
};
struct Avx512Bf16 : avx512_bf16::RotaryLeaves,
                    avx512::AttentionLeaves,
                    avx512::GradientLeaves,
                    avx512::DecodeLeaves {
  static constexpr Level level = Level::avx512_bf16;
};

}  // namespace simd

POSENC_NAMESPACE_END
#endif
