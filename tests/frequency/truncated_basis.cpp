// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/truncated_basis.hpp>

#include <vector>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<TruncatedBasis> && ChecksState<TruncatedBasis> &&
              !LengthDependent<TruncatedBasis>);

TEST_CASE("TruncatedBasis golden numbers") {
  const RotaryState before = state(128);
  const RotaryState s = after(TruncatedBasis{}, before);
  for (Index i = 0; i < 41; ++i) CHECK(s.inv_freq[i] == before.inv_freq[i]);
  for (Index i = 41; i < 55; ++i) CHECK(s.inv_freq[i] == printed(1.91747598e-4, 3e-9));
  for (Index i = 55; i < 64; ++i) CHECK(s.inv_freq[i] == 0);
}

TEST_CASE("TruncatedBasis without an end changes nothing") {
  check_identity(TruncatedBasis{.wavelength = infinity}, state(128));
}

TEST_CASE("TruncatedBasis code and paper differ at the lower bound alone") {
  RotaryState before = state(6);
  const double high = 2 * static_cast<double>(pi) / 1024;
  before.inv_freq = std::vector{high, high / 8, high / 9};
  const RotaryState code = after(TruncatedBasis{.wavelength = 1024}, before);
  const RotaryState paper =
      after(TruncatedBasis{.wavelength = 1024, .form = TruncatedBasisForm::paper}, before);
  CHECK(code.inv_freq[0] == high);
  CHECK(code.inv_freq[1] == high / 16);
  CHECK(code.inv_freq[2] == 0);
  CHECK(paper.inv_freq[0] == high);
  CHECK(paper.inv_freq[1] == 0);
  CHECK(paper.inv_freq[2] == 0);
}

TEST_CASE("TruncatedBasis with one cut is Proportional at the matching fraction") {
  const RotaryState before = state(128);
  // Between the wavelengths of pairs 31 and 32.
  const double cut =
      static_cast<double>(2 * pi / std::sqrt(plain(31, 128, 10000) * plain(32, 128, 10000)));
  const RotaryState truncated = after(TruncatedBasis{.wavelength = cut, .zero_ratio = 1}, before);
  CHECK((truncated.inv_freq == after(Proportional{.fraction = 0.5}, before).inv_freq).all());
}

TEST_CASE("TruncatedBasis reports wrong parameters") {
  CHECK(sentences(TruncatedBasis{}, state(64)).empty());
  CHECK(sentences(TruncatedBasis{.wavelength = infinity}, state(64)).empty());
  check_sentence(TruncatedBasis{.wavelength = 0}, state(64), "wavelength must be positive, got 0");
  check_sentence(TruncatedBasis{.wavelength = not_a_number}, state(64),
                 "wavelength must be positive, got nan");
  check_sentence(TruncatedBasis{.zero_ratio = 0.5}, state(64),
                 "zero_ratio must be at least 1, got 0.5");
  check_sentence(TruncatedBasis{.fill_ratio = infinity}, state(64),
                 "fill_ratio must be at least 1, got inf");
}
