// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/proportional.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<Proportional> && ChecksState<Proportional> &&
              !LengthDependent<Proportional>);

TEST_CASE("Proportional keeps the fastest pairs and stops the rest") {
  for (Index d : {2, 64, 100, 512})
    for (double fraction : {0.0, 0.25, 0.3, 0.5, 0.99, 1.0}) {
      const RotaryState s = after(Proportional{.fraction = fraction, .factor = 4}, state(d, 1e6));
      const Index rotating = static_cast<Index>(fraction * static_cast<double>(d)) / 2;
      CHECK(Proportional{.fraction = fraction}.rotating_pairs(d) == rotating);
      check_pairs(s, [&](Index i) { return i < rotating ? plain(i, d, 1e6L) / 4 : 0.0L; }, 1e-14);
    }
}

TEST_CASE("Proportional with fraction 1 is RoPE, with fraction 0 no position") {
  check_identity(Proportional{}, state(128));
  CHECK((after(Proportional{.fraction = 0}, state(128)).inv_freq == 0).all());
}

TEST_CASE("Proportional reports wrong parameters") {
  CHECK(sentences(Proportional{.fraction = 0.25}, state(64)).empty());
  check_sentence(Proportional{.fraction = 1.5}, state(64),
                 "fraction must be between 0 and 1, got 1.5");
  check_sentence(Proportional{.fraction = not_a_number}, state(64), "got nan");
  check_sentence(Proportional{.factor = 0}, state(64), "factor must be at least 1, got 0");
  RotaryState partial = state(32);
  partial.head_dim = 64;
  check_sentence(Proportional{}, partial, "rotary_dim must be head_dim, got 32 of 64 channels");
}
