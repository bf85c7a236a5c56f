// SPDX-License-Identifier: MIT
//
// Threshold: the regions of a distance map that changes at a window, on both sides of the query.
//
//   near         |D| < window
//   far_past     D >= window
//   far_future   D <= -window       never met under a causal mask
//
// Most maps of the literature have the first two and lean on the causal mask; the third makes them
// right without one.
//
// A map asks Threshold{window} and does not derive from it: with a base class, GCC would warn at
// every ReRoPE{.window = 8} that the base has no initialiser, and ReRoPE{8} would not compile.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN
namespace detail {

struct Threshold {
  Position window;  ///< first distance that is far; positive

  enum Region : int { near, far_past, far_future };
  static constexpr int num_regions = 3;

  [[nodiscard]] constexpr int region(Position query, Position key) const {
    const Position d = query - key;
    return d >= window ? far_past : d <= -window ? far_future : near;
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    RegionSet set = 0;
    if (tile.greatest_distance() >= window) set |= 1U << far_past;
    if (tile.least_distance() <= -window) set |= 1U << far_future;
    if (tile.least_distance() < window && tile.greatest_distance() > -window) set |= 1U << near;
    return set;
  }
};

/// floor(a / b) for b > 0, also where a is negative.
[[nodiscard]] constexpr Position floor_divide(Position a, Position b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

/// a - b floor(a / b), within [0, b).
[[nodiscard]] constexpr Position floor_modulo(Position a, Position b) {
  const Position remainder = a % b;
  return remainder < 0 ? remainder + b : remainder;
}

}  // namespace detail
POSENC_NAMESPACE_END
