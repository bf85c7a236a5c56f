// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/core/pipeline.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/rotary/rope.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<Dynamic<YaRN>> && ChecksState<Dynamic<YaRN>> &&
              LengthDependent<Dynamic<YaRN>>);
static_assert(LengthDependent<Dynamic<PI>> && LengthDependent<Dynamic<NTKByParts>>);
static_assert(std::same_as<decltype(Dynamic{YaRN{}}), Dynamic<YaRN>>);
static_assert(std::same_as<decltype(Dynamic{PI{}, 4096}), Dynamic<PI>>);
static_assert(decltype(RoPE<HalfSplit>{} | Dynamic<YaRN>{})::depends_on_length);
static_assert(!decltype(RoPE<HalfSplit>{} | YaRN{})::depends_on_length);

TEST_CASE("Dynamic changes nothing up to the original context") {
  for (Position length : {0, 1, 2048, 4095, 4096}) {
    const RotaryState before = state(128, 10000, length);
    check_identity(Dynamic<YaRN>{.scheme = {.original_context = 4096, .attention_factor = 2}},
                   before);
    check_identity(Dynamic<NTKByParts>{{.original_context = 4096}}, before);
    check_identity(Dynamic<PI>{.original_context = 4096}, before);
  }
}

TEST_CASE("Dynamic at s times the original context is the static scheme with factor s") {
  for (Position length : {4097, 6000, 8192, 131072}) {
    const double s = static_cast<double>(length) / 4096;
    const RotaryState before = state(128, 5e5, length);
    const RotaryState dynamic =
        after(Dynamic<YaRN>{.scheme = {.original_context = 4096, .truncate = false}}, before);
    const RotaryState fixed =
        after(YaRN{.factor = s, .original_context = 4096, .truncate = false}, before);
    CHECK((dynamic.inv_freq == fixed.inv_freq).all());
    CHECK(dynamic.attention_factor == fixed.attention_factor);
    CHECK(dynamic.attention_factor == Approx(0.1 * std::log(s) + 1).epsilon(1e-14));
    check_pairs(after(Dynamic<PI>{.original_context = 4096}, before),
                [&](Index i) { return plain(i, 128, 5e5L) * 4096 / static_cast<Real>(length); });
  }
}

TEST_CASE("Dynamic takes the original context from either place") {
  const Dynamic<NTKByParts> inside{.scheme = {.original_context = 4096}};
  const Dynamic<NTKByParts> outside{.scheme = {}, .original_context = 4096};
  const RotaryState before = state(64, 10000, 10000);
  CHECK((after(inside, before).inv_freq == after(outside, before).inv_freq).all());
  CHECK(sentences(inside, before).empty());
  CHECK(sentences(outside, before).empty());
}

TEST_CASE("Dynamic reports wrong parameters") {
  const RotaryState s = state(64, 10000, 10000);
  CHECK(sentences(Dynamic<PI>{.original_context = 64}, s).empty());
  CHECK(sentences(Dynamic<Llama3>{.scheme = {.factor = 1}}, s).empty());
  check_sentence(Dynamic<PI>{}, s, "original_context, the trained length, must be positive, got 0");
  check_sentence(Dynamic<YaRN>{}, s,
                 "Dynamic: original_context, the trained length, must be positive, got 0");
  check_sentence(Dynamic<YaRN>{.scheme = {.factor = 4, .original_context = 64}}, s,
                 "leave that of the scheme at 1, got 4");
  check_sentence(Dynamic<YaRN>{.scheme = {.original_context = 64}, .original_context = 128}, s,
                 "original_context is 128 but that of the scheme is 64");
  check_sentence(Dynamic<YaRN>{.scheme = {.original_context = 64, .beta_fast = 0.5}}, s,
                 "YaRN: beta_slow");
  check_sentence(Dynamic<PI>{.original_context = 64}, state(64, 1e4, -1),
                 "current length must not be negative, got -1");
}
