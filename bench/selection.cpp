// SPDX-License-Identifier: MIT
//
// select(): one query token of 32 query heads and 8 key heads of 128 channels over a cache of bfloat16; and update().
//
//   select/<method>/<element of summaries>/<choice>/keys:<n>/threads:<n>
//     GB/s         summaries that are read, over the median time of a call
//     read_GB/s    reading the same memory and nothing else, on as many threads, in turns with it
//     share        the ratio of the two
//   update/<method>/...    a token is appended and the summaries are brought up to date; the time is that of both
//   decode/<method>/...    a step on the budget, select() and decode(), over values of 128 channels
//     of_full      its time over that of decode() with all keys, in turns
//     chosen_GB/s  keys and values that were chosen, over the time of decode() with the selection alone
//     read_GB/s    as above, of so much memory in one piece for each key head
//
//   bench_selection --benchmark_filter=Quest
#include "support/limits.hpp"
#include "support/paired.hpp"
#include "support/team.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/schedule/random.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>
#include <posenc/select/select.hpp>

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;
using Cache = KeyValueCache<KeyState::rotated, Eigen::bfloat16>;

constexpr Index heads = 32, kv_heads = 8, width = 128;
const auto& encoding() {
  static const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | Causal{},
                                 {.num_heads = heads, .num_kv_heads = kv_heads});
  return bound;
}
std::vector<float> noise(Index n, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<float> all(static_cast<std::size_t>(n));
  for (float& x : all) x = static_cast<float>(random.real(-1, 1));
  return all;
}
void append(Cache& cache, Index tokens, std::uint64_t seed) {
  const Index value_width = cache.shape().value_dim;
  const std::vector<float> k = noise(tokens * kv_heads * width, seed),
                           v = noise(tokens * kv_heads * value_width, seed);
  cache.append(0, TensorView<const float>(k.data(), tokens, kv_heads, width),
               TensorView<const float>(v.data(), tokens, kv_heads, value_width), encoding());
}
Cache filled(Index keys, Index value_width = 16) {
  Cache cache = Cache::contiguous({.kv_heads = kv_heads,
                                   .head_dim = width,
                                   .value_dim = value_width,
                                   .capacity = keys + 4'096});
  for (Index held = 0; held < keys; held += 4'096)
    append(cache, std::min<Index>(4'096, keys - held), static_cast<std::uint64_t>(held));
  return cache;
}

template <class S, class T>
void select_row(benchmark::State& state, const S& selector, Index keys, int threads) {
  Team team(threads);
  Cache cache = filled(keys);
  Summaries<S, T> summaries(selector, cache, encoding());
  summaries.update(cache, 0, encoding(), {.executor = team.executor()});
  const std::vector<float> q = noise(heads * width, 1);
  std::vector<std::byte> memory(select_workspace(cache, summaries, encoding(), 1, team.executor()) +
                                64);
  const std::size_t off = reinterpret_cast<std::uintptr_t>(memory.data()) % 64;
  const SelectOptions options{.executor = team.executor(),
                              .workspace = std::span(memory).subspan((64 - off) % 64)};
  Selection chosen;
  const auto pass = [&] {
    select({q.data(), 1, heads, width}, cache, summaries, encoding(), chosen, options);
  };
  // As if a head's summaries were floats side by side.
  const Index floats = summaries.blocks(0) * summaries.width() * Index{sizeof(T)} / 4;
  float* const first = reinterpret_cast<float*>(const_cast<T*>(summaries.row(0, 0)));
  const Index stride = reinterpret_cast<const float*>(summaries.row(0, 1)) - first;
  const auto limit = sum_limit({first, kv_heads, floats, stride}, team);
  const auto [time, limit_time] = once_in_turns(state, pass, limit);
  state.counters["GB/s"] = limit.work() / time * 1e-9;
  state.counters["read_GB/s"] = limit.work() / limit_time * 1e-9;
  state.counters["share"] = limit_time / time;
}

template <class S, class T>
void update_row(benchmark::State& state, const S& selector, Index keys) {
  Cache cache = filled(keys);
  Summaries<S, T> summaries(selector, cache, encoding());
  summaries.update(cache, 0, encoding());
  const Index value_width = cache.shape().value_dim;
  const std::vector<float> k = noise(kv_heads * width, 3), v = noise(kv_heads * value_width, 4);
  for (auto _ : state) {
    if (cache.tokens(0) == keys + 4'096) cache.truncate(0, keys);
    cache.append(0, TensorView<const float>(k.data(), 1, kv_heads, width),
                 TensorView<const float>(v.data(), 1, kv_heads, value_width), encoding());
    summaries.update(cache, 0, encoding());
  }
}

template <class S, class T>
void decode_row(benchmark::State& state, const S& selector, Index keys, int threads) {
  Team team(threads);
  Cache cache = filled(keys, width);
  Summaries<S, T> summaries(selector, cache, encoding());
  summaries.update(cache, 0, encoding(), {.executor = team.executor()});
  const std::vector<float> q = noise(heads * width, 1);
  std::vector<float> out(q.size());
  const TensorView<const float> queries(q.data(), 1, heads, width);
  const TensorView<float> outputs(out.data(), 1, heads, width);
  Selection chosen;
  const auto choose = [&] {
    select(queries, cache, summaries, encoding(), chosen, {.executor = team.executor()});
  };
  const auto read_chosen = [&] {
    decode(queries, cache, outputs, encoding(),
           {.selection = &chosen, .executor = team.executor()});
  };
  const auto step = [&] { choose(), read_chosen(); };
  const auto full = [&] {
    decode(queries, cache, outputs, encoding(), {.executor = team.executor()});
  };
  choose();
  double bytes = 0;
  for (Index i = 0; i < chosen.size(); ++i)
    bytes += static_cast<double>(chosen[i].tokens * 2 * width * Index{sizeof(Eigen::bfloat16)});
  const Index floats = static_cast<Index>(bytes) / 4 / kv_heads;
  auto* const first =
      reinterpret_cast<float*>(const_cast<Eigen::bfloat16*>(cache.key(0, 0, 0).data()));
  const auto limit = sum_limit({first, kv_heads, floats, (keys + 4'096) * width / 2}, team);
  const auto [time, chosen_time, full_time, limit_time] =
      once_in_turns(state, step, read_chosen, full, limit);
  state.counters["of_full"] = time / full_time;
  state.counters["chosen_GB/s"] = bytes / chosen_time * 1e-9;
  state.counters["read_GB/s"] = limit.work() / limit_time * 1e-9;
}

template <class T, class S>
void add(const std::string& name, const S& selector) {
  const Index keys = 131'072;
  for (const int threads : {1, 2})
    benchmark::RegisterBenchmark(
        ("decode/" + name + "/keys:" + std::to_string(keys) + "/threads:" + std::to_string(threads))
            .c_str(),
        [=](benchmark::State& state) { decode_row<S, T>(state, selector, keys, threads); })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2})
    benchmark::RegisterBenchmark(
        ("select/" + name + "/keys:" + std::to_string(keys) + "/threads:" + std::to_string(threads))
            .c_str(),
        [=](benchmark::State& state) { select_row<S, T>(state, selector, keys, threads); })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark(("update/" + name + "/keys:" + std::to_string(keys)).c_str(),
                               [=](benchmark::State& state) {
                                 update_row<S, T>(state, selector, keys);
                               })
      ->Unit(benchmark::kMicrosecond);
}

const bool added = [] {
  using bfloat16 = Eigen::bfloat16;
  add<float>("Quest/float/query_head", Quest{});
  add<bfloat16>("Quest/bfloat16/query_head", Quest{});
  add<bfloat16>("Quest/bfloat16/key_head", Quest{.per = ChoicePer::key_head});
  add<bfloat16>("MoBA/bfloat16/query_head", MoBA{.block = 256, .topk = 8});
  add<bfloat16>("MoBA/bfloat16/key_head",
                MoBA{.block = 256, .topk = 8, .per = ChoicePer::key_head});
  add<bfloat16>("NSASelection/bfloat16/key_head", NSASelection{.blocks = 32});
  return true;
}();

}  // namespace
