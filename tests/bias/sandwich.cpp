// SPDX-License-Identifier: MIT
#include <posenc/bias/sandwich.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace sandwich_cases {

/// Inner product of two sinusoidal encodings without their constant channel pair, in long double.
long double expected(Position d, int width, long double base, int head, int heads) {
  long double product = 0;
  const Position query = 1000 + d, key = 1000;
  for (int t = 1; t <= width / 2; ++t) {
    const long double w = std::pow(base, -2.0L * t / width);
    product +=
        std::sin(query * w) * std::sin(key * w) + std::cos(query * w) * std::cos(key * w) - 1;
  }
  return product * heads / (8.0L * (head + 1));
}

TEST_CASE("Sandwich: equals the inner products that it is made of") {
  const std::vector<Position> distances = {0,   1,   2,   3,    255,    256, 257,  299,
                                           300, 301, 511, 5000, 70'000, -1,  -300, -900};
  for (const Index cached : {0, 1, 300, 65'536})
    for (const int width : {2, 64, 128}) {
      const PreparedSandwich bias =
          Sandwich{.width = width, .cached_distances = cached}.prepare({.num_heads = 12});
      for (const Position d : distances)
        for (const int head : {0, 5, 11})
          CHECK_THAT(bias.relative_bias(head, d),
                     WithinAbs(static_cast<double>(expected(d, width, 10000, head, 12)), 2e-10));
    }
}

TEST_CASE("Sandwich: zero at distance 0, never positive, symmetric, less for later heads") {
  const PreparedSandwich bias = Sandwich{.cached_distances = 1000}.prepare({.num_heads = 8});
  CHECK(bias.relative_bias(0, 0) == 0);
  CHECK(bias.relative_bias(7, 0) == 0);
  for (Position d = 1; d < 3000; ++d) {
    const double first = bias.relative_bias(0, d);
    REQUIRE(first < 0);
    REQUIRE(bias.relative_bias(0, -d) == first);
    REQUIRE(bias.relative_bias(3, d) == Approx(first / 4));
  }
  CHECK(bias.relative_bias(0, Position{1} << 52) <= 0);
}

TEST_CASE("Sandwich: what is wrong is said") {
  CHECK(sentences_of(Sandwich{}).empty());
  CHECK_THAT(sentences_of(Sandwich{.width = 7}),
             ContainsSubstring("width must be positive and even, got 7"));
  CHECK_THAT(sentences_of(Sandwich{.base = 1}),
             ContainsSubstring("base must exceed 1 and be finite, got 1"));
  CHECK_THAT(sentences_of(Sandwich{.cached_distances = -1}),
             ContainsSubstring("cached_distances must be between 0"));
}

}  // namespace sandwich_cases
