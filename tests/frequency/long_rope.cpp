// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/pi.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<LongRoPE> && ChecksState<LongRoPE> && LengthDependent<LongRoPE>);
static_assert(FrequencyTransform<LongRoPELong> && !LengthDependent<LongRoPELong>);
static_assert(FrequencyTransform<LongRoPEShort> && !LengthDependent<LongRoPEShort>);

namespace long_rope_cases {

const std::vector<double> short_list{1, 1.5, 2};
const std::vector<double> long_list{1, 4, 32};

template <class Scheme = LongRoPE>
Scheme phi() {
  return {
      .short_factor = short_list, .long_factor = long_list, .factor = 32, .original_context = 4096};
}

void check_divided(const RotaryState& s, const std::vector<double>& factors) {
  check_pairs(s, [&](Index i) {
    return plain(i, 6, 10000) / static_cast<Real>(factors[static_cast<std::size_t>(i)]);
  });
}

TEST_CASE("LongRoPE golden amplitude, the same for both lists") {
  CHECK(after(phi(), state(6, 1e4, 1)).attention_factor == golden(1.19023807142));
  CHECK(after(phi(), state(6, 1e4, 131072)).attention_factor == golden(1.19023807142));
}

TEST_CASE("LongRoPE chooses the list by the current length") {
  for (Position length : {0, 1, 4095, 4096})
    check_divided(after(phi(), state(6, 1e4, length)), short_list);
  for (Position length : {4097, 4098, 131072})
    check_divided(after(phi(), state(6, 1e4, length)), long_list);
}

TEST_CASE("LongRoPE with a fixed list ignores the length") {
  for (Position length : {0, 4096, 4097}) {
    check_divided(after(phi<LongRoPELong>(), state(6, 1e4, length)), long_list);
    check_divided(after(phi<LongRoPEShort>(), state(6, 1e4, length)), short_list);
  }
}

TEST_CASE("LongRoPE's amplitude can be overridden") {
  LongRoPE scheme = phi();
  const auto factor_at = [&](Position length) {
    return after(scheme, state(6, 1e4, length)).attention_factor;
  };
  scheme.amplitude = LongRoPEAmplitude::yarn;
  CHECK(factor_at(1) == golden(1.34657359028));
  scheme.attention_factor = 1.25;
  CHECK(factor_at(1) == 1.25);
  CHECK(factor_at(5000) == 1.25);
  scheme.long_mscale = 1.5;
  CHECK(factor_at(1) == 1.25);
  CHECK(factor_at(5000) == 1.5);
  scheme.short_mscale = 1.125;
  CHECK(factor_at(1) == 1.125);
}

TEST_CASE("LongRoPE with ones and factor 1 changes nothing") {
  const LongRoPE ones{
      .short_factor = {1, 1, 1}, .long_factor = {1, 1, 1}, .original_context = 4096};
  for (Position length : {1, 5000}) check_identity(ones, state(6, 1e4, length));
}

TEST_CASE("LongRoPE with equal factors is PI") {
  const LongRoPELong flat{.long_factor = {32, 32, 32}, .factor = 32, .original_context = 4096};
  CHECK((after(flat, state(6)).inv_freq == after(PI{32}, state(6)).inv_freq).all());
}

TEST_CASE("LongRoPE golden factors of Phi-4-mini's shape") {
  LongRoPELong phi4{.factor = 32, .original_context = 4096};
  for (int i = 0; i < 48; ++i)
    phi4.long_factor.push_back(i < 31 ? std::pow(32.03, i / 31.0) : 32.03);
  const RotaryState before = state(96);
  const Frequencies lambda = before.inv_freq / after(phi4, before).inv_freq;
  CHECK(lambda[1] == golden(1.11832067204));
  CHECK(lambda[10] == printed(3.05959208, 2e-9));
  CHECK(lambda[30] == printed(28.6411588, 2e-9));
}

TEST_CASE("LongRoPE reports wrong parameters") {
  const RotaryState s = state(6);
  CHECK(sentences(phi(), s).empty());
  CHECK(sentences(LongRoPELong{.long_factor = long_list, .original_context = 64}, s).empty());
  CHECK(sentences(LongRoPEShort{.short_factor = short_list, .original_context = 64}, s).empty());
  const auto with = [](auto change) {
    LongRoPE scheme = phi();
    change(scheme);
    return scheme;
  };
  check_sentence(with([](auto& l) { l.short_factor.pop_back(); }), s,
                 "short_factor must have a value per rotary pair: 3 values, got 2");
  check_sentence(with([](auto& l) { l.long_factor.clear(); }), s,
                 "long_factor must have a value per rotary pair: 3 values, got 0");
  check_sentence(with([](auto& l) { l.long_factor[2] = -1; }), s,
                 "long_factor[2] must be finite and positive, got -1");
  check_sentence(with([](auto& l) { l.factor = 0.5; }), s, "factor must be at least 1, got 0.5");
  check_sentence(with([](auto& l) { l.original_context = 1; }), s, "must be at least 2, got 1");
  check_sentence(with([](auto& l) { l.attention_factor = 0; }), s,
                 "attention_factor must be positive and finite, got 0");
  check_sentence(with([](auto& l) { l.short_mscale = not_a_number; }), s,
                 "short_mscale must be positive and finite, got nan");
  check_sentence(with([](auto& l) { l.long_mscale = -2; }), s,
                 "long_mscale must be positive and finite, got -2");
}

}  // namespace long_rope_cases
