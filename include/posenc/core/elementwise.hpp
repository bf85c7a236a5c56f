// SPDX-License-Identifier: MIT
//
// Functions of one number for score maps and biases: without branches or calls, so that a loop over
// them becomes vector code.
#pragma once

#include <posenc/core/types.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

/// x, or the nearer end of [-bound, bound]; NaN for NaN. Written with bits because compilers make a
/// branch of a comparison whose outcome is a constant, and no vector of a branch.
[[nodiscard]] inline float elementwise_clamp(float x, float bound) {
  const auto bits = std::bit_cast<std::uint32_t>(x), end = std::bit_cast<std::uint32_t>(bound);
  constexpr std::uint32_t sign = 0x80000000U;
  const std::uint32_t beyond = -static_cast<std::uint32_t>(std::abs(x) > bound);
  return std::bit_cast<float>((bits & ~beyond) | (((bits & sign) | end) & beyond));
}

/// a where `first`, b elsewhere; both are computed.
[[nodiscard]] inline float elementwise_select(bool first, float a, float b) {
  const std::uint32_t mask = -static_cast<std::uint32_t>(first);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(a) & mask) |
                              (std::bit_cast<std::uint32_t>(b) & ~mask));
}
[[nodiscard]] inline double elementwise_select(bool first, double a, double b) {
  return first ? a : b;
}

/// tanh(x), within 4e-7 relative to it in float; NaN for NaN. In double it is std::tanh.
///
/// x P(x^2) / Q(x^2), the rational function of degree 9/8 whose greatest relative error on [-9, 9] is
/// least (2.1e-8, before rounding); beyond, tanh is 1 to the last bit of a float.
[[nodiscard]] inline float elementwise_tanh(float x) {
  const float y = elementwise_clamp(x, 9);
  const float u = y * y;
  float p = 0x1.cadb54p-27F;
  p = p * u + 0x1.59c2c8p-16F;
  p = p * u + 0x1.ca2c36p-9F;
  p = p * u + 0x1.120b14p-3F;
  p = p * u + 1.0F;
  float q = 0x1.a17f38p-21F;
  q = q * u + 0x1.5885bep-12F;
  q = q * u + 0x1.a7f7cep-6F;
  q = q * u + 0x1.de5ad4p-2F;
  q = q * u + 1.0F;
  return y * p / q;
}
[[nodiscard]] inline double elementwise_tanh(double x) { return std::tanh(x); }

POSENC_NAMESPACE_END
