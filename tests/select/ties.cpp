// SPDX-License-Identifier: MIT
//
// Equal scores, NaN and infinities; blocks without a summary; executors, memory.
#include "../support/allocations.hpp"
#include "../support/backwards.hpp"
#include "choices.hpp"

#include <posenc/eigen.hpp>

#include <limits>

namespace select_test {
namespace ties_cases {

constexpr float inf = std::numeric_limits<float>::infinity(),
                nan = std::numeric_limits<float>::quiet_NaN();

/// Blocks of greatest score, by sorting all of them.
Blocks sorted_choice(const std::vector<float>& scores, Index first, Index last, Index top) {
  Blocks blocks;
  for (Index b = first; b < last; ++b) blocks.push_back(b);
  std::ranges::stable_sort(blocks, [&](Index a, Index b) {
    const float x = scores[size(a)], y = scores[size(b)];
    return std::isnan(x) ? !std::isnan(y) : x > y;
  });
  blocks.resize(size(top));
  std::ranges::sort(blocks);
  return blocks;
}

TEST_CASE(
    "the greatest scores are those of a stable sort, with ties and numbers that are not finite") {
  Random random(1);
  for (int round = 0; round < 400; ++round) {
    const Index n = random.integer(2, 90), first = random.integer(0, n / 3),
                top = random.integer(0, n - first - 1);
    std::vector<float> scores;
    for (Index b = 0; b < n; ++b)
      scores.push_back(random.chance(0.1) ? random.pick({nan, -nan, inf, -inf, 0.0F, -0.0F})
                                          : static_cast<float>(random.integer(-4, 4)) *
                                                (round % 2 ? 0.25F : 1e30F));
    std::vector<std::uint64_t> room(size(2 * top + 1));
    detail::choose_blocks(scores.data(), first, n, top, room.data());
    Blocks got;
    for (Index i = 0; i < top; ++i) got.push_back(detail::block_of(room[size(i)]));
    REQUIRE(got == sorted_choice(scores, first, n, top));
  }
}

TEST_CASE("a page with a NaN is read, and of equal pages the earlier ones") {
  const auto bound = without_positions(1, 1);
  auto cache = KeyValueCache<KeyState::raw>::contiguous({.head_dim = 4, .capacity = 64});
  std::vector<float> k(40 * 4, 1.0F);
  k[17 * 4 + 2] = nan;
  append(cache, 0, k, bound);
  const std::vector<float> q(4, 1.0F);
  const Selection chosen = chosen_by<float>(Quest{.block = 4, .budget = 16}, cache, bound, q, 1);
  CHECK(blocks_of(chosen[0], 4, 39) == Blocks{0, 1, 4, 9});
  // A query of NaN meets equal scores.
  const Selection of_nan =
      chosen_by<float>(Quest{.block = 4, .budget = 16}, cache, bound, {nan, nan, nan, nan}, 1);
  CHECK(blocks_of(of_nan[0], 4, 39) == Blocks{0, 1, 2, 9});
}

TEST_CASE("blocks without a summary are read") {
  const auto bound = without_positions(1, 1);
  Random random(2);
  auto cache = KeyValueCache<KeyState::raw>::contiguous({.head_dim = 8, .capacity = 128});
  append(cache, 0, numbers(100 * 8, random), bound);
  const Quest quest{.block = 4, .budget = 12};
  Summaries summaries(quest, cache, bound);
  Selection chosen;
  const std::vector<float> q = numbers(8, random);
  const TensorView<const float> query(q.data(), 1, 1, 8);
  select(query, cache, summaries, bound, chosen);
  CHECK(chosen[0].tokens == 100);
  summaries.update(cache, 0, bound, {.tokens = 61});
  CHECK(summaries.blocks(0) == 15);
  select(query, cache, summaries, bound, chosen);
  const Blocks blocks = blocks_of(chosen[0], 4, 99);
  CHECK(blocks.size() == 12);  // two, and 15 to 24
  CHECK(blocks[2] == 15);
  summaries.update(cache, 0, bound);
  select(query, cache, summaries, bound, chosen);
  CHECK(blocks_of(chosen[0], 4, 99).size() == 3);
}

TEST_CASE("several sequences, drafts, executors: the same choices") {
  Random random(3);
  const Index heads = 4, width = 16;
  const auto bound = bind(RoPE<Interleaved>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = 2});
  auto cache = KeyValueCache<KeyState::rotated, Eigen::bfloat16>::contiguous(
      {.sequences = 3, .kv_heads = 2, .head_dim = width, .capacity = 700});
  const Index held[] = {300, 5, 641};
  for (Index s = 0; s < 3; ++s) append(cache, s, numbers(held[s] * 2 * width, random), bound);
  const std::vector<Index> sequences{2, 0, 1}, starts{0, 11, 11, 13};
  const std::vector<float> q = numbers(13 * heads * width, random);
  for (const ChoicePer per : {ChoicePer::query_head, ChoicePer::key_head, ChoicePer::sequence}) {
    const Quest quest{.block = 16, .budget = 80, .per = per};
    const Selection one = chosen_by<Eigen::bfloat16>(quest, cache, bound, q, heads,
                                                     {.sequences = sequences, .starts = starts});
    const Selection other = chosen_by<Eigen::bfloat16>(
        quest, cache, bound, q, heads,
        {.sequences = sequences, .starts = starts, .executor = posenc_test::Backwards{3}});
    REQUIRE(one.size() == other.size());
    for (Index c = 0; c < one.size(); ++c) {
      CHECK(one[c].readers == other[c].readers);
      CHECK(std::ranges::equal(one[c].ranges, other[c].ranges));
      const Index row = one[c].readers.query;
      const Index own = row < 11 ? 630 + row : row - 8;
      CHECK(one[c].tokens == (own < 80 ? own + 1 : 64 + own % 16 + 1));
    }
    // A query by itself, chooses the same.
    Summaries<Quest, Eigen::bfloat16> summaries(quest, cache, bound);
    summaries.update(cache, 2, bound);
    Selection last;
    const std::vector<Index> third{2};
    select(TensorView<const float>(q.data() + 10 * heads * width, 1, heads, width), cache,
           summaries, bound, last, {.sequences = third});
    const Index choices = last.size();
    for (Index c = 0; c < choices; ++c)
      CHECK(std::ranges::equal(last[c].ranges, one[10 * choices + c].ranges));
  }
}

TEST_CASE("a step allocates nothing") {
  Random random(4);
  const Index heads = 4, width = 16;
  const auto bound =
      bind(RoPE<HalfSplit>{.head_dim = width} | Causal{}, {.num_heads = heads, .num_kv_heads = 2});
  auto cache =
      KeyValueCache<KeyState::raw>::contiguous({.kv_heads = 2, .head_dim = width, .capacity = 900});
  append(cache, 0, numbers(600 * 2 * width, random), bound);
  Summaries<Quest, Eigen::bfloat16> summaries(Quest{.budget = 128}, cache, bound);
  const std::vector<float> q = numbers(heads * width, random), k = numbers(2 * width, random);
  std::vector<std::byte> memory(select_workspace(cache, summaries, bound) + 64);
  const std::size_t off = reinterpret_cast<std::uintptr_t>(memory.data()) % 64;
  const SelectOptions options{.workspace = std::span(memory).subspan(off == 0 ? 0 : 64 - off)};
  Selection chosen;
  for (Index c = 0; c < heads; ++c)  // room for all that there may be
    chosen.add({}, std::vector<KeyRange>(16));
  const TensorView<const float> query(q.data(), 1, heads, width);
  summaries.update(cache, 0, bound);
  select(query, cache, summaries, bound, chosen, options);
  const std::size_t before = posenc_test::allocations();
  for (int step = 0; step < 40; ++step) {
    append(cache, 0, k, bound);
    summaries.update(cache, 0, bound);
    select(query, cache, summaries, bound, chosen, options);
  }
  CHECK(posenc_test::allocations() == before);
  CHECK(summaries.blocks(0) == 640 / 16);
}

}  // namespace ties_cases
}  // namespace select_test
