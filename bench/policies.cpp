// SPDX-License-Identifier: MIT
//
// What an encoding costs: attention with it, in turns with attention without any, in the same run.
// Causal, float, 2 query heads on 1 key head of 128 channels, one thread.
//
//   bench_policies [--tokens=8192] [options of Google Benchmark]
//
//   of_none    time with the encoding / time with the causal mask alone
//   of_rope    time with it / time with RoPE and the causal mask: of distance maps
//
// Times are medians. Extensions start from a trained length of 2,048, and windows without a number
// are a quarter of it.
#include "policies/policies.hpp"

#include "support/paired.hpp"

#include <charconv>
#include <cstdio>
#include <string_view>

namespace bench {

namespace {

MakePass make_none, make_rope;

/// Takes --tokens=N out of the arguments. False: it is not a length.
bool take_tokens(int& argc, char** argv, Index& tokens) {
  constexpr std::string_view flag = "--tokens=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(flag)) continue;
    const char* end = argument.data() + argument.size();
    const auto [read, error] = std::from_chars(argument.data() + flag.size(), end, tokens);
    if (error != std::errc() || read != end || tokens < 1 || tokens > 1'000'000) {
      std::fprintf(stderr,
                   "bench_policies: --tokens must be between 1 and 1,000,000, got \"%s\".\n",
                   argv[i] + flag.size());
      return false;
    }
    std::rotate(argv + i, argv + i + 1, argv + argc);
    --argc;
    --i;
  }
  return true;
}

}  // namespace

void add_row(const PolicySetting& at, const std::string& name, bool against_rope, MakePass make) {
  const auto run = [=](benchmark::State& state) {
    const AttentionTensors tensors(at.size);
    const Pass pass = make(tensors), none = make_none(tensors);
    if (against_rope) {
      const auto [time, none_time, rope_time] = in_turns(state, pass, none, make_rope(tensors));
      state.counters["of_none"] = time / none_time;
      state.counters["of_rope"] = time / rope_time;
    } else {
      const auto [time, none_time] = in_turns(state, pass, none);
      state.counters["of_none"] = time / none_time;
    }
  };
  benchmark::RegisterBenchmark((name + "/" + std::to_string(at.size.tokens)).c_str(), run)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  PolicySetting at;
  benchmark::Initialize(&argc, argv);
  if (!take_tokens(argc, argv, at.size.tokens)) return 2;
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  make_none = pass_maker(at, posenc::encoding(posenc::Causal{}));
  make_rope = pass_maker(at, at.rope() | posenc::Causal{});
  add_other_encodings(at);
  add_frequency_schemes(at);
  add_stacks(at);
  benchmark::AddCustomContext("simd_level", posenc::simd::name(posenc::simd::level()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
