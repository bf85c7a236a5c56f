// SPDX-License-Identifier: MIT
//
// The lab's transformer against the same model in torch: losses, gradients and steps of training.
#include "schemes.hpp"

#include "../attention/golden_settings.hpp"

namespace lab_golden_cases {

using namespace lab_test;
using golden_test::Json;

std::vector<double> numbers(const Json& json) { return json.get<std::vector<double>>(); }

/// Bytes (a i + b) mod 16 of the 18 tokens.
std::vector<std::uint8_t> tokens(int a, int b) {
  std::vector<std::uint8_t> list;
  for (int i = 0; i < 18; ++i) list.push_back(static_cast<std::uint8_t>((a * i + b) % 16));
  return list;
}

lab::Weights golden_weights() {
  lab::Weights weights(tiny);
  weights.view().for_each([&](Index first, Index count, bool is_norm) {
    for (Index i = first; i < first + count; ++i)
      weights.values()[static_cast<std::size_t>(i)] = static_cast<float>(
          0.3 * std::sin(0.7 * static_cast<double>(i) + 0.1) + (is_norm ? 1 : 0));
  });
  return weights;
}

lab::Scheme golden_scheme(const std::string& name) {
  std::vector<double> table(64), learned(64);
  for (std::size_t i = 0; i < 64; ++i) {
    table[i] = 0.1 * std::sin(static_cast<double>(i));
    learned[i] = 0.1 * std::cos(static_cast<double>(i));
  }
  if (name == "rope") return {name, rope() | Causal{}};
  if (name == "alibi") return {name, ALiBi{} | Causal{}};
  if (name == "t5") return t5_scheme(table, 2);
  if (name == "sinusoidal") return no_scheme().adding(Sinusoidal{.width = 8, .scale = 0.1});
  if (name == "learned") return learned_scheme(learned, 8);
  return no_scheme();
}

/// The greatest difference, relative to numbers above 1.
template <class A>
double difference(const A& mine, const std::vector<double>& theirs) {
  REQUIRE(std::ssize(mine) == std::ssize(theirs));
  double most = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    if (!std::isfinite(mine[i])) return HUGE_VAL;
    most = std::max(most, std::abs(static_cast<double>(mine[i]) - theirs[i]) /
                              std::max(1.0, std::abs(theirs[i])));
  }
  return most;
}

TEST_CASE("golden: losses and gradients of the lab's model are those of torch's") {
  const Json golden = golden_test::golden("lab.json").at("cases");
  CHECK(golden.size() == 6);
  const lab::Weights weights = golden_weights();
  const std::vector<std::uint8_t> inputs = tokens(7, 3), targets = tokens(5, 1);
  std::vector<float> loss_weights;
  for (int i = 0; i < 18; ++i) loss_weights.push_back(static_cast<float>(1 + i % 3) / 36);
  for (const Json& expected : golden) {
    const lab::Scheme scheme = golden_scheme(expected.at("scheme"));
    INFO(expected.at("scheme"));
    const lab::BoundScheme bound(scheme, scheme.learned, tiny.layers, tiny.heads);
    const lab::TokenRows rows{3, 6, inputs, targets};
    std::vector<float> losses(18);
    lab::Weights gradient(tiny);
    std::vector<double> learned(scheme.learned.size());
    lab::Pass pass(true);
    pass.forward(weights, bound, rows, losses);
    pass.backward(weights, bound, rows, loss_weights, gradient, learned);
    CHECK(difference(losses, numbers(expected.at("losses"))) < 2e-5);
    CHECK(difference(gradient.values(), numbers(expected.at("gradient"))) < 1e-4);
    CHECK(difference(learned, numbers(expected.at("learned_gradient"))) < 1e-4);
    // Evaluation keeps no layers, and computes the same.
    std::vector<float> again(18);
    lab::Pass(false).forward(weights, bound, rows, again);
    CHECK(again == losses);
  }
}

/// Losses and weights of three steps, each with tokens of its own.
void check_three_steps(lab::Training& training, const Json& golden) {
  std::vector<double> nats;
  for (int step = 0; step < 3; ++step)
    nats.push_back(std::numbers::ln2 * training.step([&](SeededRandom&, Index, Index) {
      return lab::Batch{tokens(7, 3 + step), tokens(5, 1 + step), {}};
    }));
  CHECK(difference(nats, numbers(golden.at("losses"))) < 2e-5);
  CHECK(difference(training.weights().values(), numbers(golden.at("weights"))) < 5e-6);
}

TEST_CASE("golden: three steps of training are those of torch's AdamW") {
  const Json golden = golden_test::golden("lab.json").at("training");
  const lab::Scheme scheme = golden_scheme("t5");
  lab::Training training(
      golden_weights(), scheme.learned, scheme,
      {.steps = 3, .length = 6, .sequences = 3, .optimizer = {.clip = 0.05, .warm_up = 1}});
  check_three_steps(training, golden);
  CHECK(difference(training.learned(), numbers(golden.at("learned"))) < 5e-6);
  CHECK(difference(training.learned(), scheme.learned) > 0.01);  // it moved
}

TEST_CASE("golden: steps of growing sequences and another base are those of torch") {
  const Json golden = golden_test::golden("lab.json").at("stages");
  const ContextSchedule schedule{
      {{.length = 3, .tokens = 18}, {.length = 6, .tokens = 18}, {.length = 18, .base = 5e4}}};
  lab::Training training(
      golden_weights(), {}, golden_scheme("rope"),
      {.steps = 3, .length = 6, .sequences = 3, .optimizer = {.clip = 0.05, .warm_up = 1}},
      lab::course_of(schedule, rope() | Causal{}, 18));
  check_three_steps(training, golden);
}

}  // namespace lab_golden_cases
