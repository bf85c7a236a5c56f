// SPDX-License-Identifier: MIT
//
// Gradients of what stands in a layer of Mamba, by the numbers of a layer of 768: 1,536 channels, in float, 512 tokens.
//
//   backward/Mamba/threads:<n>               the selective scan of 16 states, gated
//   backward/ShortConvolution/threads:<n>    width 4, with SiLU
//     ns           of a token and channel
//     of_forward   times as long as the forward pass
#include "support/paired.hpp"
#include "support/team.hpp"

#include <posenc/mixers/scan_backward.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>
#include <posenc/schedule/random.hpp>

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;

constexpr Index width = 768, E = 2 * width, N = 16, tokens = 512;

std::vector<float> noise(Index channels, double most, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<float> all(static_cast<std::size_t>(tokens * channels));
  for (float& x : all) x = static_cast<float>(random.real(-most, most));
  return all;
}
template <class V>
auto view(V& x) {
  return TensorView(x.data(), tokens, 1, std::ssize(x) / tokens);
}

template <class Forward, class Backward>
void compare(benchmark::State& state, const Forward& forward, const Backward& backward) {
  const auto [once, back] = in_turns(state, forward, backward);
  state.counters["ns"] = back / static_cast<double>(tokens * E) * 1e9;
  state.counters["of_forward"] = back / once;
}

void scan(benchmark::State& state, int threads) {
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const mixers::SelectiveScan of(mixers::Mamba::initial(width, 1));
  const std::vector<float> u = noise(E, 1, 1), dt = noise(E, 2, 2), B = noise(N, 1, 3),
                           C = noise(N, 1, 4), z = noise(E, 4, 5), d_out = noise(E, 1, 6);
  std::vector<float> out = u, du = u, d_dt = u, dB = B, dC = C, dz = u;
  std::vector<std::byte> memory(mixers::backward_workspace_bytes(of, tokens, tokens, 1, executor) +
                                64);
  void* aligned = memory.data();
  std::size_t room = memory.size();
  std::align(64, room - 64, aligned, room);
  mixers::State seen = of.state(), d_state = seen;
  const mixers::State before = of.state();
  mixers::MambaGradients learned(of);
  const mixers::ScanInputs in{
      .u = view(u), .dt = view(dt), .B = view(B), .C = view(C), .z = view(z)};
  compare(
      state, [&] { mixers::scan(in, view(out), of, seen, {.executor = executor}); },
      [&] {
        mixers::backward(in, view(d_out), before, d_state,
                         {view(du), view(d_dt), view(dB), view(dC), view(dz), &learned}, of,
                         {.executor = executor,
                          .workspace = {static_cast<std::byte*>(aligned), memory.size() - 64}});
      });
}

void convolution(benchmark::State& state, int threads) {
  Team team(threads);
  const AnyExecutor executor = team.executor();
  const mixers::ShortConvolution of({.channels = E, .weight = std::vector<float>(E * 4, 0.25F)});
  const std::vector<float> x = noise(E, 1, 1), d_out = noise(E, 1, 2);
  std::vector<float> out = x, dx = x;
  mixers::State seen = of.state(), d_state = seen;
  const mixers::State before = of.state();
  mixers::ShortConvGradients learned(of);
  compare(
      state, [&] { mixers::convolve(view(x), view(out), of, seen, {.executor = executor}); },
      [&] {
        mixers::backward(view(x), view(d_out), before, d_state, {view(dx), &learned}, of,
                         {.executor = executor});
      });
}

const bool registered = [] {
  for (const int threads : one_and_all_threads())
    for (const auto& [name, run] :
         {std::pair{"backward/Mamba", &scan}, {"backward/ShortConvolution", &convolution}})
      benchmark::RegisterBenchmark(
          (std::string(name) + "/threads:" + std::to_string(threads)).c_str(),
          [run, threads](benchmark::State& state) { run(state, threads); })
          ->UseManualTime();
  return true;
}();

}  // namespace
