// SPDX-License-Identifier: MIT
//
// Six query heads on three key heads that turn at rates of their own.
#pragma once

#include <posenc/bind/resolve.hpp>
#include <posenc/frequency/ms_poe.hpp>

namespace head_rates {

using namespace posenc;

inline constexpr Index num_heads = 6, kv_heads = 3;
inline constexpr BindOptions heads{.num_heads = num_heads, .num_kv_heads = kv_heads};
inline const MsPoE ratios{.least = 1.5, .greatest = 6, .order = {1, 2, 0}};
inline constexpr double ratio_of[kv_heads] = {4.5, 1.5, 3};  // 1.5 + 4.5 place / 3

/// A user's own: every head and pair by a factor.
struct ByPair {
  void transform(RotaryState& state) const {
    for (Index h = 0; h < state.kv_heads; ++h)
      for (Index i = 0; i < state.pairs(); ++i)
        state.scale_head(h, i, 1 / (1 + 0.25 * static_cast<double>(h * i)));
  }
};

}  // namespace head_rates
