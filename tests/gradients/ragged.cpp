// SPDX-License-Identifier: MIT
//
// Gradients within the sequences of a ragged batch: those of a call for each, to the last bit.
#include "problem.hpp"

#include <posenc/attention/backward/ragged.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/bias/forget_gate.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/sink_logit.hpp>

#include "../support/allocations.hpp"
#include "../support/backwards.hpp"
#include "../support/gates.hpp"

namespace ragged_cases {

using namespace gradient_test;

constexpr BindOptions heads{.num_heads = 4, .num_kv_heads = 2};
const RoPE<HalfSplit> rope{.head_dim = 16};

/// A batch in one tensor, and its results.
template <class T>
struct Batch {
  Problem<T> x;
  std::vector<T> out, lse;
  Gradients<T> d;

  explicit Batch(Index queries, Index keys)
      : x({.queries = queries, .keys = keys}), out(x.d_out.size()),
        lse(static_cast<std::size_t>(queries * 4)), d{std::vector<T>(x.q.size(), T{7}),
                                                      std::vector<T>(x.k.size(), T{7}),
                                                      std::vector<T>(x.v.size(), T{7}),
                                                      {}} {}
  TensorView<T> result() { return {out.data(), x.n.queries, 4, 16}; }
  AttentionForward<T> forward() { return {x.queries(), x.keys(), x.values(), result(), lse}; }
  AttentionGradients<T> gradients(ParameterGradients* parameters = nullptr) {
    return {{d.q.data(), x.n.queries, 4, 16},
            {d.k.data(), x.n.keys, 2, 16},
            {d.v.data(), x.n.keys, 2, 16},
            parameters};
  }

  template <class BoundT>
  const Gradients<T>& run(const BoundT& bound, const RaggedBatch& queries, const RaggedBatch& keys,
                          RaggedAttentionOptions<T> options = {},
                          const ParameterOptions& learned = {}) {
    options.lse = lse;
    attention<T>(x.queries(), x.keys(), x.values(), result(), queries, keys, bound, options);
    options.lse = {};
    ParameterGradients parameters(bound, learned);
    attention_backward<T>(forward(), x.out_gradient(), gradients(&parameters), queries, keys, bound,
                          options);
    d.parameters.assign(parameters.values().begin(), parameters.values().end());
    return d;
  }

  /// The same by calls of their own.
  template <class BoundT>
  Gradients<T> one_by_one(const BoundT& bound, const RaggedBatch& queries, const RaggedBatch& keys,
                          const ParameterOptions& learned = {}) const {
    Gradients<T> all = d;
    all.parameters.clear();
    for (Index i = 0; i < queries.sequences(); ++i) {
      Problem<T> own({.queries = queries.tokens_of(i), .keys = keys.tokens_of(i)});
      const auto part = [](const std::vector<T>& whole, Index first, Index count, Index row) {
        return std::vector<T>(whole.begin() + first * row, whole.begin() + (first + count) * row);
      };
      own.q = part(x.q, queries.start(i), own.n.queries, 64);
      own.d_out = part(x.d_out, queries.start(i), own.n.queries, 64);
      own.k = part(x.k, keys.start(i), own.n.keys, 32);
      own.v = part(x.v, keys.start(i), own.n.keys, 32);
      AttentionOptions<T> at{.key_offset = keys.offset(i)};
      at.sequence = i;
      at.query_offset =
          queries.offsets.empty() ? keys.offset(i) + own.n.keys - own.n.queries : queries.offset(i);
      const Gradients<T> one = own.kernel(bound, at, learned);
      std::copy(one.q.begin(), one.q.end(), all.q.begin() + queries.start(i) * 64);
      std::copy(one.k.begin(), one.k.end(), all.k.begin() + keys.start(i) * 32);
      std::copy(one.v.begin(), one.v.end(), all.v.begin() + keys.start(i) * 32);
      all.parameters.resize(one.parameters.size());
      for (std::size_t p = 0; p < one.parameters.size(); ++p)
        all.parameters[p] += one.parameters[p];
    }
    return all;
  }
};

const std::vector<Index> starts{0, 7, 7, 9, 90, 91, 130};

TEST_CASE("gradients: a ragged batch is a call for each sequence, with any number of threads") {
  const RaggedBatch batch{.starts = starts};
  const auto check = [&](const auto& bound, const ParameterOptions& learned) {
    Batch<float> b(130, 130);
    const Gradients<float> got = b.run(bound, batch, batch, {}, learned);
    CHECK(got == b.one_by_one(bound, batch, batch, learned));
    for (const Index threads :
         {2, 3, 16})  // a few share each sequence, or each has some of its own
      CHECK(got ==
            b.run(bound, batch, batch, {.executor = posenc_test::Backwards{threads}}, learned));
    RaggedAttentionOptions<float> options{.lse = b.lse};
    attention<float>(b.x.queries(), b.x.keys(), b.x.values(), b.result(), batch, bound, options);
    options.lse = {};
    attention_backward<float>(b.forward(), b.x.out_gradient(), b.gradients(), batch, bound,
                              options);
    CHECK(b.d.q == got.q);
    CHECK(b.d.k == got.k);
    CHECK(b.d.v == got.v);
  };
  check(bind(rope | ALiBi{} | T5Bias{.table = noise<float>(128, 3U)} | SinkLogit{} | Causal{},
             heads),
        {});
  // As many gates as there are tokens, learned beside a table that all sequences share.
  GateSums sums(4, 90, 6);
  for (std::size_t i = 0; i < 6; ++i) {
    const std::vector<double> gates =
        posenc_test::log_gates(starts[i + 1] - starts[i], 4, static_cast<unsigned>(i));
    sums.append(static_cast<Index>(i), std::span<const double>(gates));
  }
  check(bind(rope | ForgetGate{sums} | T5Bias{.table = noise<float>(128, 3U)} | Causal{}, heads),
        {.frequencies = true});
  check(bind(rope | DynamicNTK{.original_context = 20} | Causal{}, heads), {.frequencies = true});
  check(bind(AnyEncoding(rope) | ALiBi{}, heads), {.frequencies = true});
}

TEST_CASE("gradients: queries and keys of a ragged batch that are divided differently") {
  const std::vector<Index> few{0, 1, 1, 3, 20, 21, 21};
  const std::vector<Position> offsets{3, 0, 100, 5, 0, 2}, query_offsets{9, 0, 101, 80, 0, 2};
  const auto bound = bind(rope | ALiBi{} | Causal{}, heads);
  Batch<double> b(21, 130);
  const RaggedBatch keys{starts, offsets};
  for (const RaggedBatch& queries : {RaggedBatch{few, {}}, RaggedBatch{few, query_offsets}}) {
    CHECK(b.run(bound, queries, keys) == b.one_by_one(bound, queries, keys));
    for (std::size_t i = 91 * 32; i < 130 * 32; ++i) REQUIRE(b.d.k[i] == 0);  // without queries
  }
}

TEST_CASE("gradients: a ragged batch in a workspace allocates lists of sequences only") {
  const auto bound = bind(rope | ALiBi{} | Causal{}, heads);
  const RaggedBatch batch{.starts = starts};
  Batch<float> b(130, 130);
  for (const ParameterOptions& learned : {ParameterOptions{}, ParameterOptions{true}}) {
    const Gradients<float> expected = b.run(bound, batch, batch, {}, learned);
    for (const Index threads : {1, 3}) {
      const AnyExecutor executor = posenc_test::Backwards{threads};
      const std::size_t bytes =
          attention_backward_workspace<float>(bound, batch, batch, 16, 16, executor);
      std::vector<std::byte> memory(bytes + 64, std::byte{0xff});
      void* at = memory.data();
      std::size_t space = memory.size();
      const std::span<std::byte> workspace(
          static_cast<std::byte*>(std::align(64, bytes, at, space)), bytes);
      ParameterGradients parameters(bound, learned);
      const RaggedAttentionOptions<float> options{.executor = executor, .workspace = workspace};
      const auto before = posenc_test::allocations();
      attention_backward<float>(b.forward(), b.x.out_gradient(), b.gradients(&parameters), batch,
                                bound, options);
      CHECK(posenc_test::allocations() - before <= 1);
      CHECK(std::equal(expected.parameters.begin(), expected.parameters.end(),
                       parameters.values().begin()));
      CHECK(b.d.q == expected.q);
      // What lies behind stays.
      CHECK(std::all_of(workspace.data() + bytes, memory.data() + memory.size(),
                        [](std::byte x) { return x == std::byte{0xff}; }));
      CHECK_THROWS_WITH(b.run(bound, batch, batch,
                              {.executor = executor, .workspace = workspace.first(64)}),
                        ContainsSubstring("workspace"));
    }
  }
}

/// So many parameters that with the frequencies they no longer fit side by side.
struct ManyParameters {
  double operator()(Index, Position) const { return 0; }
  [[nodiscard]] static Index num_parameters() { return 524'288; }
  void gradient(Index, Position, double, std::span<double>) const {}
};

TEST_CASE("gradients: a workspace is large enough whatever is learned") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 16} | bias(ManyParameters{}) | Causal{},
                          {.num_heads = 8, .num_kv_heads = 8});
  const std::vector<Index> one{0, 20};
  const RaggedBatch batch{.starts = one};
  const Problem<float> x({.queries = 20, .keys = 20, .heads = 8, .kv_heads = 8});
  const auto tokens = [](auto& values) { return TensorView(values.data(), 20, 8, 16); };
  std::vector<float> out(x.q.size()), lse(160), dq(x.q.size()), dk(x.q.size()), dv(x.q.size());
  attention<float>(x.queries(), x.keys(), x.values(), tokens(out), bound, {.lse = lse});
  const std::size_t bytes = attention_backward_workspace<float>(bound, batch, batch, 16, 16),
                    plain = attention_backward_workspace<float>(bound, {20, 20, 16, 16});
  REQUIRE(plain <= bytes);
  std::vector<std::byte> memory(bytes + 64, std::byte{0xff});
  void* at = memory.data();
  std::size_t space = memory.size();
  const std::span<std::byte> workspace(static_cast<std::byte*>(std::align(64, bytes, at, space)),
                                       bytes);
  for (const bool frequencies : {false, true}) {
    ParameterGradients parameters(bound, {.frequencies = frequencies});
    for (ParameterGradients* const wanted :
         {&parameters, static_cast<ParameterGradients*>(nullptr)}) {
      const AttentionForward<float> f{x.queries(), x.keys(), x.values(), tokens(out), lse};
      const AttentionGradients<float> d{tokens(dq), tokens(dk), tokens(dv), wanted};
      attention_backward<float>(f, x.out_gradient(), d, bound,
                                {.workspace = workspace.first(plain)});
      attention_backward<float>(f, x.out_gradient(), d, batch, bound, {.workspace = workspace});
    }
  }
  CHECK(std::all_of(workspace.data() + bytes, memory.data() + memory.size(),
                    [](std::byte b) { return b == std::byte{0xff}; }));
}

TEST_CASE("gradients: what is wrong with a ragged batch") {
  const auto bound = bind(rope | Causal{}, heads);
  Batch<float> b(130, 130);
  const std::vector<Index> short_starts{0, 100}, two{0, 50, 130};
  const auto call = [&](const RaggedBatch& queries, const RaggedBatch& keys) {
    attention_backward<float>(b.forward(), b.x.out_gradient(), b.gradients(), queries, keys, bound);
  };
  CHECK_THROWS_WITH(call({.starts = short_starts}, {.starts = two}),
                    ContainsSubstring("posenc::attention_backward") &&
                        ContainsSubstring("starts must go from 0 to the 130 tokens"));
  CHECK_THROWS_WITH(call({.starts = two}, {.starts = starts}),
                    ContainsSubstring("2 sequences of queries and 6 of keys"));
  const std::vector<Position> far{0, Position{1} << 53};
  CHECK_THROWS_WITH(call({two, far}, {.starts = two}), ContainsSubstring("sequence 1: "));
  CHECK_THROWS_WITH(attention_backward_workspace<float>(bound, {.starts = two}, {.starts = starts},
                                                        16, 16),
                    ContainsSubstring("2 sequences of queries and 6 of keys"));
  CHECK_THROWS_WITH(attention_backward<float>(b.forward(), b.x.out_gradient(), b.gradients(),
                                              RaggedBatch{.starts = two}, bound, {.lse = b.lse}),
                    ContainsSubstring("is a result of attention"));
}

}  // namespace ragged_cases
