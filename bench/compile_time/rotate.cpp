// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>

using namespace posenc;

void turn(TensorView<float> q, TensorView<float> k, Position offset) {
  rotate(q, k, offset, bind(RoPE<HalfSplit>{.head_dim = 128}));
}
