// SPDX-License-Identifier: MIT
#include <posenc/distance/focused_transformer.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chunked_causal.hpp>

#include "../support/sentences.hpp"
#include "../support/sequence.hpp"
#include "check_regions.hpp"

#include <numeric>

using namespace posenc;

namespace focused_transformer_cases {

constexpr auto rope = Sequence::rope;

/// Windows as the reference makes them: whole ones, the last one cut off at `last`.
std::vector<Index> places(Index tokens, Index window, Index last) {
  std::vector<Index> begins;
  for (Index t = 0, begin = 0; t < tokens; ++t) {
    if (t == last || t - begin == window) begin = t;
    begins.push_back(begin);
  }
  return begins;
}

TEST_CASE("FocusedTransformer: distances and regions") {
  for (const auto& [window, last] : std::vector<std::pair<Position, Position>>{
           {1, -1}, {7, -1}, {16, -1}, {16, 37}, {10, 40}, {12, 3}, {200, -1}, {9, 0}}) {
    const FocusedTransformer map{.window = window, .last = last};
    const auto begin = places(130, window, last);
    int wrong = 0;
    for (Index n = 0; n < 130; ++n)
      for (Index m = 0; m < 130; ++m) {
        const Index q = begin[static_cast<std::size_t>(n)], k = begin[static_cast<std::size_t>(m)];
        const Index expected = q == k ? n - m : q > k ? n - q : -(m - k);
        wrong += map.distance(n, m) != static_cast<double>(expected);
        wrong += map.distance(n, m) != -map.distance(m, n);
      }
    CHECK(wrong == 0);
    regions_reproduce_distance(map, -30, 100, 0);
    regions_of_tiles_are_exact(map, 120, 1);
    if (window > 1) key_copies_are_least(map, -30, 60);
  }
}

TEST_CASE("FocusedTransformer: one softmax over the window and the memory") {
  const Sequence s(150);
  for (const Index last : {Index{-1}, Index{100}}) {
    const FocusedTransformer map{.window = 32, .last = last};
    const auto begin = places(150, 32, last);
    const auto at = [&](Index i) { return begin[static_cast<std::size_t>(i)]; };
    CHECK(difference(s.attend(rope | map | Causal{}),
                     s.dense([&](Index i, Index j) { return at(i) == at(j) ? i - j : i - at(i); },
                             [](Index i, Index j) { return j <= i; })) < 1e-12);
  }
}

TEST_CASE(
    "FocusedTransformer: without a memory it is RoPE, and the window alone is chunked attention") {
  const Sequence s(100);
  CHECK(difference(s.attend(rope | FocusedTransformer{.window = 100} | Causal{}),
                   s.attend(rope | Causal{})) < 1e-12);
  CHECK(difference(s.attend(rope | FocusedTransformer{.window = 32} | ChunkedCausal{.chunk = 32}),
                   s.attend(rope | ChunkedCausal{.chunk = 32})) < 1e-12);
  CHECK(difference(s.attend(rope | FocusedTransformer{.window = 32} | Causal{}),
                   s.attend(rope | Causal{})) > 1e-3);
}

TEST_CASE("FocusedTransformer: the order of the memory has no effect") {
  const Sequence s(80);
  std::vector<Index> order(80);
  std::iota(order.begin(), order.end(), 0);
  std::reverse(order.begin(), order.begin() + 64);
  const auto encoding = rope | FocusedTransformer{.window = 32} | Causal{};
  const Rows out = s.attend(encoding), other = s.some(order).attend(encoding);
  for (Index n = 64; n < 80; ++n) CHECK(difference(row_of(out, n), row_of(other, n)) < 1e-12);
}

TEST_CASE("FocusedTransformer: token by token over raw keys") {
  const Sequence s(120);
  const auto encoding = rope | FocusedTransformer{.window = 32, .last = 80} | Causal{};
  auto cache = KeyValueCache<KeyState::raw, double>::contiguous(Sequence::cache_of(120));
  CHECK(difference(s.decode(cache, encoding), s.attend(encoding)) < 1e-12);
}

TEST_CASE("FocusedTransformer: what is wrong is said") {
  CHECK(sentences_of(FocusedTransformer{}).empty());
  CHECK(sentences_of(FocusedTransformer{.window = greatest_position, .last = greatest_position})
            .empty());
  CHECK_THAT(sentences_of(FocusedTransformer{.window = 0}), ContainsSubstring("[1, 2^52], got 0"));
  CHECK_THAT(sentences_of(FocusedTransformer{.last = -2}), ContainsSubstring("or none, got -2"));
  constexpr Position most = std::numeric_limits<Position>::max();
  CHECK(!sentences_of(FocusedTransformer{.window = most}).empty());
}

}  // namespace focused_transformer_cases
