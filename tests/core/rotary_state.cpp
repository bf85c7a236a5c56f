// SPDX-License-Identifier: MIT
#include <posenc/core/rotary_state.hpp>

#include "../support/catch.hpp"

#include <cmath>

using namespace posenc;

TEST_CASE("geometric_frequencies: base^(-2i/d) to double precision") {
  for (const double base : {1e4, 1.5e5, 5e5, 1e6, 1e7, 2.5, 1.0, 0.5})
    for (const Index dim : {2, 4, 6, 24, 64, 80, 96, 128, 256}) {
      const Frequencies inv_freq = geometric_frequencies(base, dim);
      REQUIRE(inv_freq.size() == dim / 2);
      for (Index i = 0; i < dim / 2; ++i) {
        const long double expected =
            std::pow(static_cast<long double>(base),
                     -2.0L * static_cast<long double>(i) / static_cast<long double>(dim));
        CHECK_THAT(inv_freq[i], WithinRel(static_cast<double>(expected), 1e-14));
      }
      CHECK(inv_freq[0] == 1);
    }
}

TEST_CASE("geometric_frequencies: published numbers") {
  const Frequencies inv_freq = geometric_frequencies(10000, 128);
  CHECK_THAT(inv_freq[1], WithinAbs(0.86596432336, 5e-12));
  CHECK_THAT(inv_freq[63], WithinAbs(1.15478198469e-4, 5e-16));
}

TEST_CASE("geometric_frequencies: nothing to rotate") {
  CHECK(geometric_frequencies(10000, 0).size() == 0);
  CHECK(geometric_frequencies(10000, 1).size() == 0);
  CHECK(geometric_frequencies(10000, -8).size() == 0);
}

TEST_CASE("pair_indices: 0, 1, 2, ...") {
  const Frequencies indices = pair_indices(65);
  REQUIRE(indices.size() == 65);
  for (Index i = 0; i < 65; ++i) CHECK(indices[i] == static_cast<double>(i));
  CHECK(pair_indices(1)[0] == 0);
  CHECK(pair_indices(0).size() == 0);
}

TEST_CASE("RotaryState: defaults change nothing") {
  RotaryState state;
  CHECK(state.attention_factor == 1);
  CHECK(state.score_factor == 1);
  CHECK(state.length == 0);
  CHECK(state.pairs() == 0);
  CHECK(state.axes == 1);
  CHECK(state.axis.empty());
  CHECK(state.growth.size() == 0);
  state.rotary_dim = 64;
  CHECK(state.pairs() == 32);
}
