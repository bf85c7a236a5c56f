// SPDX-License-Identifier: MIT
//
// How far from their centre magnitudes that grow with position (xPos) may be used: the one rule of
// rotate(), attention and caches.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/core/rotary_state.hpp>

#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Magnitudes stay below e^most within this many tokens of the centre; infinite for encodings without
/// them. The default leaves float room for the numbers that they multiply: e^80 = 5.5e34, and float
/// ends at e^88.7.
inline double growth_reach(const RotaryState& state, double most = 80) {
  double fastest = 0;
  for (const double growth : state.growth) fastest = std::max(fastest, std::abs(growth));
  return fastest == 0 ? std::numeric_limits<double>::infinity() : std::floor(most / fastest);
}

/// Reports positions where magnitudes would overflow elements that end at e^most.
inline void check_growth(Problems& problems, const char* what, const RotaryState& state,
                         const Positions& positions, Index tokens, double most = 80) {
  if (state.growth.size() == 0) return;
  const double reach = growth_reach(state, most);
  for (Index t = 0; t < tokens; ++t) {
    const double p = positions.is_real() ? positions.real(t) : static_cast<double>(positions[t]);
    if (std::abs(p - static_cast<double>(state.centre)) <= reach) continue;
    return problems.add(what, ": position ", p, " is more than ", reach, " tokens from the centre ",
                        state.centre,
                        ", where the magnitudes of this encoding (XPos) overflow: choose a centre "
                        "nearer to the tokens.");
  }
}

}  // namespace detail

POSENC_NAMESPACE_END
