// SPDX-License-Identifier: MIT
//
// Ten lines that work: describe an encoding, bind it to heads, run attention.
#include <posenc/posenc.hpp>

#include <cmath>
#include <iostream>
#include <random>
#include <vector>

using namespace posenc;

int main() {
  // A model that was trained on 1,024 tokens, extended four times.
  const auto encoding =
      RoPE<HalfSplit>{.head_dim = 64} | YaRN{.factor = 4, .original_context = 1024} | Causal{};
  const auto bound = bind(encoding, {.num_heads = 8, .num_kv_heads = 2});

  // The last 16 queries of a sequence of 4,096 tokens.
  const Index queries = 16, keys = 4096, width = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto noise = [&](Index tokens, Index heads) {
    std::vector<float> values(static_cast<std::size_t>(tokens * heads * width));
    for (float& value : values) value = normal(random);
    return values;
  };
  const std::vector<float> q = noise(queries, 8), k = noise(keys, 2), v = noise(keys, 2);
  std::vector<float> out(q.size()), lse(queries * 8);

  attention<float>({q.data(), queries, 8, width}, {k.data(), keys, 2, width},
                   {v.data(), keys, 2, width}, TensorView<float>(out.data(), queries, 8, width),
                   bound, {.lse = lse});

  const RotaryState& rotary = bound.rotary().state;
  std::cout << "attention factor       " << rotary.attention_factor << "\n"
            << "fastest, slowest pair  one turn in " << 6.2831853 / rotary.inv_freq[0] << " and "
            << 6.2831853 / rotary.inv_freq[31] << " tokens\n"
            << "log-sum-exp            " << lse.back()
            << " (4,096 equal scores: " << std::log(4096.0) << ")\n"
            << "first output channels  " << out[0] << " " << out[1] << " " << out[2] << " ...\n";
}
