// SPDX-License-Identifier: MIT
//
// Gradients of parameters, against central differences of the loss over the parameters themselves.
#include "problem.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/score_map.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

namespace parameters_cases {

using namespace gradient_test;

constexpr BindOptions options{.num_heads = 4, .num_kv_heads = 2};

/// make(parameters) is the encoding with these.
template <class C, class Make>
void check_parameters(std::vector<double> parameters, const Make& make) {
  const Problem<double> x({.queries = 70, .keys = 70});
  const auto bound = bind(make(parameters), options);
  const Gradients<double> got = x.kernel(bound);
  const ReferenceGradients expected = x.reference(bound);
  check_same(got, expected, 1e-10);
  ParameterGradients shape(bound);
  std::copy(got.parameters.begin(), got.parameters.end(), shape.values().begin());
  const auto own = shape.of<C>();
  const std::vector<double> gradient(own.begin(), own.end());
  REQUIRE(gradient.size() == parameters.size());
  const double h = 1e-4;
  // Of long tables some elements.
  const std::size_t step_of = parameters.size() / 20 + 1;
  for (std::size_t i = 0; i < parameters.size(); i += step_of) {
    std::vector<double> more = parameters, less = parameters;
    more[i] += h, less[i] -= h;
    // Tables of floats move by what they are rounded to.
    const double step = static_cast<double>(static_cast<float>(more[i])) -
                        static_cast<double>(static_cast<float>(less[i]));
    const bool rounds =
        RelativeVectors<C> || std::is_same_v<C, T5Bias> || std::is_same_v<C, SinkLogit>;
    const double d = (x.loss(bind(make(more), options)) - x.loss(bind(make(less), options))) /
                     (rounds ? step : 2 * h);
    CHECK(std::abs(d - gradient[i]) <= 1e-5 * std::max(1.0, std::abs(d)));
  }
}

const RoPE<HalfSplit> rope{.head_dim = 16};

TEST_CASE("gradients: slopes of ALiBi, before their factor") {
  check_parameters<ALiBi>({0.5, 0.1, 0.03, -0.02}, [](const std::vector<double>& p) {
    return rope | ALiBi{.slopes = p, .slope_factor = 0.5} | SoftCap{5} | Causal{};
  });
}

TEST_CASE("gradients: the table of T5, also of pairs that few distances share") {
  std::vector<double> table = noise<double>(32 * 4, 5U);
  check_parameters<T5Bias>(table, [](const std::vector<double>& p) {
    return T5Bias{.table = {p.begin(), p.end()}, .bidirectional = true} | encoding(rope);
  });
}

TEST_CASE("gradients: KERPLE, with values by head and shared") {
  check_parameters<KerpleLog>({0.3, 1, 0.2, 2, 0.1, 0.5, 1, 2}, [](const std::vector<double>& p) {
    return KerpleLog{.r1 = {p.begin(), p.begin() + 4}, .r2 = {p.begin() + 4, p.end()}} | Causal{};
  });
  check_parameters<KerplePower>({0.3, 0.5}, [](const std::vector<double>& p) {
    return KerplePower{.r1 = {p[0]}, .r2 = {p[1]}} | Causal{};
  });
}

TEST_CASE("gradients: sinks, by head and shared") {
  check_parameters<SinkLogit>({0.3, -1, 2, 0}, [](const std::vector<double>& p) {
    return rope | SinkLogit{{p.begin(), p.end()}} | Causal{};
  });
  check_parameters<SinkLogit>({0.3}, [](const std::vector<double>& p) {
    return rope | SinkLogit{{static_cast<float>(p[0])}} | SoftCap{3} | Causal{};
  });
}

/// A user's own, one that depends on head and distance, one on all of a score.
struct Decay {
  std::vector<double> rate;
  double operator()(Index head, Position distance) const {
    return std::exp(-rate[static_cast<std::size_t>(head)] *
                    std::abs(static_cast<double>(distance)));
  }
  [[nodiscard]] Index num_parameters() const { return std::ssize(rate); }
  void gradient(Index head, Position distance, double sum, std::span<double> gradient) const {
    gradient[static_cast<std::size_t>(head)] -=
        sum * std::abs(static_cast<double>(distance)) * (*this)(head, distance);
  }
};
struct ByKey {
  std::vector<double> weight;
  double operator()(const Score& at) const { return weight[place(at)]; }
  [[nodiscard]] Index num_parameters() const { return std::ssize(weight); }
  void gradient(const Score& at, double dx, std::span<double> gradient) const {
    gradient[place(at)] += dx;
  }
  static std::size_t place(const Score& at) { return static_cast<std::size_t>(at.key % 3); }
};

TEST_CASE("gradients: biases of a user") {
  check_parameters<RelativeBiasFunction<Decay>>({0.1, 0.2, 0.3, 0.4}, [](const auto& p) {
    return rope | bias(Decay{p}) | Causal{};
  });
  check_parameters<ScoreBiasFunction<ByKey>>({0.1, 0.2, 0.3}, [](const auto& p) {
    return rope | SoftCap{4} | bias(ByKey{p}) | SoftCap{6} | Causal{};
  });
}

TEST_CASE("gradients: Shaw's vectors beside keys and values") {
  check_parameters<ShawKeys>(noise<double>(7 * 16, 6U), [](const std::vector<double>& p) {
    return rope | ShawKeys{.table = {p.begin(), p.end()}, .clip = 3} | SoftCap{9} | Causal{};
  });
  check_parameters<ShawValues>(noise<double>(7 * 16, 6U), [](const std::vector<double>& p) {
    return rope | RotateValues{} | ShawValues{.table = {p.begin(), p.end()}, .clip = 3};
  });
}

TEST_CASE("gradients: Transformer-XL's rows and biases") {
  constexpr Index rows = 90 * 4 * 16, bias = 4 * 16;
  check_parameters<TransformerXL>(noise<double>(rows + 2 * bias, 6U), [](const auto& p) {
    const auto u = p.begin() + rows, v = u + bias;
    return TransformerXL{.head_dim = 16, .rows = {p.begin(), u}, .u = {u, v}, .v = {v, p.end()}} |
           Causal{};
  });
}

TEST_CASE("gradients: DeBERTa's tables") {
  constexpr Index table = 2 * 8 * 4 * 16;
  check_parameters<DeBERTa>(noise<double>(2 * table, 6U), [](const auto& p) {
    const auto half = p.begin() + table;
    return encoding(DeBERTa{.keys = {p.begin(), half},
                            .queries = {half, p.end()},
                            .position_buckets = 8,
                            .max_position = 40});
  });
}

TEST_CASE("gradients: parameters of several components, each its own") {
  const Problem<double> x({.queries = 40, .keys = 40});
  const auto bound = bind(ALiBi{} | SoftCap{3} | T5Bias{.table = noise<float>(128, 3U)} | ALiBi{} |
                              SinkLogit{} | Causal{},
                          options);
  const Gradients<double> got = x.kernel(bound);
  check_same(got, x.reference(bound), 1e-10);
  const ParameterGradients gradients(bound);
  CHECK(gradients.of<ALiBi>().size() == 4);
  CHECK(gradients.of<ALiBi>(1).size() == 4);
  CHECK(gradients.of<T5Bias>().size() == 128);
  CHECK(gradients.of<SinkLogit>().size() == 1);
  CHECK(gradients.values().size() == 137);
  CHECK_THROWS_WITH(gradients.of<ALiBi>(2), ContainsSubstring("has 2 components of this type"));
  CHECK_THROWS_WITH(gradients.of<KerpleLog>(), ContainsSubstring("has 0 components of this type"));
}

struct OwnMap {
  template <class T>
  T operator()(T x, const Score& at) const {
    using std::abs, std::sin;
    return x * x / (1 + abs(x)) + static_cast<T>(0.1 * static_cast<double>(at.head)) * sin(x);
  }
};
struct ByHand {
  template <class T>
  T map_score(T x, const Score&) const {
    return x - x * x * x / 30;
  }
  template <class T>
  T map_score_derivative(T x, const Score&) const {
    return 1 - x * x / 10;
  }
};

TEST_CASE("gradients: score maps of a user, by dual numbers and by hand") {
  Problem<double> x({.queries = 20, .keys = 20});
  const auto bound = bind(rope | ALiBi{} | score_map(OwnMap{}) | ByHand{} | Causal{}, options);
  const ReferenceGradients d = x.reference(bound);
  check_differences(x.q, d.q, [&] { return x.loss(bound); }, 17);
  check_same(x.kernel(bound), d, 1e-10);
}

}  // namespace parameters_cases
