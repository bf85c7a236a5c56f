// SPDX-License-Identifier: MIT
//
// ReRoPE: rectified rotary position embedding.
//
//   Su, kexue.fm/archives/9708; bojone/rerope, rerope_patch.py.
//
//   g(D) = D for |D| < window, window for D >= window, -window for D <= -window
//
// Distances beyond the window all look the same, so no angle leaves the trained range, however long
// the context, without any training. A window between a quarter and a half of the trained length
// works best. The reference has two regions and leans on the causal mask; the third, for keys in
// the far future, makes the map right without one.
//
// Cache: raw keys (a key is seen both at its own position and unrotated).
#pragma once

#include <posenc/distance/threshold.hpp>

POSENC_NAMESPACE_BEGIN

struct ReRoPE {
  Position window = 512;  ///< first distance that is rectified

  using enum detail::Threshold::Region;
  static constexpr int num_regions = detail::Threshold::num_regions;

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const Position d = query - key;
    return static_cast<double>(d >= window ? window : d <= -window ? -window : d);
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return detail::Threshold{window}.region(query, key);
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    return detail::Threshold{window}.regions(tile);
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    return static_cast<double>(region == near ? query : region == far_past ? window : -window);
  }
  [[nodiscard]] constexpr Position key_position(int region, Position key) const {
    return region == near ? key : 0;
  }
  [[nodiscard]] constexpr int key_copy(int region) const {
    return region == near ? near : far_past;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(window > 0, "ReRoPE: window must be positive, got ", window, ".");
  }
};

POSENC_NAMESPACE_END
