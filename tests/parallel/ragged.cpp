// SPDX-License-Identifier: MIT
//
// Attention over a ragged batch: each sequence as in a call of its own, whoever runs it.
#include "../attention/calls.hpp"
#include "../executor/pools.hpp"

#include <posenc/attention/ragged.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/mask/causal.hpp>

namespace attention_test {
namespace ragged_cases {

constexpr Index width = 16, value_dim = 24, heads = 4, kv_heads = 2;

AnyExecutor new_threads(int threads) {
  return Pool(threads,
              [threads](Index tasks, TaskRef task) { run_on_new_threads(threads, tasks, task); });
}

/// Sequences of these lengths, and where they begin.
struct Lengths {
  std::vector<Index> queries, keys;
  std::vector<Position> query_offsets{}, key_offsets{};

  [[nodiscard]] static std::vector<Index> starts(const std::vector<Index>& lengths) {
    std::vector<Index> sums{0};
    for (const Index n : lengths) sums.push_back(sums.back() + n);
    return sums;
  }
};

template <class E>
void check_like_calls_of_their_own(const E& encoding, const Lengths& lengths) {
  const auto bound = bind(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});
  const std::vector<Index> q_starts = Lengths::starts(lengths.queries),
                           k_starts = Lengths::starts(lengths.keys);
  const Inputs<float> inputs(q_starts.back(), k_starts.back(), heads, kv_heads, width, value_dim);
  const Arguments<float> call = inputs.call();
  const RaggedBatch queries{q_starts, lengths.query_offsets}, keys{k_starts, lengths.key_offsets};

  Output<float> expected(call);
  for (std::size_t i = 0; i < lengths.queries.size(); ++i) {
    AttentionOptions<float> options;
    if (!lengths.query_offsets.empty()) options.query_offset = lengths.query_offsets[i];
    if (!lengths.key_offsets.empty()) options.key_offset = lengths.key_offsets[i];
    options.lse = std::span(expected.lse)
                      .subspan(size(q_starts[i] * heads), size(lengths.queries[i] * heads));
    attention(call.q.slice(q_starts[i], lengths.queries[i]),
              call.k.slice(k_starts[i], lengths.keys[i]),
              call.v.slice(k_starts[i], lengths.keys[i]),
              expected.out.view().slice(q_starts[i], lengths.queries[i]), bound, options);
  }
  for (const AnyExecutor& executor :
       {AnyExecutor(Serial{}), new_threads(2), new_threads(3), AnyExecutor(Backwards{5})}) {
    INFO("concurrency " << executor.concurrency());
    const Workspace workspace(
        attention_workspace<float>(bound, queries, keys, width, value_dim, executor));
    for (const std::span<std::byte> memory : {workspace.memory(), std::span<std::byte>()}) {
      Output<float> result(call);
      attention(call.q, call.k, call.v, result.out.view(), queries, keys, bound,
                {.lse = result.lse, .executor = executor, .workspace = memory});
      CHECK(differing_rows(result, expected) == 0);
    }
    CHECK(workspace.guards_are_whole());
  }
}

TEST_CASE("attention over a ragged batch: each sequence as by itself") {
  const Lengths many{{5, 0, 1, 70, 130, 3, 17, 1, 64, 2, 200, 9},
                     {9, 4, 1, 70, 131, 3, 30, 50, 64, 2, 300, 9}};
  const Lengths few{{300, 210}, {300, 500}};
  for (const Lengths& lengths : {many, few, Lengths{{}, {}}, Lengths{{0, 0}, {0, 3}}}) {
    CAPTURE(lengths.queries.size());
    check_like_calls_of_their_own(RoPE<HalfSplit>{.head_dim = width} | ALiBi{} | Causal{}, lengths);
  }
  Lengths at = few;
  at.query_offsets = {1'000, 70'000};
  at.key_offsets = {1'000, 69'900};
  check_like_calls_of_their_own(RoPE<HalfSplit>{.head_dim = width} | ALiBi{} | Causal{}, at);
}

TEST_CASE("attention over a ragged batch: frequencies by the length of each sequence") {
  check_like_calls_of_their_own(RoPE<HalfSplit>{.head_dim = width} |
                                    DynamicNTK{.original_context = 64} | Causal{},
                                {{30, 100, 1, 0, 150, 7}, {30, 100, 200, 5, 150, 9}});
}

TEST_CASE("attention over a ragged batch: whole sequences over themselves") {
  const std::vector<Index> starts{0, 40, 41, 141};
  const std::vector<Position> offsets{0, 7, 1'000};
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  const Inputs<float> inputs(141, 141, heads, kv_heads, width, value_dim);
  const Arguments<float> call = inputs.call();
  const RaggedBatch batch{starts, offsets};
  Output<float> once(call), twice(call);
  attention(call.q, call.k, call.v, once.out.view(), batch, bound, {.lse = once.lse});
  attention(call.q, call.k, call.v, twice.out.view(), batch, RaggedBatch(batch), bound,
            {.lse = twice.lse});
  CHECK(differing_rows(once, twice) == 0);
}

TEST_CASE("attention over a ragged batch: what is wrong is said of its sequence") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                          {.num_heads = heads, .num_kv_heads = kv_heads});
  const Inputs<float> inputs(10, 12, heads, kv_heads, width, value_dim);
  const Arguments<float> call = inputs.call();
  Output<float> result(call);
  const auto attend = [&](const std::vector<Index>& q, const std::vector<Index>& k,
                          const RaggedAttentionOptions<float>& options = {}) {
    attention(call.q, call.k, call.v, result.out.view(), {q}, {k}, bound, options);
  };
  CHECK_THROWS_WITH(attend({0, 5, 10}, {0, 3, 12}),
                    ContainsSubstring("sequence 0: there are 5 queries but only 3 keys"));
  CHECK_THROWS_WITH(attend({0, 10}, {0, 3, 12}),
                    ContainsSubstring("there are 1 sequences of queries and 2 of keys"));
  CHECK_THROWS_WITH(attend({0, 9}, {0, 12}), ContainsSubstring("starts must go from 0 to the 10"));
  CHECK_THROWS_WITH(attend({0, 7, 6, 10}, {0, 8, 8, 12}), ContainsSubstring("must not descend"));
  std::vector<float> lse(3);
  CHECK_THROWS_WITH(attend({0, 10}, {0, 12}, {.lse = lse}),
                    ContainsSubstring("lse has 3 elements for 10 queries of 4 heads"));
  const Workspace small(64);
  CHECK_THROWS_WITH(attend({0, 10}, {0, 12}, {.workspace = small.memory()}),
                    ContainsSubstring("the workspace has 64 bytes"));
}

}  // namespace ragged_cases
}  // namespace attention_test
