// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/power_scaling.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<PowerScaling> && ChecksState<PowerScaling> &&
              !LengthDependent<PowerScaling>);

TEST_CASE("PowerScaling golden numbers") {
  const RotaryState s = after(PowerScaling{.exponent = 0.5}, state(128));
  CHECK(s.inv_freq[0] == 1);
  CHECK(s.inv_freq[1] == golden(0.859172341449));
  CHECK(s.inv_freq[63] == golden(1.44347748086e-5));
}

TEST_CASE("PowerScaling is its formula, in both countings") {
  for (Index d : {2, 64, 128})
    for (double exponent : {0.1, 0.5, 2.0}) {
      const auto expected = [&](Index i, int first) {
        const Real place = 2 * static_cast<Real>(i + first) / static_cast<Real>(d);
        return plain(i, d, 10000) * std::pow(1 - place, static_cast<Real>(exponent));
      };
      check_pairs(after(PowerScaling{.exponent = exponent}, state(d)),
                  [&](Index i) { return expected(i, 0); });
      const RotaryState paper =
          after(PowerScaling{.exponent = exponent, .form = PowerScalingForm::paper}, state(d));
      check_pairs(paper, [&](Index i) { return expected(i, 1); });
      CHECK(paper.inv_freq[d / 2 - 1] == 0);
    }
}

TEST_CASE("PowerScaling with exponent 0 changes nothing") {
  for (PowerScalingForm form : {PowerScalingForm::code, PowerScalingForm::paper})
    check_identity(PowerScaling{.exponent = 0, .form = form}, state(128));
}

TEST_CASE("PowerScaling reports a wrong exponent") {
  CHECK(sentences(PowerScaling{.exponent = 0.5}, state(64)).empty());
  check_sentence(PowerScaling{.exponent = -1}, state(64),
                 "exponent must be finite and not negative, got -1");
  check_sentence(PowerScaling{.exponent = not_a_number}, state(64), "got nan");
}
