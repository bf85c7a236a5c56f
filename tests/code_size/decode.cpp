// SPDX-License-Identifier: MIT
#include "encodings.hpp"

#include <posenc/attention/decode.hpp>
#include <posenc/eigen.hpp>

using Cache = posenc::KeyValueCache<posenc::KeyState::raw, Eigen::bfloat16>;
void step(Cache& cache, posenc::TensorView<const float> q, posenc::TensorView<const float> k,
          posenc::TensorView<const float> v, posenc::TensorView<float> out);
void step(Cache& cache, posenc::TensorView<const float> q, posenc::TensorView<const float> k,
          posenc::TensorView<const float> v, posenc::TensorView<float> out) {
  for_each_encoding([&](const auto& encoding) {
    const auto bound = posenc::bind(encoding, {.num_heads = 8});
    cache.append(0, k, v, bound);
    posenc::decode(q, cache, out, bound);
  });
}
