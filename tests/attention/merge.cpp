// SPDX-License-Identifier: MIT
#include <posenc/attention/merge.hpp>

#include "../support/catch.hpp"

#include <cmath>
#include <random>
#include <vector>

using namespace posenc;

namespace merge_cases {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Output and log-sum-exp of softmax over some logits with values of one channel, in long double.
struct Row {
  double out = 0, lse = -infinity;
};
Row softmax(const std::vector<double>& logits, const std::vector<double>& values, std::size_t first,
            std::size_t last) {
  long double sum = 0, weighted = 0;
  for (std::size_t i = first; i < last; ++i) {
    sum += std::exp(static_cast<long double>(logits[i]));
    weighted += std::exp(static_cast<long double>(logits[i])) * static_cast<long double>(values[i]);
  }
  if (sum == 0) return {};
  return {static_cast<double>(weighted / sum), static_cast<double>(std::log(sum))};
}

Row merged(Row a, Row b) {
  merge(Partial<double>{TensorView<double>(&a.out, 1, 1, 1), {&a.lse, 1}},
        Partial<const double>{TensorView<const double>(&b.out, 1, 1, 1), {&b.lse, 1}});
  return a;
}

TEST_CASE("merge: two halves are the whole, for any cut and in any order") {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> draw(-5, 5);
  std::vector<double> logits(20), values(20);
  for (std::size_t i = 0; i < 20; ++i) {
    logits[i] = draw(random);
    values[i] = draw(random);
  }
  const Row whole = softmax(logits, values, 0, 20);
  for (std::size_t cut = 0; cut <= 20; ++cut) {
    const Row first = softmax(logits, values, 0, cut), last = softmax(logits, values, cut, 20);
    for (const Row& row : {merged(first, last), merged(last, first)}) {
      CHECK_THAT(row.out, WithinAbs(whole.out, 1e-14));
      CHECK_THAT(row.lse, WithinAbs(whole.lse, 1e-14));
    }
  }
  // One by one, forwards and backwards.
  Row forwards, backwards;
  for (std::size_t i = 0; i < 20; ++i) {
    forwards = merged(forwards, softmax(logits, values, i, i + 1));
    backwards = merged(backwards, softmax(logits, values, 19 - i, 20 - i));
  }
  CHECK_THAT(forwards.out, WithinAbs(whole.out, 1e-14));
  CHECK_THAT(backwards.out, WithinAbs(whole.out, 1e-14));
  CHECK_THAT(backwards.lse, WithinAbs(forwards.lse, 1e-14));
}

TEST_CASE("merge: closed forms") {
  const Row equal = merged({2, 1}, {6, 1});
  CHECK(equal.out == 4);
  CHECK_THAT(equal.lse, WithinAbs(1 + std::log(2.0), 1e-15));
  const Row quarter = merged({0, 0}, {8, std::log(3.0)});
  CHECK_THAT(quarter.out, WithinAbs(6, 1e-14));
  CHECK_THAT(quarter.lse, WithinAbs(std::log(4.0), 1e-15));
}

TEST_CASE("merge: log-sum-exps of any size") {
  for (const double shift : {-1e4, 700.0, 1e4, 1e300}) {
    const Row row = merged({2, shift}, {6, shift});
    CHECK(row.out == 4);
    CHECK_THAT(row.lse, WithinRel(shift + std::log(2.0), 1e-15));
  }
  const Row far = merged({2, -1e5}, {6, 1e5});
  CHECK(far.out == 6);
  CHECK(far.lse == 1e5);
}

TEST_CASE("merge: a part that saw nothing") {
  const double nan = std::nan("");
  const Row kept = merged({3, 0.5}, {nan, -infinity});
  CHECK(kept.out == 3);
  CHECK(kept.lse == 0.5);
  const Row taken = merged({nan, -infinity}, {3, 0.5});
  CHECK(taken.out == 3);
  CHECK(taken.lse == 0.5);
  const Row neither = merged({0, -infinity}, {0, -infinity});
  CHECK(neither.out == 0);
  CHECK(neither.lse == -infinity);
}

TEST_CASE("merge: NaN comes through, on either side") {
  const double nan = std::nan("");
  for (const auto& [a, b] : {std::pair<Row, Row>{{1, nan}, {2, 0}},
                             {{1, 0}, {2, nan}},
                             {{nan, nan}, {2, 0}},
                             {{1, 0}, {nan, nan}}}) {
    CHECK(std::isnan(merged(a, b).out));
    CHECK(std::isnan(merged(a, b).lse));
  }
  CHECK(std::isnan(merged({nan, nan}, {0, -infinity}).out));
  CHECK(std::isnan(merged({0, -infinity}, {nan, nan}).out));
  CHECK(std::isnan(merged({nan, 0}, {1, 0}).out));
}

TEST_CASE("merge: rows, heads, channels and strides") {
  constexpr Index tokens = 3, heads = 2, width = 5;
  std::vector<float> a(100), b(100), lse_a(6), lse_b(6);
  const TensorView<float> out_a(a.data(), tokens, heads, width, 1, 3, 7);
  const TensorView<float> out_b = TensorView<float>::head_major(b.data(), heads, tokens, width);
  const auto value = [](Index t, Index h, Index c) {
    return static_cast<float>(100 * t + 10 * h + c);
  };
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      lse_a[static_cast<std::size_t>(t * heads + h)] = static_cast<float>(t);
      lse_b[static_cast<std::size_t>(t * heads + h)] =
          static_cast<float>(t) + std::log(static_cast<float>(h + 1));
      for (Index c = 0; c < width; ++c) {
        out_a(t, h, c) = value(t, h, c);
        out_b(t, h, c) = -value(t, h, c);
      }
    }
  const std::vector<float> b_before = b, lse_b_before = lse_b;
  merge(Partial<float>{out_a, lse_a}, Partial<float>{out_b, lse_b});
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      const auto weight = static_cast<double>(h + 1);  // of b, against 1
      CHECK_THAT(static_cast<double>(lse_a[static_cast<std::size_t>(t * heads + h)]),
                 WithinAbs(static_cast<double>(t) + std::log(1 + weight), 1e-6));
      for (Index c = 0; c < width; ++c)
        CHECK_THAT(static_cast<double>(out_a(t, h, c)),
                   WithinAbs(static_cast<double>(value(t, h, c)) * (1 - weight) / (1 + weight),
                             1e-4));
    }
  CHECK(b == b_before);
  CHECK(lse_b == lse_b_before);
}

TEST_CASE("merge: shapes that differ are refused") {
  std::vector<float> a(30), b(30), lse(6);
  const std::span<float> all(lse), some(lse.data(), 5);
  const TensorView<float> x(a.data(), 3, 2, 5);
  CHECK_THROWS_WITH(
      merge(Partial<float>{x, all}, Partial<float>{TensorView<float>(b.data(), 3, 1, 5), all}),
      ContainsSubstring("posenc::merge") && ContainsSubstring("got [3, 2, 5] and [3, 1, 5]"));
  CHECK_THROWS_WITH(merge(Partial<float>{x, some},
                          Partial<float>{TensorView<float>(b.data(), 3, 2, 5), all}),
                    ContainsSubstring("3 tokens of 2 heads, got 5 and 6"));
  CHECK_THROWS_AS(merge(Partial<float>{x, all},
                        Partial<float>{TensorView<float>(b.data(), 3, 2, 5), some}),
                  Error);
  CHECK_NOTHROW(merge(Partial<float>{TensorView<float>(nullptr, 0, 2, 5), {}},
                      Partial<float>{TensorView<float>(nullptr, 0, 2, 5), {}}));
}

}  // namespace merge_cases
