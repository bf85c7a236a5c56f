// SPDX-License-Identifier: MIT
//
// The portable level: no instruction set beyond the one the program was compiled for.
#pragma once

#include <posenc/simd/level.hpp>
#include <posenc/simd/scalar/rotary.hpp>

#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace simd {

namespace scalar {
#include <posenc/simd/leaves/attention.inl>
}  // namespace scalar

struct Scalar : scalar::RotaryLeaves, scalar::AttentionLeaves {
  static constexpr Level level = Level::scalar;
};

}  // namespace simd

POSENC_NAMESPACE_END
