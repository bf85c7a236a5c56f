// SPDX-License-Identifier: MIT
#include <posenc/score/score_map.hpp>

#include "contradictions.hpp"

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

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

/// Computes in float whatever it is given: by its argument, by what it returns, or by both.
template <class Argument, class Result>
struct FloatCap {
  double cap = 30;
  double stated = cap;

  template <class T>
  Result map_score(T x, const Score&) const {
    return static_cast<Result>(cap *
                               std::tanh(static_cast<double>(static_cast<Argument>(x)) / cap));
  }
  template <class T>
  T map_score_derivative(T x, const Score&) const {
    const T y = std::tanh(x / static_cast<T>(stated));
    return 1 - y * y;
  }
};

TEST_CASE("validate: a score map in float has differences, too") {
  CHECK(contradictions(FloatCap<float, float>{}).text.empty());
  CHECK(contradictions(FloatCap<double, float>{}).text.empty());
  CHECK(contradictions(FloatCap<float, double>{}).text.empty());
  CHECK(contradictions(FloatCap<float, float>{.cap = 3000}).text.empty());
  says(contradictions(FloatCap<float, float>{.stated = 25}),
       "the derivative of map_score is said to be ");
}

/// Doubles that are greater by 1.
struct Apart {
  float map_score(float x, const Score&) const { return 2 * x; }
  double map_score(double x, const Score&) const { return 2 * x + 1; }
};

TEST_CASE("validate: what a score map says of a float is compared with the same number") {
  const std::string text = contradictions(Apart{}).text;
  double in_float = 0, of = 0, in_double = 0;
  const std::size_t from = text.find("map_score says");
  REQUIRE(from != std::string::npos);
  REQUIRE(std::sscanf(text.c_str() + from,
                      "map_score says %lf of the float %lf and %lf of the same", &in_float, &of,
                      &in_double) == 3);
  CHECK(std::abs(in_float - 2 * of) < 1e-3);
  CHECK(std::abs(in_double - in_float - 1) < 1e-3);
}

/// By tiles another slope than by distance.
struct TiledSlope {
  double relative_bias(Index, Position distance) const {
    return -0.1 * static_cast<double>(distance);
  }
  template <class Use>
  void tile_bias(const Tile&, Index, const Use& use) const {
    use([](const Score& at) { return -0.2 * static_cast<double>(at.distance()); });
  }
};

TEST_CASE("validate: the question that was asked is named") {
  const std::string text = contradictions(TiledSlope{}).text;
  CHECK_THAT(text, ContainsSubstring(" and relative_bias says "));
  CHECK_THAT(text, !ContainsSubstring("score_bias"));
}

}  // namespace biases_cases
