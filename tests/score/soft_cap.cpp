// SPDX-License-Identifier: MIT
#include <posenc/score/soft_cap.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

TEST_CASE("SoftCap: the formula, in long double") {
  for (const double cap : {1.0, 30.0, 50.0})
    for (const double x : {-1e4, -60.0, -1.0, -1e-3, 0.0, 0.5, 49.0, 1e6}) {
      const auto expected = static_cast<double>(static_cast<long double>(cap) *
                                                std::tanh(static_cast<long double>(x) / cap));
      CHECK_THAT(SoftCap{cap}.map_score(x, Score{}), WithinRel(expected, 1e-14));
      CHECK_THAT(static_cast<double>(SoftCap{cap}.map_score(static_cast<float>(x), Score{})),
                 WithinRel(expected, 1e-6));
    }
}

TEST_CASE("SoftCap: bounded, odd, rising, and nothing for a great cap") {
  const SoftCap soft{50};
  for (double x = -300; x < 300; x += 0.5) {
    CHECK(std::abs(soft.map_score(x, Score{})) <= 50);
    CHECK(soft.map_score(-x, Score{}) == -soft.map_score(x, Score{}));
    CHECK(soft.map_score(x, Score{}) <= soft.map_score(x + 0.5, Score{}));
    CHECK_THAT(SoftCap{1e9}.map_score(x, Score{}), WithinAbs(x, 1e-9));
  }
}

TEST_CASE("SoftCap: what is wrong is said") {
  CHECK(sentences_of(SoftCap{}).empty());
  CHECK_THAT(sentences_of(SoftCap{0}), ContainsSubstring("cap must be positive and finite, got 0"));
  CHECK_THAT(sentences_of(SoftCap{std::nan("")}),
             ContainsSubstring("cap must be positive and finite, got nan"));
}
