// SPDX-License-Identifier: MIT
//
// What must hold of the kernel whatever the numbers are: invariances, and limits in which one encoding
// becomes another. Two results of the kernel that are equal on paper may differ by the sum of their
// bounds (oracle.hpp).
#include "../support/bind_any.hpp"
#include "../support/catch.hpp"
#include "../support/oracle.hpp"

#include <posenc/attention/merge.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

#include <algorithm>
#include <array>

namespace attention_test {
namespace properties_cases {

constexpr Index tokens = 77, heads = 4, kv_heads = 2, width = 24;

const RoPE<HalfSplit> rope{.head_dim = width};
const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};

/// A self-attention call of `tokens` tokens.
template <class T>
struct Sequence {
  Tensor<T> q{tokens, heads, width}, k{tokens, kv_heads, width}, v{tokens, kv_heads, 20};
  Arguments<T> call;

  explicit Sequence(std::uint64_t seed = 1) {
    q.fill(Random(seed), 2);
    k.fill(Random(seed + 1));
    v.fill(Random(seed + 2));
    call = {q, k, v};
  }
  Sequence(const Sequence&) = delete;
};

/// A result of the kernel and its bounds.
template <class T>
struct Result {
  Output<T> of;
  std::vector<RowBound> bounds;

  template <class BoundT>
  Result(const Arguments<T>& call, const BoundT& bound)
      : of(attend(call, bound)), bounds(error_bounds(call, bound)) {}
};

/// Difference of two results of the kernel, over the sum of their bounds.
template <class T>
double difference(const Result<T>& a, const Result<T>& b) {
  ReferenceResult expected;
  const TensorView<const T> out = b.of.out;
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < out.heads; ++h)
      for (Index d = 0; d < out.width; ++d)
        expected.out.push_back(static_cast<double>(out(r, h, d)));
  expected.lse.assign(b.of.lse.begin(), b.of.lse.end());
  std::vector<RowBound> bounds = a.bounds;
  for (std::size_t i = 0; i < bounds.size(); ++i)
    bounds[i] = {bounds[i].out + b.bounds[i].out, bounds[i].lse + b.bounds[i].lse};
  return worst_ratio<T>(a.of.out, a.of.lse, expected, bounds);
}

template <class T, class A, class B>
double difference(const Arguments<T>& call_a, const A& a, const Arguments<T>& call_b, const B& b) {
  return difference(Result<T>(call_a, a), Result<T>(call_b, b));
}

template <class T, class A, class B>
double difference(const Arguments<T>& call, const A& a, const B& b) {
  return difference(call, posenc_test::bind_any(a, options), call,
                    posenc_test::bind_any(b, options));
}

TEMPLATE_TEST_CASE("a shift of all positions changes nothing", "[attention][properties]", float,
                   double) {
  const Sequence<TestType> sequence;
  const auto shifted = [&](Position by) {
    Arguments<TestType> call = sequence.call;
    call.options.key_offset = by;
    return call;
  };
  const auto check = [&](const auto& encoding) {
    const auto bound = posenc_test::bind_any(encoding, options);
    for (const Position by : {Position{1}, Position{1000}, Position{5'000'003}})
      CHECK(difference(sequence.call, bound, shifted(by), bound) <= 1);
  };
  check(rope | ALiBi{} | Causal{});
  check(rope | ReRoPE{.window = 9} | Causal{});
  check(rope | LeakyReRoPE{.window = 9, .factor = 3} | SlidingWindow{.left = 30, .right = 4});
}

TEMPLATE_TEST_CASE("ReRoPE does not see the order of far keys", "[attention][properties]", float,
                   double) {
  const Index window = 20;
  const Sequence<TestType> sequence;
  Tensor<TestType> k(tokens, kv_heads, width), v(tokens, kv_heads, 20);
  std::vector<Index> order(size(tokens));
  for (Index c = 0; c < tokens; ++c) order[size(c)] = c;
  Random random(4);
  for (Index c = tokens - window - 1; c > 0; --c)  // keys at distance >= window of the last query
    std::swap(order[size(c)], order[size(random.integer(0, c))]);
  for (Index c = 0; c < tokens; ++c)
    for (Index h = 0; h < kv_heads; ++h) {
      for (Index d = 0; d < width; ++d) k.view()(c, h, d) = sequence.call.k(order[size(c)], h, d);
      for (Index d = 0; d < 20; ++d) v.view()(c, h, d) = sequence.call.v(order[size(c)], h, d);
    }
  Arguments<TestType> last = sequence.call;
  last.q = last.q.slice(tokens - 1, 1);
  Arguments<TestType> permuted = last;
  permuted.k = k;
  permuted.v = v;
  const auto rerope = posenc_test::bind_any(rope | ReRoPE{.window = window} | Causal{}, options);
  CHECK(difference(last, rerope, permuted, rerope) <= 1);
  const auto plain = posenc_test::bind_any(rope | Causal{}, options);
  CHECK(difference(last, plain, permuted, plain) > 100);
}

TEMPLATE_TEST_CASE("limits of rewritten distances", "[attention][properties]", float, double) {
  const Sequence<TestType> sequence;
  const auto plain = rope | Causal{};
  const auto rerope = [](Position window) { return rope | ReRoPE{window} | Causal{}; };
  const auto leaky = [](Position window, double factor) {
    return rope | LeakyReRoPE{window, factor} | Causal{};
  };
  CHECK(difference(sequence.call, rerope(tokens), plain) <= 1);
  CHECK(difference(sequence.call, rerope(100'000), plain) <= 1);
  CHECK(difference(sequence.call, rerope(tokens - 2), plain) > 10);  // the one farthest pair
  for (const Position window : {1, 13, 64}) {
    CHECK(difference(sequence.call, leaky(window, 1), plain) <= 1);
    // Beyond the window distances grow by at most 1e-12 * tokens.
    CHECK(difference(sequence.call, leaky(window, 1e12), rerope(window)) <=
          (sizeof(TestType) == 4 ? 1.0 : 100.0));
    CHECK(difference(sequence.call, leaky(window, 4), rerope(window)) > 100);
  }
  // Without a causal mask, too.
  CHECK(difference(sequence.call, rope | ReRoPE{.window = tokens}, encoding(rope)) <= 1);
  CHECK(difference(sequence.call, rope | LeakyReRoPE{.window = 5, .factor = 1}, encoding(rope)) <=
        1);
}

TEMPLATE_TEST_CASE("biases that are the same function", "[attention][properties]", float, double) {
  const Sequence<TestType> sequence;
  const auto alibi = rope | ALiBi{} | Causal{};
  CHECK(difference(sequence.call,
                   rope | KerplePower{.r1 = {0.25, 0.0625, 1.0 / 64, 1.0 / 256}, .r2 = {1}} |
                       Causal{},
                   alibi) <= 1);
  // As many exact buckets as there are distances.
  T5Bias t5{.num_buckets = 2 * tokens,
            .max_distance = 4 * tokens,
            .bidirectional = false,
            .scaled = true};
  for (Index bucket = 0; bucket < t5.num_buckets; ++bucket)
    for (const float slope : {0.25F, 0.0625F, 1.0F / 64, 1.0F / 256})
      t5.table.push_back(-slope * static_cast<float>(bucket));
  CHECK(difference(sequence.call, rope | t5 | Causal{}, alibi) <= 1);
}

TEMPLATE_TEST_CASE("limits of caps, sinks and windows", "[attention][properties]", float, double) {
  const Sequence<TestType> sequence;
  const auto plain = rope | Causal{};
  // c tanh(x / c) is x (1 - (x / c)^2 / 3): 1e-13 of x here.
  CHECK(difference(sequence.call, rope | SoftCap{1e7} | Causal{}, plain) <=
        (sizeof(TestType) == 4 ? 1.0 : 100.0));
  CHECK(difference(sequence.call, rope | SoftCap{1} | Causal{}, plain) > 100);

  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(difference(sequence.call, rope | SinkLogit{{-infinity}} | Causal{}, plain) <= 1);
  CHECK(difference(sequence.call, rope | SinkLogit{{-1e4F}} | Causal{}, plain) <= 1);
  CHECK(difference(sequence.call, rope | SinkLogit{{0}} | Causal{}, plain) > 100);

  CHECK(difference(sequence.call, rope | SlidingWindow{}, plain) <= 1);
  CHECK(difference(sequence.call, rope | SlidingWindow{.left = tokens - 1}, plain) <= 1);
  CHECK(difference(sequence.call, rope | SlidingWindow{.left = tokens - 2}, plain) > 100);
  CHECK(difference(sequence.call, rope | SlidingWindow{.right = SlidingWindow::unlimited},
                   encoding(rope)) <= 1);
  CHECK(difference(sequence.call, rope | SinkWindow{.sinks = 0, .window = tokens}, plain) <= 1);
  CHECK(difference(sequence.call, rope | SinkWindow{.sinks = tokens, .window = 1}, plain) <= 1);
  CHECK(difference(sequence.call, rope | PrefixLM{0}, plain) <= 1);
  CHECK(difference(sequence.call, rope | PrefixLM{tokens}, encoding(rope)) <= 1);
  CHECK(difference(sequence.call, rope | Documents{} | Causal{}, plain) <= 1);
}

TEMPLATE_TEST_CASE("a bias before a cap is not a bias after it", "[attention][properties]", float,
                   double) {
  const Sequence<TestType> sequence;
  const auto before = rope | ALiBi{} | SoftCap{2} | Causal{};
  const auto after = rope | SoftCap{2} | ALiBi{} | Causal{};
  CHECK(kernel_ratio(sequence.call, posenc_test::bind_any(before, options)) <= 1);
  CHECK(kernel_ratio(sequence.call, posenc_test::bind_any(after, options)) <= 1);
  CHECK(difference(sequence.call, before, after) > 100);
}

TEMPLATE_TEST_CASE("half-split and interleaved are one rotation of permuted channels",
                   "[attention][properties]", float, double) {
  const Sequence<TestType> sequence;
  Tensor<TestType> q(tokens, heads, width), k(tokens, kv_heads, width);
  for (Index t = 0; t < tokens; ++t)
    for (Index d = 0; d < width; ++d) {
      const Index from = d % 2 == 0 ? d / 2 : d / 2 + width / 2;  // 0, 12, 1, 13, ...
      for (Index h = 0; h < heads; ++h) q.view()(t, h, d) = sequence.call.q(t, h, from);
      for (Index h = 0; h < kv_heads; ++h) k.view()(t, h, d) = sequence.call.k(t, h, from);
    }
  const Arguments<TestType> permuted{q, k, sequence.v};
  CHECK(difference(sequence.call, posenc_test::bind_any(rope | Causal{}, options), permuted,
                   posenc_test::bind_any(RoPE<Interleaved>{.head_dim = width} | Causal{},
                                         options)) <= 1);
}

TEMPLATE_TEST_CASE("shared key heads are repeated key heads", "[attention][properties]", float,
                   double) {
  const Sequence<TestType> sequence;
  // One key head for all queries, and the same memory seen as four heads that do not differ.
  Arguments<TestType> shared = sequence.call, repeated = sequence.call;
  shared.k.heads = shared.v.heads = 1;
  repeated.k.heads = repeated.v.heads = heads;
  repeated.k.head_stride = repeated.v.head_stride = 0;
  const auto encoding = rope | ALiBi{} | Causal{};
  CHECK(difference(shared, posenc_test::bind_any(encoding, {.num_heads = heads, .num_kv_heads = 1}),
                   repeated,
                   posenc_test::bind_any(encoding, {.num_heads = heads, .num_kv_heads = heads})) <=
        1);
}

TEMPLATE_TEST_CASE("weights sum to one, or to what the sink leaves", "[attention][properties]",
                   float, double) {
  const Sequence<TestType> sequence;
  Tensor<TestType> ones(tokens, kv_heads, 3);
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < kv_heads; ++h)
      for (Index d = 0; d < 3; ++d) ones.view()(t, h, d) = 1;
  Arguments<TestType> call = sequence.call;
  call.v = ones;
  const auto check = [&](const auto& bound, double sink) {
    const Output<TestType> result = attend(call, bound);
    const std::vector<RowBound> bounds = error_bounds(call, bound);
    ReferenceResult expected;
    for (std::size_t row = 0; row < result.lse.size(); ++row) {
      const double left = 1 - std::exp(sink - static_cast<double>(result.lse[row]));
      expected.out.insert(expected.out.end(), 3, left);
      expected.lse.push_back(static_cast<double>(result.lse[row]));
    }
    CHECK(worst_ratio<TestType>(result.out, result.lse, expected, bounds) <= 1);
  };
  check(posenc_test::bind_any(rope | ALiBi{} | Causal{}, options),
        -std::numeric_limits<double>::infinity());
  check(posenc_test::bind_any(rope | SinkLogit{{1.5F}} | Causal{}, options), 1.5);
}

TEMPLATE_TEST_CASE("parts of the keys merge into the whole", "[attention][properties]", float,
                   double) {
  const Sequence<TestType> sequence;
  const auto check = [&](const auto& whole, const auto& first_part, const auto& other_part) {
    const auto bound = posenc_test::bind_any(whole, options);
    const auto first = posenc_test::bind_any(first_part, options);
    const auto other = posenc_test::bind_any(other_part, options);
    const ReferenceResult expected = reference_attention(
        sequence.call.q, sequence.call.k, sequence.call.v, bound, sequence.call.options);
    std::vector<RowBound> bounds = error_bounds(sequence.call, bound);
    // Two parts, each with its own error, and a few roundings of the merge.
    for (RowBound& row : bounds) row = {3 * row.out, 3 * row.lse};
    for (const Index cut : {0, 1, 32, 50, 64, 76, 77}) {
      Arguments<TestType> low = sequence.call, high = sequence.call;
      low.k = low.k.slice(0, cut);
      low.v = low.v.slice(0, cut);
      high.k = high.k.slice(cut, tokens - cut);
      high.v = high.v.slice(cut, tokens - cut);
      low.options.query_offset = high.options.query_offset = 0;
      high.options.key_offset = cut;
      Output<TestType> into = attend(low, first);
      const Output<TestType> from = attend(high, other);
      std::vector<TestType> from_lse = from.lse;
      Tensor<TestType> from_out(tokens, heads, 20);
      for (Index r = 0; r < tokens; ++r)
        for (Index h = 0; h < heads; ++h)
          for (Index d = 0; d < 20; ++d) from_out.view()(r, h, d) = from.out.view()(r, h, d);
      merge(Partial<TestType>{into.out.view(), into.lse},
            Partial<TestType>{from_out.view(), from_lse});
      INFO("cut " << cut);
      CHECK(worst_ratio<TestType>(into.out, into.lse, expected, bounds) <= 1);
    }
  };
  const auto biased = rope | ALiBi{} | Causal{};
  check(biased, biased, biased);
  const auto rerope = rope | ReRoPE{.window = 11} | Causal{};
  check(rerope, rerope, rerope);
  // The sink belongs to one part.
  check(rope | SinkLogit{{0.5F}} | Causal{}, rope | SinkLogit{{0.5F}} | Causal{}, rope | Causal{});
}

}  // namespace properties_cases
}  // namespace attention_test
