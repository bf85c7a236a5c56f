// SPDX-License-Identifier: MIT
//
// One step of training of the lab's model: forward, backward, clipping and AdamW on 16 sequences of 128 random
// tokens, float.
//
//   step/<scheme>/threads:<n>
//
// bench/baselines/pytorch_lab.py takes the same step of the same model in eager PyTorch. The time is that of all
// the benchmark's steps; the counter `median_ms` is that of one.
#include "support/team.hpp"
#include "support/timing.hpp"

#include <posenc/lab/text.hpp>
#include <posenc/lab/training.hpp>
#include <posenc/posenc.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;

void step(benchmark::State& state, const lab::Scheme& scheme, int threads) {
  constexpr int uncounted = 5, counted = 40;
  std::mt19937 generator(1);
  std::vector<std::uint8_t> text(100'000);
  for (std::uint8_t& byte : text) byte = static_cast<std::uint8_t>(generator());
  const lab::Source source = lab::text_rows(text);
  Team team(threads);
  for (auto _ : state) {
    lab::Training training({}, scheme, {.steps = uncounted + counted});
    std::vector<double> times;
    while (!training.done()) {
      const double one = seconds(1, [&] { training.step(source, team.executor()); });
      if (training.steps_done() > uncounted) times.push_back(one);
    }
    state.counters["median_ms"] = 1e3 * median(times);
  }
}

const bool registered = [] {
  const auto add = [](const std::string& name, const auto& encoding) {
    for (const int threads : one_and_all_threads())
      benchmark::RegisterBenchmark(("step/" + name + "/threads:" + std::to_string(threads)).c_str(),
                                   [=, scheme = lab::Scheme(name, encoding)](
                                       benchmark::State& state) { step(state, scheme, threads); })
          ->Iterations(1)
          ->Unit(benchmark::kMillisecond);
  };
  add("RoPE", RoPE<HalfSplit>{.head_dim = 32} | Causal{});
  add("ALiBi", ALiBi{} | Causal{});
  add("none", Causal{});
  return true;
}();

}  // namespace
