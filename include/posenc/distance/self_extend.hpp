// SPDX-License-Identifier: MIT
//
// Self-Extend: beyond a window, positions are counted in groups.
//
//   Jin et al., arXiv 2401.01325; datamllab/LongLM, self_extend_patch.
//
//   g = D                                                                     |D| < window
//   g = floor(query / group) - floor(key / group) + window - window / group   D >= window
//
// and g(query, key) = -g(key, query) for keys in the far future. All keys of a group are equally
// far. A query has been trained for g < trained_length, which it meets up to
//
//   greatest_length = (trained_length - window) group + window
//
// The authors advise to stay well inside, at half to two thirds of the trained length. group 1 is
// RoPE, and so is a window of the whole sequence; LeakyReRoPE is the same idea without the floors.
//
// g depends on where groups begin, not on D alone: shifting all positions by a multiple of the
// group changes nothing, another shift moves far distances by at most 1. Floors round down, also at
// negative positions, so groups are equally long everywhere.
//
// Errata: the reference divides window / group exactly when it reads a prompt and rounds it down
// when it generates, and with another mask than the causal one its far scores would be wrong. Here
// the group has to divide the window, which makes both the same and g(window) = window.
//
// Cache: raw keys (a key is seen at its own position and at its group's).
#pragma once

#include <posenc/distance/threshold.hpp>

#include <algorithm>
#include <limits>

POSENC_NAMESPACE_BEGIN

struct SelfExtend {
  Position window = 1024;  ///< first distance that is grouped; w_n, group_size_2 of the reference
  Position group = 8;      ///< tokens per group; G, group_size_1 of the reference; divides window

  using enum detail::Threshold::Region;
  static constexpr int num_regions = detail::Threshold::num_regions;

  /// The greatest length at which every distance is one of the trained ones.
  [[nodiscard]] constexpr Position greatest_length(Position trained_length) const {
    if (trained_length <= window) return trained_length;
    Index far = 0;
    constexpr Position most = std::numeric_limits<Position>::max();
    const bool fits = multiply(trained_length - window, group, far) && far <= most - window;
    return fits ? far + window : most;
  }

  /// The least group, a power of two, with which every distance up to `length` is one of the trained ones. The
  /// window is the given one in whole groups, at least one. Where none is enough: a group beyond
  /// trained_length / 2. A window below 2 stays as it is.
  [[nodiscard]] static constexpr SelfExtend to_length(Position window, Position trained_length,
                                                      Position length) {
    SelfExtend all{.window = window, .group = 2};
    if (window < 2) return all;
    for (;; all.group *= 2) {
      all.window = std::max(all.group, window / all.group * all.group);
      if (all.greatest_length(trained_length) >= length || all.group > trained_length / 2)
        return all;
    }
  }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const Position d = query - key;
    if (region(query, key) == near) return static_cast<double>(d);
    const Position groups = detail::floor_divide(query, group) - detail::floor_divide(key, group);
    return static_cast<double>(groups) + (d > 0 ? shift() : -shift());
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return detail::Threshold{window}.region(query, key);
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    return detail::Threshold{window}.regions(tile);
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    if (region == near) return static_cast<double>(query);
    const auto grouped = static_cast<double>(detail::floor_divide(query, group));
    return region == far_past ? grouped + shift() : grouped - shift();
  }
  [[nodiscard]] constexpr Position key_position(int region, Position key) const {
    return region == near ? key : detail::floor_divide(key, group);
  }
  [[nodiscard]] constexpr int key_copy(int region) const {
    return region == near || group == 1 ? near : far_past;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(window > 0, "SelfExtend: window must be positive, got ", window, ".");
    problems.require(group > 0, "SelfExtend: group must be positive, got ", group, ".");
    problems.require(window <= 0 || group <= 0 || window % group == 0,
                     "SelfExtend: group must divide window, got window ", window, " and group ",
                     group, ".");
  }

 private:
  /// What makes grouped distances go on where exact ones end.
  [[nodiscard]] constexpr double shift() const {
    const Position groups = window / group;
    return static_cast<double>(window - groups);
  }
};

POSENC_NAMESPACE_END
