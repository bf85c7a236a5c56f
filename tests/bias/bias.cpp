// SPDX-License-Identifier: MIT
#include <posenc/bias/bias.hpp>
#include <posenc/core/pipeline.hpp>
#include <posenc/mask/causal.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace bias_cases {

struct RecencyBonus {
  float strength, half_life;

  constexpr float operator()(Score at) const {
    return strength * half_life / (half_life + static_cast<float>(at.distance()));
  }
  void check(Problems& problems, const HeadShape&) const {
    problems.require(half_life > 0, "RecencyBonus: half_life must be positive, got ", half_life,
                     ".");
  }
};

struct Both {
  float operator()(Score) const { return 1; }
  float operator()(Index head, Position distance) const {
    return static_cast<float>(head - distance);
  }
};

TEST_CASE("bias(f): a function of Score") {
  constexpr auto bonus = bias(RecencyBonus{1.5F, 64});
  static_assert(ScoreBias<decltype(bonus)> && !RelativeBias<decltype(bonus)>);
  static_assert(bonus.score_bias(Score{.query = 64, .key = 0}) == 0.75F);
  static_assert(std::is_same_v<decltype(bonus.score_bias(Score{})), float>);
  CHECK(bonus.score_bias(Score{.query = 10, .key = 10}) == 1.5F);
}

TEST_CASE("bias(f): a function of head and distance") {
  const auto slope =
      bias([](Index head, Position distance) { return static_cast<double>(-head * distance); });
  static_assert(RelativeBias<decltype(slope)> && !ScoreBias<decltype(slope)>);
  CHECK(slope.relative_bias(3, 7) == -21);
  const auto both = bias(Both{});
  static_assert(RelativeBias<decltype(both)> && !ScoreBias<decltype(both)>);
  CHECK(both.relative_bias(3, 7) == -4);
}

TEST_CASE("bias(f): a generic lambda and a captured value are functions too") {
  const double weight = 2;
  const auto by_score =
      bias([weight](const auto& at) { return weight * static_cast<double>(at.head); });
  static_assert(ScoreBias<decltype(by_score)>);
  CHECK(by_score.score_bias(Score{.head = 3}) == 6);
}

TEST_CASE("bias(f): composes, and checks what the functor checks") {
  const auto composed = bias(RecencyBonus{1, 1}) | Causal{};
  static_assert(decltype(composed)::size == 2);
  CHECK(sentences_of(bias(RecencyBonus{1, 1})).empty());
  CHECK_THAT(sentences_of(bias(RecencyBonus{1, -2})),
             ContainsSubstring("half_life must be positive, got -2"));
  CHECK(sentences_of(bias(Both{}, 0)).empty());
  const auto sentence = [](const char* got) {
    return ContainsSubstring(
        std::string("bias(f): cached_distances must be at least 0, and query heads x "
                    "cached_distances at most 1073741824, got ") +
        got);
  };
  CHECK_THAT(sentences_of(bias(Both{}, -1), 4), sentence("4 heads x -1 distances."));
  CHECK(sentences_of(bias(Both{}, Index{1} << 28), 4).empty());
  CHECK_THAT(sentences_of(bias(Both{}, Index{1} << 28), 5),
             sentence("5 heads x 268435456 distances."));
}

}  // namespace bias_cases
