// SPDX-License-Identifier: MIT
//
// Rows that see nothing, inputs that are not finite, scores of extreme size: the documented effects.
#include "../support/bind_any.hpp"
#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/score/sink_logit.hpp>

namespace attention_test {
namespace properties_extremes_cases {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan = std::numeric_limits<T>::quiet_NaN();

constexpr Index tokens = 70, width = 16, value_dim = 5;

template <class T>
struct Sequence {
  Tensor<T> q{tokens, 1, width}, k{tokens, 1, width}, v{tokens, 1, value_dim};
  Sequence() {
    q.fill(Random(1), 2);
    k.fill(Random(2));
    v.fill(Random(3));
  }
  [[nodiscard]] Arguments<T> call() const { return {q, k, v}; }
};

template <class T>
void fill_row(TensorView<T> x, Index token, T value) {
  for (Index d = 0; d < x.width; ++d) x(token, 0, d) = value;
}

template <class T>
bool is_zero(const Output<T>& result, Index row) {
  for (Index d = 0; d < value_dim; ++d)
    if (result.out.view()(row, 0, d) != 0) return false;
  return true;
}
template <class T>
bool is_nan(const Output<T>& result, Index row) {
  for (Index d = 0; d < value_dim; ++d)
    if (!std::isnan(result.out.view()(row, 0, d))) return false;
  return true;
}
template <class T>
bool is_same(const Output<T>& a, const Output<T>& b, Index row) {
  for (Index d = 0; d < value_dim; ++d)
    if (a.out.view()(row, 0, d) != b.out.view()(row, 0, d)) return false;
  return a.lse[size(row)] == b.lse[size(row)];
}

const RoPE<HalfSplit> rope{.head_dim = width};

TEMPLATE_TEST_CASE("rows that see nothing are zero", "[attention][extremes]", float, double) {
  Sequence<TestType> sequence;
  // Rows 10 to 19 see nothing at all.
  const auto hidden =
      mask([](const Score& at) { return at.query_index < 10 || at.query_index >= 20; });
  const auto check = [&](const auto& encoding, double lse) {
    const Output<TestType> result = attend(sequence.call(), posenc_test::bind_any(encoding));
    for (Index r = 0; r < tokens; ++r) {
      const bool empty = r >= 10 && r < 20;
      if (is_zero(result, r) != empty) FAIL_CHECK("row " << r);
      if (empty && static_cast<double>(result.lse[size(r)]) != lse) FAIL_CHECK("lse of row " << r);
    }
  };
  check(rope | hidden | Causal{}, -infinity<double>);
  check(rope | hidden | SinkLogit{{0.625F}} | Causal{}, 0.625);
  for (Index r = 10; r < 20; ++r) fill_row(sequence.q.view(), r, nan<TestType>);
  check(rope | hidden | Causal{}, -infinity<double>);

  // No key at all.
  Arguments<TestType> none = sequence.call();
  none.k = none.k.slice(0, 0);
  none.v = none.v.slice(0, 0);
  none.options.query_offset = 3;
  const Output<TestType> empty = attend(none, posenc_test::bind_any(rope | Causal{}));
  for (Index r = 0; r < tokens; ++r) {
    CHECK(is_zero(empty, r));
    CHECK(empty.lse[size(r)] == -infinity<TestType>);
  }
}

TEMPLATE_TEST_CASE("what is not finite stays where it belongs", "[attention][extremes]", float,
                   double) {
  const Output<TestType> clean =
      attend(Sequence<TestType>().call(), posenc_test::bind_any(rope | Causal{}));
  const auto check = [&](const Sequence<TestType>& sequence, auto&& affected) {
    const Output<TestType> result = attend(sequence.call(), posenc_test::bind_any(rope | Causal{}));
    for (Index r = 0; r < tokens; ++r) {
      if (affected(r)) {
        if (!is_nan(result, r)) FAIL_CHECK("row " << r << " should be NaN");
      } else if (!is_same(result, clean, r)) {
        FAIL_CHECK("row " << r << " should not change");
      }
    }
  };
  SECTION("a NaN in a key reaches the rows that see it") {
    Sequence<TestType> sequence;
    sequence.k.view()(33, 0, 7) = nan<TestType>;
    check(sequence, [](Index r) { return r >= 33; });
  }
  SECTION("a NaN in a query reaches its row") {
    Sequence<TestType> sequence;
    sequence.q.view()(40, 0, 2) = nan<TestType>;
    check(sequence, [](Index r) { return r == 40; });
  }
  SECTION("an infinite key makes rotated channels NaN") {
    Sequence<TestType> sequence;
    fill_row(sequence.k.view(), 64, infinity<TestType>);
    check(sequence, [](Index r) { return r >= 64; });
  }
  SECTION("a value that is not finite reaches its channel") {
    Sequence<TestType> sequence;
    sequence.v.view()(20, 0, 3) = nan<TestType>;
    const Output<TestType> result = attend(sequence.call(), posenc_test::bind_any(rope | Causal{}));
    for (Index r = 0; r < tokens; ++r)
      for (Index d = 0; d < value_dim; ++d) {
        const TestType x = result.out.view()(r, 0, d);
        // Another path adds the same products: the sums may be rounded differently.
        const TestType difference = std::abs(x - clean.out.view()(r, 0, d));
        const bool is_same = difference <= 16 * std::numeric_limits<TestType>::epsilon();
        if (r >= 20 && d == 3 ? !std::isnan(x) : !is_same) FAIL_CHECK("row " << r << ", " << d);
      }
  }
}

TEMPLATE_TEST_CASE("scores that are not finite", "[attention][extremes]", float, double) {
  const Sequence<TestType> sequence;
  const auto with_score = [&](auto score_of_key) {
    return attend(sequence.call(), posenc_test::bind_any(rope | bias([=](const Score& at) {
                                                           return score_of_key(at.key_index);
                                                         })));
  };
  const Output<TestType> infinite =
      with_score([](Position key) { return key == 50 ? infinity<double> : 0.0; });
  const Output<TestType> not_a_number =
      with_score([](Position key) { return key == 50 ? nan<double> : 0.0; });
  const Output<TestType> only_nan = with_score([](Position) { return nan<double>; });
  const Output<TestType> none = with_score([](Position) { return -infinity<double>; });
  const Output<TestType> one =
      with_score([](Position key) { return key == 50 ? 0.0 : -infinity<double>; });
  const Output<TestType> tail =
      with_score([](Position key) { return key < 65 ? -infinity<double> : 0.0; });
  const Output<TestType> tail_hidden =
      attend(sequence.call(), posenc_test::bind_any(
                                  rope | mask([](const Score& at) { return at.key_index >= 65; })));
  for (Index r = 0; r < tokens; ++r) {
    CHECK(is_nan(infinite, r));
    CHECK(is_nan(not_a_number, r));
    CHECK(is_nan(only_nan, r));
    CHECK(is_zero(none, r));
    CHECK(none.lse[size(r)] == -infinity<TestType>);
    for (Index d = 0; d < value_dim; ++d) {
      CHECK(one.out.view()(r, 0, d) == sequence.v.view()(50, 0, d));
      CHECK_THAT(static_cast<double>(tail.out.view()(r, 0, d)),
                 WithinAbs(static_cast<double>(tail_hidden.out.view()(r, 0, d)),
                           100 * static_cast<double>(std::numeric_limits<TestType>::epsilon())));
    }
  }
  // A score of minus infinity beside a sink is still a weight of zero.
  const Output<TestType> sunk =
      attend(sequence.call(),
             posenc_test::bind_any(rope | bias([](const Score&) { return -infinity<double>; }) |
                                   SinkLogit{{2}}));
  CHECK(is_zero(sunk, 5));
  CHECK(sunk.lse[5] == 2);
}

TEMPLATE_TEST_CASE("scores of extreme size", "[attention][extremes]", float, double) {
  using T = TestType;
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  Tensor<T> q(tokens, 1, 1), k(tokens, 1, 1), v(tokens, 1, value_dim);
  v.fill(Random(3));
  const auto plain = posenc_test::bind_any(encoding(Causal{}));
  const Arguments<T> call{q, k, v};
  const auto run = [&](auto query, auto key) {
    for (Index t = 0; t < tokens; ++t) {
      q.view()(t, 0, 0) = static_cast<T>(query(t));
      k.view()(t, 0, 0) = static_cast<T>(key(t));
    }
    return attend(call, plain);
  };
  const auto mean = [&](Index row, Index d) {
    double sum = 0;
    for (Index c = 0; c <= row; ++c) sum += static_cast<double>(v.view()(c, 0, d));
    return sum / static_cast<double>(row + 1);
  };

  SECTION("all equal, of any size: the mean") {
    for (const double score : {0.0, 1e4, -1e4, 1e30, -1e30}) {
      const Output<T> result = run([](Index) { return 1.0; }, [&](Index) { return score; });
      const double rounded = static_cast<double>(static_cast<T>(score));
      for (const Index r : {Index{0}, Index{31}, tokens - 1}) {
        INFO("score " << score << ", row " << r);
        for (Index d = 0; d < value_dim; ++d)
          CHECK_THAT(static_cast<double>(result.out.view()(r, 0, d)),
                     WithinAbs(mean(r, d), 150 * eps));
        CHECK_THAT(static_cast<double>(result.lse[size(r)]),
                   WithinAbs(rounded + std::log(static_cast<double>(r + 1)),
                             4 * eps * (std::abs(score) + 100)));
      }
    }
  }
  SECTION("one key dominates, wherever it stands") {
    for (const Index winner : {Index{0}, Index{30}, Index{64}, tokens - 1}) {
      const Output<T> result =
          run([](Index) { return 100.0; }, [&](Index c) { return c == winner ? 100.0 : -100.0; });
      for (Index d = 0; d < value_dim; ++d)
        CHECK(result.out.view()(tokens - 1, 0, d) == v.view()(winner, 0, d));
      CHECK(result.lse[size(tokens - 1)] == 1e4);
    }
  }
  SECTION("rising and falling by ten thousand from key to key") {
    for (const double sign : {1.0, -1.0}) {
      const Output<T> result =
          run([](Index) { return 1e4; }, [&](Index c) { return sign * static_cast<double>(c); });
      for (Index r = 0; r < tokens; ++r)
        for (Index d = 0; d < value_dim; ++d)
          CHECK(result.out.view()(r, 0, d) == v.view()(sign > 0 ? r : 0, 0, d));
    }
  }
  SECTION("random scores of ten thousand, against the reference") {
    Sequence<T> sequence;
    sequence.q.fill(Random(9), 16384);
    const auto bound =
        posenc_test::bind_any(RoPE<Interleaved>{.head_dim = width} | ALiBi{} | Causal{});
    CHECK(kernel_ratio(sequence.call(), bound) <= 1);
  }
}

TEMPLATE_TEST_CASE("positions beyond a million are exact", "[attention][extremes]", float, double) {
  // Queries and keys (1, 0) at distance D have the score cos(D), here far from the origin and with ids.
  Tensor<TestType> q(1, 1, 2), k(2, 1, 2), v(2, 1, 2);
  q.view()(0, 0, 0) = 1, q.view()(0, 0, 1) = 0;
  for (Index c = 0; c < 2; ++c) {
    k.view()(c, 0, 0) = v.view()(c, 0, c) = 1;
    k.view()(c, 0, 1) = v.view()(c, 0, 1 - c) = 0;
  }
  const auto bound =
      posenc_test::bind_any(encoding(RoPE<HalfSplit>{.head_dim = 2}), {.scale = 1.0});
  for (const Position at : {Position{1} << 20, (Position{1} << 21) + 77, (Position{1} << 24) - 1}) {
    const std::array<Position, 1> query = {at};
    const std::array<Position, 2> keys = {at - 1, 3};
    const Arguments<TestType> call{q, k, v, {.query_positions = query, .key_positions = keys}};
    const Output<TestType> result = attend(call, bound);
    const double difference =
        std::log(static_cast<double>(result.out.view()(0, 0, 0) / result.out.view()(0, 0, 1)));
    CHECK_THAT(difference, WithinAbs(std::cos(1.0) - std::cos(static_cast<double>(at - 3)),
                                     sizeof(TestType) == 4 ? 2e-6 : 1e-8));
  }
}

TEMPLATE_TEST_CASE("frequencies that depend on the length go by the length",
                   "[attention][extremes]", float, double) {
  const Sequence<TestType> sequence;
  const auto dynamic = rope | DynamicNTK{.original_context = 16} | Causal{};
  Arguments<TestType> prefix = sequence.call();
  for (const Index length : {Index{16}, Index{17}, Index{40}, tokens}) {
    prefix.q = sequence.call().q.slice(0, length);
    prefix.k = sequence.call().k.slice(0, length);
    prefix.v = sequence.call().v.slice(0, length);
    CHECK(kernel_ratio(prefix, posenc_test::bind_any(dynamic)) <= 1);
  }
  // The greatest position counts, be it a query's or a key's, not the number of tokens.
  Arguments<TestType> far = sequence.call();
  far.options.key_offset = 1000;
  CHECK(kernel_ratio(far, posenc_test::bind_any(dynamic)) <= 1);
  far.options.query_offset = 5000;
  CHECK(kernel_ratio(far, posenc_test::bind_any(dynamic)) <= 1);

  // A length that was given at bind stands, whatever the call's.
  const auto at_40 = posenc_test::bind_any(dynamic, {.length = 40});
  const Output<TestType> given = attend(far, at_40);
  const Output<TestType> by_hand =
      attend(far, posenc_test::bind_any(rope | NTK{.alpha = 40.0 / 16} | Causal{}));
  for (Index r = 0; r < tokens; ++r)
    if (!is_same(given, by_hand, r)) FAIL_CHECK("row " << r);
}

}  // namespace properties_extremes_cases
}  // namespace attention_test
