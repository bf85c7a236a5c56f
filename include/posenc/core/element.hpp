// SPDX-License-Identifier: MIT
//
// Elements: what the numbers of a tensor are stored as, and what they are computed in.
//
//   stored as    computed in
//   float        float
//   double       double
//   bfloat16     float        8 bits of exponent, 8 of significand (one of them implied)
//   float16      float        5 and 11: IEEE 754 binary16
//
// Storing rounds to nearest, ties to even; what is too large becomes an infinity; NaN stays NaN.
// The 16-bit types are Eigen's, of <posenc/eigen.hpp>; a type of your own with the same bits joins by one line:
//
//   template <>
//   struct posenc::ElementTraits<my_bf16> : posenc::ElementIs<posenc::ElementFormat::bfloat16> {};
#pragma once

#include <posenc/core/types.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace Eigen {
struct bfloat16;
struct half;
}  // namespace Eigen

POSENC_NAMESPACE_BEGIN

enum class ElementFormat { float32, float64, bfloat16, float16 };

template <ElementFormat Format>
struct ElementIs {
  static constexpr ElementFormat format = Format;
};

/// Says how a type stores a number.
template <class T>
struct ElementTraits {};
template <>
struct ElementTraits<float> : ElementIs<ElementFormat::float32> {};
template <>
struct ElementTraits<double> : ElementIs<ElementFormat::float64> {};
template <>
struct ElementTraits<Eigen::bfloat16> : ElementIs<ElementFormat::bfloat16> {};
template <>
struct ElementTraits<Eigen::half> : ElementIs<ElementFormat::float16> {};

constexpr std::size_t bytes_of(ElementFormat format) {
  switch (format) {
    case ElementFormat::float32:
      return 4;
    case ElementFormat::float64:
      return 8;
    default:
      return 2;
  }
}

/// A type that tensors may consist of.
template <class T>
concept Element = requires {
  sizeof(T);  // Eigen's are declared here, and defined by Eigen
  ElementTraits<T>::format;
} && std::is_trivially_copyable_v<T> && sizeof(T) == bytes_of(ElementTraits<T>::format);

template <Element T>
inline constexpr ElementFormat element_format = ElementTraits<T>::format;

/// What elements of type T are computed in.
template <Element T>
using arithmetic_t = std::conditional_t<element_format<T> == ElementFormat::float64, double, float>;

namespace detail {

constexpr float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

constexpr std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // Rounding could carry a NaN into an infinity: keep it, and make it quiet.
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

constexpr float float_from_float16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U)  // infinity and NaN
    return std::bit_cast<float>(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13);
  if (magnitude < 0x400U) {  // subnormal: an integer times 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign == 0 ? value : -value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + ((127U - 15U) << 23)));
}

constexpr std::uint16_t float16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U, magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {  // NaN, made quiet
    half = 0x7e00U | (magnitude >> 13 & 0x3ffU);
  } else if (magnitude >= 0x477ff000U) {  // rounds to at least 2^16: infinity
    half = 0x7c00U;
  } else if (magnitude < 0x38800000U) {
    // Below 2^-14: an integer multiple of 2^-24, which is what adding 1/2 leaves in the low bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F);
  } else {
    const std::uint32_t rebased = magnitude - ((127U - 15U) << 23);
    half = (rebased + 0xfffU + (rebased >> 13 & 1U)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace detail

/// The number that an element holds.
template <Element T>
arithmetic_t<T> widen(const T& element) {
  if constexpr (sizeof(T) == 2) {
    const auto bits = std::bit_cast<std::uint16_t>(element);
    return element_format<T> == ElementFormat::bfloat16 ? detail::float_from_bfloat16(bits)
                                                        : detail::float_from_float16(bits);
  } else {
    return element;
  }
}

/// The element nearest to a number.
template <Element T>
T narrow(arithmetic_t<T> value) {
  if constexpr (sizeof(T) == 2) {
    const std::uint16_t bits = element_format<T> == ElementFormat::bfloat16
                                   ? detail::bfloat16_from_float(value)
                                   : detail::float16_from_float(value);
    return std::bit_cast<T>(bits);
  } else {
    return value;
  }
}

/// Which element stands for a number that none of them is.
enum class Rounding {
  nearest,
  up,   ///< the least that is not below it
  down  ///< the greatest that is not above it
};

/// The element that stands for a number; NaN stays NaN.
template <Element T>
T narrow(arithmetic_t<T> value, Rounding rounding) {
  const T nearest = narrow<T>(value);
  if constexpr (sizeof(T) == 2) {
    const float held = widen(nearest);
    const bool moves =
        (rounding == Rounding::up && held < value) || (rounding == Rounding::down && held > value);
    if (!moves) return nearest;
    // Neighbours have neighbouring bits, and the way out of zero leads through its own sign.
    const auto bits = std::bit_cast<std::uint16_t>(nearest);
    const bool up = rounding == Rounding::up, is_zero = (bits & 0x7fffU) == 0;
    const bool grows = is_zero || up == ((bits & 0x8000U) == 0);
    const unsigned sign = is_zero && !up ? 0x8000U : is_zero ? 0U : bits & 0x8000U;
    const unsigned magnitude = (bits & 0x7fffU) + (grows ? 1U : ~0U);
    return std::bit_cast<T>(static_cast<std::uint16_t>(sign | (magnitude & 0x7fffU)));
  } else {
    return nearest;
  }
}

POSENC_NAMESPACE_END
