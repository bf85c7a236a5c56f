// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/pi.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<ABF> && ChecksState<ABF> && !LengthDependent<ABF>);

TEST_CASE("ABF is RoPE with a larger base") {
  for (Index d : {2, 24, 64, 128, 256}) {
    const RotaryState s = after(ABF{}, state(d));
    check_pairs(s, [&](Index i) { return plain(i, d, 500000.0L); }, 1e-14);
    CHECK(s.base == 500000);
    CHECK(s.inv_freq[0] == 1);
  }
}

TEST_CASE("ABF with beta 1 changes nothing") { check_identity(ABF{.beta = 1}, state(128, 5e5)); }

TEST_CASE("ABF multiplies the table so far") {
  check_pairs(after(ABF{.beta = 5}, after(PI{4}, state(128))),
              [](Index i) { return plain(i, 128, 50000.0L) / 4; });
  const RotaryState twice = after(ABF{.beta = 5}, after(ABF{.beta = 10}, state(128)));
  check_pairs(twice, [](Index i) { return plain(i, 128, 500000.0L); });
  CHECK(twice.base == 500000);
}

TEST_CASE("ABF is NTK under another name") {
  for (Index d : {4, 64, 128}) {
    const double alpha = std::pow(50.0, static_cast<double>(d - 2) / static_cast<double>(d));
    if (d == 128) CHECK(alpha == printed(47.0352653, 1e-9));
    const RotaryState abf = after(ABF{.beta = 50}, state(d));
    const RotaryState ntk = after(NTK{.alpha = alpha}, state(d));
    check_pairs(ntk, [&](Index i) { return abf.inv_freq[i]; });
    CHECK(ntk.base == Approx(abf.base).epsilon(1e-12));
  }
}

TEST_CASE("ABF reports a wrong beta") {
  CHECK(sentences(ABF{}, state(64)).empty());
  check_sentence(ABF{.beta = 0}, state(64), "beta must be positive and finite, got 0");
  check_sentence(ABF{.beta = -2}, state(64), "beta must be positive and finite, got -2");
  check_sentence(ABF{.beta = not_a_number}, state(64), "got nan");
  check_sentence(ABF{.beta = infinity}, state(64), "got inf");
  check_sentence(ABF{.beta = 1e-5}, state(64), "beta times the base must exceed 1");
}
