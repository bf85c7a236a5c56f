// SPDX-License-Identifier: MIT
#include <posenc/core/pipeline.hpp>
#include <posenc/mask/any_of.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sliding_window.hpp>

#include "../support/sentences.hpp"
#include "check_mask.hpp"

using namespace posenc;

namespace any_of_cases {
/// A mask that exists only once the number of heads is known.
struct Late {
  struct Prepared {
    Position heads;
    [[nodiscard]] bool visible(const Score& at) const { return at.key_index < heads; }
  };
  [[nodiscard]] Prepared prepare(const HeadShape& shape) const { return {shape.num_heads}; }
};

TEST_CASE("any_of: the union, pairs and tiles") {
  mask_is(
      any_of(SlidingWindow{.left = 9, .right = 2}, PrefixLM{12}, Documents{{0, 20, 33}}),
      [](Position query, Position key) {
        const auto document = [](Position token) { return (token >= 20) + (token >= 33); };
        return (key >= query - 9 && key <= query + 2) || key < 12 || key <= query ||
               document(query) == document(key);
      },
      Tiles::conservative);
  mask_is(
      any_of(Causal{}), [](Position query, Position key) { return key <= query; }, Tiles::exact);
}

TEST_CASE("any_of: one full mask fills a tile, and all must hide it") {
  constexpr auto either = any_of(SlidingWindow{.left = 4}, PrefixLM{8});
  static_assert(TiledMask<decltype(either)> && Component<decltype(either)>);
  static_assert(either.classify(tile_of({2, 5}, {0, 7})) == TileClass::full);
  static_assert(either.classify(tile_of({2, 5}, {8, 9})) == TileClass::none);
  static_assert(either.visible({.query_index = 2, .key_index = 7}));
}

TEST_CASE("any_of: a predicate takes part, and counts as partial") {
  const auto even = mask([](Score at) { return at.key_index % 2 == 0; });
  const auto either = any_of(even, Causal{});
  static_assert(TiledMask<decltype(either)>);
  mask_is(
      either, [](Position query, Position key) { return key % 2 == 0 || key <= query; },
      Tiles::conservative);
  CHECK(either.classify(tile_of({8, 9}, {0, 8})) == TileClass::full);
  CHECK(either.classify(tile_of({8, 9}, {20, 30})) == TileClass::partial);
  static_assert(!TiledMask<decltype(any_of(even, even))> && Mask<decltype(any_of(even, even))>);
}

TEST_CASE("any_of: prepares and checks its masks, and nests") {
  const auto either = any_of(Late{}, SlidingWindow{.left = 1});
  static_assert(Component<decltype(either)> && Prepares<decltype(either)>);
  static_assert(!Prepares<decltype(any_of(Causal{}))>);
  const auto prepared = either.prepare({.num_heads = 3});
  CHECK(prepared.visible(pair(50, 2)));
  CHECK(!prepared.visible(pair(50, 3)));
  CHECK(prepared.visible(pair(50, 49)));
  const auto nested = any_of(any_of(PrefixLM{-7}, Causal{}), SlidingWindow{.left = -3});
  CHECK_THAT(sentences_of(nested), ContainsSubstring("got -7") && ContainsSubstring("got -3"));
  const auto composed = Causal{} | any_of(SlidingWindow{.left = 3}, PrefixLM{2});
  static_assert(decltype(composed)::size == 2);
}

}  // namespace any_of_cases
