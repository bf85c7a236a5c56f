// SPDX-License-Identifier: MIT
//
// Blocks of queries and chunks of keys: the order of their pairs, and that threads which wait for their turn
// find the bits of one thread.
#include <posenc/attention/backward/pairs.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/posenc.hpp>

#include "../support/cases.hpp"
#include "problem.hpp"

#include <set>
#include <thread>
#include <tuple>

using namespace gradient_test;

namespace {

struct Threads {
  void operator()(Index tasks, TaskRef task) const {
    std::vector<std::thread> all;
    for (Index i = 0; i < tasks; ++i) all.emplace_back([=] { task(i); });
    for (std::thread& thread : all) thread.join();
  }
};

}  // namespace

TEST_CASE("gradients: every pair comes once, behind those that add before it") {
  for (const Index heads : {1, 3})
    for (const Index blocks : {1, 2, 5, 8})
      for (const Index chunks : {1, 3, 4, 9})
        for (const Index block : {64, 192, 512, 2048}) {
          posenc::detail::Pairs pairs(heads, blocks, block, chunks, 512);
          std::set<std::tuple<Index, Index, Index>> seen;
          bool in_order = true;
          for (Index i = 0; i < heads * blocks * chunks; ++i) {
            const auto [head, b, c] = pairs.at(i);
            for (Index before = 0; before < c; ++before)
              in_order = in_order && seen.count({head, b, before}) == 1;
            for (Index behind = b + 1; behind < blocks; ++behind)
              in_order = in_order && seen.count({head, behind, c}) == 1;
            in_order = in_order && seen.insert({head, b, c}).second;
          }
          CHECK(in_order);
          CHECK(std::ssize(seen) == heads * blocks * chunks);
        }
}

TEST_CASE("gradients: over several chunks of keys, with threads that wait for each other") {
  posenc_test::Sample sample;
  const auto check = [&](const Sizes& n, const auto& encoding) {
    if (!sample.next()) return;
    const Problem<float> x(n);
    const auto bound = bind(encoding, {.num_heads = n.heads, .num_kv_heads = n.kv_heads});
    const Gradients<float> serial = x.kernel(bound);
    check_same(serial, x.reference(bound), 2e-5, 1e-3);
    for (const Index threads : {2, 5})
      CHECK(serial == x.kernel(bound, {.executor = Pool(threads, Threads{})}));
  };
  const Sizes n{
      .queries = 1100, .keys = 1100, .heads = 2, .kv_heads = 1, .width = 8, .value_width = 8};
  check(n, SlidingWindow{.left = 200, .right = 100} | SinkLogit{});
  check(n, RoPE<HalfSplit>{.head_dim = 8} | T5Bias{.table = noise<float>(64, 3U)} | Causal{});
  check({.queries = 90, .keys = 1300, .heads = 1, .kv_heads = 1, .width = 8, .value_width = 8},
        encoding(T5Bias{.table = noise<float>(32, 3U)}));
}
