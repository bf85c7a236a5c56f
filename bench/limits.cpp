// SPDX-License-Identifier: MIT
//
// What this machine can do: bandwidth of each level of memory, and multiply-adds.
//
//   scale/512KiB/threads:2   x *= a in place, 256 KiB per thread; GB/s of reading and writing
//   copy/512KiB/...          y = x, x and y 256 KiB each; GB/s of reading and writing
//   sum/512KiB/...           GB/s of reading
//   multiply_add/...         GFLOP/s, float
//
// The sizes are those of a first, second and third cache and of memory, on most machines.
#include "support/limits.hpp"
#include "support/memory.hpp"

#include <string>

namespace {

using namespace bench;

/// Reports the median speed of a limit, in units of 1e9 per second.
template <class L>
void report(benchmark::State& state, const Team& team, const char* unit, const L& limit) {
  const auto time = [&](int passes) { return limit.time(passes); };
  // Longer batches for several threads, which are started once per batch.
  const int passes = passes_of_batch(time) * (team.size() > 1 ? 16 : 1);
  std::vector<double> times;
  while (state.KeepRunningBatch(passes)) {
    times.push_back(time(passes));
    state.SetIterationTime(times.back());
  }
  state.counters[unit] = limit.work() * passes / median(times) * 1e-9;
}

void scale(benchmark::State& state, Team& team, Index floats) {
  const Memory<float> x(floats);
  report(state, team, "GB/s", scale_limit({x.data(), floats}, team));
}
void copy(benchmark::State& state, Team& team, Index floats) {
  const Memory<float> x(floats / 2), y(floats / 2);
  report(state, team, "GB/s", copy_limit({x.data(), floats / 2}, y.data(), team));
}
void sum(benchmark::State& state, Team& team, Index floats) {
  const Memory<float> x(floats);
  report(state, team, "GB/s", sum_limit({x.data(), floats}, team));
}
void multiply_add(benchmark::State& state, Team& team, Index /*floats*/) {
  report(state, team, "GFLOP/s", multiply_add_limit(team));
}

struct Row {
  std::string name;
  void (*run)(benchmark::State&, Team&, Index floats);
  Index bytes;
};

constexpr Index KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

const Row rows[] = {
    {"scale/16KiB", scale, 16 * KiB},  {"scale/512KiB", scale, 512 * KiB},
    {"scale/16MiB", scale, 16 * MiB},  {"scale/1GiB", scale, GiB},
    {"copy/16KiB", copy, 16 * KiB},    {"copy/512KiB", copy, 512 * KiB},
    {"copy/16MiB", copy, 16 * MiB},    {"copy/1GiB", copy, GiB},
    {"sum/16KiB", sum, 16 * KiB},      {"sum/512KiB", sum, 512 * KiB},
    {"sum/16MiB", sum, 16 * MiB},      {"sum/1GiB", sum, GiB},
    {"multiply_add", multiply_add, 0},
};

}  // namespace

int main(int argc, char** argv) {
  for (const int threads : one_and_all_threads())
    for (const Row& row : rows)
      benchmark::RegisterBenchmark((row.name + "/threads:" + std::to_string(threads)).c_str(),
                                   [row, threads](benchmark::State& state) {
                                     Team team(threads);
                                     row.run(state, team, row.bytes / Index{sizeof(float)});
                                   })
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("vectors", kernels().name);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
