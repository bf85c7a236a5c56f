// SPDX-License-Identifier: MIT
//
// Numbers as files have them, little endian and of any alignment: one of them, or many as floats.
#pragma once

#include <posenc/core/types.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace file {

/// A number that lies in little endian order at `bytes`, of any alignment.
template <class T>
[[nodiscard]] inline T load(const std::byte* bytes) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    T number;
    std::memcpy(&number, bytes, sizeof(T));
    return number;
  } else {
    std::byte reversed[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i) reversed[i] = bytes[sizeof(T) - 1 - i];
    T number;
    std::memcpy(&number, reversed, sizeof(T));
    return number;
  }
}

/// The value of an IEEE binary16. Exact; NaN stays NaN. No float here is subnormal, so that a processor that
/// takes these for zero gives the same.
[[nodiscard]] inline float float_from_half(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffU, sign = (half & 0x8000U) << 16;
  const std::uint32_t rebias = magnitude >= 0x7c00U ? 224U << 23 : 112U << 23;
  const std::uint32_t normal = (magnitude << 13) + rebias;
  const auto subnormal = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F);
  return std::bit_cast<float>((magnitude < 0x400U ? subnormal : normal) | sign);
}

[[nodiscard]] inline float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

namespace detail {

/// Numbers of 16 bits, 32 at a time through memory of our own, for the sake of vector code.
template <float (*Convert)(std::uint16_t)>
inline void read_16_bits(const std::byte* from, Index count, float* to) {
  constexpr Index many = 32;
  std::array<std::uint16_t, many> bits;
  std::array<float, many> values;
  Index i = 0;
  for (; i + many <= count; i += many) {
    for (std::size_t j = 0; j < many; ++j)
      bits[j] = load<std::uint16_t>(from + 2 * i + 2 * static_cast<Index>(j));
    for (std::size_t j = 0; j < many; ++j) values[j] = Convert(bits[j]);
    std::memcpy(to + i, values.data(), sizeof(values));
  }
  for (; i < count; ++i) to[i] = Convert(load<std::uint16_t>(from + 2 * i));
}

}  // namespace detail

// `count` numbers of 4 or 2 bytes each as floats, which are exact.

inline void read_f32(const std::byte* from, Index count, float* to) {
  if constexpr (std::endian::native == std::endian::little)
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
  else
    for (Index i = 0; i < count; ++i) to[i] = load<float>(from + 4 * i);
}

inline void read_f16(const std::byte* from, Index count, float* to) {
  detail::read_16_bits<float_from_half>(from, count, to);
}
inline void read_bf16(const std::byte* from, Index count, float* to) {
  detail::read_16_bits<float_from_bfloat16>(from, count, to);
}

}  // namespace file

POSENC_NAMESPACE_END
