// SPDX-License-Identifier: MIT
//
// Every encoding of the gallery through the attention kernel, one thread. `gflops` counts 4 N^2 d per
// head, halved for causal, whatever a mask leaves of it; compare rows of one run with the row NoPE.
#include <posenc/gallery.hpp>

#include <benchmark/benchmark.h>

#include <random>
#include <string>

namespace {

using namespace posenc;

constexpr Index heads = 2, kv_heads = 1, width = 128;

template <class E>
void run(benchmark::State& state, const Bound<E>& bound) {
  const Index tokens = state.range(0);
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const auto random = [&](Index count) {
    std::vector<float> x(static_cast<std::size_t>(count));
    for (float& value : x) value = normal(generator);
    return x;
  };
  const std::vector<float> q = random(tokens * heads * width),
                           k = random(tokens * kv_heads * width),
                           v = random(tokens * kv_heads * width);
  std::vector<float> out(q.size());
  for (auto _ : state) {
    attention({q.data(), tokens, heads, width}, {k.data(), tokens, kv_heads, width},
              {v.data(), tokens, kv_heads, width}, TensorView(out.data(), tokens, heads, width),
              bound);
    benchmark::DoNotOptimize(out.data());
  }
  const double flops = 2.0 * static_cast<double>(tokens) * static_cast<double>(tokens) *
                       double{width} * double{heads};
  state.counters["gflops"] = benchmark::Counter(
      flops * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  for_each_in_gallery<HalfSplit>(
      {.head_dim = width, .num_heads = heads, .trained = 1024, .target = 4096},
      [](const GalleryEntry& entry, const auto& encoding) {
        const auto bound = bind(encoding, {.num_heads = heads, .num_kv_heads = kv_heads});
        benchmark::RegisterBenchmark(std::string(entry.name).c_str(),
                                     [bound](benchmark::State& state) { run(state, bound); })
            ->Arg(2048)
            ->Unit(benchmark::kMillisecond);
      });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
