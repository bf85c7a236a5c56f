// SPDX-License-Identifier: MIT
//
// InfLLM: its choice by the formulas, in double, and what attention under it is equal to.
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/select/choose_blocks.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/select.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"
#include "../support/sequence.hpp"

#include <numeric>
#include <set>

using namespace posenc;

namespace inf_llm_cases {

constexpr auto rope = Sequence::rope;
constexpr Index heads = Sequence::heads, kv_heads = Sequence::kv_heads, width = Sequence::width;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
constexpr InfLLM method{.block = 8, .n_init = 8, .n_local = 24, .topk = 3, .repr_topk = 2};

std::vector<double> some_mass(Index tokens) {
  return posenc_test::noise<double>(tokens * heads, 5, 0, 1);
}
/// <R(position) q, k> of row n, head h with a raw vector.
double far(const Sequence& s, Index n, Index h, const std::vector<double>& key, double position) {
  double sum = 0;
  for (Index c = 0; c < width / 2; ++c) {
    const double angle = position * Sequence::frequency(c);
    const double q0 = s.queries()(n, h, c), q1 = s.queries()(n, h, c + width / 2);
    sum += (q0 * std::cos(angle) - q1 * std::sin(angle)) * key[static_cast<std::size_t>(c)] +
           (q0 * std::sin(angle) + q1 * std::cos(angle)) *
               key[static_cast<std::size_t>(c + width / 2)];
  }
  return sum;
}
std::vector<double> representative(const Sequence& s, const std::vector<double>& mass, Index block,
                                   Index h) {
  std::vector<Index> order(8);
  std::iota(order.begin(), order.end(), 8 * block);
  const auto r = [&](Index m) { return mass[static_cast<std::size_t>(m * heads + h)]; };
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return r(a) > r(b); });
  std::vector<double> mean(width);
  for (Index i = 0; i < 2; ++i)
    for (Index c = 0; c < width; ++c)
      mean[static_cast<std::size_t>(c)] +=
          s.keys()(order[static_cast<std::size_t>(i)], h / 2, c) / 2;
  return mean;
}
/// Blocks of the queries [from, to): first ones, best ones, and those that reach into a window.
std::set<Index> expected(const Sequence& s, const std::vector<double>& mass, Index from, Index to) {
  const Index own = from / 8, last = std::max<Index>(own - 3, 0);  // (24 - 1) / 8 + 1 blocks before
  std::set<Index> blocks{0};
  for (Index b = last; b <= (to - 1) / 8; ++b) blocks.insert(b);
  std::vector<double> scores;
  std::vector<Index> order;
  for (Index b = 0; b < last; ++b) {
    double sum = 0;
    for (Index h = 0; h < heads; ++h)
      for (Index n = from; n < to; ++n) sum += far(s, n, h, representative(s, mass, b, h), 23);
    scores.push_back(sum);
    if (b > 0) order.push_back(b);
  }
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  for (std::size_t i = 0; i < std::min<std::size_t>(3, order.size()); ++i) blocks.insert(order[i]);
  return blocks;
}

TEST_CASE("InfLLM: the choice of a prompt") {
  const Sequence s(150);
  const auto mass = some_mass(150);
  const auto bound = bind(rope | method.distances() | Causal{}, options);
  for (const Index query_block : {1, 16, 50}) {
    const ChosenBlocks chosen = choose_blocks(s.queries(), s.keys(), method, bound,
                                              {.query_block = query_block, .mass = mass});
    CHECK(chosen.sets().sizes().choices == 1);
    for (Index g = 0; g < chosen.sets().groups(); ++g) {
      std::set<Index> blocks;
      for (Index b = 0; b < chosen.sets().sizes().blocks; ++b)
        if (chosen.sets().contains(0, g, b)) blocks.insert(b);
      CHECK(blocks ==
            expected(s, mass, g * query_block, std::min((g + 1) * query_block, s.tokens)));
    }
  }
}

TEST_CASE("InfLLM: the choice of a step, from a cache of raw keys") {
  const Sequence s(150);
  const auto mass = some_mass(150);
  const auto bound = bind(rope | method.distances() | Causal{}, options);
  auto cache = KeyValueCache<KeyState::raw, double>::contiguous(Sequence::cache_of(150));
  Summaries summaries(method, cache, bound);
  cache.append(0, s.keys(), s.values(), bound);
  summaries.update(cache, 0, bound, {.mass = mass});
  Selection chosen;
  select(s.queries().slice(140, 10), cache, summaries, bound, chosen);
  REQUIRE(chosen.size() == 10);
  CHECK(chosen.placement == Placement::own);
  for (Index row = 0; row < 10; ++row) {
    std::set<Index> blocks;
    for (const KeyRange& range : chosen[row].ranges)
      for (Index t = range.first; t < range.first + range.tokens; ++t) blocks.insert(t / 8);
    CHECK(blocks == expected(s, mass, 140 + row, 141 + row));
  }
}

TEST_CASE("InfLLM: all blocks are ReRoPE, a short text is RoPE, no blocks are sinks and a window") {
  const Sequence s(150);
  const auto mass = some_mass(150);
  const auto attend = [&](const Sequence& x, Index topk) {
    InfLLM with = method;
    with.topk = topk;
    const auto plain = bind(rope | with.distances() | Causal{}, options);
    const auto masses = some_mass(x.tokens);
    const auto chosen =
        choose_blocks(x.queries(), x.keys(), with, plain, {.query_block = 8, .mass = masses});
    return x.attend(bind(rope | with.distances() | Causal{} | chosen, options));
  };
  CHECK(
      difference(attend(s, 19), s.dense([](Index i, Index j) { return std::min<Index>(i - j, 23); },
                                        [](Index i, Index j) { return j <= i; })) < 1e-12);
  const Sequence few(24);
  CHECK(difference(attend(few, 0), few.dense([](Index i, Index j) { return i - j; },
                                             [](Index i, Index j) { return j <= i; })) < 1e-12);
  CHECK(
      difference(attend(s, 0), s.dense([](Index i, Index j) { return std::min<Index>(i - j, 23); },
                                       [](Index i, Index j) {
                                         return j <= i && (j < 8 || j / 8 >= i / 8 - 3);
                                       })) < 1e-12);
}

TEST_CASE("InfLLM: the order of far blocks has no effect") {
  const Sequence s(150);
  // Blocks 2 and 9, all of whose tokens are at the constant distance of the last 24 queries.
  std::vector<Index> order(150);
  std::iota(order.begin(), order.end(), 0);
  for (Index t = 0; t < 8; ++t)
    std::swap(order[static_cast<std::size_t>(16 + t)], order[static_cast<std::size_t>(72 + t)]);
  const auto mass = some_mass(150);
  const auto result = [&](const Sequence& x, const std::vector<double>& masses) {
    const auto plain = bind(rope | method.distances() | Causal{}, options);
    const auto chosen =
        choose_blocks(x.queries(), x.keys(), method, plain, {.query_block = 8, .mass = masses});
    return x.attend(bind(rope | method.distances() | Causal{} | chosen, options));
  };
  std::vector<double> moved;
  for (const Index t : order)
    moved.insert(moved.end(), mass.begin() + t * heads, mass.begin() + (t + 1) * heads);
  const Rows a = result(s, mass), b = result(s.some(order), moved);
  for (Index n = 126; n < 150; ++n) CHECK(difference(row_of(a, n), row_of(b, n)) < 1e-12);
}

TEST_CASE("InfLLM: the reference's settings, and what is wrong") {
  const InfLLM own;
  CHECK((own.block == 128 && own.n_init == 128 && own.n_local == 4'096 && own.topk == 16 &&
         own.repr_topk == 4));
  CHECK(own.distances().window == 4'095);
  CHECK(own.forced(100).first == 1);
  CHECK(own.forced(100).last == 33);
  const auto sentence = [](const InfLLM& wrong) {
    Problems problems;
    wrong.check(problems);
    return problems.sentences().empty() ? std::string() : problems.sentences().front();
  };
  CHECK(sentence({}).empty());
  CHECK_THAT(sentence({.n_init = 100}),
             ContainsSubstring("multiple of the block of 128 tokens or 0, got 100"));
  CHECK_THAT(sentence({.repr_topk = 129}), ContainsSubstring("block = 128 and repr_topk = 129"));
  CHECK_THAT(sentence({.topk = -1}), ContainsSubstring("got -1"));
  CHECK_THAT(sentence({.n_local = 1}), ContainsSubstring("at least 2, got 1"));
  const Sequence s(20);
  const auto bound = bind(rope | method.distances() | Causal{}, options);
  CHECK_THROWS_WITH(
      choose_blocks(s.queries(), s.keys(), method, bound),
      ContainsSubstring("needs the attention mass of 20 keys and 4 query heads, got 0"));
}

}  // namespace inf_llm_cases
