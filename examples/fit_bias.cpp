// SPDX-License-Identifier: MIT
//
// A learned bias by gradient descent: the table of a T5Bias is fitted to what attention with ALiBi returns.
#include <posenc/posenc.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

using namespace posenc;

int main() {
  constexpr Index tokens = 64, heads = 4, width = 16, buckets = 32;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto tensor = [&] {
    std::vector<float> x(tokens * heads * width);
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    return x;
  };
  const auto view = [](std::vector<float>& x) {
    return TensorView(x.data(), tokens, heads, width);
  };
  std::vector<float> q = tensor(), k = tensor(), v = tensor();
  std::vector<float> wanted = v, out = v, d_out = v, dq = v, dk = v, dv = v, lse(tokens * heads);
  attention(view(q), view(k), view(v), view(wanted), ALiBi{} | Causal{});

  T5Bias bias{.table = std::vector<float>(buckets * heads),
              .num_buckets = buckets,
              .bidirectional = false,
              .scaled = true};
  double first = 0, loss = 0;
  for (int step = 0; step <= 300; ++step) {
    const auto bound = bind(bias | Causal{}, {.num_heads = heads});
    attention(view(q), view(k), view(v), view(out), bound, {.lse = lse});
    loss = 0;  // half the sum of squares
    for (std::size_t i = 0; i < out.size(); ++i) {
      d_out[i] = out[i] - wanted[i];
      loss += 0.5 * static_cast<double>(d_out[i] * d_out[i]);
    }
    if (step == 0) first = loss;
    if (step % 50 == 0) std::printf("step %3d  loss %.5f\n", step, loss);

    ParameterGradients gradients(bound);
    attention_backward<float>({view(q), view(k), view(v), view(out), lse}, view(d_out),
                              {view(dq), view(dk), view(dv), &gradients}, bound);
    const std::span<const double> of_table = gradients.of<T5Bias>();
    for (std::size_t i = 0; i < bias.table.size(); ++i)
      bias.table[i] -= 0.05F * static_cast<float>(of_table[i]);
  }
  std::printf("loss %.3g of what it was\n", loss / first);
  return loss < 0.01 * first ? 0 : 1;
}
