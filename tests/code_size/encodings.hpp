// SPDX-License-Identifier: MIT
//
// One encoding or five, of everyday components.
#pragma once

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/core/pipeline.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/soft_cap.hpp>

/// Calls f(encoding) for each.
template <class F>
void for_each_encoding(const F& f) {
  using namespace posenc;
  const RoPE<HalfSplit> rope{.head_dim = 64};
  f(rope | Causal{});
#if ENCODINGS > 1
  f(rope | ALiBi{} | Causal{});
  f(T5Bias{} | Causal{});
  f(rope | ReRoPE{.window = 512} | Causal{});
  f(rope | SoftCap{50} | SlidingWindow{.left = 4095});
#endif
}
