// SPDX-License-Identifier: MIT
//
// What each method chooses, held to its formula in double.
#include "choices.hpp"

#include <posenc/eigen.hpp>

namespace select_test {
namespace methods_cases {

/// Scores of blocks in double: of block b of the keys that a query of rank `own` sees.
struct Dense {
  Index tokens, heads, kv_heads, width;
  std::vector<float> q, k;  ///< [token][head][channel]

  double dot(Index row, Index head, Index key) const {
    double sum = 0;
    const Index kv = head / (heads / kv_heads);
    for (Index c = 0; c < width; ++c)
      sum += static_cast<double>(q[size((row * heads + head) * width + c)]) *
             static_cast<double>(k[size((key * kv_heads + kv) * width + c)]);
    return sum;
  }
  double mean_score(Index row, Index head, Index block, Index b) const {
    const Index end = std::min((b + 1) * block, tokens);
    double sum = 0;
    for (Index key = b * block; key < end; ++key) sum += dot(row, head, key);
    return sum / static_cast<double>(end - b * block);
  }
  double bound(Index row, Index head, Index block, Index b) const {
    double sum = 0;
    const Index kv = head / (heads / kv_heads);
    for (Index c = 0; c < width; ++c) {
      double most = -1e300;
      for (Index key = b * block; key < std::min((b + 1) * block, tokens); ++key)
        most = std::max(most, static_cast<double>(q[size((row * heads + head) * width + c)]) *
                                  static_cast<double>(k[size((key * kv_heads + kv) * width + c)]));
      sum += most;
    }
    return sum;
  }
};

/// Holds a choice to scores of the blocks: those that must be there are, there are as many as there must, and none that was
/// left out has a score above one that was not.
template <class F>
void check_choice(const Blocks& got, Index blocks, const std::set<Index>& forced, Index top,
                  const F& score) {
  INFO(blocks << " blocks, " << got.size() << " chosen");
  const Index others = blocks - std::ssize(forced);
  REQUIRE(std::ssize(got) == std::ssize(forced) + std::min(top, others));
  double least = 1e300, most = -1e300;
  for (Index b = 0; b < blocks; ++b) {
    const bool is_chosen = std::ranges::binary_search(got, b);
    if (forced.count(b) > 0)
      CHECK(is_chosen);
    else if (is_chosen)
      least = std::min(least, score(b));
    else
      most = std::max(most, score(b));
  }
  CHECK(least >= most - 1e-5);
}

Dense dense(Index tokens, Index queries, Index heads, Index kv_heads, Index width, Random& random) {
  return {tokens,
          heads,
          kv_heads,
          width,
          numbers(queries * heads * width, random),
          numbers(tokens * kv_heads * width, random)};
}

TEST_CASE("Quest reads the pages of the greatest bounds, and its last one") {
  Random random(1);
  for (const Index tokens : {1, 15, 16, 17, 200, 333}) {
    const Dense d = dense(tokens, 1, 4, 2, 24, random);
    const auto bound = without_positions(4, 2);
    auto cache =
        KeyValueCache<KeyState::raw>::contiguous({.kv_heads = 2, .head_dim = 24, .capacity = 400});
    append(cache, 0, d.k, bound);
    const Quest quest{.budget = 64};
    const Index blocks = (tokens + 15) / 16;
    const Selection each = chosen_by<float>(quest, cache, bound, d.q, 4);
    REQUIRE(each.size() == 4);
    CHECK(each.placement == Placement::own);
    for (Index h = 0; h < 4; ++h) {
      CHECK(each[h].readers == Selection::Readers{0, 1, h, 1});
      check_choice(blocks_of(each[h], 16, tokens - 1), blocks, {blocks - 1}, 3,
                   [&](Index b) { return d.bound(0, h, 16, b); });
    }
    Quest shared = quest;
    shared.per = ChoicePer::key_head;
    const Selection groups = chosen_by<float>(shared, cache, bound, d.q, 4);
    REQUIRE(groups.size() == 2);
    for (Index g = 0; g < 2; ++g) {
      CHECK(groups[g].readers == Selection::Readers{0, 1, 2 * g, 2});
      check_choice(blocks_of(groups[g], 16, tokens - 1), blocks, {blocks - 1}, 3, [&](Index b) {
        return d.bound(0, 2 * g, 16, b) + d.bound(0, 2 * g + 1, 16, b);
      });
    }
    shared.per = ChoicePer::sequence;
    const Selection one = chosen_by<float>(shared, cache, bound, d.q, 4);
    REQUIRE(one.size() == 1);
    CHECK(one[0].readers == Selection::Readers{0, 1, 0, 4});
    check_choice(blocks_of(one[0], 16, tokens - 1), blocks, {blocks - 1}, 3, [&](Index b) {
      double sum = 0;
      for (Index h = 0; h < 4; ++h) sum += d.bound(0, h, 16, b);
      return sum;
    });
  }
}

TEST_CASE("MoBA reads the own chunk and those of the greatest mean, for each of many queries") {
  Random random(2);
  const Index tokens = 150, queries = 37;
  const Dense d = dense(tokens, queries, 4, 2, 20, random);
  const auto bound = without_positions(4, 2);
  auto cache =
      KeyValueCache<KeyState::raw>::contiguous({.kv_heads = 2, .head_dim = 20, .capacity = 160});
  append(cache, 0, d.k, bound);
  for (const Index topk : {1, 3, 100}) {
    const Selection chosen =
        chosen_by<float>(MoBA{.block = 16, .topk = topk}, cache, bound, d.q, 4);
    REQUIRE(chosen.size() == queries * 4);
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < 4; ++h) {
        const Index own = tokens - queries + i, blocks = own / 16 + 1;
        CHECK(chosen[i * 4 + h].readers == Selection::Readers{i, 1, h, 1});
        const Blocks got = blocks_of(chosen[i * 4 + h], 16, own);
        check_choice(got, blocks, {blocks - 1}, topk - 1,
                     [&](Index b) { return d.mean_score(i, h, 16, b); });
        if (topk == 1) CHECK(got == Blocks{own / 16});
        if (topk == 100) CHECK(chosen[i * 4 + h].tokens == own + 1);
      }
  }
}

TEST_CASE("NSA adds the probabilities of a group of query heads") {
  Random random(3);
  const Index tokens = 131, queries = 70;
  const Dense d = dense(tokens, queries, 6, 2, 16, random);
  const auto bound = without_positions(6, 2);
  auto cache =
      KeyValueCache<KeyState::raw>::contiguous({.kv_heads = 2, .head_dim = 16, .capacity = 140});
  append(cache, 0, d.k, bound);
  const Selection chosen =
      chosen_by<float>(NSASelection{.block = 8, .blocks = 6}, cache, bound, d.q, 6);
  REQUIRE(chosen.size() == queries * 2);
  for (Index i = 0; i < queries; ++i)
    for (Index g = 0; g < 2; ++g) {
      const Index own = tokens - queries + i, blocks = own / 8 + 1;
      std::vector<double> score(size(blocks));
      for (Index h = 3 * g; h < 3 * g + 3; ++h) {
        double sum = 0;
        std::vector<double> weight;
        for (Index b = 0; b < (own + 1) / 8; ++b)
          sum += weight.emplace_back(std::exp(d.mean_score(i, h, 8, b) / 4));
        for (std::size_t b = 0; b < weight.size(); ++b) score[b] += weight[b] / sum;
      }
      CHECK(chosen[i * 2 + g].readers == Selection::Readers{i, 1, 3 * g, 3});
      check_choice(blocks_of(chosen[i * 2 + g], 8, own), blocks,
                   {0, std::max<Index>(blocks - 2, 0), blocks - 1}, 3,
                   [&](Index b) { return score[size(b)]; });
    }
}

template <class T>
void check_bounds(unsigned seed) {
  Random random(seed);
  const Index tokens = 320, width = 40;
  const auto bound = without_positions(2, 2);
  auto cache = KeyValueCache<KeyState::raw>::contiguous(
      {.kv_heads = 2, .head_dim = width, .capacity = tokens});
  const std::vector<float> k = numbers(tokens * 2 * width, random, 3);
  append(cache, 0, k, bound);
  Summaries<Quest, T> summaries(Quest{}, cache, bound);
  summaries.update(cache, 0, bound);
  REQUIRE(summaries.blocks(0) == tokens / 16);
  for (Index key = 0; key < tokens; ++key)
    for (Index h = 0; h < 2; ++h)
      for (Index c = 0; c < width; ++c) {
        const T* const row = summaries.row(0, h, key / 16);
        const float x = k[size((key * 2 + h) * width + c)];
        // So every product of a query with the key is at most its bound, channel by channel.
        REQUIRE(widen(row[c]) >= x);
        REQUIRE(widen(row[width + c]) <= x);
        CHECK(std::abs(widen(row[c])) <= 3.03F);
      }
  std::vector<float> query = numbers(width, random), met(size(2 * width));
  Quest{}.meet(query.data(), width, met.data());
  for (Index key = 0; key < tokens; ++key) {
    double score = 0, most = 0;
    for (Index c = 0; c < width; ++c)
      score +=
          static_cast<double>(query[size(c)]) * static_cast<double>(k[size(key * 2 * width + c)]);
    for (Index c = 0; c < 2 * width; ++c)
      most += static_cast<double>(met[size(c)]) *
              static_cast<double>(widen(summaries.row(0, 0, key / 16)[c]));
    REQUIRE(most >= score - 1e-12);
  }
}

TEST_CASE("Quest's summaries bound every key of their page, in 16 bits too") {
  check_bounds<float>(4);
  check_bounds<Eigen::bfloat16>(5);
  check_bounds<Eigen::half>(6);
}

TEST_CASE("a budget of all tokens is all tokens") {
  Random random(7);
  const auto bound = without_positions(2, 1);
  auto cache = KeyValueCache<KeyState::raw>::contiguous({.head_dim = 8, .capacity = 100});
  append(cache, 0, numbers(100 * 8, random), bound);
  const std::vector<float> q = numbers(2 * 2 * 8, random);
  const Selection chosen = chosen_by<float>(Quest{.budget = 112}, cache, bound, q, 2);
  for (Index c = 0; c < chosen.size(); ++c) {
    REQUIRE(chosen[c].ranges.size() == 1);
    CHECK(chosen[c].ranges[0] == KeyRange{0, 99 + c / 2});
  }
}

TEST_CASE("rotated keys are chosen by the scores of attention, from raw and from rotated caches") {
  Random random(8);
  const Index tokens = 260, width = 16;
  const std::vector<float> k = numbers(tokens * width, random), q = numbers(2 * width, random);
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width, .base = 100} | Causal{},
                          {.num_heads = 2, .num_kv_heads = 1});
  auto raw = KeyValueCache<KeyState::raw>::contiguous({.head_dim = width, .capacity = 300});
  auto rotated = KeyValueCache<KeyState::rotated>::contiguous({.head_dim = width, .capacity = 300});
  append(raw, 0, k, bound, {.positions = Positions(1'000)});
  append(rotated, 0, k, bound, {.positions = Positions(1'000)});

  // Rotation by a loop of its own.
  const auto turned = [&](const float* x, Index position) {
    std::vector<double> y(size(width));
    for (Index i = 0; i < width / 2; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(width));
      const double a = static_cast<double>(x[i]), b = static_cast<double>(x[i + width / 2]);
      y[size(i)] = a * std::cos(angle) - b * std::sin(angle);
      y[size(i + width / 2)] = a * std::sin(angle) + b * std::cos(angle);
    }
    return y;
  };
  Dense d{tokens, 2, 1, width, {}, {}};
  for (Index h = 0; h < 2; ++h)
    for (const double x : turned(q.data() + h * width, 1'000 + tokens - 1))
      d.q.push_back(static_cast<float>(x));
  for (Index t = 0; t < tokens; ++t)
    for (const double x : turned(k.data() + t * width, 1'000 + t))
      d.k.push_back(static_cast<float>(x));
  const MoBA moba{.block = 8, .topk = 5};
  const Selection a = chosen_by<float>(moba, raw, bound, q, 2),
                  b = chosen_by<float>(moba, rotated, bound, q, 2);
  for (Index h = 0; h < 2; ++h) {
    check_choice(blocks_of(a[h], 8, tokens - 1), 33, {32}, 4,
                 [&](Index block) { return d.mean_score(0, h, 8, block); });
    CHECK(blocks_of(a[h], 8, tokens - 1) == blocks_of(b[h], 8, tokens - 1));
  }
}

}  // namespace methods_cases
}  // namespace select_test
