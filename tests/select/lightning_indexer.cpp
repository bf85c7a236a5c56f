// SPDX-License-Identifier: MIT
//
// LightningIndexer: its tokens by the formula, in double, as a selection and as a mask.
#include <posenc/mask/causal.hpp>
#include <posenc/select/lightning_indexer.hpp>

#include "../support/backwards.hpp"
#include "../support/catch.hpp"
#include "../support/levels.hpp"
#include "../support/sequence.hpp"

#include <array>
#include <numeric>

using namespace posenc;

namespace lightning_indexer_cases {

constexpr Index indexer_heads = 3, width = 20;

struct Inputs {
  std::vector<float> q, w, k;
  Index queries, keys;
  Inputs(Index n, Index m) : queries(n), keys(m) {
    std::mt19937 random(12);
    q = posenc_test::noise<float>(n * indexer_heads * width, random);
    w = posenc_test::noise<float>(n * indexer_heads, random);
    k = posenc_test::noise<float>(m * width, random);
  }
  [[nodiscard]] IndexerInputs in() const {
    return {.queries = {q.data(), queries, indexer_heads, width},
            .weights = w,
            .keys = {k.data(), keys, 1, width}};
  }
  /// The best tokens of a row.
  [[nodiscard]] std::vector<bool> expected(Index row, Index top) const {
    const Index tokens = keys - queries + row + 1;
    std::vector<double> scores;
    for (Index m = 0; m < tokens; ++m) {
      double score = 0;
      for (Index j = 0; j < indexer_heads; ++j) {
        double dot = 0;
        for (Index c = 0; c < width; ++c)
          dot += static_cast<double>(
                     q[static_cast<std::size_t>((row * indexer_heads + j) * width + c)]) *
                 static_cast<double>(k[static_cast<std::size_t>(m * width + c)]);
        score += static_cast<double>(w[static_cast<std::size_t>(row * indexer_heads + j)]) *
                 std::max(dot, 0.0);
      }
      scores.push_back(score);
    }
    std::vector<Index> order(static_cast<std::size_t>(tokens));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    std::vector<bool> best(static_cast<std::size_t>(keys));
    for (Index i = 0; i < std::min(top, tokens); ++i)
      best[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
    return best;
  }
};

TEST_CASE("LightningIndexer: the best tokens of every query, as ranges and as a mask") {
  for (const auto& sizes :
       std::vector<std::array<Index, 3>>{{60, 60, 9}, {13, 700, 40}, {1, 1300, 1}}) {
    const Index queries = sizes[0], keys = sizes[1], top = sizes[2];
    const Inputs inputs(queries, keys);
    const LightningIndexer indexer{.top = top};
    posenc_test::at_every_level([&] {
      Selection chosen, backwards;
      choose_tokens(indexer, inputs.in(), 8, chosen);
      choose_tokens(indexer, inputs.in(), 8, backwards, posenc_test::Backwards{4});
      const ChosenBlocks mask = choose_token_mask(indexer, inputs.in());
      CHECK(mask.sets().sizes().first == keys - queries);
      REQUIRE(chosen.size() == queries);
      for (Index row = 0; row < queries; ++row) {
        const auto expected = inputs.expected(row, top);
        const auto choice = chosen[row];
        CHECK(choice.readers == Selection::Readers{row, 1, 0, 8});
        CHECK(choice.tokens == std::min(top, keys - queries + row + 1));
        std::vector<bool> got(expected.size());
        for (const KeyRange& range : choice.ranges)
          for (Index t = 0; t < range.tokens; ++t)
            got[static_cast<std::size_t>(range.first + t)] = true;
        CHECK(got == expected);
        // Neighbours are one range.
        for (std::size_t i = 1; i < choice.ranges.size(); ++i)
          CHECK(choice.ranges[i].first > choice.ranges[i - 1].first + choice.ranges[i - 1].tokens);
        CHECK(std::equal(choice.ranges.begin(), choice.ranges.end(), backwards[row].ranges.begin(),
                         backwards[row].ranges.end()));
        int wrong = 0;
        for (Index m = 0; m < keys; ++m)
          wrong += mask.sets().contains(0, row, m) != expected[static_cast<std::size_t>(m)];
        CHECK(wrong == 0);
      }
    });
  }
}

TEST_CASE("LightningIndexer: attention over the mask is the softmax over its tokens") {
  const Sequence s(60);
  const Inputs inputs(60, 60);
  const ChosenBlocks mask = choose_token_mask({.top = 9}, inputs.in());
  CHECK(
      difference(s.attend(bind(Sequence::rope | Causal{} | mask,
                               {.num_heads = Sequence::heads, .num_kv_heads = Sequence::kv_heads})),
                 s.dense([](Index i, Index j) { return i - j; },
                         [&](Index i, Index j) {
                           return bool{inputs.expected(i, 9)[static_cast<std::size_t>(j)]};
                         })) < 1e-12);
}

TEST_CASE("LightningIndexer: equal scores, and what is no number") {
  Inputs inputs(4, 50);
  std::fill(inputs.w.begin(), inputs.w.end(), 0.0F);
  Selection chosen;
  choose_tokens({.top = 5}, inputs.in(), 8, chosen);
  CHECK(std::vector<KeyRange>(chosen[2].ranges.begin(), chosen[2].ranges.end()) ==
        std::vector<KeyRange>{{0, 5}});
  inputs.k[static_cast<std::size_t>(17 * width)] = NAN;
  choose_tokens({.top = 5}, inputs.in(), 8, chosen);
  CHECK(std::vector<KeyRange>(chosen[2].ranges.begin(), chosen[2].ranges.end()) ==
        std::vector<KeyRange>{{0, 4}, {17, 1}});
}

TEST_CASE("LightningIndexer: what is wrong is said") {
  const Inputs inputs(4, 50);
  Selection chosen;
  IndexerInputs in = inputs.in();
  CHECK_THROWS_WITH(choose_tokens({.top = 0}, in, 8, chosen), ContainsSubstring("got 0"));
  in.weights = in.weights.subspan(1);
  CHECK_THROWS_WITH(choose_tokens({}, in, 8, chosen),
                    ContainsSubstring("4 times 3 numbers, got 11"));
  in = inputs.in();
  in.keys = {inputs.k.data(), 25, 2, width};
  CHECK_THROWS_WITH(choose_tokens({}, in, 8, chosen), ContainsSubstring("one key per token"));
  in.keys = {inputs.k.data(), 3, 1, width};
  CHECK_THROWS_WITH(choose_token_mask({}, in), ContainsSubstring("set query_offset"));
}

}  // namespace lightning_indexer_cases
