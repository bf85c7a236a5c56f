// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/pi.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<NTK> && ChecksState<NTK> && !LengthDependent<NTK>);

TEST_CASE("NTK golden numbers") {
  const RotaryState plain_state = state(128);
  CHECK(plain_state.inv_freq[1] == golden(0.86596432336));
  CHECK(plain_state.inv_freq[63] == golden(1.15478198469e-4));

  const RotaryState four = after(NTK{.alpha = 4}, plain_state);
  CHECK(four.base == golden(40889.9424325));
  CHECK(four.inv_freq[1] == golden(0.847117185151));
  CHECK(four.inv_freq[63] == golden(2.88695496172e-5));
  CHECK(after(NTK{.alpha = 8}, plain_state).base == golden(82684.6226406));

  CHECK(after(NTK{.alpha = 4, .form = NTKForm::su_fixed}, plain_state).inv_freq[0] ==
        golden(0.978572062088));

  const RotaryState mixed = after(NTK{.alpha = 8, .form = NTKForm::su_mixed}, plain_state);
  CHECK(mixed.inv_freq[0] == golden(0.856796009516));
  CHECK(mixed.inv_freq[1] == golden(0.682311755573));
  CHECK(mixed.inv_freq[31] == golden(2.99860038025e-3));
  CHECK(mixed.inv_freq[63] == golden(1.44347748086e-5));
}

TEST_CASE("NTK is its formula") {
  for (Index d : {4, 24, 64, 128})
    for (double alpha : {1.25, 4.0, 40.0}) {
      const Real a = alpha, dim = static_cast<Real>(d);
      const auto two_i = [](Index i) { return 2 * static_cast<Real>(i); };
      const RotaryState bloc97 = after(NTK{.alpha = alpha}, state(d));
      const Real base = 10000 * std::pow(a, dim / (dim - 2));
      CHECK(bloc97.base == Approx(static_cast<double>(base)).epsilon(1e-13));
      check_pairs(bloc97, [&](Index i) { return plain(i, d, base); });

      const RotaryState old = after(NTK{.alpha = alpha, .form = NTKForm::su_old}, state(d));
      CHECK(old.base == 10000 * alpha);
      check_pairs(old, [&](Index i) { return plain(i, d, 10000 * a); });

      const RotaryState fixed = after(NTK{.alpha = alpha, .form = NTKForm::su_fixed}, state(d));
      CHECK(fixed.base == 10000 * alpha);
      check_pairs(fixed,
                  [&](Index i) { return plain(i, d, 10000) / std::pow(a, (two_i(i) + 2) / dim); });

      for (double c : {0.625, 0.75})
        check_pairs(after(NTK{.alpha = alpha, .form = NTKForm::su_mixed, .exponent = c}, state(d)),
                    [&](Index i) {
                      const Real scale = std::log(a) / std::pow(dim / 2, static_cast<Real>(c));
                      return plain(i, d, 10000) /
                             std::exp(scale *
                                      std::pow(static_cast<Real>(i) + 1, static_cast<Real>(c)));
                    });
    }
}

TEST_CASE("NTK with alpha 1 changes nothing") {
  for (NTKForm form : {NTKForm::bloc97, NTKForm::su_old, NTKForm::su_fixed, NTKForm::su_mixed})
    for (Index d : {2, 4, 128}) check_identity(NTK{.alpha = 1, .form = form}, state(d, 5e5));
}

TEST_CASE("NTK keeps the first pair and interpolates the last") {
  for (Index d : {4, 64, 128}) {
    const double last = static_cast<double>(plain(d / 2 - 1, d, 10000) / 6);
    const RotaryState bloc97 = after(NTK{.alpha = 6}, state(d));
    CHECK(bloc97.inv_freq[0] == 1);
    CHECK(bloc97.inv_freq[d / 2 - 1] == Approx(last).epsilon(1e-12));
    CHECK(after(NTK{.alpha = 6, .form = NTKForm::su_old}, state(d)).inv_freq[0] == 1);
    for (NTKForm form : {NTKForm::su_fixed, NTKForm::su_mixed})
      CHECK(after(NTK{.alpha = 6, .form = form}, state(d)).inv_freq[d / 2 - 1] ==
            Approx(last).epsilon(1e-12));
  }
}

TEST_CASE("NTK stays between PI and RoPE, and its ratio to RoPE falls") {
  const RotaryState before = state(128, 5e5);
  const RotaryState s = after(NTK{.alpha = 8}, before);
  check_between(s, before, 8 * (1 + 1e-12));
  for (Index i = 1; i < 64; ++i)
    CHECK(s.inv_freq[i] / before.inv_freq[i] < s.inv_freq[i - 1] / before.inv_freq[i - 1]);
}

TEST_CASE("NTK's mixed form lies between PI and the fixed form") {
  const auto mixed = [](double c) {
    return after(NTK{.alpha = 8, .form = NTKForm::su_mixed, .exponent = c}, state(128));
  };
  const RotaryState fixed = after(NTK{.alpha = 8, .form = NTKForm::su_fixed}, state(128));
  const RotaryState pi_state = after(PI{8}, state(128));
  check_pairs(mixed(1), [&](Index i) { return fixed.inv_freq[i]; });
  check_pairs(mixed(0), [&](Index i) { return pi_state.inv_freq[i]; });
}

TEST_CASE("NTK leaves a single pair alone") {
  const RotaryState s = after(NTK{.alpha = 4}, state(2));
  CHECK(s.inv_freq[0] == 1);
  CHECK(s.base == 10000);
  CHECK(after(NTK{.alpha = 4, .form = NTKForm::su_fixed}, state(2)).inv_freq[0] == 0.25);
}

TEST_CASE("NTK reports wrong parameters") {
  CHECK(sentences(NTK{.alpha = 2}, state(64)).empty());
  check_sentence(NTK{.alpha = 0.5}, state(64), "alpha must be at least 1, got 0.5");
  check_sentence(NTK{.alpha = -4}, state(64), "alpha must be at least 1, got -4");
  check_sentence(NTK{.alpha = not_a_number}, state(64), "alpha must be at least 1, got nan");
  check_sentence(NTK{.alpha = 2, .form = NTKForm::su_mixed, .exponent = 1.5}, state(64),
                 "between 0 (PI) and 1 (su_fixed), got 1.5");
  check_sentence(NTK{.alpha = 2, .form = NTKForm::su_mixed, .exponent = not_a_number}, state(64),
                 "got nan");
  CHECK(sentences(NTK{.alpha = 2, .exponent = 9}, state(64)).empty());
}
