// SPDX-License-Identifier: MIT
//
// What gates learn: the reference against central differences of attention, the kernel against the reference, and
// sequences of a batch against calls of their own.
#include "problem.hpp"

#include <posenc/attention/backward/ragged.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/forget_gate.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>

#include "../support/backwards.hpp"
#include "../support/bind_any.hpp"
#include "../support/gates.hpp"
#include "../support/levels.hpp"

namespace forget_gate_cases {

using namespace gradient_test;
using posenc_test::log_gates;
using posenc_test::sums_of;

TEST_CASE("gradients: the reference of ForgetGate is what central differences say") {
  Problem<double> x(
      {.queries = 9, .keys = 12, .heads = 2, .kv_heads = 1, .width = 8, .value_width = 6});
  std::vector<double> gates = log_gates(12, 2, 1);
  for (double& gate : gates) gate -= 0.01;
  const auto bound = [&] {
    return bind(AnyEncoding(RoPE<HalfSplit>{.head_dim = 8} | ForgetGate{sums_of(gates, 2)} |
                            SoftCap{3} | SinkLogit{} | Causal{}),
                {.num_heads = 2, .num_kv_heads = 1});
  };
  const ReferenceGradients d = x.reference(bound());
  std::vector<double> of_gates;  // as gates are given, [token][head]
  for (std::size_t t = 0; t < 12; ++t)
    for (std::size_t h = 0; h < 2; ++h) of_gates.push_back(d.parameters[h * 12 + t]);
  double greatest = 0;
  for (const double g : of_gates) greatest = std::max(greatest, std::abs(g));
  CHECK(greatest > 0.01);
  check_differences(gates, of_gates, [&] { return x.loss(bound()); });
  check_differences(x.q, d.q, [&] { return x.loss(bound()); }, 3);
  check_differences(x.k, d.k, [&] { return x.loss(bound()); }, 3);
}

template <class T>
void check_kernel(Sizes n, double tolerance, AttentionOptions<T> options = {}) {
  const Problem<T> x(n);
  const Index tokens = n.keys + options.key_offset;
  const GateSums sums = sums_of(log_gates(tokens, n.heads, 2), n.heads);
  const RoPE<HalfSplit> rope{.head_dim = n.width};
  for (const AnyEncoding& encoding :
       {AnyEncoding(rope | ForgetGate{sums} | Causal{}),
        AnyEncoding(rope | SoftCap{10} | ForgetGate{sums, -6} | SoftCap{20} | Causal{}),
        AnyEncoding(ALiBi{} | ForgetGate{sums} | SinkLogit{} | Causal{})}) {
    const AnyBound bound = bind(encoding, {.num_heads = n.heads, .num_kv_heads = n.kv_heads});
    const ReferenceGradients expected = x.reference(bound, options);
    posenc_test::at_every_level([&] {
      const Gradients<T> got = x.kernel(bound, options);
      check_same(got, expected, tolerance);
      AttentionOptions<T> parallel = options;
      parallel.executor = posenc_test::Backwards{5};
      CHECK(got == x.kernel(bound, parallel));
    });
  }
}
TEST_CASE("gradients: the kernel of ForgetGate agrees with the reference") {
  check_kernel<float>({.queries = 150, .keys = 150}, 1e-5);
  check_kernel<double>({.queries = 150, .keys = 150}, 1e-11);
  check_kernel<double>({.queries = 1, .keys = 1}, 1e-11);
  check_kernel<double>({.queries = 70, .keys = 130}, 1e-11, {.key_offset = 40});
  check_kernel<double>({.queries = 65, .keys = 600, .heads = 2, .kv_heads = 2}, 1e-11);
}

TEST_CASE("gradients: two gates learn by themselves, and of<ForgetGate>() tells them apart") {
  constexpr Index tokens = 80, heads = 2;
  const Problem<double> x({.queries = tokens, .keys = tokens, .heads = heads, .kv_heads = 1});
  const ForgetGate one{sums_of(log_gates(tokens, heads, 1), heads)},
      two{sums_of(log_gates(tokens, heads, 2), heads)};
  const auto bound =
      bind(one | SoftCap{2} | two | Causal{}, {.num_heads = heads, .num_kv_heads = 1});
  const ReferenceGradients expected = x.reference(bound);
  check_same(x.kernel(bound), expected, 1e-11);
  ParameterGradients d(bound);
  CHECK(std::ssize(d.of<ForgetGate>(0)) == tokens * heads);
  CHECK(d.of<ForgetGate>(1).data() ==
        d.of<ForgetGate>(0).data() + tokens * heads + 1);  // and the cap
}

TEST_CASE("gradients: sequences of a batch have gates of their own") {
  constexpr Index tokens = 110, heads = 4;
  const std::vector<Index> starts{0, 50, 53, tokens};
  GateSums sums(heads, tokens, 3);
  for (Index i = 0; i < 3; ++i) {
    const auto n = static_cast<std::size_t>(i);
    const std::vector<double> gates =
        log_gates(starts[n + 1] - starts[n], heads, static_cast<unsigned>(i));
    sums.append(i, std::span<const double>(gates));
  }
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 16} | ForgetGate{sums} | Causal{},
                          {.num_heads = heads, .num_kv_heads = 2});
  const Problem<double> x({.queries = tokens, .keys = tokens});
  std::vector<double> out(x.d_out.size()), lse(tokens * heads), dq(x.q.size()), dk(x.k.size()),
      dv(x.v.size());
  const TensorView<double> y(out.data(), tokens, heads, 16);
  const RaggedBatch batch{.starts = starts};
  for (const Index threads : {1, 9}) {
    attention<double>(x.queries(), x.keys(), x.values(), y, batch, bound, {.lse = lse});
    ParameterGradients all(bound);
    attention_backward<double>({x.queries(), x.keys(), x.values(), y, lse}, x.out_gradient(),
                               {{dq.data(), tokens, heads, 16},
                                {dk.data(), tokens, 2, 16},
                                {dv.data(), tokens, 2, 16},
                                &all},
                               batch, bound, {.executor = posenc_test::Backwards{threads}});
    std::vector<double> expected(all.values().size());
    for (Index i = 0; i < 3; ++i) {
      const Index first = starts[static_cast<std::size_t>(i)],
                  n = starts[static_cast<std::size_t>(i + 1)] - first;
      const ReferenceGradients own =
          reference_attention_backward(x.queries().slice(first, n), x.keys().slice(first, n),
                                       x.values().slice(first, n), x.out_gradient().slice(first, n),
                                       bound, {.sequence = i});
      for (std::size_t p = 0; p < expected.size(); ++p) expected[p] += own.parameters[p];
    }
    CHECK(worst(std::vector<double>(all.values().begin(), all.values().end()), expected) <= 1e-11);
  }
}

}  // namespace forget_gate_cases
