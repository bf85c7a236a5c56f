// SPDX-License-Identifier: MIT
//
// Gradients of parameters, against central differences of the loss over the parameters themselves.
#include "problem.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/bias/fire.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/score_map.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>
#include <posenc/score/step_temperature.hpp>

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
    const bool rounds = RelativeVectors<C> || std::is_same_v<C, T5Bias> ||
                        std::is_same_v<C, SinkLogit> ||
                        (std::is_same_v<C, Fire> && i + 1 < parameters.size());
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

TEST_CASE("gradients: the network of FIRE, its c and its threshold") {
  constexpr Index width = 6;
  std::vector<double> p = noise<double>(2 * width + 4 * width + 4, 8U);
  p.push_back(0.3), p.push_back(20.5);
  for (const Index cached : {Index{65'536}, Index{30}}) {  // with tables, and mostly without
    const auto make = [cached](const std::vector<double>& x) {
      const auto at = [&](Index n) { return x.begin() + n; };
      return Fire{.hidden_weight = {at(0), at(width)},
                  .hidden_bias = {at(width), at(2 * width)},
                  .output_weight = {at(2 * width), at(6 * width)},
                  .output_bias = {at(6 * width), at(6 * width + 4)},
                  .c = static_cast<float>(x[6 * width + 4]),
                  .threshold = x[6 * width + 5],
                  .cached_distances = cached};
    };
    check_parameters<Fire>(p, [&](const auto& x) { return rope | make(x) | Causal{}; });
    check_parameters<Fire>(p, [&](const auto& x) { return make(x) | SoftCap{3} | encoding(rope); });
    std::vector<double> negative = p;
    negative[6 * width + 4] = -0.2;
    check_parameters<Fire>(negative, [&](const auto& x) { return make(x) | Causal{}; });
  }
}

TEST_CASE("gradients: FIRE where positions are spread, and where all of a tile is on one line") {
  std::vector<Position> spread;
  for (Index i = 0; i < 70; ++i) spread.push_back(i * i % 97);
  const auto bound = bind(Fire{.hidden_weight = {1.0F, -0.5F, 0.3F},
                               .hidden_bias = {0.1F, 0.2F, -0.1F},
                               .output_weight = noise<float>(12, 9U),
                               .output_bias = noise<float>(4, 10U),
                               .threshold = 30} |
                              encoding(rope),
                          options);
  const Problem<double> x({});
  const AttentionOptions<double> at{.query_positions = spread, .key_positions = spread};
  check_same(x.kernel(bound, at), x.reference(bound, at), 1e-10);
  // Queries next to each other, and keys that are not: as near as that, far apart, backwards.
  for (const Position apart : {1, 2, 150, -1, -3}) {
    for (Index i = 0; i < 70; ++i) spread[static_cast<std::size_t>(i)] = 300 + i * apart;
    const AttentionOptions<double> keys_apart{.query_positions = 400, .key_positions = spread};
    CAPTURE(apart);
    check_same(x.kernel(bound, keys_apart), x.reference(bound, keys_apart), 1e-10, 1e-9);
  }
  check_same(x.kernel(bound, {.key_offset = 5000}), x.reference(bound, {.key_offset = 5000}), 1e-10,
             1e-9);
}

TEST_CASE("gradients: the cap, and the scale of a temperature") {
  for (const double cap : {0.5, 3.0, 400.0})
    check_parameters<SoftCap>({cap}, [](const std::vector<double>& p) {
      return rope | ALiBi{} | SoftCap{p[0]} | SoftCap{50} | Causal{};
    });
  check_parameters<StepTemperature>({0.7}, [](const std::vector<double>& p) {
    return rope | LogN{.base_length = 30} | StepTemperature{.scale = p[0], .context = 9} |
           SoftCap{2} | TransformerXL{.head_dim = 16, .rows = noise<float>(90 * 4 * 16, 6U)} |
           Causal{};
  });
}

TEST_CASE("gradients: a small score under a large cap, in single precision too") {
  for (const double u : {1e-6, 1e-4, 0.009, 0.011, 0.19, 0.21, 1.0, 8.0})
    for (const double sign : {1.0, -1.0}) {
      const long double exact = [&] {
        const long double t = std::tanh(static_cast<long double>(u));
        return sign * (t - u * (1 - t * t));
      }();
      const auto off = [&](auto got, double share) {
        return std::abs(static_cast<long double>(got) - exact) <= share * std::abs(exact) + 1e-24L;
      };
      CHECK(off(SoftCap{50}.map_parameter_derivative(0, sign * u * 50, {}), 1e-10));
      CHECK(off(SoftCap{50}.map_parameter_derivative(0, static_cast<float>(sign * u * 50), {}),
                2e-5));
    }
}

/// A user's own temperature, a * n^b, and score map, x + c x^2 / (1 + |x|) + d sin(x).
struct PowerTemperature {
  double a = 1, b = 0;
  [[nodiscard]] double temperature(Position query) const {
    return a * std::pow(static_cast<double>(query) + 1, b);
  }
  [[nodiscard]] static Index num_parameters() { return 2; }
  void temperature_gradient(Position query, double sum, std::span<double> gradient) const {
    gradient[0] += sum * temperature(query) / a;
    gradient[1] += sum * temperature(query) * std::log(static_cast<double>(query) + 1);
  }
};
struct OwnLearnedMap {
  double c = 0, d = 0;
  template <class T>
  T operator()(T x) const {
    using std::abs, std::sin;
    return x + static_cast<T>(c) * (x * x / (1 + abs(x))) + static_cast<T>(d) * sin(x);
  }
  [[nodiscard]] static Index num_parameters() { return 2; }
  template <class T>
  T parameter_derivative(Index parameter, T x, const Score&) const {
    using std::abs, std::sin;
    return parameter == 0 ? x * x / (1 + abs(x)) : sin(x);
  }
};

TEST_CASE("gradients: temperatures and score maps of a user that learn") {
  check_parameters<PowerTemperature>({0.8, 0.2}, [](const std::vector<double>& p) {
    return rope | PowerTemperature{p[0], p[1]} | ALiBi{} | SoftCap{3} | Causal{};
  });
  check_parameters<ScoreMapFunction<OwnLearnedMap>>({0.1, 0.3}, [](const std::vector<double>& p) {
    return rope | ALiBi{} | score_map(OwnLearnedMap{p[0], p[1]}) | SoftCap{9} | Causal{};
  });
}

TEST_CASE("gradients: a temperature of 0 hides what it would learn from") {
  const Problem<double> x({});
  const auto bound = bind(rope | PowerTemperature{.a = 0} | Causal{}, options);
  CHECK_THROWS_WITH(x.kernel(bound),
                    ContainsSubstring("query at position 0 is 0, so what it learns"));
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
  CHECK(gradients.of<SoftCap>().size() == 1);
  CHECK(gradients.values().size() == 138);
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
