// SPDX-License-Identifier: MIT
#include <posenc/mask/sink_window.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

using namespace posenc;

TEST_CASE("SinkWindow: pairs and tiles") {
  for (const Position sinks : {0, 1, 4, 30, 500})
    for (const Position window : {1, 2, 16, 500})
      mask_is(
          SinkWindow{sinks, window},
          [&](Position query, Position key) {
            return key <= query && (key < sinks || key > query - window);
          },
          Tiles::exact);
}

TEST_CASE("SinkWindow: the window counts the query's own token") {
  constexpr SinkWindow mask{.sinks = 4, .window = 8};
  int seen = 0;
  for (Position key = 0; key < 100; ++key) seen += mask.visible(pair(60, key));
  CHECK(seen == 12);
  static_assert(mask.visible({.query_index = 60, .key_index = 53}));
  static_assert(!mask.visible({.query_index = 60, .key_index = 52}));
  static_assert(mask.visible({.query_index = 60, .key_index = 3}));
  static_assert(!mask.visible({.query_index = 60, .key_index = 4}));
}

TEST_CASE("SinkWindow: extreme parameters and indices") {
  constexpr Position most = std::numeric_limits<Position>::max(), last = Position{1} << 52;
  const auto causal = [](Position query, Position key) { return key <= query; };
  mask_is(SinkWindow{most, 1}, causal, Tiles::exact);
  mask_is(SinkWindow{0, most}, causal, Tiles::exact);
  mask_is(SinkWindow{most, most}, causal, Tiles::exact);
  static_assert(SinkWindow{4, 16}.classify(tile_of({last - 8, last}, {4, last - 24})) ==
                TileClass::none);
  static_assert(SinkWindow{4, 16}.classify(tile_of({last - 8, last}, {0, 3})) == TileClass::full);
}

TEST_CASE("SinkWindow: what is wrong is said") {
  CHECK(sentences_of(SinkWindow{}).empty());
  CHECK_THAT(sentences_of(SinkWindow{.sinks = -1}),
             ContainsSubstring("sinks must not be negative, got -1"));
  CHECK_THAT(sentences_of(SinkWindow{.window = 0}), ContainsSubstring("must be at least 1, got 0"));
}
