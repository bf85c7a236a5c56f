// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/pi.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<PI> && ChecksState<PI> && !LengthDependent<PI>);

TEST_CASE("PI divides every frequency") {
  for (Index d : {2, 6, 64, 96, 128})
    for (double factor : {1.5, 4.0, 32.0})
      check_pairs(
          after(PI{factor}, state(d, 5e5)),
          [&](Index i) { return plain(i, d, 5e5L) / static_cast<Real>(factor); }, 1e-14);
}

TEST_CASE("PI with factor 1 changes nothing") { check_identity(PI{}, state(128)); }

TEST_CASE("PI reports a wrong factor") {
  CHECK(sentences(PI{.factor = 4}, state(64)).empty());
  check_sentence(PI{.factor = 0.5}, state(64), "factor must be at least 1, got 0.5");
  check_sentence(PI{.factor = not_a_number}, state(64), "factor must be at least 1, got nan");
  check_sentence(PI{.factor = infinity}, state(64), "got inf");
}
