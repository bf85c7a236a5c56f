// SPDX-License-Identifier: MIT
#include <posenc/attention/attention.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>

using namespace posenc;

void attend(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
            TensorView<float> out) {
  attention(q, k, v, out, RoPE<HalfSplit>{.head_dim = 128} | Causal{});
}
