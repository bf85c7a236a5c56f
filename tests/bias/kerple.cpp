// SPDX-License-Identifier: MIT
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/kerple.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace kerple_cases {
constexpr HeadShape four{.num_heads = 4, .num_kv_heads = 4};
const std::vector<Position> distances = {0, 1, 2, 17, 4096, 1'000'003, -1, -513};

TEST_CASE("Kerple: the formulas, in long double") {
  const std::vector<double> r1{0.01, 0.7, 1.3, 2}, r2{0.02, 1, 1.5, 2};
  const auto log_kernel = KerpleLog{.r1 = r1, .r2 = r2}.prepare(four);
  const auto power = KerplePower{.r1 = r1, .r2 = r2}.prepare(four);
  for (std::size_t h = 0; h < 4; ++h)
    for (const Position d : distances) {
      const auto n = static_cast<long double>(d < 0 ? -d : d);
      const auto head = static_cast<Index>(h);
      const long double a = r1[h], b = r2[h];
      CHECK_THAT(log_kernel.relative_bias(head, d),
                 WithinRel(static_cast<double>(-a * std::log(1 + b * n)), 1e-14));
      CHECK_THAT(power.relative_bias(head, d),
                 WithinRel(static_cast<double>(-a * std::pow(n, b)), 1e-14));
    }
}

TEST_CASE("Kerple: no bias at distance 0, then falling") {
  const auto log_kernel = KerpleLog{}.prepare(four);
  const auto power = KerplePower{.r1 = {0.5}, .r2 = {0.3}}.prepare(four);
  CHECK(log_kernel.relative_bias(0, 0) == 0);
  CHECK(power.relative_bias(3, 0) == 0);
  for (Position d = 1; d < 100; ++d) {
    CHECK(log_kernel.relative_bias(0, d) < log_kernel.relative_bias(0, d - 1));
    CHECK(power.relative_bias(3, d) < power.relative_bias(3, d - 1));
  }
}

TEST_CASE("Kerple: the power kernel with exponent 1 is ALiBi") {
  const std::vector<double> slopes = alibi_slopes(4);
  const auto power = KerplePower{.r1 = slopes, .r2 = {1}}.prepare(four);
  const PreparedALiBi alibi = ALiBi{}.prepare(four);
  for (Index h = 0; h < 4; ++h)
    for (const Position d : distances)
      CHECK(power.relative_bias(h, d) == alibi.relative_bias(h, d));
}

TEST_CASE("Kerple: the logarithmic kernel tends to ALiBi") {
  const auto kernel = KerpleLog{.r1 = {0.25e12}, .r2 = {1e-12}}.prepare(four);
  const PreparedALiBi alibi = ALiBi{.slopes = {0.25, 0.25, 0.25, 0.25}}.prepare(four);
  for (const Position d : distances)
    CHECK_THAT(kernel.relative_bias(1, d), WithinRel(alibi.relative_bias(1, d), 1e-6));
}

TEST_CASE("Kerple: what is wrong is said") {
  CHECK(sentences_of(KerpleLog{}).empty());
  CHECK(sentences_of(KerplePower{.r1 = {1, 2, 3, 4}, .r2 = {2}}).empty());
  CHECK_THAT(sentences_of(KerpleLog{.r1 = {1, 2}}),
             ContainsSubstring(
                 "KerpleLog: r1 must have one value, or one for each of the 4 query heads, got 2"));
  CHECK_THAT(sentences_of(KerpleLog{.r2 = {}}), ContainsSubstring("r2 must have one value"));
  CHECK_THAT(sentences_of(KerpleLog{.r1 = {-1}}),
             ContainsSubstring("r1 must be positive and finite, got -1"));
  CHECK_THAT(sentences_of(KerplePower{.r2 = {2.5}}),
             ContainsSubstring("KerplePower: r2 must be above 0 and at most 2, got 2.5"));
  CHECK_THAT(sentences_of(KerplePower{.r1 = {std::nan("")}}),
             ContainsSubstring("r1 must be positive"));
}

}  // namespace kerple_cases
