// SPDX-License-Identifier: MIT
//
// The NEON level: the baseline of 64-bit Arm, so no region is needed.
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

#if defined(POSENC_DETAIL_LEVEL_NEON)
#include <arm_neon.h>

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace neon {
// clang-format off: each needs the one before it
#include <posenc/simd/neon/vector.inl>
#include <posenc/simd/leaves/rotary.inl>
#include <posenc/simd/leaves/attention.inl>
#include <posenc/simd/leaves/gradients.inl>
#include <posenc/simd/leaves/across_lanes.inl>
#include <posenc/simd/leaves/prefetcher.inl>
#include <posenc/simd/leaves/decode.inl>
// clang-format on
}  // namespace neon

struct Neon : neon::RotaryLeaves, neon::AttentionLeaves, neon::GradientLeaves, neon::DecodeLeaves {
  static constexpr Level level = Level::neon;
};

}  // namespace simd

POSENC_NAMESPACE_END
#endif
