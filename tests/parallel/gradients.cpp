// SPDX-License-Identifier: MIT
//
// Gradients on several threads: the same bits as on one. This program is also run under a thread
// sanitizer.
#include "../executor/pools.hpp"
#include "../gradients/problem.hpp"
#include "../support/bind_any.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/score/sink_logit.hpp>

namespace gradients_cases {

using namespace gradient_test;

/// One head, groups, many heads; blocks of queries and chunks of keys that are not full; as many of
/// one as of the other, or not.
const std::vector<Sizes> sizes{
    {.queries = 1100, .keys = 1100, .heads = 1, .kv_heads = 1, .width = 16, .value_width = 8},
    {.queries = 300, .keys = 700, .heads = 6, .kv_heads = 2, .width = 8, .value_width = 20},
    {.queries = 70, .keys = 2000, .heads = 2, .kv_heads = 1, .width = 16, .value_width = 16},
    {.queries = 40, .keys = 40, .heads = 16, .kv_heads = 16, .width = 16, .value_width = 16}};

TEST_CASE("gradients: the same bits for any number of threads") {
  for (const Sizes& n : sizes) {
    CAPTURE(n.queries, n.keys, n.heads);
    const Problem<float> x(n);
    const auto bound = posenc_test::bind_any(
        RoPE<HalfSplit>{.head_dim = n.width} | ReRoPE{.window = 90} | ALiBi{} |
            ShawKeys{.table = noise<float>(5 * n.width, 3U), .clip = 2} | SinkLogit{} | Causal{},
        {.num_heads = n.heads, .num_kv_heads = n.kv_heads});
    const Gradients<float> expected = x.kernel(bound);
    for (const int threads : {2, 3, 8}) {
      CAPTURE(threads);
      const Pool pool(threads, [threads](Index tasks, TaskRef task) {
        run_on_new_threads(threads, tasks, task);
      });
      CHECK(x.kernel(bound, {.executor = pool}) == expected);
    }
  }
}

}  // namespace gradients_cases
