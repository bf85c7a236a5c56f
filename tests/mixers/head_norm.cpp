// SPDX-License-Identifier: MIT
//
// The gradient of the norm behind a mixer, against central differences in double.
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/mixers/head_norm_backward.hpp>

#include <cmath>

namespace mixers_test::head_norm_cases {

using namespace posenc;
using posenc_test::Random;
using posenc_test::Tensor;

constexpr Index tokens = 3, heads = 4, width = 5;

/// The norm by its formulas.
std::vector<double> norm(const std::vector<double>& x, const mixers::HeadNorm& by,
                         const std::vector<double>& gate, const std::vector<double>& weight,
                         const std::vector<double>& bias) {
  std::vector<double> y = x;
  const auto silu = [&](std::size_t i) {
    return gate.empty() ? 1 : gate[i] / (1 + std::exp(-gate[i]));
  };
  const auto group = static_cast<std::size_t>(by.heads * width);
  for (std::size_t first = 0; first < x.size(); first += group) {
    double mean = 0, squares = 0;
    for (std::size_t i = first; i < first + group; ++i) {
      if (by.gate_first) y[i] *= silu(i);
      mean += by.centred ? y[i] / static_cast<double>(group) : 0;
    }
    for (std::size_t i = first; i < first + group; ++i)
      squares += (y[i] - mean) * (y[i] - mean) / static_cast<double>(group);
    for (std::size_t i = first; i < first + group; ++i) {
      const std::size_t at = i % (heads * width);
      y[i] = (y[i] - mean) / std::sqrt(squares + by.eps);
      if (!weight.empty()) y[i] = y[i] * weight[at];
      if (!bias.empty()) y[i] += bias[at];
      if (!by.gate_first) y[i] *= silu(i);
    }
  }
  return y;
}

TEST_CASE("mixers: gradients of the norm of heads are central differences", "[mixers]") {
  Random random(4);
  const auto draw = [&](Index count) {
    std::vector<double> all;
    for (Index i = 0; i < count; ++i)
      all.push_back(static_cast<double>(static_cast<float>(random.real(-1.5, 1.5))));
    return all;
  };
  for (const bool centred : {false, true})
    for (const bool gate_first : {false, true})
      for (const bool gated : {false, true})
        for (const bool learned : {false, true})
          for (const Index together : {1, 2, 4}) {
            std::vector<double> x = draw(tokens * heads * width), dy = draw(tokens * heads * width);
            std::vector<double> gate = draw(gated ? tokens * heads * width : 0);
            std::vector<double> weight = draw(learned ? heads * width : 0),
                                bias = draw(learned ? heads * width : 0);
            const std::vector<float> weights(weight.begin(), weight.end()),
                biases(bias.begin(), bias.end());
            const mixers::HeadNorm by{.eps = 0.01,
                                      .centred = centred,
                                      .heads = together,
                                      .weight = weights,
                                      .bias = biases,
                                      .gate_first = gate_first};
            const std::vector<float> in(x.begin(), x.end()), back(dy.begin(), dy.end()),
                gates(gate.begin(), gate.end());
            std::vector<float> dx = back, dg(gate.size());
            std::vector<double> dw(weight.size()), db(bias.size());
            const auto view = [](auto& of) { return TensorView(of.data(), tokens, heads, width); };
            const auto optional = [&](auto& of) {
              return of.empty() ? decltype(view(of))() : view(of);
            };
            mixers::head_norm_backward(
                view(in), by, optional(gates), view(dx),
                {.x = view(dx), .gate = optional(dg), .weight = dw, .bias = db});
            const auto loss = [&] {
              const std::vector<double> y = norm(x, by, gate, weight, bias);
              double sum = 0;
              for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
              return sum;
            };
            const auto check = [&](std::vector<double>& of, const auto& got) {
              for (std::size_t i = 0; i < of.size(); ++i) {
                const double at = of[i];
                of[i] = at + 1e-5;
                const double more = loss();
                of[i] = at - 1e-5;
                const double slope = (more - loss()) / 2e-5;
                of[i] = at;
                CHECK(std::abs(static_cast<double>(got[i]) - slope) <=
                      1e-6 * (1 + std::abs(slope)));
              }
            };
            check(x, dx), check(gate, dg), check(weight, dw), check(bias, db);
          }
}

TEST_CASE("mixers: what is wrong with a gradient of a norm is said", "[mixers]") {
  const Tensor<float> x(2, 4, 3), wide(2, 4, 4);
  Tensor<float> dx(2, 4, 3), dg(2, 4, 3);
  CHECK(error_of(
            [&] { mixers::head_norm_backward(x.view(), {}, {}, wide.view(), {.x = dx.view()}); }) ==
        "posenc::mixers::head_norm_backward: the gradient of the result must have the shape of "
        "x, [2, 4, 3], got [2, 4, 4].");
  std::vector<double> few(3);
  CHECK(error_of([&] {
          mixers::head_norm_backward(x.view(), {}, {}, x.view(),
                                     {.x = dx.view(), .gate = dg.view(), .bias = few});
        }) ==
        "posenc::mixers::head_norm_backward: 2 problems\n"
        "  - there is no gate, so it has no gradient.\n"
        "  - the gradient of the bias must have 12 numbers, got 3.");
}

}  // namespace mixers_test::head_norm_cases
