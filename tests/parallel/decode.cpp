// SPDX-License-Identifier: MIT
//
// Decoding, and keys that move, on several threads: the same bits as on one. This program is also
// run under a thread sanitizer.
#include "../decode/calls.hpp"
#include "../executor/pools.hpp"
#include "../support/bind_any.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/cache/rerotate.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/executor/pool.hpp>
#include <posenc/mask/causal.hpp>

#include <cmath>
#include <cstring>

namespace decode_test {
namespace decode_cases {

AnyExecutor new_threads(int threads) {
  return Pool(threads,
              [threads](Index tasks, TaskRef task) { run_on_new_threads(threads, tasks, task); });
}

constexpr Index heads = 6, kv_heads = 2, width = 32;

/// Sequences of one part, of several, and of one token; two blocks of queries.
template <KeyState State, class BoundT>
void check_same_whoever_runs_it(const BoundT& bound) {
  const std::vector<Index> lengths{3000, 40, 1, 700}, counts{9, 3, 1, 2}, starts{0, 9, 12, 13, 15};
  std::vector<Sequence<float>> sequences;
  Holder<State, float> cache(Kind::paged, {.sequences = 4,
                                           .kv_heads = kv_heads,
                                           .head_dim = width,
                                           .value_dim = width,
                                           .capacity = 3000});
  Tensor<float> q(15, heads, width);
  q.fill(Random(1), 2);
  for (Index s = 0; s < 4; ++s) {
    sequences.emplace_back(lengths[size(s)], heads, kv_heads, width, width,
                           static_cast<std::uint64_t>(s));
    append(*cache, s, sequences.back(), 0, lengths[size(s)], bound);
  }
  const Output<float> expected =
      decoded(q.view(), *cache, bound, {.starts = starts, .executor = Serial{}});
  for (const int threads : {1, 2, 5, 64}) {
    INFO(threads << " threads");
    const Output<float> result =
        decoded(q.view(), *cache, bound, {.starts = starts, .executor = new_threads(threads)});
    CHECK(std::memcmp(result.lse.data(), expected.lse.data(), result.lse.size() * sizeof(float)) ==
          0);
    CHECK(std::memcmp(result.out.view().data, expected.out.view().data,
                      size(15 * heads * width) * sizeof(float)) == 0);
  }
}

TEST_CASE("decode: the same bits on several threads") {
  const BindOptions shape{.num_heads = heads, .num_kv_heads = kv_heads};
  const RoPE<HalfSplit> rope{.head_dim = width};
  check_same_whoever_runs_it<KeyState::rotated>(
      posenc_test::bind_any(rope | ALiBi{} | Causal{}, shape));
  check_same_whoever_runs_it<KeyState::raw>(
      posenc_test::bind_any(rope | ReRoPE{.window = 100} | Causal{}, shape));
}

TEST_CASE("decode: threads that come to the same piece of a bias's table at once") {
  const auto bound = [] {  // a new one has evaluated nothing yet
    return posenc_test::bind_any(bias([](Index head, Position distance) {
                                   return -std::log1p(static_cast<double>(distance * (head + 1)));
                                 }) | Causal{},
                                 {.num_heads = heads, .num_kv_heads = kv_heads});
  };
  const Sequence<float> sequence(1'300, heads, kv_heads, width, width);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence, 8));
  for (Index s = 0; s < 8; ++s) append(*cache, s, sequence, 0, 1'300, bound());
  Tensor<float> q(16, heads, width);
  q.fill(Random(1), 2);
  const Output<float> expected = decoded(q.view(), *cache, bound(), {.executor = Serial{}});
  for (const int threads : {2, 8, 64}) {
    INFO(threads << " threads");
    const Output<float> result =
        decoded(q.view(), *cache, bound(), {.executor = new_threads(threads)});
    CHECK(std::memcmp(result.out.view().data, expected.out.view().data,
                      size(16 * heads * width) * sizeof(float)) == 0);
  }
}

TEST_CASE("shift: the same bits on several threads") {
  const auto bound = posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                                           {.num_heads = heads, .num_kv_heads = kv_heads});
  const Sequence<float> sequence(3000, heads, kv_heads, width, width);
  auto cache = KeyValueCache<KeyState::rotated, float>::ring(shape_for(sequence, 2), 5);
  for (const Index s : {0, 1}) {
    append(cache, s, sequence, 0, 3000, bound);
    append(cache, s, sequence, 0, 1111, bound);
  }
  shift(cache, 0, 1200, 4000, -77, bound, Serial{});
  shift(cache, 1, 1200, 4000, -77, bound, new_threads(5));
  bool same = true;
  for (Index rank = 0; rank < 3000; ++rank)
    for (Index h = 0; h < kv_heads; ++h)
      same = same && std::ranges::equal(cache.key(0, rank, h), cache.key(1, rank, h));
  CHECK(same);
}

}  // namespace decode_cases
}  // namespace decode_test
