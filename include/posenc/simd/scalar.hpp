// SPDX-License-Identifier: MIT
//
// The portable level: no instruction set beyond the one the program was compiled for.
#pragma once

#include <posenc/simd/level.hpp>
#include <posenc/simd/row_access.hpp>
#include <posenc/simd/scalar/rotary.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace scalar {
// clang-format off: each needs the one before it
#include <posenc/simd/scalar/vector.inl>
#include <posenc/simd/leaves/attention.inl>
#include <posenc/simd/leaves/gradients.inl>
#include <posenc/simd/leaves/across_lanes.inl>
#include <posenc/simd/leaves/prefetcher.inl>
#include <posenc/simd/leaves/decode.inl>
// clang-format on
}  // namespace scalar

struct Scalar : scalar::RotaryLeaves,
                scalar::AttentionLeaves,
                scalar::GradientLeaves,
                scalar::DecodeLeaves {
  static constexpr Level level = Level::scalar;
};

}  // namespace simd

POSENC_NAMESPACE_END
