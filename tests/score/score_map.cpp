// SPDX-License-Identifier: MIT
#include <posenc/core/pipeline.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/score/score_map.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace score_map_cases {
struct Leaky {
  double slope;

  template <class T>
  T operator()(T x) const {
    return x > 0 ? x : static_cast<T>(slope) * x;
  }
  void check(Problems& problems, const HeadShape&) const {
    problems.require(slope >= 0, "Leaky: slope must not be negative, got ", slope, ".");
  }
};

TEST_CASE("score_map(f): a function of the score, in the kernel's own type") {
  constexpr auto halve = score_map([](auto x) { return x / 2; });
  static_assert(ScoreMap<decltype(halve)>);
  static_assert(halve.map_score(3.0F, Score{}) == 1.5F);
  static_assert(std::is_same_v<decltype(halve.map_score(3.0, Score{})), double>);
  static_assert(std::is_same_v<decltype(halve.map_score(3.0F, Score{})), float>);
  CHECK(halve.map_score(1e-300, Score{}) == 5e-301);
}

TEST_CASE("score_map(f): a function of the score and of where it stands") {
  const auto by_head = score_map([](auto x, const Score& at) { return at.head == 0 ? x : -x; });
  static_assert(ScoreMap<decltype(by_head)>);
  CHECK(by_head.map_score(2.0, Score{.head = 0}) == 2);
  CHECK(by_head.map_score(2.0F, Score{.head = 1}) == -2);
  const auto by_distance =
      score_map([](double x, Score at) { return x + static_cast<double>(at.distance()); });
  CHECK(by_distance.map_score(2.0, Score{.query = 9, .key = 4}) == 7);
  CHECK(by_distance.map_score(2.0F, Score{.query = 9, .key = 4}) == 7);
}

TEST_CASE("score_map(f): composes, and checks what the functor checks") {
  const auto composed = score_map(Leaky{0.1}) | Causal{};
  static_assert(decltype(composed)::size == 2);
  CHECK(score_map(Leaky{0.5}).map_score(-4.0, Score{}) == -2);
  CHECK_THAT(sentences_of(score_map(Leaky{-1})),
             ContainsSubstring("slope must not be negative, got -1"));
}

}  // namespace score_map_cases
