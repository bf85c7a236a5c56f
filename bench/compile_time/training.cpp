// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>

using namespace posenc;

void train(TensorView<const float> q, TensorView<const float> k, TensorView<const float> v,
           TensorView<float> out, std::span<float> lse, TensorView<const float> d_out,
           const AttentionGradients<float>& gradients) {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 128} | Causal{});
  attention(q, k, v, out, bound, {.lse = lse});
  attention_backward<float>({q, k, v, out, lse}, d_out, gradients, bound);
}
