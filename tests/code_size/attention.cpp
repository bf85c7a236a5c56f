// SPDX-License-Identifier: MIT
#include "encodings.hpp"

#include <posenc/attention/attention.hpp>

void attend(posenc::TensorView<const float> q, posenc::TensorView<const float> k,
            posenc::TensorView<const float> v, posenc::TensorView<float> out);
void attend(posenc::TensorView<const float> q, posenc::TensorView<const float> k,
            posenc::TensorView<const float> v, posenc::TensorView<float> out) {
  for_each_encoding([&](const auto& encoding) { posenc::attention(q, k, v, out, encoding); });
}
