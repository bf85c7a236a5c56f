// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/ntk_by_parts.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/rescale_factors.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<RescaleFactors> && ChecksState<RescaleFactors> &&
              !LengthDependent<RescaleFactors>);

namespace rescale_factors_cases {

template <class Lambda>
RescaleFactors list(Index pairs, Lambda lambda) {
  RescaleFactors rescale;
  for (Index i = 0; i < pairs; ++i)
    rescale.factors.push_back(static_cast<double>(lambda(static_cast<Real>(i))));
  return rescale;
}

void check_equal(const RotaryState& a, const RotaryState& b) {
  check_pairs(a, [&](Index i) { return b.inv_freq[i]; });
}

TEST_CASE("RescaleFactors of ones changes nothing") {
  check_identity(list(64, [](Real) { return 1.0L; }), state(128));
}

TEST_CASE("RescaleFactors can write any scheme") {
  const RotaryState s = state(128);
  check_equal(after(list(64, [](Real) { return 8.0L; }), s), after(PI{8}, s));
  check_equal(after(list(64, [](Real i) { return std::pow(8.0L, 2 * i / 126); }), s),
              after(NTK{8}, s));
  check_equal(after(list(64, [](Real i) { return std::pow(8.0L, 2 * (i + 1) / 128); }), s),
              after(NTK{.alpha = 8, .form = NTKForm::su_fixed}, s));
  // Llama 2 to 128K: the band of the index ramp is 20 to 46.
  check_equal(after(list(64,
                         [](Real i) {
                           const Real g = 1 - std::min(1.0L, std::max(0.0L, (i - 20) / 26));
                           return 1 / ((1 - g) / 32 + g);
                         }),
                    s),
              after(NTKByParts{.factor = 32, .original_context = 4096}, s));
  check_equal(after(list(64,
                         [](Real i) {
                           const Real turns = 8192 * std::pow(10000.0L, -i / 64) / (2 * pi);
                           const Real g = std::min(1.0L, std::max(0.0L, (turns - 1) / 3));
                           return 1 / ((1 - g) / 8 + g);
                         }),
                    s),
              after(Llama3{}, s));
}

TEST_CASE("RescaleFactors reports wrong lists") {
  const RotaryState s = state(4);
  CHECK(sentences(RescaleFactors{.factors = {1, 0.5}}, s).empty());
  check_sentence(RescaleFactors{.factors = {1}}, s,
                 "factors must have a value per rotary pair: 2 values, got 1");
  check_sentence(RescaleFactors{.factors = {1, 0}}, s,
                 "factors[1] must be finite and positive, got 0");
  check_sentence(RescaleFactors{.factors = {infinity, 1}}, s,
                 "factors[0] must be finite and positive, got inf");
  check_sentence(RescaleFactors{.factors = {1, 1}, .attention_factor = -1}, s,
                 "attention_factor must be positive");
}

}  // namespace rescale_factors_cases
