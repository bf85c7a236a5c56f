// SPDX-License-Identifier: MIT
#include <posenc/relative/deberta.hpp>

#include "../support/bind_any.hpp"
#include "../support/sentences.hpp"
#include "formula.hpp"

#include <posenc/mask/causal.hpp>

namespace relative_test {
namespace deberta_cases {

/// The row of a distance, as transformers' make_log_bucket_position and clamp say it.
Index row_of(Position r, Index buckets, Position max_position) {
  const Index span = buckets > 0 ? buckets : max_position;
  Position bucket = r;
  if (const Position mid = buckets / 2; buckets > 0 && (r > mid || r < -mid)) {
    const Real n = static_cast<Real>(r < 0 ? -r : r), m = static_cast<Real>(mid);
    const auto far = static_cast<Position>(
        std::ceil(std::log(n / m) / std::log(static_cast<Real>(max_position - 1) / m) * (m - 1)));
    bucket = r < 0 ? -(far + mid) : far + mid;
  }
  return std::max<Index>(0, std::min<Index>(bucket + span, 2 * span - 1));
}

TEST_CASE("DeBERTa: rows by distance", "[relative]") {
  const DeBERTa v3{.position_buckets = 256, .max_position = 512};
  const DeBERTa v1{.position_buckets = 0, .max_position = 512};
  struct Golden {
    Position distance;
    Index with_buckets, without;
  };
  // ln(r/128) / ln(511/128) * 127, rounded up: 0.72 at 129, 1.42 at 130, 40.94 at 200, 63.59 at 256,
  // 98.79 at 376, 126.82 at 510, 127 at 511.
  for (const auto& [distance, with_buckets, without] :
       {Golden{0, 256, 512},    Golden{1, 257, 513},        Golden{-1, 255, 511},
        Golden{128, 384, 640},  Golden{-128, 128, 384},     Golden{129, 385, 641},
        Golden{-129, 127, 383}, Golden{130, 386, 642},      Golden{200, 425, 712},
        Golden{-200, 87, 312},  Golden{256, 448, 768},      Golden{-256, 64, 256},
        Golden{376, 483, 888},  Golden{510, 511, 1022},     Golden{511, 511, 1023},
        Golden{-510, 1, 2},     Golden{-511, 1, 1},         Golden{512, 511, 1023},
        Golden{-512, 0, 0},     Golden{100'000, 511, 1023}, Golden{-100'000, 0, 0}}) {
    CAPTURE(distance);
    CHECK(v3.row(distance) == with_buckets);
    CHECK(v1.row(distance) == without);
    const HeadShape one{.num_heads = 1, .num_kv_heads = 1};
    CHECK(v3.prepare(one).bucket(distance) == with_buckets);
    CHECK(v1.prepare(one).bucket(distance) == without);
  }
  for (const auto& [buckets, max_position] :
       {std::pair<Index, Position>{256, 512}, {32, 128}, {4, 10}, {64, 1024}, {0, 7}, {128, 66}}) {
    const DeBERTa deberta{.position_buckets = buckets, .max_position = max_position};
    CAPTURE(buckets, max_position);
    Index wrong = 0;
    for (Position r = -3 * max_position; r <= 3 * max_position; ++r)
      wrong += deberta.row(r) == row_of(r, buckets, max_position) ? 0 : 1;
    CHECK(wrong == 0);
  }
}

TEMPLATE_TEST_CASE("DeBERTa: the formula of the programs", "[relative]", float, double) {
  using T = TestType;
  constexpr Index queries = 37, keys = 45, heads = 4, width = 6, value_dim = 5;
  const Index kv_heads = GENERATE(Index{4}, Index{2});
  const auto parameters =
      GENERATE(std::pair<Index, Position>{8, 20}, std::pair<Index, Position>{0, 9});
  const Index buckets = parameters.first;
  const Position max_position = parameters.second;
  const Index span = buckets > 0 ? buckets : max_position;
  const std::vector<float> k_r = noise(2 * span * heads * width, 1),
                           q_r = noise(2 * span * heads * width, 2);
  const Inputs<T> inputs(queries, keys, heads, kv_heads, width, value_dim);
  const Arguments<T> call = inputs.call();
  for (const auto& [c2p, p2c] : {std::pair{true, false}, {false, true}, {true, true}}) {
    CAPTURE(c2p, p2c, buckets);
    Formula f;
    f.score = [&, c2p = c2p, p2c = p2c](Index r, Index j, Index h) {
      const Index row = row_of(r + keys - queries - j, buckets, max_position);
      const auto at = [&](const std::vector<float>& table) {
        return [&](Index c) { return table[size((row * heads + h) * width + c)]; };
      };
      const auto q = [&](Index c) { return call.q(r, h, c); };
      const auto k = [&](Index c) { return call.k(j, h / (heads / kv_heads), c); };
      const Real terms = 1 + (c2p ? 1 : 0) + (p2c ? 1 : 0);
      return (dot(width, q, k) + (c2p ? dot(width, q, at(k_r)) : 0) +
              (p2c ? dot(width, k, at(q_r)) : 0)) /
             std::sqrt(terms * static_cast<Real>(width));
    };
    f.what = [&](Index, Index j, Index h, Index c) {
      return static_cast<Real>(call.v(j, h / (heads / kv_heads), c));
    };
    const DeBERTa deberta{.keys = c2p ? k_r : std::vector<float>{},
                          .queries = p2c ? q_r : std::vector<float>{},
                          .position_buckets = buckets,
                          .max_position = max_position};
    check_formula(
        call, posenc_test::bind_any(deberta, {.num_heads = heads, .num_kv_heads = kv_heads}), f);
  }
}

TEST_CASE("DeBERTa: without tables it is plain attention", "[relative]") {
  const Inputs<float> inputs(100, 100, 2, 2, 16, 8);
  CHECK(differing_rows(attend(inputs.call(), posenc_test::bind_any(DeBERTa{}, {.num_heads = 2})),
                       attend(inputs.call(),
                              posenc_test::bind_any(encoding(), {.num_heads = 2}))) == 0);
}

TEST_CASE("DeBERTa: a token decoded alone", "[relative]") {
  const DeBERTa deberta{noise(64 * 4 * 16, 1), noise(64 * 4 * 16, 2), 32, 64};
  check_decode(Inputs<float>(150, 150, 4, 2, 16, 8),
               posenc_test::bind_any(deberta | Causal{}, {.num_heads = 4, .num_kv_heads = 2}));
}

TEST_CASE("DeBERTa: wrong values are sentences", "[relative]") {
  const std::vector<float> right = noise(64 * 4 * 64, 1);
  CHECK(sentences_of(DeBERTa{right, right, 32, 64}) == "");
  CHECK(sentences_of(DeBERTa{right, {1, 2, 3}, 32, 64}) ==
        "DeBERTa: queries must have 64 rows of 4 heads of one width, or nothing, got 3 values.\n");
  CHECK(sentences_of(DeBERTa{noise(64 * 4 * 8, 1), {}, 32, 64}) ==
        "DeBERTa: keys has vectors of 8 channels, but heads have 64.\n");
  std::vector<float> infinite = right;
  infinite[3] = -HUGE_VALF;
  CHECK(sentences_of(DeBERTa{infinite, right, 32, 64}) ==
        "DeBERTa: every value of keys must be finite, got -inf at element 3.\n");
  CHECK(sentences_of(DeBERTa{{}, {}, 0, 0}) ==
        "DeBERTa: max_position must lie within [1, 2^24], got 0.\n");
  for (const Index buckets : {-2, 2, 33, 128})
    CHECK_THAT(sentences_of(DeBERTa{right, right, buckets, 64}),
               StartsWith("DeBERTa: position_buckets must be 0, or even, at least 4 and less than "
                          "twice max_position - 1, got " +
                          std::to_string(buckets)));
}

}  // namespace deberta_cases
}  // namespace relative_test
