// SPDX-License-Identifier: MIT
#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/sliding_window.hpp>

#include "heads.hpp"

using namespace posenc;

namespace a_shape_cases {

constexpr HeadShape shape{.num_heads = 4, .num_kv_heads = 2};

TEST_CASE("AShape: pairs and tiles of heads that differ") {
  const std::vector<SinkWindow> heads{{0, 3}, {5, 9}, {40, 1}, {2, SlidingWindow::unlimited}};
  mask_of_heads_is(
      AShape{heads}.prepare(shape), 4,
      [&](Index head, Position query, Position key) {
        const auto [sinks, window] = heads[static_cast<std::size_t>(head)];
        return key <= query && (key < sinks || query - key < window);
      },
      Fullness::exact);
}

TEST_CASE("AShape: one entry serves all heads and is SinkWindow") {
  const auto mask = AShape{{{.sinks = 3, .window = 11}}}.prepare(shape);
  const SinkWindow alike{.sinks = 3, .window = 11};
  mask_of_heads_is(
      mask, 4, [&](Index, Position query, Position key) { return alike.visible(pair(query, key)); },
      Fullness::exact);
  const auto own = AShape{}.prepare(shape);  // (100, 800), what the reference searches
  REQUIRE(own.heads.size() == 4);
  CHECK(own.heads[3].sinks == 100);
  CHECK(own.heads[3].window == 800);
}

TEST_CASE("AShape: what is wrong is said") {
  CHECK(sentences_of(AShape{}, shape).empty());
  CHECK_THAT(sentences_of(AShape{.heads = {{}, {}}}, shape),
             ContainsSubstring("one entry for each of the 4 query heads or one for all, got 2"));
  CHECK_THAT(sentences_of(AShape{.heads = {}}, shape), ContainsSubstring("got 0"));
  CHECK_THAT(sentences_of(AShape{.heads = {{}, {}, {.sinks = -1, .window = 5}, {}}}, shape),
             ContainsSubstring("got -1 and 5 for head 2"));
  CHECK_THAT(sentences_of(AShape{.heads = {{.sinks = 0, .window = 0}}}, shape),
             ContainsSubstring("must be at least 1, got 0 and 0 for head 0"));
}

}  // namespace a_shape_cases
