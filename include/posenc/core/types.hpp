// SPDX-License-Identifier: MIT
//
// The integers of the library: Index counts things in memory, Position is a place in a sequence.
// Sizes come from users and configuration files, so products of them are checked.
#pragma once

#include <posenc/core/abi.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

POSENC_NAMESPACE_BEGIN

/// Counts, sizes and strides, in elements.
using Index = std::ptrdiff_t;

/// A token's place in its sequence, from 0; differences of two positions are exact integers.
using Position = std::int64_t;

/// Stores a * b in `product` and returns true; returns false when it does not fit.
/// Both factors must not be negative.
[[nodiscard]] constexpr bool multiply(Index a, Index b, Index& product) {
  if (a != 0 && b > std::numeric_limits<Index>::max() / a) return false;
  product = a * b;
  return true;
}

POSENC_NAMESPACE_END
