// SPDX-License-Identifier: MIT
//
// Mamba's selective scan, by the numbers of a layer of 768: 1,536 channels of 16 states, in float.
//
//   scan/Mamba/<with>/threads:<n>     512 tokens of prefill, with softplus, skip and gate, or without the gate
//     ns               a token
//     of_exponentials  of the rate at which exponentials alone are computed, one for each channel and state of a token,
//                      in a buffer that stays in the first-level cache
//     of_loop          times as fast as the loop over tokens, channels and states with std::exp, compiled as this program
//   step/Mamba/threads:<n>            a token: the same
//
//   bench_mixers --benchmark_filter=Mamba/
#include "support/paired.hpp"
#include "support/team.hpp"

#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/selective_scan.hpp>
#include <posenc/schedule/random.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace posenc;
using namespace bench;

constexpr Index width = 768, E = 2 * width, N = 16, few = 16;

struct Layer {
  Index tokens;
  mixers::Mamba parameters = mixers::Mamba::initial(width, 1);
  mixers::SelectiveScan scan{parameters};
  std::vector<float> u, dt, B, C, z, out;

  explicit Layer(Index n) : tokens(n) {
    SeededRandom random(2);
    const auto noise = [&](Index count, double most) {
      std::vector<float> all(static_cast<std::size_t>(count));
      for (float& x : all) x = static_cast<float>(random.real(-most, most));
      return all;
    };
    u = noise(n * E, 1), dt = noise(n * E, 2), B = noise(n * N, 1), C = noise(n * N, 1);
    z = noise(n * E, 4), out = u;
  }
  [[nodiscard]] mixers::ScanInputs inputs(bool gated) const {
    const auto view = [&](const std::vector<float>& x, Index channels) {
      return TensorView<const float>(x.data(), tokens, 1, channels);
    };
    mixers::ScanInputs in{.u = view(u, E), .dt = view(dt, E), .B = view(B, N), .C = view(C, N)};
    if (gated) in.z = view(z, E);
    return in;
  }
  [[nodiscard]] TensorView<float> outputs() { return {out.data(), tokens, 1, E}; }
};

/// Token after token, channel after channel, state after state.
void token_loop(Layer& at, Index count, Index first, Index last, std::vector<float>& h) {
  for (Index t = 0; t < count; ++t)
    for (Index c = first; c < last; ++c) {
      const auto i = static_cast<std::size_t>(t * E + c);
      const float delta = std::log1p(
                      std::exp(at.dt[i] + at.parameters.dt_bias[static_cast<std::size_t>(c)])),
                  write = delta * at.u[i];
      float y = at.parameters.D[static_cast<std::size_t>(c)] * at.u[i];
      for (Index n = 0; n < N; ++n) {
        const auto k = static_cast<std::size_t>(c * N + n),
                   of_token = static_cast<std::size_t>(t * N + n);
        h[k] = std::exp(-delta * static_cast<float>(n + 1)) * h[k] + write * at.B[of_token];
        y += at.C[of_token] * h[k];
      }
      at.out[i] = y * at.z[i] / (1 + std::exp(-at.z[i]));
    }
}

void run(benchmark::State& state, Index tokens, bool gated, int threads) {
  Layer layer(tokens), other(std::min(tokens, few));
  Team team(threads);
  const AnyExecutor executor = team.executor();
  std::vector<std::byte> memory(mixers::workspace_bytes(layer.scan, executor) + 64);
  void* aligned = memory.data();
  std::size_t room = memory.size();
  std::align(64, room - 64, aligned, room);
  const mixers::Options options{
      .executor = executor, .workspace = {static_cast<std::byte*>(aligned), memory.size() - 64}};
  mixers::State of = layer.scan.state();
  std::vector<float> h(static_cast<std::size_t>(E * N));
  const mixers::ScanInputs in = layer.inputs(gated);
  const TensorView<float> out = layer.outputs();
  const auto exponentials = [&](Index i) {
    constexpr Index numbers = 1024;
    alignas(64) float x[numbers], y[numbers];
    for (Index k = 0; k < numbers; ++k) x[k] = -static_cast<float>(k) / 256;
    const Index all = tokens * E * N / numbers;
    for (Index k = i * all / threads; k < (i + 1) * all / threads; ++k) {
      mixers::leaves().exponentials(numbers, x, y);
      benchmark::DoNotOptimize(y[0]);
    }
  };
  const auto [scan, alone, loop] = in_turns(
      state,
      [&] {
        tokens == 1 ? mixers::step(in, out, layer.scan, of, options)
                    : mixers::scan(in, out, layer.scan, of, options);
      },
      [&] { team.run(threads, exponentials); },
      [&] {
        team.run(threads, [&](Index i) {
          token_loop(other, other.tokens, i * E / threads, (i + 1) * E / threads, h);
        });
      });
  state.counters["ns"] = scan / static_cast<double>(tokens) * 1e9;
  state.counters["of_exponentials"] = alone / scan;
  state.counters["of_loop"] =
      loop / static_cast<double>(other.tokens) / (scan / static_cast<double>(tokens));
}

const bool registered = [] {
  for (const int threads : one_and_all_threads()) {
    const auto add = [&](const std::string& name, Index tokens, bool gated) {
      benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                   [=](benchmark::State& state) {
                                     run(state, tokens, gated, threads);
                                   })
          ->UseManualTime();
    };
    add("scan/Mamba/gated", 512, true);
    add("scan/Mamba/plain", 512, false);
    add("step/Mamba", 1, true);
  }
  return true;
}();

}  // namespace
