// SPDX-License-Identifier: MIT
#include <posenc/score/score_map.hpp>

#include "contradictions.hpp"

#include <cmath>
#include <limits>

using namespace validate_test;

namespace biases_cases {

/// Nothing up to a reach, and -0.5 beyond it. By tiles it is one or the other where the tile says so.
struct Step {
  Position reach = 700;
  Position early = 0;  ///< tokens by which a tile is taken for far too early
  int times = 1;       ///< how often `use` is called
  float off = 0;       ///< added within tiles that lie on both sides
  bool nan_ahead = false;

  float score_bias(const Score& at) const {
    if (nan_ahead && at.distance() < 0) return std::numeric_limits<float>::quiet_NaN();
    return at.distance() > reach ? -0.5F : 0.0F;
  }
  template <class Use>
  void tile_bias(const Tile& tile, Index, const Use& use) const {
    for (int i = 0; i < times; ++i)
      if (tile.least_distance() > reach - early)
        use([](const Score&) { return -0.5F; });
      else
        use([this](const Score& at) { return score_bias(at) + off; });
  }
};

TEST_CASE("validate: a bias by tiles that tells the truth") {
  for (const Position reach : {0, 64, 700, 4000})
    CHECK(contradictions(Step{.reach = reach}).text.empty());
}

TEST_CASE("validate: a bias by tiles that differs from the one by scores") {
  says(contradictions(Step{.off = 0.01F}), "tile_bias says ");
  says(contradictions(Step{.reach = 5, .early = 1}),
       "tile_bias says -0.5 and score_bias says 0 at query ");
  says(contradictions(Step{.times = 2}),
       "calls the function that it is given 2 times, and not once");
  says(contradictions(Step{.times = 0}),
       "calls the function that it is given 0 times, and not once");
}

TEST_CASE("validate: a bias that is asked about the future too") {
  CHECK_THAT(contradictions(Step{.nan_ahead = true}).text,
             ContainsSubstring("the bias is not a number at "));
}

/// Says its bias by distance and by score.
struct Both {
  double slope = 0.1;
  double relative_bias(Index, Position distance) const {
    return -0.1 * static_cast<double>(distance);
  }
  double score_bias(const Score& at) const { return -slope * static_cast<double>(at.distance()); }
};

TEST_CASE("validate: a bias by distance and by score") {
  CHECK(contradictions(Both{}).text.empty());
  says(contradictions(Both{.slope = 0.11}), "attention asks relative_bias alone");
}

/// A smooth cap, whose derivative may be that of another.
struct Cap {
  double stated = 30;
  float coarse = 0;  ///< by which floats are off

  template <class T>
  T map_score(T x, const Score&) const {
    if constexpr (std::is_same_v<T, float>) return 30 * std::tanh(x / 30) + coarse;
    return 30 * std::tanh(x / 30);
  }
  template <class T>
  T map_score_derivative(T x, const Score&) const {
    const T y = std::tanh(x / static_cast<T>(stated));
    return 1 - y * y;
  }
};

TEST_CASE("validate: the derivative of a score map, and its numbers") {
  CHECK(contradictions(Cap{}).text.empty());
  says(contradictions(Cap{.stated = 25}), "the derivative of map_score is said to be ");
  says(contradictions(Cap{.coarse = 0.5F}), "map_score says ");
}

TEST_CASE("validate: kinks, and derivatives that numbers bring along") {
  CHECK(contradictions(score_map([](auto x) { return x > 0 ? x : x / 2; })).text.empty());
  CHECK(contradictions(score_map([](auto x) {
          using std::exp;
          return x / (1 + exp(-x));
        })).text.empty());
}

}  // namespace biases_cases
