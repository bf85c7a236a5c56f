// SPDX-License-Identifier: MIT
//
// ForgetGate in attention: against the formula in long double, ALiBi, documents, calls of a sequence of their
// own, and the promise of what pruning loses.
#include <posenc/posenc.hpp>

#include "../support/bind_any.hpp"
#include "../support/gates.hpp"
#include "../support/levels.hpp"
#include "calls.hpp"

using namespace posenc;
using namespace attention_test;
using posenc_test::log_gates;
using posenc_test::sums_of;

namespace forget_gate_cases {

constexpr Index tokens = 150, heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

template <class T, class BoundT>
Output<T> run(const Arguments<T>& call, const BoundT& bound) {
  return attend_in_nan(call, bound);
}

/// Softmax of scaled products plus sums of the gates between, all of it in long double.
template <class T>
std::vector<long double> formula(const Arguments<T>& call, const std::vector<double>& gates) {
  std::vector<long double> out;
  for (Index n = 0; n < call.q.tokens; ++n)
    for (Index h = 0; h < heads; ++h) {
      std::vector<long double> weights;
      long double sum = 0;
      for (Index m = 0; m <= n; ++m) {
        long double x = 0;
        for (Index c = 0; c < width; ++c)
          x += static_cast<long double>(call.q(n, h, c)) *
               static_cast<long double>(call.k(m, h / (heads / kv_heads), c));
        x /= 4;  // sqrt(width)
        for (Index t = m + 1; t <= n; ++t) x += gates[size(t * heads + h)];
        sum += weights.emplace_back(std::exp(x));
      }
      for (Index c = 0; c < width; ++c) {
        long double y = 0;
        for (Index m = 0; m <= n; ++m)
          y += weights[size(m)] / sum *
               static_cast<long double>(call.v(m, h / (heads / kv_heads), c));
        out.push_back(y);
      }
    }
  return out;
}

template <class T>
void check_formula(double tolerance) {
  const Inputs<T> in(tokens, tokens, heads, kv_heads, width, width);
  const std::vector<double> gates = log_gates(tokens, heads, 1);
  const std::vector<long double> expected = formula(in.call(), gates);
  posenc_test::at_every_level([&] {
    const Output<T> got =
        run(in.call(), bind(ForgetGate{sums_of(gates, heads)} | Causal{}, options));
    long double off = 0;
    const TensorView<const T> y = got.out;
    std::size_t i = 0;
    for (Index n = 0; n < tokens; ++n)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          off = std::max(off, std::abs(static_cast<long double>(y(n, h, c)) - expected[i++]));
    CHECK(static_cast<double>(off) <= tolerance);
  });
}
TEST_CASE("ForgetGate: attention is the formula in long double") {
  check_formula<float>(2e-6);
  check_formula<double>(1e-14);
}

/// Kernel and reference, for an encoding whose type is known and for the same composed at run time.
template <class T, class E>
void check_kernel(const E& encoding, const Arguments<T>& call) {
  const auto bound = posenc_test::bind_any(encoding, options);
  const ReferenceResult expected = reference_attention(call.q, call.k, call.v, bound, call.options);
  const auto bounds = error_bounds(call, bound);
  posenc_test::at_every_level([&] {
    const Output<T> got = run(call, bound);
    CHECK(worst_ratio<T>(got.out, got.lse, expected, bounds) <= 1);
  });
}

TEST_CASE("ForgetGate: kernel and reference agree, with stages, masks, offsets and pruning") {
  const GateSums sums = sums_of(log_gates(tokens, heads, 2), heads);
  Inputs<float> in(60, tokens, heads, kv_heads, width, width);
  check_kernel<float>(rope | ForgetGate{sums} | Causal{}, in.call());
  check_kernel<float>(rope | SoftCap{20} | ForgetGate{sums} | SinkLogit{} | Causal{}, in.call());
  check_kernel<float>(rope | ForgetGate{sums} | SoftCap{20} | SlidingWindow{.left = 33}, in.call());
  for (const double least : {-12.0, -4.0, -1.0, 0.0})
    check_kernel<float>(rope | ForgetGate{sums, least} | Causal{}, in.call());
  check_kernel<float>(rope | ReRoPE{.window = 20} | ForgetGate{sums, -5} | Causal{}, in.call());

  Arguments<float> some = in.call();  // a prompt that goes on
  some.k = some.k.slice(0, 100);
  some.v = some.v.slice(0, 100);
  some.options.query_offset = 71;
  some.options.key_offset = 20;
  check_kernel<float>(rope | ForgetGate{sums, -6} | Causal{}, some);
  const std::vector<Position> places(
      60, 7);  // gates go by the place in the sequence, not by position ids
  some.options.query_positions = Positions(places);
  check_kernel<float>(rope | ForgetGate{sums} | Causal{}, some);
}

TEST_CASE("ForgetGate: constant gates are ALiBi, and a gate of nearly nothing begins a document") {
  const Inputs<double> in(tokens, tokens, heads, kv_heads, width, width);
  const auto worst = [&](const Output<double>& a, const Output<double>& b) {
    double off = 0;
    const TensorView<const double> x = a.out, y = b.out;
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c) off = std::max(off, std::abs(x(t, h, c) - y(t, h, c)));
    return off;
  };
  std::vector<double> constant, document;
  for (Index t = 0; t < tokens; ++t)
    for (const double slope : alibi_slopes(heads)) {
      constant.push_back(-slope);
      document.push_back(t == 40 || t == 99 ? -200.0 : 0.0);
    }
  CHECK(worst(run(in.call(), bind(rope | ForgetGate{sums_of(constant, heads)} | Causal{}, options)),
              run(in.call(), bind(rope | ALiBi{} | Causal{}, options))) <= 1e-13);
  const Output<double> separate =
      run(in.call(), bind(rope | Documents{.starts = {0, 40, 99}} | Causal{}, options));
  for (const double least : {-1e300, -100.0})
    CHECK(worst(run(in.call(),
                    bind(rope | ForgetGate{sums_of(document, heads), least} | Causal{}, options)),
                separate) <= 1e-14);
}

TEST_CASE("ForgetGate: pruning loses less than it says") {
  const Inputs<double> in(tokens, tokens, heads, kv_heads, width, width);
  const GateSums sums = sums_of(log_gates(tokens, heads, 3, 12), heads);
  double greatest = 0;  // of scores without their biases
  for (Index n = 0; n < tokens; ++n)
    for (Index m = 0; m < tokens; ++m)
      for (Index h = 0; h < heads; ++h) {
        double x = 0;
        for (Index c = 0; c < width; ++c) x += in.call().q(n, h, c) * in.call().k(m, h / 2, c);
        greatest = std::max(greatest, std::abs(x / 4));
      }
  const Output<double> whole = run(in.call(), bind(ForgetGate{sums} | Causal{}, options));
  for (const double tolerance : {-10.0, -2.0}) {
    const ForgetGate pruned{sums, ForgetGate::pruning_bias(greatest, tokens, tolerance)};
    const Output<double> some = run(in.call(), bind(pruned | Causal{}, options));
    Index hidden = 0;
    for (Index n = 0; n < tokens; ++n)
      for (Index m = 0; m <= n; ++m) hidden += pruned.visible({n, m, n, m, 3}) ? 0 : 1;
    CHECK(hidden > 0);
    double off = 0;
    for (std::size_t row = 0; row < whole.lse.size(); ++row)  // the share of a row that is left
      off = std::max(off, whole.lse[row] - some.lse[row]);
    CHECK(off <= -std::log1p(-std::exp(tolerance)));
    CHECK(off >= 0);
  }
}

TEST_CASE("ForgetGate: a far sequence loses no digits to the size of its sums") {
  // Three million tokens that forget much lie before these.
  constexpr Position before = 3'000'000;
  const std::vector<double> gates = log_gates(tokens, heads, 4);
  GateSums sums(heads, before + tokens);
  const std::vector<double> many(static_cast<std::size_t>(heads * 1000), -0.71);
  for (Position t = 0; t < before; t += 1000) sums.append(0, std::span<const double>(many));
  sums.append(0, std::span<const double>(gates));
  Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  const Output<float> near =
      run(in.call(), bind(ForgetGate{sums_of(gates, heads)} | Causal{}, options));
  in.options.key_offset = before;
  const Output<float> far = run(in.call(), bind(ForgetGate{sums} | Causal{}, options));
  float off = 0;
  for (std::size_t i = 0; i < near.lse.size(); ++i)
    off = std::max(off, std::abs(near.lse[i] - far.lse[i]));
  CHECK(off <= 2e-6F);
}

TEST_CASE("ForgetGate: sequences of a ragged batch have sums of their own") {
  const std::vector<Index> starts{0, 60, 60, 97, tokens};
  GateSums sums(heads, tokens, 4);
  for (Index i = 0; i < 4; ++i) {
    const std::vector<double> gates =
        log_gates(starts[size(i + 1)] - starts[size(i)], heads, static_cast<unsigned>(10 + i));
    sums.append(i, std::span<const double>(gates));
  }
  const Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  const Arguments<float> call = in.call();
  const auto bound = bind(rope | ForgetGate{sums, -8} | Causal{}, options);
  for (const Index threads : {1, 5}) {
    Output<float> all(call);
    attention<float>(call.q, call.k, call.v, all.out.view(), RaggedBatch{.starts = starts}, bound,
                     {.lse = all.lse, .executor = Backwards{threads}});
    for (Index i = 0; i < 4; ++i) {
      const Index first = starts[size(i)], some = starts[size(i + 1)] - first;
      if (some == 0) continue;
      Arguments<float> one{call.q.slice(first, some), call.k.slice(first, some),
                           call.v.slice(first, some)};
      one.options.sequence = i;
      const Output<float> alone = run(one, bound);
      Index differ = 0;
      for (Index r = 0; r < some; ++r)
        for (Index h = 0; h < heads; ++h) differ += same_row(alone, r, all, first + r, h) ? 0 : 1;
      CHECK(differ == 0);
    }
  }
}

TEST_CASE("ForgetGate: tokens whose gates were not appended are refused") {
  const Inputs<float> in(tokens, tokens, heads, kv_heads, width, width);
  GateSums sums(heads, tokens, 2);
  const auto bound = bind(ForgetGate{sums} | Causal{}, options);
  const std::vector<double> gates = log_gates(tokens - 1, heads, 5);
  sums.append(0, std::span<const double>(gates));
  const auto refused = [&](const Arguments<float>& call, const char* sentence) {
    CHECK_THROWS_WITH(run(call, bound), ContainsSubstring(sentence));
    CHECK_THROWS_WITH(reference_attention(call.q, call.k, call.v, bound, call.options),
                      ContainsSubstring(sentence));
  };
  refused(in.call(),
          "tokens 0 to 149 of sequence 0, but the encoding has data of its first 149 alone");
  Arguments<float> call = in.call();
  call.options.sequence = 1;
  refused(call, "of sequence 1, but the encoding has data of its first 0");
  call.options.sequence = 7;
  refused(call, "of sequence 7");
  call.options = {};
  call.options.key_offset = -3;
  refused(call, "has tokens -3 to 146");
  sums.append(0, std::vector<float>(heads, -1.0F));
  CHECK_NOTHROW(run(in.call(), bound));
}

}  // namespace forget_gate_cases
