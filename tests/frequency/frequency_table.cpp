// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/frequency_table.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<FrequencyTable> && ChecksState<FrequencyTable> &&
              !LengthDependent<FrequencyTable>);

TEST_CASE("FrequencyTable replaces the frequencies") {
  RotaryState before = state(6);
  before.attention_factor = 2;
  const RotaryState s =
      after(FrequencyTable{.inv_freq = {0.5, 0.25, 0}, .attention_factor = 1.5}, before);
  CHECK(s.inv_freq[0] == 0.5);
  CHECK(s.inv_freq[1] == 0.25);
  CHECK(s.inv_freq[2] == 0);
  CHECK(s.attention_factor == 3);
  CHECK(s.base == 10000);
}

TEST_CASE("FrequencyTable reports wrong lists") {
  const RotaryState s = state(6);
  CHECK(sentences(FrequencyTable{.inv_freq = {1, 0.5, 0}}, s).empty());
  check_sentence(FrequencyTable{.inv_freq = {1, 0.5}}, s,
                 "inv_freq must have a value per rotary pair: 3 values, got 2");
  check_sentence(FrequencyTable{}, s, "3 values, got 0");
  check_sentence(FrequencyTable{.inv_freq = {1, not_a_number, -1}}, s,
                 "inv_freq[1] must be finite and not negative, got nan");
  check_sentence(FrequencyTable{.inv_freq = {1, 1, -0.5}}, s,
                 "inv_freq[2] must be finite and not negative, got -0.5");
  check_sentence(FrequencyTable{.inv_freq = {1, 1, 1}, .attention_factor = 0}, s,
                 "attention_factor must be positive and finite, got 0");
}
