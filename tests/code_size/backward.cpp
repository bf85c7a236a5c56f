// SPDX-License-Identifier: MIT
#include "encodings.hpp"

#include <posenc/attention/backward.hpp>

void differentiate(const posenc::AttentionForward<float>& forward,
                   posenc::TensorView<const float> d_out,
                   const posenc::AttentionGradients<float>& gradients);
void differentiate(const posenc::AttentionForward<float>& forward,
                   posenc::TensorView<const float> d_out,
                   const posenc::AttentionGradients<float>& gradients) {
  for_each_encoding([&](const auto& encoding) {
    posenc::attention_backward(forward, d_out, gradients, posenc::bind(encoding, {.num_heads = 8}));
  });
}
