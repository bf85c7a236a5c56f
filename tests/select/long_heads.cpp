// SPDX-License-Identifier: MIT
//
// LongHeads: features and choices by the formulas, in double.
#include <posenc/select/long_heads.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"
#include "../support/sequence.hpp"

#include <numeric>

using namespace posenc;

namespace long_heads_cases {

constexpr auto rope = Sequence::rope;
constexpr Index heads = Sequence::heads, kv_heads = Sequence::kv_heads, width = Sequence::width;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
constexpr LongHeads method{.chunk = 8, .chunks = 5};

/// softmax(<query, keys> / sqrt(width)) values
std::vector<double> attended(const std::vector<double>& query,
                             const std::vector<std::vector<double>>& keys,
                             const std::vector<std::vector<double>>& values) {
  std::vector<double> out(width), weights;
  double sum = 0;
  for (const auto& key : keys) {
    weights.push_back(
        std::exp(std::inner_product(query.begin(), query.end(), key.begin(), 0.0) / 4));
    sum += weights.back();
  }
  for (std::size_t t = 0; t < keys.size(); ++t)
    for (std::size_t c = 0; c < width; ++c) out[c] += weights[t] / sum * values[t][c];
  return out;
}
std::vector<double> feature(const Sequence& s, Index chunk, Index h) {
  std::vector<std::vector<double>> queries, keys, values;
  for (Index t = 0; t < 8; ++t) {
    const Index token = 8 * chunk + t;
    const double* const v = &s.v[static_cast<std::size_t>((token * kv_heads + h / 2) * width)];
    queries.push_back(Sequence::turned(&s.q[static_cast<std::size_t>((token * heads + h) * width)],
                                       static_cast<double>(t)));
    keys.push_back(
        Sequence::turned(&s.k[static_cast<std::size_t>((token * kv_heads + h / 2) * width)],
                         static_cast<double>(t)));
    values.emplace_back(v, v + width);
  }
  std::vector<double> mean(width);
  for (const auto& query : queries) {
    const auto out = attended(query, keys, values);
    for (std::size_t c = 0; c < width; ++c) mean[c] += out[c] / 8;
  }
  return attended(mean, keys, keys);
}

LongHeadsFeatures features_of(const Sequence& s, const std::vector<Index>& pieces) {
  LongHeadsFeatures features(method, heads, kv_heads, width);
  const auto bound = bind(encoding(rope), options);
  Index at = 0;
  for (const Index n : pieces) {
    features.append(s.queries().slice(at, n), s.keys().slice(at, n), s.values().slice(at, n),
                    bound);
    at += n;
  }
  return features;
}

TEST_CASE("LongHeads: features of chunks, however the tokens come") {
  const Sequence s(61);
  const LongHeadsFeatures whole = features_of(s, {61}),
                          parts = features_of(s, {3, 1, 1, 20, 9, 27});
  CHECK(whole.chunks() == 7);
  CHECK(whole.tokens() == 61);
  double worst = 0;
  for (Index c = 0; c < 7; ++c)
    for (Index h = 0; h < heads; ++h) {
      const auto expected = feature(s, c, h);
      for (std::size_t i = 0; i < width; ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(whole.row(c, h)[i]) - expected[i]));
        CHECK(whole.row(c, h)[i] == parts.row(c, h)[i]);
      }
    }
  CHECK(worst < 1e-5);
}

TEST_CASE("LongHeads: the first chunk, the last two and the best ones, head by head") {
  const Sequence s(93);
  const LongHeadsFeatures features = features_of(s, {93});
  Selection chosen;
  choose_chunks(s.queries().slice(20, 73), features, 20, chosen);
  REQUIRE(chosen.size() == 73 * heads);
  CHECK(chosen.placement == Placement::contiguous);
  for (Index row = 0; row < 73; ++row)
    for (Index h = 0; h < heads; ++h) {
      const Index n = 20 + row, own = n / 8;
      std::vector<Index> order;
      std::vector<double> scores;
      for (Index c = 0; c < std::max<Index>(own - 1, 0); ++c) {
        const auto g = feature(s, c, h);
        scores.push_back(std::inner_product(
            g.begin(), g.end(), &s.q[static_cast<std::size_t>((n * heads + h) * width)], 0.0));
        if (c > 0) order.push_back(c);
      }
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
        return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
      });
      std::vector<bool> expected(static_cast<std::size_t>(n + 1));
      const auto show = [&](Index c) {
        for (Index t = 8 * c; t < std::min(8 * c + 8, n + 1); ++t)
          expected[static_cast<std::size_t>(t)] = true;
      };
      show(0), show(std::max<Index>(own - 1, 0)), show(own);
      for (std::size_t i = 0; i < std::min<std::size_t>(2, order.size()); ++i) show(order[i]);
      std::vector<bool> got(expected.size());
      const auto choice = chosen[row * heads + h];
      CHECK(choice.readers == Selection::Readers{row, 1, h, 1});
      for (const KeyRange& range : choice.ranges)
        for (Index t = 0; t < range.tokens; ++t)
          got[static_cast<std::size_t>(range.first + t)] = true;
      REQUIRE(got == expected);
      // Never farther apart than the trained length.
      CHECK(choice.tokens <= 40);
    }
}

TEST_CASE("LongHeads: tokens that are taken back") {
  const Sequence s(61);
  LongHeadsFeatures features = features_of(s, {61});
  features.truncate(58);
  CHECK(features.tokens() == 58);
  features.truncate(43);  // within a chunk that was complete
  CHECK(features.tokens() == 40);
  const auto bound = bind(encoding(rope), options);
  features.append(s.queries().slice(40, 21), s.keys().slice(40, 21), s.values().slice(40, 21),
                  bound);
  const LongHeadsFeatures whole = features_of(s, {61});
  CHECK(features.tokens() == 61);
  for (Index i = 0; i < width; ++i) CHECK(features.row(6, 2)[i] == whole.row(6, 2)[i]);
}

TEST_CASE("LongHeads: what is wrong is said") {
  CHECK_THROWS_WITH(LongHeadsFeatures(LongHeads{.chunk = 0}, 4, 2, 16),
                    ContainsSubstring("got chunk = 0"));
  CHECK_THROWS_WITH(LongHeadsFeatures(LongHeads{.chunks = 2}, 4, 2, 16),
                    ContainsSubstring("at least 3, got 2"));
  CHECK_THROWS_WITH(LongHeadsFeatures(LongHeads{}, 4, 3, 16), ContainsSubstring("got 4, 3 and 16"));
  const Sequence s(61);
  LongHeadsFeatures features = features_of(s, {30});
  const auto bound = bind(encoding(rope), options);
  CHECK_THROWS_WITH(features.append(s.queries(), s.queries(), s.values(), bound),
                    ContainsSubstring("2 key heads"));
  Selection chosen;
  CHECK_THROWS_WITH(choose_chunks(s.queries(), features, 0, chosen),
                    ContainsSubstring("choose among 6 chunks, but there are features of 3"));
  CHECK_THROWS_WITH(choose_chunks(s.keys(), features, 0, chosen),
                    ContainsSubstring("4 query heads"));
  CHECK_THROWS_WITH(choose_chunks(s.queries(), features, -1, chosen), ContainsSubstring("got -1"));
}

}  // namespace long_heads_cases
