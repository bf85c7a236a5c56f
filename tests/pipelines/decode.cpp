// SPDX-License-Identifier: MIT
//
// Decoding equals prefill: row n of a whole sequence is what a single query gets that stands at n, over
// the keys up to n (or over all keys, where the row sees later ones or frequencies go by the length).
// The same with keys that were rotated beforehand, where the encoding allows it.
//
// Both sides are within the bound of oracle.hpp of the exact result, so they differ by at most twice that.
#include "../support/catch.hpp"
#include "pipelines.hpp"

namespace attention_test {
namespace decode_cases {

template <class T>
struct Prefill {
  const Pipeline& pipeline;
  ScenarioInputs<T> inputs;
  Output<T> result;
  std::vector<RowBound> bounds;

  Prefill(const Pipeline& p, const Scenario& scenario)
      : pipeline(p), inputs(scenario), result(inputs.call), bounds(p.bounds(inputs.call)) {
    Arguments<T> call = inputs.call;
    call.options.lse = result.lse;
    pipeline.attend(call, result.out.view());
  }

  /// The call that decodes row n alone.
  [[nodiscard]] Arguments<T> decode(Index n) const {
    Arguments<T> call = inputs.call;
    const Position index = call.query_index(n);
    // Keys after the query are not there yet, if nobody would look at them.
    Index keys = call.k.tokens;
    if (!pipeline.depends_on_length) {
      const auto seen = [&](Index c) {
        for (Index h = 0; h < call.q.heads; ++h)
          if (pipeline.visible(call.score(n, c, h))) return true;
        return false;
      };
      while (keys > 0 && call.options.key_offset + keys - 1 > index && !seen(keys - 1)) --keys;
    }
    call.q = call.q.slice(n, 1);
    call.k = call.k.slice(0, keys);
    call.v = call.v.slice(0, keys);
    if (keys == 0 || call.options.key_offset + keys - 1 != index) call.options.query_offset = index;
    if (call.options.query_positions)
      call.options.query_positions = call.options.query_positions->subspan(size(n), 1);
    if (call.options.key_positions)
      call.options.key_positions = call.options.key_positions->first(size(keys));
    return call;
  }

  /// Error over bound of row n, decoded.
  [[nodiscard]] double ratio(Index n, bool rotated) const {
    Arguments<T> call = decode(n);
    Output<T> row(call);
    call.options.lse = row.lse;
    if (rotated)
      pipeline.attend_rotated(call, row.out.view());
    else
      pipeline.attend(call, row.out.view());

    ReferenceResult expected;
    std::vector<RowBound> row_bounds;
    for (Index h = 0; h < call.q.heads; ++h) {
      const std::size_t at = size(n * call.q.heads + h);
      for (Index d = 0; d < call.v.width; ++d)
        expected.out.push_back(static_cast<double>(result.out.view()(n, h, d)));
      expected.lse.push_back(static_cast<double>(result.lse[at]));
      row_bounds.push_back(bounds[at]);
    }
    return worst_ratio<T>(row.out, row.lse, expected, row_bounds, 2);
  }
};

template <class T>
void check_decode(const Pipeline& pipeline, const Scenario& scenario) {
  const Prefill<T> prefill(pipeline, scenario);
  for (const Index n :
       {Index{0}, scenario.queries / 2, scenario.queries - 2, scenario.queries - 1}) {
    if (n < 0 || n >= scenario.queries) continue;
    INFO("row " << n << ", " << sizeof(T) << " bytes per element");
    CHECK(prefill.ratio(n, false) <= 1);
    if (pipeline.takes_rotated_keys) CHECK(prefill.ratio(n, true) <= 1);
  }
}

TEST_CASE("a decoded row equals its row of the prefill", "[attention]") {
  std::uint64_t seed = 5000;
  for (const PipelineType& type : all_pipelines())
    for (const Index tokens : {5, 66, 130}) {
      Random random(++seed);
      Setting at = random_setting(random);
      at.tokens = tokens;
      at.head_dim = std::min<Index>(at.head_dim, 96);
      at.rotary_dim = std::min(at.rotary_dim, at.head_dim);
      at.rotary_offset = at.head_dim - at.rotary_dim;
      const std::unique_ptr<Pipeline> pipeline = type.make(random, at);
      Scenario scenario = random_scenario(random, 1e9, at);
      scenario.keys = tokens;
      scenario.queries = random.chance(0.7) ? tokens : (tokens + 1) / 2;
      scenario.query_offset.reset();
      scenario.key_positions.clear();
      scenario.query_positions.clear();
      if (random.chance(0.4)) {  // position ids, of queries as they are of the same keys
        for (Index t = 0; t < tokens; ++t)
          scenario.key_positions.push_back(random.integer(0, 3 * tokens));
        scenario.query_positions.assign(scenario.key_positions.end() - scenario.queries,
                                        scenario.key_positions.end());
      }
      if (pipeline->rotates_values) scenario.value_dim = at.head_dim;
      INFO(type.name << ", seed " << seed << ": " << scenario.describe());
      check_decode<float>(*pipeline, scenario);
      check_decode<double>(*pipeline, scenario);
    }
}

TEST_CASE("rotated keys in a whole prefill", "[attention]") {
  std::uint64_t seed = 9000;
  int tried = 0;
  for (const PipelineType& type : all_pipelines()) {
    Random random(++seed);
    const Setting at = random_setting(random);
    const std::unique_ptr<Pipeline> pipeline = type.make(random, at);
    if (!pipeline->takes_rotated_keys) continue;
    ++tried;
    Scenario scenario = random_scenario(random, 1e6, at);
    if (pipeline->rotates_values) scenario.value_dim = std::max(scenario.value_dim, at.head_dim);
    const ScenarioInputs<float> inputs(scenario);
    Arguments<float> call = inputs.call;
    Output<float> result(call);
    call.options.lse = result.lse;
    pipeline->attend_rotated(call, result.out.view());
    INFO(type.name << ", seed " << seed << ": " << scenario.describe());
    CHECK(worst_ratio<float>(result.out, result.lse, pipeline->reference(inputs.call),
                             pipeline->bounds(inputs.call)) <= 1);
  }
  CHECK(tried >= 8);
}

}  // namespace decode_cases
}  // namespace attention_test
