// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>

using namespace posenc;

void differentiate(const AttentionForward<float>& forward, TensorView<const float> d_out,
                   const AttentionGradients<float>& gradients) {
  attention_backward(forward, d_out, gradients, bind(RoPE<HalfSplit>{.head_dim = 128} | Causal{}));
}
