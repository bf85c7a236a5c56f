// SPDX-License-Identifier: MIT
//
// Components of your own. A bias is a functor, a frequency transform is a struct with one member
// function; both join a pipeline like those of the library, and the fused kernel runs them.
#include <posenc/posenc.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numbers>
#include <random>
#include <vector>

namespace my {

/// Added to every score: `strength` for the token itself, half of it `half_life` tokens back.
struct RecencyBonus {
  float strength, half_life;

  float operator()(posenc::Score at) const {
    return strength * half_life / (half_life + static_cast<float>(at.distance()));
  }
};

/// No pair turns more slowly than once in `tokens`: w'_i = max(w_i, 2 pi / tokens).
struct SlowestTurn {
  double tokens;

  void transform(posenc::RotaryState& state) const {
    state.inv_freq = state.inv_freq.max(2 * std::numbers::pi / tokens);
  }

  // Not needed, but then a wrong value is a sentence at bind.
  void check(posenc::Problems& problems, const posenc::RotaryState&) const {
    problems.require(tokens >= 1, "SlowestTurn: tokens must be at least 1, got ", tokens, ".");
  }
};

}  // namespace my

int main() {
  using namespace posenc;
  const auto encoding = RoPE<HalfSplit>{.head_dim = 64} | my::SlowestTurn{.tokens = 8192} |
                        bias(my::RecencyBonus{.strength = 1.5F, .half_life = 64}) | Causal{};
  const auto bound = bind(encoding, {.num_heads = 4});

  const Index tokens = 200, heads = 4, width = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> q(tokens * heads * width), k(q), v(q), out(q);
  for (auto* tensor : {&q, &k, &v})
    for (float& value : *tensor) value = normal(random);
  const auto view = [&](std::vector<float>& x) {
    return TensorView<float>(x.data(), tokens, heads, width);
  };

  attention(view(q), view(k), view(v), view(out), bound);

  // The same from the formulas, dense and in double, without the kernel.
  const ReferenceResult expected = reference_attention(view(q), view(k), view(v), bound);
  double difference = 0;
  for (std::size_t i = 0; i < out.size(); ++i)
    difference = std::max(difference, std::abs(static_cast<double>(out[i]) - expected.out[i]));

  std::cout << "largest difference from the reference: " << difference << "\n";
  return difference < 1e-4 ? 0 : 1;  // NaN fails too
}
