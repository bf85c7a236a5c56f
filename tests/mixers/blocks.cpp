// SPDX-License-Identifier: MIT
//
// What stands around the operators: norms and gates, the rotation of RetNet, numbers to begin with.
#include "cases.hpp"
#include "support/catch.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/head_norm.hpp>
#include <posenc/rotate/rotate.hpp>

namespace mixers_test::blocks_cases {

using namespace posenc::mixers;

TEST_CASE("mixers: norms and gates are their formulas", "[mixers]") {
  const Index tokens = 3, heads = 4, width = 5;
  const Tensor<float> x = std::move(Tensor<float>(tokens, heads, width).fill(Random(1)));
  const Tensor<float> gate =
      std::move(Tensor<float>(tokens, heads, width, Tensor<float>::padded).fill(Random(2), 4));
  std::vector<float> weight, bias;
  for (int i = 0; i < heads * width; ++i)
    weight.push_back(0.5F + 0.25F * static_cast<float>(i % 7));
  for (int i = 0; i < heads * width; ++i) bias.push_back(0.125F * static_cast<float>(i % 5));
  const auto silu = [](Real g) { return g / (1 + std::exp(-g)); };
  for (const HeadNorm& by :
       {HeadNorm{.eps = 1e-6}, HeadNorm{.eps = 1e-5, .weight = weight},
        HeadNorm{.eps = 64e-5, .centred = true, .weight = weight, .bias = bias},
        HeadNorm{.eps = 1e-5, .heads = 2, .weight = weight, .gate_first = true}})
    for (const bool gated : {false, true}) {
      Tensor<float> y(tokens, heads, width);
      std::vector<Eigen::bfloat16> rounded;
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width; ++c) {
            y.view()(t, h, c) = x.view()(t, h, c);
            rounded.push_back(narrow<Eigen::bfloat16>(x.view()(t, h, c)));
          }
      const TensorView<Eigen::bfloat16> short_view(rounded.data(), tokens, heads, width);
      if (gated) {
        head_norm(y.view(), by, gate.view());
        head_norm(short_view, by, gate.view());
      } else {
        head_norm(y.view(), by);
        head_norm(short_view, by);
      }
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h) {
          const Index first = h / by.heads * by.heads, n = by.heads * width;
          std::vector<Real> values;
          for (Index i = 0; i < n; ++i) {
            const Index head = first + i / width, c = i % width;
            values.push_back(x.view()(t, head, c) *
                             (gated && by.gate_first ? silu(gate.view()(t, head, c)) : Real{1}));
          }
          Real mean = 0, variance = 0;
          for (const Real v : values) mean += by.centred ? v / static_cast<Real>(n) : 0;
          for (const Real v : values) variance += (v - mean) * (v - mean) / static_cast<Real>(n);
          for (Index c = 0; c < width; ++c) {
            const std::size_t at = size(h * width + c);
            Real wanted = (values[size((h - first) * width + c)] - mean) /
                          std::sqrt(variance + static_cast<Real>(by.eps));
            wanted =
                wanted * (by.weight.empty() ? 1 : weight[at]) + (by.bias.empty() ? 0 : bias[at]);
            if (gated && !by.gate_first) wanted *= silu(gate.view()(t, h, c));
            CHECK(std::abs(y.view()(t, h, c) - wanted) <= 1e-6L * (1 + std::abs(wanted)));
            CHECK(std::abs(widen(short_view(t, h, c)) - wanted) <= 0.03L * (1 + std::abs(wanted)));
          }
        }
    }
  Tensor<float> y(tokens, heads, width);
  CHECK_THROWS_WITH(head_norm(y.view(),
                              {.eps = -1, .heads = 3, .weight = std::span(weight).first(3)}),
                    "posenc::mixers::head_norm: 3 problems\n"
                    "  - heads that are normalised together must divide the 4 heads of x, got 3.\n"
                    "  - eps must not be negative, got -1.\n"
                    "  - weight must have 20 numbers, got 3.");
  CHECK_THROWS_WITH(
      head_norm(y.view(), {}, TensorView<float>(weight.data(), 2, 2, 5)),
      "posenc::mixers::head_norm: the gate must have the shape of x, [3, 4, 5], got [2, 2, 5].");
}

TEST_CASE("mixers: a norm takes out the normalisers of retention", "[mixers]") {
  const auto outputs = [](Retention normaliser) {
    const Index tokens = 90, heads = 2, width = 8;
    Tensor<float> q(tokens, heads, width), k(tokens, heads, width), v(tokens, heads, width),
        out(tokens, heads, width);
    q.fill(Random(1), 8), k.fill(Random(2), 8), v.fill(Random(3));
    const Mixer mixer(RetNet{heads, width, width, normaliser});
    State state(mixer);
    chunked({.q = q.view(), .k = k.view(), .v = v.view()}, out.view(), mixer, state);
    head_norm(out.view(), {.eps = 0});
    return out;
  };
  const Tensor<float> plain = outputs(Retention::plain);
  for (const Retention normaliser : {Retention::row, Retention::absolute}) {
    const Tensor<float> other = outputs(normaliser);
    for (Index t = 0; t < 90; ++t)
      for (Index h = 0; h < 2; ++h)
        for (Index c = 0; c < 8; ++c)
          CHECK(std::abs(other.view()(t, h, c) - plain.view()(t, h, c)) < 2e-5F);
  }
}

TEST_CASE("mixers: retention depends on distances, once it is rotated", "[mixers]") {
  // <R(n) q, R(m) k> turns by (n - m) 10000^(-i / (pairs - 1)) for pair i of neighbouring channels.
  const RetNet retnet{.num_heads = 1, .key_dim = 6, .value_dim = 4};
  std::vector<float> x{1, 0, 1, 0, 1, 0};
  rotate(TensorView(x.data(), 1, 1, 6), 3, bind(retnet.rotation()));
  for (const Index pair : {0, 1, 2}) {
    const double angle = 3 * std::pow(10000.0, -static_cast<double>(pair) / 2);
    CHECK(x[size(2 * pair)] == Approx(std::cos(angle)).margin(1e-7));
    CHECK(x[size(2 * pair + 1)] == Approx(std::sin(angle)).margin(1e-7));
  }
}

TEST_CASE("mixers: layers begin with the published numbers", "[mixers]") {
  const Mamba2 mamba = Mamba2::initial(768, 1);
  CHECK(mamba.nheads == 24);
  for (const float a : mamba.A_log) CHECK((a >= 0 && a <= std::log(16.0F)));
  for (const float b : mamba.dt_bias) {
    const double dt = std::log1p(std::exp(static_cast<double>(b)));
    CHECK((dt > 0.999e-3 && dt < 0.1001));
  }
  const RWKV5 last = RWKV5::initial(2, 3, 4, 4);  // depth 1
  for (Index n = 0; n < 8; ++n) {
    const double place = static_cast<double>(n) / 7;
    CHECK(last.time_decay[size(n)] == Approx(-6 + 5 * place * place));
    CHECK(last.time_faaaa[size(n)] ==
          Approx(1 - place + (static_cast<double>((n + 1) % 3) - 1) * 0.1).margin(1e-7));
  }
  CHECK(RWKV6::initial(2, 0, 4, 4).time_faaaa[0] == 0);
  CHECK(mixers::elu_plus_one(2) == 3);
  CHECK(mixers::elu_plus_one(-1) == std::exp(-1.0F));
}

}  // namespace mixers_test::blocks_cases
