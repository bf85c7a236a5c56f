// SPDX-License-Identifier: MIT
#include <posenc/bias/t5_bias.hpp>

#include "../support/catch.hpp"
#include "../support/sentences.hpp"

using namespace posenc;

namespace t5_bias_cases {

constexpr Position far = std::numeric_limits<Position>::max();

/// The reference's expression, in its own arithmetic: float32, with a correctly rounded logarithm.
Index float_bucket(Position r, bool bidirectional, Index num_buckets, Position max_distance) {
  Index offset = 0, side = num_buckets;
  if (bidirectional) {
    side /= 2;
    if (r > 0) offset = side;
  }
  const Position n = bidirectional ? (r < 0 ? -r : r) : (r < 0 ? -r : 0);
  const Index exact = side / 2;
  if (n < exact) return offset + n;
  const float ratio = static_cast<float>(n) / static_cast<float>(exact);
  const float numerator = static_cast<float>(std::log(static_cast<double>(ratio)));
  const float denominator =
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float grown = numerator / denominator * static_cast<float>(side - exact);
  return offset + std::min<Index>(side - 1, exact + static_cast<Index>(grown));
}

/// Distances (from 1 up) at which a query's past changes bucket.
std::vector<Position> breakpoints(bool bidirectional) {
  std::vector<Position> found;
  for (Position n = 1; n < 2000; ++n)
    if (t5_bucket(-n, bidirectional) != t5_bucket(1 - n, bidirectional)) found.push_back(n);
  return found;
}

TEST_CASE("T5Bias: the breakpoints of the defaults") {
  std::vector<Position> causal, both;
  for (Position n = 1; n <= 15; ++n) causal.push_back(n);
  for (const Position n : {16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113})
    causal.push_back(n);
  for (Position n = 1; n <= 7; ++n) both.push_back(n);
  for (const Position n : {8, 12, 16, 23, 32, 46, 64, 91}) both.push_back(n);
  CHECK(breakpoints(false) == causal);
  CHECK(breakpoints(true) == both);
}

TEST_CASE("T5Bias: keys in the future have the other half of the buckets, or none") {
  for (Position n = 1; n < 300; ++n) {
    CHECK(t5_bucket(n, true) == 16 + t5_bucket(-n, true));
    CHECK(t5_bucket(n, false) == 0);
    CHECK(t5_bucket(-n, true) == t5_bucket(-n, false, 16));
  }
  CHECK(t5_bucket(0, true) == 0);
}

TEST_CASE("T5Bias: exact thresholds equal the float32 expression of the reference") {
  int configurations = 0;
  for (Index side = 4; side <= 128; side += 2)
    for (Position max_distance = side; max_distance <= 4096; max_distance *= 2) {
      ++configurations;
      const T5Buckets past(false, side, max_distance), both(true, 2 * side, max_distance);
      Position wrong = 0;
      for (Position n = 0; n <= max_distance + 3; ++n) {
        wrong += past.bucket(-n) != float_bucket(-n, false, side, max_distance);
        wrong += both.bucket(-n) != float_bucket(-n, true, 2 * side, max_distance);
        wrong += both.bucket(n) != float_bucket(n, true, 2 * side, max_distance);
      }
      INFO("buckets " << side << ", max_distance " << max_distance);
      REQUIRE(wrong == 0);
    }
  CHECK(configurations == 435);
}

TEST_CASE("T5Bias: thresholds are exact where floating point cannot tell") {
  // Halfway through the growing buckets stands sqrt(exact * max_distance), here the root of a
  // square, of a square plus one and of a square minus one, which double takes for the same number.
  constexpr Index exact = 2 * 5 * 13 * 17;
  const auto middle = [&](Position max_distance) {
    return T5Buckets(false, 2 * exact, max_distance).starts[exact + exact / 2];
  };
  CHECK(middle(exact * 900 * 900) == exact * 900);
  Position above = 2'170'000, below = 2'170'000;
  while ((above * above + 1) % exact != 0) ++above;
  while ((below * below - 1) % exact != 0) ++below;
  CHECK(middle((above * above + 1) / exact) == above + 1);
  CHECK(middle((below * below - 1) / exact) == below);
}

TEST_CASE("T5Bias: odd numbers of buckets, as the reference halves them") {
  for (const bool both : {true, false})
    for (const Index buckets : {5, 7, 33, 101})
      for (const Position max_distance : {100, 1000}) {
        const T5Buckets exact(both, buckets, max_distance);
        for (Position r = -1100; r <= 1100; ++r)
          REQUIRE(exact.bucket(r) == float_bucket(r, both, buckets, max_distance));
      }
}

TEST_CASE("T5Bias: buckets never decrease with the distance, and the last has no end") {
  for (const Index side : {2, 3, 4, 16, 100})
    for (const Position max_distance : {51, 128, 100'000, 2'147'483'647}) {
      const T5Buckets buckets(false, side, max_distance);
      Index before = 0;
      for (Position n = 0; n < 4000; ++n) {
        REQUIRE(buckets.bucket(-n) >= before);
        before = buckets.bucket(-n);
      }
      CHECK(buckets.bucket(-max_distance) == side - 1);
      CHECK(buckets.bucket(-far) == side - 1);
      CHECK(buckets.bucket(-far - 1) == side - 1);
      CHECK(buckets.bucket(far) == 0);
    }
  CHECK(t5_bucket(far, true) == 31);
  CHECK(t5_bucket(-far - 1, true) == 15);
}

TEST_CASE("T5Bias: distance is query - key, the reverse of T5's relative position") {
  constexpr Index heads = 3;
  std::vector<float> table;
  for (int b = 0; b < 32; ++b)
    for (int h = 0; h < heads; ++h) table.push_back(static_cast<float>(100 * b + h));
  const PreparedT5Bias bias = T5Bias{.table = table}.prepare({.num_heads = heads});
  CHECK(bias.relative_bias(0, 0) == 0);
  CHECK(bias.relative_bias(2, 5) == 502);    // a key of the past
  CHECK(bias.relative_bias(1, -5) == 2101);  // a key of the future
  CHECK(bias.relative_bias(1, 12) == 901);
  CHECK(bias.relative_bias(1, far) == 1501);
  CHECK(bias.relative_bias(1, -far - 1) == 3101);

  const PreparedT5Bias decoder =
      T5Bias{.table = table, .bidirectional = false}.prepare({.num_heads = heads});
  CHECK(decoder.relative_bias(0, 113) == 3100);
  CHECK(decoder.relative_bias(0, 112) == 3000);
  CHECK(decoder.relative_bias(2, -7) == 2);
}

TEST_CASE("T5Bias: a table that falls linearly is ALiBi as long as buckets are exact") {
  std::vector<float> table;
  for (int b = 0; b < 32; ++b) table.push_back(-0.25F * static_cast<float>(b));
  const PreparedT5Bias bias =
      T5Bias{.table = table, .bidirectional = false}.prepare({.num_heads = 1});
  for (Position d = 0; d < 16; ++d)
    CHECK(bias.relative_bias(0, d) == -0.25 * static_cast<double>(d));
}

TEST_CASE("T5Bias: scores are not divided by sqrt(head_dim)") {
  CHECK(T5Bias{}.score_scale(64) == 1);
  CHECK(T5Bias{.scaled = true}.score_scale(64) == 0.125);
}

TEST_CASE("T5Bias: what is wrong is said") {
  const std::vector<float> table(128);
  std::vector<float> broken = table;
  broken[77] = std::nanf("");
  CHECK(sentences_of(T5Bias{.table = table}).empty());
  CHECK_THAT(sentences_of(T5Bias{}), ContainsSubstring("32 buckets x 4 query heads, got 0 values"));
  CHECK_THAT(sentences_of(T5Bias{.table = broken}),
             ContainsSubstring("every value of the table must be finite"));
  CHECK_THAT(sentences_of(T5Bias{.table = table, .num_buckets = 2}),
             ContainsSubstring("num_buckets must be at least 4 when bidirectional, got 2"));
  CHECK_THAT(sentences_of(T5Bias{.table = table, .num_buckets = 1, .bidirectional = false}),
             ContainsSubstring("num_buckets must be at least 2 when not bidirectional, got 1"));
  CHECK_THAT(sentences_of(T5Bias{.table = table, .max_distance = 8}),
             ContainsSubstring("max_distance must exceed the 8 distances"));
  CHECK_THAT(sentences_of(T5Bias{.table = table, .max_distance = Position{1} << 31}),
             ContainsSubstring("below 2^31"));
  CHECK_THAT(sentences_of(T5Bias{.num_buckets = std::numeric_limits<Index>::max()}),
             ContainsSubstring("table must have"));
  CHECK_THAT(sentences_of(T5Bias{.num_buckets = -3}), ContainsSubstring("got -3"));
  CHECK_THROWS_WITH(t5_bucket(1, true, 3), ContainsSubstring("posenc::t5_bucket"));
}

}  // namespace t5_bias_cases
