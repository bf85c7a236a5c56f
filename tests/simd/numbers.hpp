// SPDX-License-Identifier: MIT
//
// Numbers as their formats define them, sharing no code with posenc: the value of a bit pattern is
// computed from its fields, and the pattern nearest to a value is looked up among the values of all
// patterns.
#pragma once

#include <Eigen/Core>

#include "../support/bits.hpp"
#include "../support/catch.hpp"
#include "../support/levels.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using posenc_test::at_every_level;
using posenc_test::Bits;
using posenc_test::bits_of;

/// Counts what is wrong among many and keeps the first of it in words. An assertion for each would
/// take longer than what is tested.
class Tally {
 public:
  template <class... Words>
  void require(bool right, const Words&... words) {
    ++all_;
    if (right || wrong_++ != 0) return;
    std::ostringstream text;
    text.precision(17);
    (text << ... << words);
    first_ = text.str();
  }

  /// "" when something was compared and nothing was wrong.
  [[nodiscard]] std::string complaint() const {
    if (all_ == 0) return "nothing was compared";
    if (wrong_ == 0) return "";
    return std::to_string(wrong_) + " of " + std::to_string(all_) + " are wrong, first: " + first_;
  }

 private:
  long long all_ = 0, wrong_ = 0;
  std::string first_;
};

/// A sign, an exponent and a fraction, as IEEE 754 lays them out.
template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int exponent_bits = 8, fraction_bits = 23;
};
template <>
struct Format<double> {
  static constexpr int exponent_bits = 11, fraction_bits = 52;
};
template <>
struct Format<Eigen::bfloat16> {
  static constexpr int exponent_bits = 8, fraction_bits = 7;
};
template <>
struct Format<Eigen::half> {
  static constexpr int exponent_bits = 5, fraction_bits = 10;
};

/// The number that a pattern stands for.
template <class T>
double value_of(T element) {
  constexpr int fraction_bits = Format<T>::fraction_bits, exponent_bits = Format<T>::exponent_bits;
  constexpr auto all_ones = (Bits<T>{1} << exponent_bits) - 1;
  constexpr int bias = static_cast<int>(all_ones / 2);
  const auto bits = static_cast<std::uint64_t>(bits_of(element));
  const auto fraction = static_cast<double>(bits & ((std::uint64_t{1} << fraction_bits) - 1));
  const auto exponent =
      static_cast<int>(bits >> fraction_bits & static_cast<std::uint64_t>(all_ones));
  const double sign = bits >> (fraction_bits + exponent_bits) == 0 ? 1 : -1;
  if (exponent == static_cast<int>(all_ones))
    return std::copysign(fraction == 0 ? std::numeric_limits<double>::infinity()
                                       : std::numeric_limits<double>::quiet_NaN(),
                         sign);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(1 + std::ldexp(fraction, -fraction_bits), exponent - bias);
}

template <class T>
T infinity() {
  constexpr auto all_ones = (Bits<T>{1} << Format<T>::exponent_bits) - 1;
  return std::bit_cast<T>(static_cast<Bits<T>>(all_ones << Format<T>::fraction_bits));
}

/// A NaN that arithmetic, but no copy, replaces by a quiet one.
template <class T>
T signaling_nan() {
  return std::bit_cast<T>(static_cast<Bits<T>>(bits_of(infinity<T>()) + 1));
}

template <class T>
bool is_nan(T element) {
  return std::isnan(value_of(element));
}

/// The same bits, or a NaN both.
template <class T>
bool same(T a, T b) {
  return bits_of(a) == bits_of(b) || (is_nan(a) && is_nan(b));
}

/// The values of all patterns from 0 up. The last one is that of infinity's pattern if the
/// exponents went on: from the middle below it on, numbers round to infinity.
template <class T>
const std::vector<double>& values_from_zero() {
  static_assert(sizeof(T) == 2);
  static const std::vector<double> values = [] {
    constexpr unsigned infinity = ((1U << Format<T>::exponent_bits) - 1)
                                  << Format<T>::fraction_bits;
    std::vector<double> all;
    for (unsigned bits = 0; bits < infinity; ++bits)
      all.push_back(value_of(std::bit_cast<T>(static_cast<std::uint16_t>(bits))));
    all.push_back(std::ldexp(1, 1 << (Format<T>::exponent_bits - 1)));
    return all;
  }();
  return values;
}

/// The element nearest to a value that is not NaN; of two that are equally near, the even one.
template <class T, class Real>
T nearest(Real exact) {
  if constexpr (sizeof(T) > 2) {
    return static_cast<T>(exact);
  } else {
    const auto value = static_cast<double>(exact);
    const std::vector<double>& values = values_from_zero<T>();
    const double magnitude = std::abs(value);
    auto pattern = static_cast<std::size_t>(
        std::upper_bound(values.begin(), values.end(), magnitude) - values.begin() - 1);
    if (pattern + 1 < values.size()) {
      const double down = magnitude - values[pattern], up = values[pattern + 1] - magnitude;
      if (up < down || (up == down && pattern % 2 == 1)) ++pattern;
    }
    return std::bit_cast<T>(
        static_cast<std::uint16_t>(pattern | (std::signbit(value) ? 0x8000U : 0U)));
  }
}

/// Where an element stands in the order of all: neighbours differ by 1, the two zeros by nothing.
template <class T>
std::int64_t rank(T element) {
  constexpr int sign_bit = Format<T>::fraction_bits + Format<T>::exponent_bits;
  const auto magnitude =
      static_cast<std::int64_t>(bits_of(element) & ((std::uint64_t{1} << sign_bit) - 1));
  return bits_of(element) >> sign_bit == 0 ? magnitude : -magnitude;
}

/// Every pattern of a 16-bit type.
template <class T>
std::vector<T> all_patterns() {
  static_assert(sizeof(T) == 2);
  std::vector<T> all;
  for (unsigned bits = 0; bits < 0x10000U; ++bits)
    all.push_back(std::bit_cast<T>(static_cast<std::uint16_t>(bits)));
  return all;
}

/// Bits drawn by chance: infinities, NaN of either kind and subnormals among them.
template <class T>
T random_bits(std::mt19937& random) {
  return std::bit_cast<T>(static_cast<Bits<T>>(std::uint64_t{random()} << 32 | random()));
}
