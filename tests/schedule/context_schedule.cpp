// SPDX-License-Identifier: MIT
//
// Schedules of context length and the choice of a base: published numbers, closed forms, errors.
#include <posenc/posenc.hpp>
#include <posenc/schedule/base.hpp>
#include <posenc/schedule/presets.hpp>

#include "../support/catch.hpp"

#include <cmath>
#include <string>
#include <vector>

using namespace posenc;

namespace context_schedule_cases {

const AnyEncoding model = RoPE<HalfSplit>{.head_dim = 128, .base = 500'000} | Causal{};
constexpr BindOptions one_head{.num_heads = 1};

double base_at(const ContextSchedule& schedule, double token) {
  return bind(schedule.encoding(model, token), one_head).rotary().state.base;
}

TEST_CASE("ContextSchedule: stages by token") {
  const ContextSchedule schedule = prolong();
  CHECK((schedule.at(0).stage == 0 && schedule.at(0).length == 65'536));
  CHECK(schedule.at(20e9 - 1).stage == 0);
  CHECK((schedule.at(20e9).stage == 1 && schedule.at(20e9).length == 524'288));
  CHECK(schedule.at(1e15).length == 524'288);
  CHECK_THAT(base_at(schedule, 0), WithinRel(8e6, 1e-12));
  CHECK_THAT(base_at(schedule, 30e9), WithinRel(1.28e8, 1e-12));
  // The frequencies are those of a model that was made with that base.
  const auto made = bind(RoPE<HalfSplit>{.head_dim = 128, .base = 8e6} | Causal{}, one_head);
  const AnyBound scheduled = bind(schedule.encoding(model, 5), one_head);
  for (Index i = 0; i < 64; ++i)
    CHECK_THAT(scheduled.rotary().state.inv_freq[i],
               WithinRel(made.rotary().state.inv_freq[i], 1e-12));
}

TEST_CASE("ContextSchedule: presets") {
  const ContextSchedule turbo = qwen25_turbo(1e9);
  std::vector<Index> lengths;
  for (const ContextStage& s : turbo.stages) {
    lengths.push_back(s.length);
    CHECK((s.base == 1e7 && s.full_share == 0.4));
  }
  CHECK(lengths == std::vector<Index>{32'768, 65'536, 131'072, 262'144});
  const ContextSchedule kimi = kimi_k15(1e9, 1e9, 1e9);
  CHECK(base_at(kimi, 0) == 500'000);  // the model's own
  CHECK_THAT(base_at(kimi, 1e9), WithinRel(1e6, 1e-12));
  CHECK(kimi.at(2.5e9).length == 131'072);
}

TEST_CASE("ContextSchedule: a length that grows by one token at a time") {
  // SkyLadder: 32 + floor(steps / k) with k steps of `step` tokens for each more.
  constexpr double step = 1024, k = 2;
  const ContextSchedule ladder = sky_ladder(512, (512 - 32) * k * step);
  for (Index steps = 0; steps < 2000; ++steps)
    CHECK(ladder.at(static_cast<double>(steps) * step).length ==
          std::min<Index>(512, 32 + steps / 2));
}

TEST_CASE("ContextSchedule: a scheme behind the base") {
  const ContextSchedule schedule{
      {{.length = 4096, .tokens = 100},
       {.length = 16'384, .scheme = YaRN{.factor = 4, .original_context = 4096}}}};
  CHECK(bind(schedule.encoding(model, 0), one_head).rotary().state.attention_factor == 1);
  CHECK_THAT(bind(schedule.encoding(model, 100), one_head).rotary().state.attention_factor,
             WithinRel(0.1 * std::log(4) + 1, 1e-12));
}

TEST_CASE("ContextSchedule: explain says what a stage gains and loses") {
  const std::string text = explain(prolong(), model, one_head);
  // 65,536 8e6^(-2i/128) >= 2 pi for i < 37.2..., 524,288 1.28e8^(-2i/128) for i < 38.8...
  CHECK_THAT(text, ContainsSubstring("stage 0: 65536 tokens, base 8e+06"));
  CHECK_THAT(text, ContainsSubstring("38 of 64 pairs make a full turn"));
  CHECK_THAT(text, ContainsSubstring("stage 1: 524288 tokens, base 1.28e+08"));
  CHECK_THAT(text, ContainsSubstring("39 of 64 pairs make a full turn"));
  const std::string still =
      explain({{{.length = 64, .tokens = 1}, {.length = 64, .base = 1e6}}}, model, one_head);
  CHECK_THAT(still, ContainsSubstring("every angle was met in the stages before"));
  const std::string longer =
      explain({{{.length = 64, .tokens = 1}, {.length = 128}}}, model, one_head);
  CHECK_THAT(longer,
             ContainsSubstring("pairs reach angles that no stage before has met, up to 2 times"));
}

TEST_CASE("ContextSchedule: wrong values are sentences") {
  const auto says = [](const ContextSchedule& schedule, const std::string& sentence) {
    CHECK_THROWS_WITH(schedule.check(), ContainsSubstring(sentence));
    CHECK_THROWS_AS(schedule.at(0), Error);
  };
  says({}, "a schedule needs at least one stage");
  says({{{.length = 0}}}, "stage 0: length must be positive, got 0");
  says({{{.length = 8, .from = 9}}}, "from must lie within [0, length = 8], got 9");
  says({{{.length = 8, .base = 0.5}}}, "base must be finite and exceed 1");
  says({{{.length = 8}, {.length = 9}}}, "stage 0: tokens must lie within (0, 1e18]");
  says({{{.length = 8, .tokens = NAN}}}, "tokens must lie within (0, 1e18]");
  says({{{.length = 8, .from = 2}}}, "its length grows, so it needs a number of tokens");
  says({{{.length = 8, .full_share = 0}}}, "full_share must lie within (0, 1], got 0");
  CHECK_THROWS_WITH(sky_ladder(64, 1e6, 0), ContainsSubstring("within [1, length = 64], got 0"));
  CHECK_THROWS_WITH(
      explain({{{.length = 64, .tokens = 1, .scheme = RoPE<HalfSplit>{.head_dim = 16}},
                {.length = 64, .scheme = RoPE<HalfSplit>{.head_dim = 8}}}},
              Causal{}, one_head),
      ContainsSubstring("stage 1 rotates 4 pairs, and the stages before rotate 8"));
  CHECK_THROWS_WITH(prolong().at(-1), ContainsSubstring("tokens count from 0"));
  CHECK_THROWS_WITH(explain(prolong(), AnyEncoding(Causal{}), one_head),
                    ContainsSubstring("rotary base"));
}

TEST_CASE("base: within trained angles") {
  // At the new base the first pair without a full turn reaches what it reached, and all later ones less.
  const TrainedRotation trained{.base = 10'000, .rotary_dim = 128, .length = 4096};
  const Index first = pairs_with_a_full_turn(trained);
  CHECK(first == 46);  // 64 ln(4096 / 2 pi) / ln 10000 = 45.03
  for (const Index target : {4097, 8192, 131'072}) {
    const double base = base_within_trained_angles(trained, target);
    for (Index i = first; i < 64; ++i) {
      const double before = 4096 * std::pow(1e4, -2.0 * static_cast<double>(i) / 128);
      const double after =
          static_cast<double>(target) * std::pow(base, -2.0 * static_cast<double>(i) / 128);
      CHECK(after <= before * (1 + 1e-12));
      if (i == first) CHECK_THAT(after, WithinRel(before, 1e-12));
    }
  }
  CHECK(base_within_trained_angles(trained, 4096) == 10'000);
  CHECK(base_within_trained_angles({.base = 10, .rotary_dim = 8, .length = 4096}, 9999) == 10);
  CHECK_THROWS_WITH(base_within_trained_angles({.length = 6}, 100),
                    ContainsSubstring("within 6 tokens the first pair makes no full turn"));
  CHECK_THROWS_WITH(base_within_trained_angles({.rotary_dim = 7}, 100),
                    ContainsSubstring("rotary_dim must be even and positive, got 7"));
}

TEST_CASE("base: the published lower bounds of a context") {
  // Table 2 of arXiv 2405.14591, two digits: heads of 128 channels.
  CHECK_THAT(least_base_of_context(1024, 128), WithinRel(4.3e3, 0.01));
  CHECK_THAT(least_base_of_context(4096, 128), WithinRel(2.7e4, 0.01));
  CHECK_THAT(least_base_of_context(8192, 128, 1.01), WithinRel(8.4e4, 0.02));
  // Turned step by step, and by the formula.
  const double base = 5000;
  const Index at = first_indistinct_distance(base, 64, 1'000'000);
  CHECK(at < 1'000'000);
  CHECK(similarity_at(static_cast<double>(at), base, 64) < 0);
  for (Index m = 0; m < at; ++m) REQUIRE(similarity_at(static_cast<double>(m), base, 64) >= 0);
  CHECK_THROWS_WITH(least_base_of_context(64, 2), ContainsSubstring("no base up to 1e18"));
  CHECK_THROWS_WITH(least_base_of_context(0, 64), ContainsSubstring("length must be positive"));
  CHECK_THROWS_WITH(least_base_of_context(8, 64, 1),
                    ContainsSubstring("ratio must lie within (1, 2]"));
}

}  // namespace context_schedule_cases
