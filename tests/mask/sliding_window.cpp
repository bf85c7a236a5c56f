// SPDX-License-Identifier: MIT
#include <posenc/mask/sliding_window.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

using namespace posenc;

namespace sliding_window_cases {
int tokens_seen(const SlidingWindow& mask, Position query) {
  int seen = 0;
  for (Position key = 0; key < 100; ++key) seen += mask.visible(pair(query, key));
  return seen;
}

TEST_CASE("SlidingWindow: pairs and tiles") {
  for (const Position left : {0, 1, 7, 30, 500})
    for (const Position right : {0, 1, 5, 500})
      mask_is(
          SlidingWindow{left, right},
          [&](Position query, Position key) { return key >= query - left && key <= query + right; },
          Tiles::exact);
}

TEST_CASE("SlidingWindow: dilated, pairs and tiles") {
  for (const Position left : {0, 7, 40})
    for (const Position right : {0, 5})
      for (const Position dilation : {2, 3, 11, 1000})
        mask_is(
            SlidingWindow{left, right, dilation},
            [&](Position query, Position key) {
              return key >= query - left && key <= query + right && (query - key) % dilation == 0;
            },
            Tiles::exact);
}

TEST_CASE("SlidingWindow: the three conventions") {
  const SlidingWindow counted = SlidingWindow::from_token_count(16);
  CHECK(counted.left == 15);
  CHECK(counted.right == 0);
  CHECK(tokens_seen(counted, 50) == 16);
  CHECK(counted.visible(pair(50, 35)));
  CHECK(!counted.visible(pair(50, 34)));
  CHECK(tokens_seen({.left = 16, .right = 3}, 50) == 20);  // window_size (16, 3)
  CHECK(tokens_seen({.left = 16}, 50) == 17);              // D <= w
  CHECK(tokens_seen(SlidingWindow::from_token_count(1), 50) == 1);
  CHECK(tokens_seen(counted, 3) == 4);
}

TEST_CASE("SlidingWindow: unlimited on the left is causal, on both sides it is nothing") {
  constexpr Position most = std::numeric_limits<Position>::max();
  mask_is(SlidingWindow{}, [](Position query, Position key) { return key <= query; }, Tiles::exact);
  mask_is(SlidingWindow{most, most}, [](Position, Position) { return true; }, Tiles::exact);
  mask_is(
      SlidingWindow{0, most}, [](Position query, Position key) { return key >= query; },
      Tiles::exact);
  constexpr Position last = Position{1} << 52;
  static_assert(SlidingWindow{most, most}.classify(tile_of({0, last}, {0, last})) ==
                TileClass::full);
  static_assert(SlidingWindow{.left = 3}.classify(tile_of({last, last}, {last - 3, last})) ==
                TileClass::full);
  static_assert(SlidingWindow{.left = 3}.classify(tile_of({last, last}, {0, last - 4})) ==
                TileClass::none);
  static_assert(SlidingWindow{most, most, most}.classify(tile_of({1, 9}, {20, 29})) ==
                TileClass::none);
}

TEST_CASE("SlidingWindow: what is wrong is said") {
  CHECK(sentences_of(SlidingWindow{}).empty());
  CHECK_THAT(sentences_of(SlidingWindow::from_token_count(0)),
             ContainsSubstring("left must not be negative, got -1"));
  CHECK_THAT(sentences_of(SlidingWindow{.right = -2}),
             ContainsSubstring("right must not be negative, got -2"));
  CHECK_THAT(sentences_of(SlidingWindow{.dilation = 0}),
             ContainsSubstring("dilation must be at least 1, got 0"));
}

}  // namespace sliding_window_cases
