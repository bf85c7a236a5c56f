// SPDX-License-Identifier: MIT
//
// Tiles of the plane of queries and keys: where their rows stand.
#pragma once

#include <posenc/attention/call/coordinates.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Least and greatest of some positions.
inline Interval bounds(const Position* positions, Index count) {
  const auto [least, greatest] = std::minmax_element(positions, positions + count);
  return {*least, *greatest};
}
inline Interval bounds(const Positions& positions, Index first, Index count) {
  Interval interval{positions[first], positions[first + count - 1]};
  if (positions.is_offset()) return interval;
  interval.last = interval.first;
  for (Index i = 1; i < count; ++i) {
    interval.first = std::min(interval.first, positions[first + i]);
    interval.last = std::max(interval.last, positions[first + i]);
  }
  return interval;
}

/// Positions in memory; where they are consecutive their bounds are at the ends.
struct Places {
  const Position* at = nullptr;
  bool consecutive = false;

  Places() = default;
  Places(const Position* at_, Index count) : at(at_), consecutive(true) {
    for (Index i = 1; i < count && consecutive; ++i) consecutive = at[i] == at[i - 1] + 1;
  }
  [[nodiscard]] Interval bounds(Index first, Index count) const {
    return consecutive ? Interval{at[first], at[first + count - 1]}
                       : detail::bounds(at + first, count);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
