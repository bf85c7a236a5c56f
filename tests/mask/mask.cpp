// SPDX-License-Identifier: MIT
#include <posenc/core/pipeline.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace mask_cases {
struct EveryNth {
  Position n;

  constexpr bool operator()(const Score& at) const { return at.key_index % n == 0; }
  void check(Problems& problems, const HeadShape&) const {
    problems.require(n > 0, "EveryNth: n must be positive, got ", n, ".");
  }
};

TEST_CASE("mask(f): a predicate, asked about every score") {
  constexpr auto third = mask(EveryNth{3});
  static_assert(Mask<decltype(third)> && !TiledMask<decltype(third)>);
  static_assert(third.visible({.key_index = 9}) && !third.visible({.key_index = 10}));
  const auto by_head = mask([](Score at) { return at.head == 1; });
  CHECK(by_head.visible(Score{.head = 1}));
  CHECK(!by_head.visible(Score{.head = 2}));
}

TEST_CASE("mask(f): composes, and checks what the functor checks") {
  const auto composed = mask(EveryNth{2}) | Causal{};
  static_assert(decltype(composed)::size == 2);
  CHECK_THAT(sentences_of(mask(EveryNth{0})), ContainsSubstring("n must be positive, got 0"));
}

}  // namespace mask_cases
