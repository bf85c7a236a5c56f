// SPDX-License-Identifier: MIT
#include <posenc/bias/alibi.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace alibi_cases {

/// The slopes as MPT makes them: over the next power of two, odd places behind even ones, cut off.
std::vector<double> slopes_of_mpt(int heads, long double max_bias) {
  int powers = 1;
  while (powers < heads) powers *= 2;
  std::vector<double> all, slopes;
  for (int t = 1; t <= powers; ++t)
    all.push_back(static_cast<double>(1 / std::pow(2.0L, max_bias * t / powers)));
  if (powers == heads) return all;
  for (std::size_t t = 1; t < all.size(); t += 2) slopes.push_back(all[t]);
  for (std::size_t t = 0; t < all.size(); t += 2) slopes.push_back(all[t]);
  slopes.resize(static_cast<std::size_t>(heads));
  return slopes;
}

void has_exponents(Index heads, const std::vector<double>& exponents) {
  const std::vector<double> slopes = alibi_slopes(heads);
  REQUIRE(std::ssize(slopes) == heads);
  for (std::size_t h = 0; h < exponents.size(); ++h)
    CHECK(std::log2(slopes[h]) == Approx(exponents[h]));
}

TEST_CASE("ALiBi: slopes of 6, 8, 12 and 71 heads, as in the paper's repository") {
  has_exponents(6, {-2, -4, -6, -8, -1, -3});
  has_exponents(8, {-1, -2, -3, -4, -5, -6, -7, -8});
  has_exponents(12, {-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5});
  std::vector<double> falcon;
  for (int h = 1; h <= 64; ++h) falcon.push_back(-h / 8.0);
  for (int h = 0; h < 7; ++h) falcon.push_back(-(2 * h + 1) / 16.0);
  has_exponents(71, falcon);
}

TEST_CASE("ALiBi: the rule equals MPT's construction for every number of heads up to 256") {
  for (int heads = 1; heads <= 256; ++heads)
    for (const int max_bias : {8, 4, 16}) {
      const auto expected = slopes_of_mpt(heads, max_bias);
      const auto slopes = alibi_slopes(heads, max_bias);
      REQUIRE(slopes.size() == expected.size());
      for (std::size_t h = 0; h < slopes.size(); ++h)
        REQUIRE_THAT(slopes[h], WithinRel(expected[h], 1e-15));
    }
}

TEST_CASE("ALiBi: the bias falls with the distance on both sides") {
  const PreparedALiBi bias = ALiBi{}.prepare({.num_heads = 8, .num_kv_heads = 8});
  CHECK(bias.relative_bias(0, 0) == 0);
  CHECK(bias.relative_bias(0, 10) == -5);
  CHECK(bias.relative_bias(0, -10) == -5);
  CHECK(bias.relative_bias(7, 1 << 20) == -4096);
  CHECK(bias.relative_bias(0, (Position{1} << 52) + 1) == -0.5 * ((1LL << 52) + 1));
}

TEST_CASE("ALiBi: explicit slopes and a factor") {
  const ALiBi alibi{.slopes = {1, 0.5, 0}, .slope_factor = 0.25};
  const PreparedALiBi bias = alibi.prepare({.num_heads = 3});
  CHECK(bias.relative_bias(0, 4) == -1);
  CHECK(bias.relative_bias(1, 4) == -0.5);
  CHECK(bias.relative_bias(2, 4) == 0);
}

TEST_CASE("ALiBi: what is wrong is said") {
  const double nan = std::nan("");
  CHECK(sentences_of(ALiBi{}).empty());
  CHECK_THAT(sentences_of(ALiBi{.max_bias = -1}), ContainsSubstring("max_bias must be positive"));
  CHECK_THAT(sentences_of(ALiBi{.slope_factor = nan}),
             ContainsSubstring("slope_factor must be finite"));
  CHECK_THAT(sentences_of(ALiBi{.slopes = {1, 2}}),
             ContainsSubstring("got 2 slopes for 4 query heads"));
  CHECK_THAT(sentences_of(ALiBi{.slopes = {1, 2, nan, 4}}),
             ContainsSubstring("every slope must be finite"));
}

}  // namespace alibi_cases
