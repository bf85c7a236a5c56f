// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/yarn.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<YaRN> && ChecksState<YaRN> && !LengthDependent<YaRN>);

namespace yarn_cases {

double attention(double factor) {
  return after(YaRN{.factor = factor, .original_context = 4096}, state(128)).attention_factor;
}

TEST_CASE("YaRN golden attention factors") {
  CHECK(attention(32) == golden(1.34657359028));
  CHECK(attention(32) * attention(32) == golden(1.81326043404));
  CHECK(attention(4) == golden(1.13862943611));
  CHECK(attention(16) == golden(1.27725887222));
  CHECK(attention(40) == golden(1.36888794541));
  CHECK(attention(1) == 1);
  CHECK(yarn_mscale(40, 0.707) == golden(1.26080377741));
  CHECK(yarn_mscale(40) * yarn_mscale(40) == golden(1.87385420709));
  CHECK(yarn_mscale(0.5) == 1);
  CHECK(yarn_mscale(1, 3) == 1);
}

TEST_CASE("YaRN golden frequencies of published models") {
  const auto pair = [](const YaRN& yarn, Index d, double base, Index i) {
    return after(yarn, state(d, base)).inv_freq[i];
  };
  const YaRN gpt_oss{.factor = 32, .original_context = 4096, .truncate = false};
  CHECK(pair(gpt_oss, 64, 150000, 9) == printed(0.0317056962, 1e-8));
  CHECK(pair(gpt_oss, 64, 150000, 16) == printed(4.56483919e-4, 1e-8));
  CHECK(pair(gpt_oss, 64, 150000, 31) == printed(3.02351143e-7, 1e-8));
  CHECK(gpt_oss.by_parts().pair_at(32, state(64, 150000)) == printed(8.0928, 1e-5));
  CHECK(gpt_oss.by_parts().pair_at(1, state(64, 150000)) == printed(17.3980, 1e-5));
  YaRN truncated = gpt_oss;
  truncated.truncate = true;
  CHECK(pair(gpt_oss, 64, 150000, 17) == printed(1.293e-4, 4e-4));
  CHECK(pair(truncated, 64, 150000, 16) == printed(5.809e-4, 1e-4));
  CHECK(pair(truncated, 64, 150000, 17) == printed(2.279e-4, 3e-4));

  const YaRN deepseek_v3{.factor = 40, .original_context = 4096, .mscale = 1, .mscale_all_dim = 1};
  CHECK(pair(deepseek_v3, 64, 10000, 11) == printed(0.0390069266, 1e-8));
  CHECK(pair(deepseek_v3, 64, 10000, 22) == printed(1.77827941e-4, 1e-8));
  CHECK(pair(deepseek_v3, 64, 10000, 31) == printed(3.33380358e-6, 1e-8));

  const YaRN qwen25{.factor = 4, .original_context = 32768};
  CHECK(pair(qwen25, 128, 1e6, 24) == printed(5.37532149e-3, 1e-8));
  CHECK(pair(qwen25, 128, 1e6, 39) == printed(6.49039432e-5, 1e-8));
  CHECK(pair(qwen25, 128, 1e6, 63) == printed(3.1023444e-7, 1e-8));

  const YaRN qwen35{.factor = 4, .original_context = 262144};
  CHECK(pair(qwen35, 64, 1e7, 15) == printed(4.74239823e-4, 1e-8));
  CHECK(pair(qwen35, 64, 1e7, 31) == printed(4.13704275e-8, 1e-8));
}

TEST_CASE("YaRN resolves the temperature by rule") {
  const Real m1 = 0.1L * std::log(40.0L) + 1, m07 = 0.0707L * std::log(40.0L) + 1;
  const auto check = [](const YaRN& yarn, Real attention_factor, Real score_factor,
                        const char* rule) {
    const YaRN::Resolved resolved = yarn.resolve_temperature();
    CHECK(resolved.attention_factor ==
          Approx(static_cast<double>(attention_factor)).epsilon(1e-14));
    CHECK(resolved.score_factor == Approx(static_cast<double>(score_factor)).epsilon(1e-14));
    CHECK_THAT(std::string(resolved.rule), ContainsSubstring(rule));
    const RotaryState s = after(yarn, state(64));
    CHECK(s.attention_factor == resolved.attention_factor);
    CHECK(s.score_factor == resolved.score_factor);
  };
  YaRN yarn{.factor = 40, .original_context = 4096};
  check(yarn, m1, 1, "0.1 ln(factor) + 1");
  yarn.mscale = 0.707;
  check(yarn, m1, 1, "count only together");
  yarn.mscale = 0;
  yarn.mscale_all_dim = 1;
  check(yarn, m1, 1, "count only together");
  yarn.mscale = 1;
  yarn.mscale_all_dim = 0.707;
  check(yarn, m1 / m07, 1, "m(mscale) / m(mscale_all_dim)");
  yarn.attention_factor = 0.8;
  check(yarn, 0.8, 1, "as given");

  YaRN deepseek{
      .factor = 40, .original_context = 4096, .temperature_rule = YaRNTemperature::deepseek};
  check(deepseek, m1, 1, "DeepSeek");
  deepseek.mscale = 0.707;
  check(deepseek, m07, 1, "DeepSeek");
  deepseek.mscale_all_dim = 0.707;
  check(deepseek, 1, m07 * m07, "DeepSeek");
  deepseek.mscale = std::nullopt;
  check(deepseek, m1 / m07, m07 * m07, "DeepSeek");
  deepseek.attention_factor = 1;
  check(deepseek, 1, m07 * m07, "as given");
}

TEST_CASE("YaRN has the frequencies of NTKByParts") {
  for (Ramp ramp : {Ramp::index, Ramp::rotations})
    for (bool truncate : {true, false}) {
      const YaRN yarn{.factor = 8,
                      .original_context = 4096,
                      .beta_fast = 16,
                      .beta_slow = 2,
                      .ramp = ramp,
                      .truncate = truncate,
                      .attention_factor = 1};
      const NTKByParts parts{.factor = 8,
                             .original_context = 4096,
                             .beta_fast = 16,
                             .beta_slow = 2,
                             .ramp = ramp,
                             .truncate = truncate};
      const RotaryState s = after(yarn, state(128));
      CHECK((s.inv_freq == after(parts, state(128)).inv_freq).all());
      CHECK(s.attention_factor == 1);
    }
}

TEST_CASE("YaRN with factor 1 changes nothing") {
  for (YaRNTemperature rule : {YaRNTemperature::huggingface, YaRNTemperature::deepseek})
    for (Index d : {2, 128})
      check_identity(YaRN{.original_context = 4096,
                          .mscale = 1,
                          .mscale_all_dim = 0.5,
                          .temperature_rule = rule},
                     state(d));
}

TEST_CASE("YaRN's factors multiply those before it") {
  RotaryState s = state(128);
  s.attention_factor = 2;
  s.score_factor = 3;
  YaRN{.factor = 4, .original_context = 4096, .attention_factor = 1.5}.transform(s);
  CHECK(s.attention_factor == 3);
  CHECK(s.score_factor == 3);
}

TEST_CASE("YaRN reports wrong parameters") {
  const YaRN good{.factor = 4, .original_context = 4096};
  CHECK(sentences(good, state(128)).empty());
  const auto with = [&](auto change) {
    YaRN yarn = good;
    change(yarn);
    return yarn;
  };
  check_sentence(YaRN{.factor = 4}, state(128),
                 "YaRN: original_context, the trained length, must be positive, got 0");
  check_sentence(with([](auto& y) { y.factor = 0; }), state(128),
                 "YaRN: factor must be at least 1, got 0");
  check_sentence(with([](auto& y) { y.beta_fast = 0.5; }), state(128),
                 "YaRN: beta_slow must be positive and at most beta_fast");
  check_sentence(with([](auto& y) { y.attention_factor = -1; }), state(128),
                 "attention_factor must be positive and finite, got -1");
  check_sentence(with([](auto& y) { y.attention_factor = not_a_number; }), state(128), "got nan");
  check_sentence(with([](auto& y) { y.mscale = -0.1; }), state(128),
                 "mscale must be finite and not negative, got -0.1");
  check_sentence(with([](auto& y) { y.mscale_all_dim = infinity; }), state(128),
                 "mscale_all_dim must be finite");
  CHECK(sentences(YaRN{.factor = 0.5, .original_context = -1}, state(128)).size() == 2);
}

}  // namespace yarn_cases
