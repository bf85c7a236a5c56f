// SPDX-License-Identifier: MIT
#include <posenc/posenc.hpp>

using namespace posenc;

void step(KeyValueCache<KeyState::raw, float>& cache, TensorView<const float> q,
          TensorView<const float> k, TensorView<const float> v, TensorView<float> out) {
  cache.append(0, k, v);
  decode(q, cache, out, bind(RoPE<HalfSplit>{.head_dim = 128} | Causal{}));
}
