// SPDX-License-Identifier: MIT
//
// Entropy and greatest weight of each row: against weights that an identity in place of the values brings out,
// against the reference, and closed forms.
#include <posenc/posenc.hpp>

#include "../support/bind_any.hpp"
#include "../support/levels.hpp"
#include "calls.hpp"

using namespace posenc;
using namespace attention_test;

namespace statistics_cases {

constexpr Index heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

template <class T>
struct Statistics {
  std::vector<T> entropy, greatest;
  Output<T> result;

  template <class BoundT>
  Statistics(const Arguments<T>& call, const BoundT& bound, const AnyExecutor& executor = {})
      : entropy(size(call.q.tokens * call.q.heads), T(7)), greatest(entropy), result(call) {
    AttentionOptions<T> all = call.options;
    all.lse = result.lse;
    all.rows = {.entropy = entropy, .greatest = greatest};
    all.executor = executor;
    attention(call.q, call.k, call.v, result.out.view(), bound, all);
  }
};

template <class A, class B>
double worst(const std::vector<A>& got, const std::vector<B>& expected) {
  double off = got.size() == expected.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < got.size() && i < expected.size(); ++i) {
    const double d = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    off = std::isnan(d) ? HUGE_VAL : std::max(off, d);
  }
  return off;
}

template <class T, class E>
void check(const E& encoding, const Arguments<T>& call, double tolerance) {
  const auto bound = posenc_test::bind_any(encoding, options);
  const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound, call.options);
  posenc_test::at_every_level([&] {
    const Statistics<T> got(call, bound);
    CHECK(worst(got.entropy, expected.entropy) <= tolerance);
    CHECK(worst(got.greatest, expected.greatest) <= tolerance);
    // What attention returns besides has the same bits, and so has everything with other threads.
    CHECK(differing_rows(got.result, attend_in_nan(call, bound)) == 0);
    const Statistics<T> other(call, bound, Backwards{7});
    CHECK(other.entropy == got.entropy);
    CHECK(other.greatest == got.greatest);
    CHECK(differing_rows(got.result, other.result) == 0);
  });
}

TEST_CASE("row statistics: kernel and reference agree") {
  const Inputs<float> in(150, 150, heads, kv_heads, width, width, 4);
  check<float>(encoding(Causal{}), in.call(), 4e-6);
  check<float>(rope | ALiBi{} | SoftCap{30} | Causal{}, in.call(), 4e-6);
  check<float>(rope | SlidingWindow{.left = 20}, in.call(), 4e-6);
  check<float>(rope | SinkLogit{.logits = {-3, 0, 2, 60}} | Causal{}, in.call(), 4e-6);
  check<float>(rope | SinkLogit{.logits = {1, 2, 3, 4}} | SinkLogit{.logits = {4, 3, 2, 1}} |
                   Causal{},
               in.call(), 4e-6);
  const Inputs<double> exact(70, 90, heads, kv_heads, width, width, 4);
  check<double>(rope | SinkLogit{.logits = {-3, 0, 2, 60}} | Causal{}, exact.call(), 1e-13);
}

TEST_CASE("row statistics: keys that are divided among threads are merged") {
  // Few queries and many keys have parts.
  const Inputs<float> in(3, 9000, heads, kv_heads, width, width, 3);
  check<float>(rope | Causal{}, in.call(), 1e-5);
  check<float>(rope | SinkLogit{.logits = {1, -9, 8, 0}} | SlidingWindow{.left = 2500}, in.call(),
               1e-5);
}

TEST_CASE("row statistics: what weights say that an identity for values brings out") {
  constexpr Index tokens = 40;
  Inputs<double> in(tokens, tokens, heads, kv_heads, width, tokens, 3);
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < kv_heads; ++h)
      for (Index c = 0; c < tokens; ++c) in.v.view()(t, h, c) = t == c ? 1 : 0;
  const Statistics<double> got(in.call(), bind(rope | Causal{}, options));
  const TensorView<const double> weights = got.result.out;
  std::vector<long double> entropy, greatest;
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      long double sum = 0, most = 0;
      for (Index c = 0; c < tokens; ++c) {
        const long double w = weights(t, h, c);
        if (w > 0) sum -= w * std::log(w);
        most = std::max(most, w);
      }
      entropy.push_back(sum);
      greatest.push_back(most);
    }
  CHECK(worst(got.entropy, entropy) <= 1e-13);
  CHECK(worst(got.greatest, greatest) <= 1e-14);
}

TEST_CASE("row statistics: equal weights, one weight, none, and scores of a thousand") {
  constexpr Index tokens = 100;
  Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  std::fill_n(in.q.view().data, tokens * heads * width, 0.0F);
  const Statistics<float> even(in.call(), bind(encoding(Causal{}), options));
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      const std::size_t row = size(t * heads + h);
      CHECK_THAT(even.entropy[row], WithinAbs(std::log(static_cast<double>(t + 1)), 1e-6));
      CHECK_THAT(even.greatest[row], WithinRel(1 / static_cast<float>(t + 1), 1e-6F));
    }
  // A sink is one more weight.
  const Statistics<float> sink(in.call(), bind(encoding(SinkLogit{}) | Causal{}, options));
  CHECK_THAT(sink.entropy[0], WithinAbs(std::log(2.0), 1e-6));
  CHECK_THAT(sink.greatest[0], WithinRel(0.5F, 1e-6F));
  // Nothing is seen.
  const auto nothing =
      bind(mask([](const Score& at) { return at.query_index > 0; }) | Causal{}, options);
  const Statistics<float> none(in.call(), nothing);
  CHECK(none.entropy[0] == 0);
  CHECK(none.greatest[0] == 0);
  // Far scores, of which one takes all; the digits of the others' do not matter.
  const auto far = bind(bias([](Index, Position distance) {
                          return -1000.0 * static_cast<double>(distance);
                        }) | Causal{},
                        options);
  const Statistics<float> one(in.call(), far);
  CHECK(worst(one.entropy, std::vector<double>(one.entropy.size(), 0.0)) <= 1e-6);
  CHECK(worst(one.greatest, std::vector<double>(one.greatest.size(), 1.0)) <= 1e-6);
}

TEST_CASE("row statistics: scores as far away as numbers go") {
  // Keys before the 400th are as good as hidden. The shift rises from there to the scores of the others.
  Inputs<float> in(500, 500, heads, kv_heads, width, width);
  for (const double low :
       {-1e30, -1e37, static_cast<double>(std::numeric_limits<float>::lowest())}) {
    const auto far =
        bind(encoding(bias([low](const Score& at) { return at.key_index < 400 ? low : 0.0; })) |
                 Causal{},
             options);
    posenc_test::at_every_level([&] {
      const Statistics<float> got(in.call(), far);
      for (Index row = 400 * heads; row < 500 * heads; ++row)
        REQUIRE(got.entropy[size(row)] >= -1e-5F);  // and no NaN
      CHECK(worst(std::vector<float>(got.entropy.begin() + 400 * heads,
                                     got.entropy.begin() + 401 * heads),
                  std::vector<double>(heads, 0.0)) <= 1e-5);
      const Statistics<float> divided(in.call(), far, Backwards{7});
      CHECK(divided.entropy == got.entropy);
    });
  }
}

TEST_CASE("row statistics: a row that sees NaN or a score of plus infinity has NaN") {
  constexpr Index tokens = 150, bad = 70;
  for (const double what : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL}) {
    const Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
    const auto bound =
        bind(bias([what](const Score& at) { return at.key_index == bad ? what : 0.0; }) |
                 SinkLogit{} | SlidingWindow{.left = 40},
             options);
    const ReferenceResult expected =
        reference_attention(in.call().q, in.call().k, in.call().v, bound);
    posenc_test::at_every_level([&] {
      const Statistics<float> got(in.call(), bound);
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h) {
          const std::size_t row = size(t * heads + h);
          const bool sees = t >= bad && t <= bad + 40;
          REQUIRE(std::isnan(got.entropy[row]) == sees);
          REQUIRE(std::isnan(got.greatest[row]) == sees);
          REQUIRE(std::isnan(expected.entropy[row]) == sees);
          REQUIRE(std::isnan(expected.greatest[row]) == sees);
        }
    });
  }
}

TEST_CASE("row statistics: one of them, a ragged batch, and wrong sizes") {
  constexpr Index tokens = 90;
  const Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  const Arguments<float> call = in.call();
  const auto bound = bind(rope | Causal{}, options);
  const Statistics<float> both(call, bound);
  std::vector<float> one(both.entropy.size());
  Output<float> out(call);
  attention(call.q, call.k, call.v, out.out.view(), bound, {.rows = {.greatest = one}});
  CHECK(one == both.greatest);
  attention(call.q, call.k, call.v, out.out.view(), bound, {.rows = {.entropy = one}});
  CHECK(one == both.entropy);

  const std::vector<Index> starts{0, 30, tokens};
  std::vector<float> entropy(one.size()), greatest(one.size());
  attention<float>(call.q, call.k, call.v, out.out.view(), RaggedBatch{.starts = starts}, bound,
                   {.rows = {.entropy = entropy, .greatest = greatest}});
  for (Index i = 0; i < 2; ++i) {
    const Index first = starts[size(i)], n = starts[size(i + 1)] - first;
    const Statistics<float> own(Arguments<float>{call.q.slice(first, n), call.k.slice(first, n),
                                                 call.v.slice(first, n)},
                                bound);
    CHECK(std::equal(own.entropy.begin(), own.entropy.end(), entropy.begin() + first * heads));
    CHECK(std::equal(own.greatest.begin(), own.greatest.end(), greatest.begin() + first * heads));
  }
  one.pop_back();
  CHECK_THROWS_WITH(attention(call.q, call.k, call.v, out.out.view(), bound,
                              {.rows = {.entropy = one}}),
                    ContainsSubstring("rows.entropy has 359 elements for 90 queries of 4 heads."));
}

}  // namespace statistics_cases
