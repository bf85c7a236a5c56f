// SPDX-License-Identifier: MIT
//
// Attention on several threads: the same bits as on one. This program is also run under a thread
// sanitizer.
#include "../attention/calls.hpp"
#include "../executor/pools.hpp"
#include "../support/bind_any.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/mask/causal.hpp>

namespace attention_test {
namespace attention_cases {

AnyExecutor new_threads(int threads) {
  return Pool(threads,
              [threads](Index tasks, TaskRef task) { run_on_new_threads(threads, tasks, task); });
}

struct Shape {
  Index queries, keys, heads, kv_heads, width, value_dim;
};

/// Long enough for several threads: many heads, one, groups, one query; tails everywhere. The last
/// three have so few queries that their keys are divided, one with blocks that are not full.
const std::vector<Shape> shared_shapes{{40, 41, 16, 16, 64, 64},  {201, 333, 1, 1, 64, 48},
                                       {130, 190, 12, 3, 32, 40}, {67, 300, 9, 1, 32, 32},
                                       {700, 700, 2, 2, 16, 16},  {1, 3000, 8, 2, 64, 64},
                                       {3, 9000, 4, 2, 16, 16},   {70, 7001, 1, 1, 16, 16},
                                       {290, 4100, 12, 3, 8, 8}};

template <class T, class E>
void check_same_whoever_runs_it(const E& encoding, const Shape& s) {
  INFO(s.queries << " x " << s.keys << ", heads " << s.heads << "/" << s.kv_heads);
  const auto bound =
      posenc_test::bind_any(encoding, {.num_heads = s.heads, .num_kv_heads = s.kv_heads});
  const Inputs<T> inputs(s.queries, s.keys, s.heads, s.kv_heads, s.width, s.value_dim);
  Arguments<T> call = inputs.call();
  call.options.executor = Serial{};
  const Output<T> expected = attend(call, bound);
  bool shared = false;
  for (const AnyExecutor& executor :
       {new_threads(1), new_threads(2), new_threads(3), new_threads(5), AnyExecutor(Backwards{4}),
        AnyExecutor(Backwards{64}), AnyExecutor(Serial{})}) {
    INFO("concurrency " << executor.concurrency());
    call.options.executor = executor;
    CHECK(differing_rows(attend(call, bound), expected) == 0);
    CHECK(differing_rows(attend_in_nan(call, bound), expected) == 0);
    const AttentionShape shape{s.queries, s.keys, s.width, s.value_dim};
    shared = shared || attention_workspace<T>(bound, shape, executor) >
                           attention_workspace<T>(bound, shape, Serial{});

    if (s.width != s.value_dim) continue;
    Tensor<T> in_place(s.queries, s.heads, s.width);
    in_place.fill(Random(1), 2);
    Output<T> result(call);
    Arguments<T> own = call;
    own.options.lse = result.lse;
    attention(in_place.view(), own.k, own.v, in_place.view(), bound, own.options);
    for (Index r = 0; r < s.queries; ++r)
      for (Index h = 0; h < s.heads; ++h)
        for (Index d = 0; d < s.width; ++d) result.out.view()(r, h, d) = in_place.view()(r, h, d);
    CHECK(differing_rows(result, expected) == 0);
  }
  CHECK(shared);  // or nothing was tried
}

TEST_CASE("attention: the same bits whatever the threads") {
  for (const Shape& shape : shared_shapes) {
    check_same_whoever_runs_it<float>(RoPE<HalfSplit>{.head_dim = shape.width} | Causal{}, shape);
    check_same_whoever_runs_it<float>(ALiBi{} | Causal{}, shape);
  }
  const Shape& groups = shared_shapes[2];
  check_same_whoever_runs_it<double>(RoPE<HalfSplit>{.head_dim = groups.width} | Causal{}, groups);
}

}  // namespace attention_cases
}  // namespace attention_test
