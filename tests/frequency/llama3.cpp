// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/llama3.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<Llama3> && ChecksState<Llama3> && !LengthDependent<Llama3>);

namespace llama3_cases {

/// The three cases by wavelength, as Meta's code has them.
Real by_wavelength(Real w, Real factor, Real low, Real high, Real context) {
  const Real wavelength = 2 * pi / w;
  if (wavelength < context / high) return w;
  if (wavelength > context / low) return w / factor;
  const Real smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * w / factor + smooth * w;
}

TEST_CASE("Llama3 golden rescale factors") {
  const RotaryState before = state(128, 5e5);
  const RotaryState s = after(Llama3{}, before);
  const Frequencies lambda = before.inv_freq / s.inv_freq;
  for (Index i = 0; i <= 28; ++i) CHECK(lambda[i] == 1);
  const double printed_lambda[] = {1.20748387, 1.55341463, 2.02631321,
                                   2.69452969, 3.68425253, 5.25732659};
  for (Index i = 29; i < 35; ++i) CHECK(lambda[i] == printed(printed_lambda[i - 29], 5e-9));
  for (Index i = 35; i < 64; ++i) CHECK(lambda[i] == 8);
  CHECK(s.attention_factor == 1);
  CHECK(s.base == 5e5);
}

TEST_CASE("Llama3 is its three cases, and the rotations ramp") {
  for (Index d : {2, 64, 128})
    for (double base : {1e4, 5e5})
      for (double high : {1.5, 4.0, 32.0}) {
        const RotaryState s = after(
            Llama3{.factor = 16, .low_freq_factor = 1, .high_freq_factor = high}, state(d, base));
        check_pairs(s,
                    [&](Index i) { return by_wavelength(plain(i, d, base), 16, 1, high, 8192); });
        const NTKByParts parts{.factor = 16,
                               .original_context = 8192,
                               .beta_fast = high,
                               .beta_slow = 1,
                               .ramp = Ramp::rotations};
        const RotaryState same = after(parts, state(d, base));
        check_pairs(s, [&](Index i) { return same.inv_freq[i]; });
      }
}

TEST_CASE("Llama3 with factor 1 changes nothing") {
  for (Index d : {2, 128}) check_identity(Llama3{.factor = 1}, state(d, 5e5));
}

TEST_CASE("Llama3 stays between PI and RoPE") {
  check_between(after(Llama3{}, state(128, 5e5)), state(128, 5e5), 8);
  CHECK(after(Llama3{}, state(128, 5e5)).inv_freq[0] == 1);
}

TEST_CASE("Llama3 with equal bounds is a step") {
  const Llama3 scout{.factor = 16, .low_freq_factor = 1, .high_freq_factor = 1};
  const RotaryState before = state(128, 5e5);
  CHECK(sentences(scout, before).empty());
  const RotaryState s = after(scout, before);
  for (Index i = 0; i < 64; ++i) {
    const bool kept = 2 * pi / plain(i, 128, 5e5L) <= 8192;
    CHECK(s.inv_freq[i] == (kept ? before.inv_freq[i] : before.inv_freq[i] / 16));
  }
}

TEST_CASE("Llama3 reports wrong parameters") {
  CHECK(sentences(Llama3{}, state(64)).empty());
  check_sentence(Llama3{.factor = 0.5}, state(64), "Llama3: factor must be at least 1, got 0.5");
  check_sentence(Llama3{.factor = not_a_number}, state(64), "got nan");
  check_sentence(Llama3{.low_freq_factor = 5}, state(64), "at most high_freq_factor, got 5 and 4");
  check_sentence(Llama3{.low_freq_factor = 0}, state(64), "low_freq_factor must be positive");
  check_sentence(Llama3{.high_freq_factor = infinity}, state(64), "got 1 and inf");
  check_sentence(Llama3{.original_context = 0}, state(64),
                 "original_context, the trained length, must be positive, got 0");
}

}  // namespace llama3_cases
