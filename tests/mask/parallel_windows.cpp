// SPDX-License-Identifier: MIT
#include <posenc/mask/causal.hpp>
#include <posenc/mask/parallel_windows.hpp>

#include "../support/sentences.hpp"
#include "../support/sequence.hpp"
#include "check_mask.hpp"

#include <numeric>

using namespace posenc;

namespace parallel_windows_cases {

constexpr auto rope = Sequence::rope;

/// The window of each token; the task is that behind the last.
std::vector<Index> windows_of(const std::vector<Position>& lengths, Index tokens) {
  std::vector<Index> ids;
  for (std::size_t w = 0; w < lengths.size(); ++w)
    ids.insert(ids.end(), static_cast<std::size_t>(lengths[w]), static_cast<Index>(w));
  ids.resize(static_cast<std::size_t>(tokens), std::ssize(lengths));
  return ids;
}

auto visible_in(const std::vector<Index>& ids, Index task) {
  return [&ids, task](Index query, Index key) {
    const Index own = ids[static_cast<std::size_t>(query)];
    return key <= query && (own == task || own == ids[static_cast<std::size_t>(key)]);
  };
}

Rows attend(const Sequence& s, const ParallelWindows& windows) {
  const std::vector<Position> ids = windows.positions(s.tokens);
  return s.attend(rope | windows, {.query_positions = ids, .key_positions = ids});
}

TEST_CASE("ParallelWindows: pairs and tiles") {
  for (const std::vector<Position>& lengths :
       {std::vector<Position>{1}, {40}, {1, 1, 1}, {10, 3, 20}, {16, 16, 16}, {500}}) {
    const std::vector<Index> ids = windows_of(lengths, 1000);
    const auto visible = visible_in(ids, std::ssize(lengths));
    mask_is(ParallelWindows{lengths}.prepare({}), visible, Tiles::conservative);
  }
}

TEST_CASE("ParallelWindows: tiles that can be skipped are skipped") {
  // Windows are [0, 10), [10, 13) and [13, 33), the task is what follows.
  const auto mask = ParallelWindows{{10, 3, 20}}.prepare({});
  CHECK(mask.classify(tile_of({13, 32}, {0, 12})) == TileClass::none);
  CHECK(mask.classify(tile_of({10, 32}, {0, 9})) == TileClass::none);
  CHECK(mask.classify(tile_of({10, 32}, {33, 40})) == TileClass::none);
  CHECK(mask.classify(tile_of({20, 32}, {13, 20})) == TileClass::full);
  CHECK(mask.classify(tile_of({33, 50}, {0, 33})) == TileClass::full);
  CHECK(mask.classify(tile_of({32, 33}, {0, 12})) == TileClass::partial);
  constexpr Position last = greatest_position;
  CHECK(ParallelWindows{{last - 1, 1}}.prepare({}).classify(
            tile_of({last - 1, last - 1}, {0, 9})) == TileClass::none);
}

TEST_CASE("ParallelWindows: positions") {
  using Ids = std::vector<Position>;
  const ParallelWindows left{.lengths = {2, 4, 1}},
      right{.lengths = {2, 4, 1}, .align_right = true};
  CHECK(left.positions(10) == Ids{0, 1, 0, 1, 2, 3, 0, 4, 5, 6});
  CHECK(right.positions(10) == Ids{2, 3, 0, 1, 2, 3, 3, 4, 5, 6});
  CHECK(left.positions(3) == Ids{0, 1, 0});
  CHECK(left.positions(0).empty());
  CHECK(left.context_tokens() == 7);
  CHECK((left.window_positions(2)[0] == 0 && right.window_positions(2)[0] == 3));
  CHECK((left.task_positions()[0] == 4 && right.task_positions()[2] == 6));
}

TEST_CASE("ParallelWindows: the formula") {
  const Sequence s(150);
  const std::vector<Position> lengths{40, 7, 70, 3};
  const std::vector<Index> owner = windows_of(lengths, s.tokens);
  for (const bool right : {false, true}) {
    const auto place = [&](Index t) {
      Index first = 0;
      for (const Position length : lengths) {
        if (t < first + length) return t - first + (right ? 70 - length : 0);
        first += length;
      }
      return 70 + t - 120;
    };
    CHECK(difference(attend(s, {lengths, right}),
                     s.dense([&](Index i, Index j) { return place(i) - place(j); },
                             visible_in(owner, 4))) < 1e-13);
  }
}

TEST_CASE("ParallelWindows: one window is ordinary attention") {
  const Sequence s(100);
  CHECK(difference(attend(s, {{60}}), s.attend(rope | Causal{})) < 1e-13);
}

TEST_CASE("ParallelWindows: windows know nothing of each other") {
  const Sequence s(100);
  const Rows out = attend(s, {{30, 20, 40}});
  std::vector<Index> second(20);
  std::iota(second.begin(), second.end(), 30);
  const Rows alone = s.some(second).attend(rope | Causal{});
  for (Index t = 0; t < 20; ++t) CHECK(difference(row_of(out, 30 + t), row_of(alone, t)) < 1e-13);
}

TEST_CASE("ParallelWindows: the order of windows of equal length has no effect on the task") {
  const Sequence s(100);
  std::vector<Index> order;
  for (const Index first : {50, 0, 25})
    for (Index t = 0; t < 25; ++t) order.push_back(first + t);
  for (Index t = 75; t < 100; ++t) order.push_back(t);
  const Rows out = attend(s, {{25, 25, 25}}), other = attend(s.some(order), {{25, 25, 25}});
  for (Index t = 75; t < 100; ++t) CHECK(difference(row_of(out, t), row_of(other, t)) < 1e-13);
  // Aligned to the right, windows of any lengths.
  const ParallelWindows uneven{{10, 40, 25}, true}, turned{{25, 10, 40}, true};
  std::vector<Index> turn(100);
  std::iota(turn.begin(), turn.end(), 0);
  std::rotate(turn.begin(), turn.begin() + 50, turn.begin() + 75);
  CHECK(difference(row_of(attend(s, uneven), 99), row_of(attend(s.some(turn), turned), 99)) <
        1e-13);
}

TEST_CASE("ParallelWindows: decoding over a cache of rotated keys") {
  const Sequence s(100);
  for (const bool right : {false, true}) {
    const ParallelWindows windows{{30, 8, 40}, right};
    const auto bound = bind(rope | windows, {.num_heads = s.heads, .num_kv_heads = s.kv_heads});
    auto cache = KeyValueCache<KeyState::rotated, double>::contiguous(Sequence::cache_of(100));
    Rows out(s.q.size());
    const auto step = [&](Index first, Index n, const AppendOptions& options) {
      cache.append(0, s.keys().slice(first, n), s.values().slice(first, n), bound, options);
      decode(s.queries().slice(first, n), cache,
             TensorView(out.data() + first * s.heads * s.width, n, s.heads, s.width), bound);
    };
    Index first = 0;
    for (Index w = 0; w < 3; ++w) {
      const Index length = windows.lengths[static_cast<std::size_t>(w)];
      step(first, length, {.positions = windows.window_positions(w)});
      first += length;
    }
    step(first, 1, {.positions = windows.task_positions()});
    for (Index t = first + 1; t < s.tokens; ++t) step(t, 1, {});  // one after another
    CHECK(difference(out, attend(s, windows)) < 1e-13);
  }
}

TEST_CASE("ParallelWindows: what is wrong is said") {
  CHECK(sentences_of(ParallelWindows{{3, 1}}).empty());
  CHECK_THAT(sentences_of(ParallelWindows{}), ContainsSubstring("at least one window"));
  CHECK_THAT(sentences_of(ParallelWindows{{3, 0}}),
             ContainsSubstring("got a length of 0 for window 1"));
  CHECK_THAT(sentences_of(ParallelWindows{{greatest_position, 1}}),
             ContainsSubstring("window 1 of 1 goes beyond"));
  CHECK_THROWS_WITH(ParallelWindows{}.positions(3), ContainsSubstring("at least one window"));
  CHECK_THROWS_WITH(ParallelWindows{{2}}.positions(-1),
                    ContainsSubstring("tokens must not be negative, got -1"));
  CHECK_THROWS_WITH(ParallelWindows{}.task_positions(), ContainsSubstring("at least one window"));
  CHECK_THROWS_AS(
      (ParallelWindows{{Position{1} << 62, Position{1} << 62, Position{1} << 62}}.context_tokens()),
      Error);
  CHECK_THROWS_WITH(ParallelWindows{{2}}.window_positions(1),
                    ContainsSubstring("there are 1 windows, so there is none of number 1"));
  CHECK_THROWS_AS(bind(rope | ParallelWindows{{-2}}), Error);
}

}  // namespace parallel_windows_cases
