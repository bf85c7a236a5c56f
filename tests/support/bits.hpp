// SPDX-License-Identifier: MIT
//
// Numbers as their bits.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace posenc_test {

/// The unsigned integer that is as wide as T.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;

template <class T>
Bits<T> bits_of(T element) {
  return std::bit_cast<Bits<T>>(element);
}

/// Zeros of two signs differ, and a NaN is the same as itself.
template <class T>
bool same_bits(T a, T b) {
  return bits_of(a) == bits_of(b);
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return std::ranges::equal(a, b, {}, bits_of<T>, bits_of<T>);
}

}  // namespace posenc_test
