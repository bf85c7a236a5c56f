// SPDX-License-Identifier: MIT
//
// Seeded random combinations of everything: for each pipeline type of pipelines.hpp a number of random
// parameters, shapes and positions. The kernel, in float and in double, has to agree with the reference
// within the bound that oracle.hpp derives.
#include "../support/cases.hpp"
#include "../support/catch.hpp"
#include "pipelines.hpp"

namespace attention_test {
namespace combinations_cases {

const Index rounds = posenc_test::some_of(13);  // per pipeline type; times 48 types
constexpr double work = 1.5e6;                  // multiplications for scores per combination

template <class T>
double run(const Scenario& scenario, const Pipeline& pipeline, const ReferenceResult* known,
           ReferenceResult* keep) {
  ScenarioInputs<T> inputs(scenario);
  if (scenario.hide_non_finite) inputs.poison_hidden_keys(pipeline);
  Arguments<T> call = inputs.call;
  Output<T> result(call, scenario.memory == 2 ? Tensor<T>::padded : Tensor<T>::token_major);
  call.options.lse = result.lse;
  std::vector<std::byte> memory;
  if (scenario.own_workspace) {
    const std::size_t bytes = pipeline.workspace<T>(
        {scenario.queries, scenario.keys, scenario.at.head_dim, scenario.value_dim});
    memory.resize(bytes + 64);
    void* aligned = memory.data();
    std::size_t space = memory.size();
    std::align(64, bytes, aligned, space);
    call.options.workspace = {static_cast<std::byte*>(aligned), bytes};
  }
  pipeline.attend(call, result.out.view());
  if (known == nullptr) *keep = pipeline.reference(inputs.call);
  return worst_ratio<T>(result.out, result.lse, known == nullptr ? *keep : *known,
                        pipeline.bounds(inputs.call));
}

TEST_CASE("random combinations: kernel equals reference", "[attention]") {
  double worst = 0;
  int combinations = 0;
  std::uint64_t seed = 1;
  for (const PipelineType& type : all_pipelines())
    for (Index round = 0; round < rounds; ++round, ++seed) {
      Random random(seed);
      const Setting at = random_setting(random);
      const std::unique_ptr<Pipeline> pipeline = type.make(random, at);
      Scenario scenario = random_scenario(random, work, at);
      if (pipeline->rotates_values) scenario.value_dim = std::max(scenario.value_dim, at.head_dim);
      ReferenceResult reference;
      const double in_double = run<double>(scenario, *pipeline, nullptr, &reference);
      const double in_float = run<float>(scenario, *pipeline, &reference, nullptr);
      INFO(type.name << ", seed " << seed << ": " << scenario.describe());
      CHECK(in_double <= 1);
      CHECK(in_float <= 1);
      worst = std::max({worst, in_double, in_float});
      ++combinations;
    }
  INFO("worst error over bound " << worst);
  CHECK(combinations >= std::min<Index>(500, rounds * 40));
}

TEST_CASE("the bound is not vacuous", "[attention]") {
  // An error of one position, or of one key too many, must not pass.
  Scenario scenario{.at = {}, .queries = 40, .keys = 40, .value_dim = 64, .gain = 1, .seed = 5};
  const ScenarioInputs<float> inputs(scenario);
  const auto encoding = RoPE<HalfSplit>{.head_dim = 64} | Causal{};
  const auto bound = bind(encoding);
  const Output<float> shifted =
      attend(inputs.call, bind(RoPE<HalfSplit>{.head_dim = 64} | SlidingWindow{.right = 1}));
  const ReferenceResult expected =
      reference_attention(inputs.call.q, inputs.call.k, inputs.call.v, bound, inputs.call.options);
  CHECK(worst_ratio<float>(shifted.out, shifted.lse, expected, error_bounds(inputs.call, bound)) >
        1000);

  std::vector<Position> late(40);
  for (Position p = 0; p < 40; ++p) late[size(p)] = p + 1;
  Arguments<float> moved = inputs.call;
  moved.options.query_positions = late;
  const Output<float> off_by_one = attend(moved, bound);
  CHECK(worst_ratio<float>(off_by_one.out, off_by_one.lse, expected,
                           error_bounds(inputs.call, bound)) > 1000);
}

}  // namespace combinations_cases
}  // namespace attention_test
