// SPDX-License-Identifier: MIT
#include <posenc/mask/vertical_slash.hpp>

#include "heads.hpp"

#include <set>

using namespace posenc;

namespace vertical_slash_cases {

using List = std::vector<Position>;
using Numbers = std::set<Position>;

HeadShape shape_of(const VerticalSlash& pattern) {
  return {.num_heads = std::ssize(pattern.heads), .num_kv_heads = 1};
}

void check_definition(const VerticalSlash& pattern, Position extent) {
  mask_of_heads_is(
      pattern.prepare(shape_of(pattern)), std::ssize(pattern.heads),
      [&](Index head, Position query, Position key) {
        const auto& [columns, slashes] = pattern.heads[static_cast<std::size_t>(head)];
        const auto has = [](const List& list, Position i) {
          return std::find(list.begin(), list.end(), i) != list.end();
        };
        return key <= query && (has(columns, key) || has(slashes, query - key));
      },
      Fullness::cautious, extent);
}

TEST_CASE("VerticalSlash: pairs and tiles of heads that differ") {
  check_definition({{{{0, 1, 2, 30, 31, 64}, {0, 1, 2, 17}},
                     {{}, {0}},
                     {{5}, {}},
                     {{63, 2, 2, 65, 7}, {40, 0, 40, 63, 64, 3}}}},
                   75);
  check_definition({{VerticalSlash::Head::a_shape(3, 12),
                     VerticalSlash::Head::a_shape(80, 1),
                     VerticalSlash::Head::a_shape(0, 200),
                     {{}, {}}}},
                   60);
}

TEST_CASE("VerticalSlash: random patterns") {
  std::mt19937 random(9);
  for (int trial = 0; trial < 6; ++trial) {
    VerticalSlash pattern;
    for (Index head = 0; head < 3; ++head) {
      VerticalSlash::Head some;
      for (int i = 0; i < 4 << trial; ++i) {
        some.columns.push_back(posenc_test::integer(random, 0, 129));
        some.slashes.push_back(posenc_test::integer(random, 0, 129));
      }
      pattern.heads.push_back(some);
    }
    check_definition(pattern, 130);
  }
}

TEST_CASE("VerticalSlash: tiles that only columns or only slashes fill are full") {
  const VerticalSlash pattern{{VerticalSlash::Head::a_shape(16, 32)}};
  const auto mask = pattern.prepare(shape_of(pattern));
  CHECK(mask.classify(tile_of({200, 209}, {0, 15})) == TileClass::full);
  CHECK(mask.classify(tile_of({200, 209}, {178, 200})) == TileClass::full);
  CHECK(mask.classify(tile_of({200, 209}, {177, 200})) == TileClass::partial);
  CHECK(mask.classify(tile_of({200, 209}, {16, 168})) == TileClass::none);
  constexpr Position far = Position{1} << 52;
  CHECK(mask.classify(tile_of({far, far + 9}, {16, far - 32})) == TileClass::none);
  CHECK(mask.classify(tile_of({far, far + 9}, {0, 15})) == TileClass::full);
}

TEST_CASE("VerticalSlash: members of an index set") {
  std::mt19937 random(3);
  for (int trial = 0; trial < 40; ++trial) {
    List list;
    for (int i = 0; i < trial; ++i) list.push_back(posenc_test::integer(random, 0, 40 * trial));
    const detail::IndexSet set(list);
    const Numbers expected(list.begin(), list.end());
    int wrong = 0;
    for (Position i = -70; i < 40 * trial + 200; ++i)
      wrong += set.contains(i) != (expected.count(i) == 1);
    for (int i = 0; i < 200; ++i) {
      const Position first = posenc_test::integer(random, -80, 40 * trial + 150);
      const Position last = posenc_test::integer(random, -90, 40 * trial + 250);
      Position count = 0;
      for (const Position x : expected) count += x >= first && x <= last ? 1 : 0;
      wrong += set.count({first, last}) != count;
    }
    CHECK(wrong == 0);
  }
}

/// The estimate as the reference defines it: sums by column and along diagonals, and what stands in the greatest.
void check_estimate(Index queries, Index keys, const VerticalSlash::Size& size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> weights = posenc_test::noise<float>(queries * keys, random, 0.0F, 1.0F);
  std::vector<double> column(static_cast<std::size_t>(keys)), slash(column);
  for (Index n = 0; n < queries; ++n)
    for (Index m = 0; m < keys; ++m) {
      const Index own = keys - queries + n, distance = own - m;
      float& w = weights[static_cast<std::size_t>(n * keys + m)];
      if (distance < 0) {
        w = 0;
        continue;
      }
      column[static_cast<std::size_t>(m)] += static_cast<double>(w);
      slash[static_cast<std::size_t>(distance)] += static_cast<double>(w);
    }
  const auto check = [&](const List& got, const std::vector<double>& sums, Position wanted,
                         Position forced) {
    const Position count = std::min(keys, std::max(wanted, forced));
    CHECK(std::ssize(got) == count);
    CHECK(std::is_sorted(got.begin(), got.end()));
    const Numbers chosen(got.begin(), got.end());
    CHECK(std::ssize(chosen) == count);
    double least_in = HUGE_VAL, greatest_out = -HUGE_VAL;
    for (Position i = 0; i < keys; ++i) {
      const double sum = sums[static_cast<std::size_t>(i)];
      const bool in = chosen.count(i) == 1;
      if (i < forced) {
        CHECK(in);
      } else {
        (in ? least_in : greatest_out) = in ? std::min(least_in, sum) : std::max(greatest_out, sum);
      }
    }
    CHECK(least_in >= greatest_out);
  };
  const VerticalSlash::Head head =
      VerticalSlash::from_weights(std::span<const float>(weights), queries, size);
  check(head.columns, column, size.columns, size.first_columns);
  check(head.slashes, slash, size.slashes, size.least_slashes);
}

TEST_CASE("VerticalSlash: estimates from weights") {
  check_estimate(64, 500, {.columns = 50, .slashes = 120}, 1);
  check_estimate(64, 64, {.columns = 35, .slashes = 20}, 2);
  check_estimate(7, 300, {.columns = 1, .slashes = 1, .first_columns = 0, .least_slashes = 1}, 3);
  check_estimate(64, 200, {}, 4);  // fewer keys than columns: all of them
  check_estimate(1, 1, {}, 5);
}

TEST_CASE("VerticalSlash: the reference's defaults, and equal sums") {
  const VerticalSlash::Size own;
  CHECK(own.columns == 1000);
  CHECK(own.slashes == 6096);
  CHECK(own.first_columns == 30);
  CHECK(own.least_slashes == 100);
  const std::vector<float> nothing(2 * 10);
  const auto head = VerticalSlash::from_weights(
      std::span<const float>(nothing), 2,
      {.columns = 4, .slashes = 3, .first_columns = 1, .least_slashes = 1});
  CHECK(head.columns == List{0, 1, 2, 3});
  CHECK(head.slashes == List{0, 1, 2});
}

TEST_CASE("VerticalSlash: what is wrong is said") {
  const HeadShape two{.num_heads = 2};
  CHECK(sentences_of(VerticalSlash{{{}, {{1, 1}, {0}}}}, two).empty());
  CHECK_THAT(sentences_of(VerticalSlash{}, two),
             ContainsSubstring("patterns of 0 heads, but 2 query heads"));
  CHECK_THAT(
      sentences_of(VerticalSlash{{{}, {{3, -1}, {}}}}, two),
      ContainsSubstring("columns are indices of keys from 0 to 2^28 - 1, got -1 for head 1"));
  CHECK_THAT(
      sentences_of(VerticalSlash{{{{}, {1 << 28}}, {}}}, two),
      ContainsSubstring("slashes are distances from 0 to 2^28 - 1, got 268435456 for head 0"));
  std::vector<float> weights(12);
  const auto estimate = [&](Index queries, const VerticalSlash::Size& size) {
    return VerticalSlash::from_weights(std::span<const float>(weights), queries, size);
  };
  CHECK_THROWS_WITH(estimate(5, {}), ContainsSubstring("12 elements are none of 5 queries"));
  CHECK_THROWS_WITH(estimate(4, {}), ContainsSubstring("over at least as many keys"));
  CHECK_THROWS_WITH(estimate(0, {}), ContainsSubstring("none of 0 queries"));
  CHECK_THROWS_WITH(estimate(3, {.columns = 0}), ContainsSubstring("got 0 columns"));
  weights[4] = NAN;
  CHECK_THROWS_WITH(estimate(3, {}), ContainsSubstring("must be finite numbers"));
}

}  // namespace vertical_slash_cases
