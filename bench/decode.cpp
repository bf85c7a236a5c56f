// SPDX-License-Identifier: MIT
//
// decode(): one query token over a cache, heads of 128 channels; and what changes a cache.
//
//   bench_decode [--all] [--keys=4096,32768] [--memory=20] [options of Google Benchmark]
//
//   <element>/<state of the keys>/<encoding>/<query heads>:<key heads>/<keys>/threads:<n>
//   <element>/{shift, rebase, append/...}/...          all keys, or one more token
//   eigen/...                                          two matrix-vector products and a softmax
//
//   GB/s         keys and values that are read, over the median time of a call
//   read_GB/s    reading the same memory and nothing else, on as many threads, in turns with it
//   share        the ratio of the two
//   of_rotated   time / time with keys that are stored rotated, in the same run: of raw keys
//   of_scale     share of the speed of x *= a in place over as many bytes: shift, rebase
//
// Times are medians. By default a few rows are measured, with --all every combination.
#include "baselines/decode.hpp"
#include "decode/rows.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace bench {

namespace {

/// The baseline on a cache that it can read, [tokens][key heads][width].
class DecodeBaseline {
 public:
  explicit DecodeBaseline(const DecodeSize& size)
      : size_(size), k_(size.keys, size.kv_heads, size.width, 2),
        v_(size.keys, size.kv_heads, size.width, 3), q_(1, size.heads, size.width, 1),
        out_(1, size.heads, size.width, 4), scores_(size.keys) {}

  void operator()() const {
    baselines::Decode{}({k_.view.data, v_.view.data, size_.keys, size_.kv_heads, size_.width},
                        size_.heads, q_.view.data, out_.view.data, scores_);
  }
  [[nodiscard]] auto limit(Team& team) const {
    const Index floats = size_.keys * size_.kv_heads * size_.width;
    return sum_limit({k_.view.data, floats}, {v_.view.data, floats}, team);
  }
  [[nodiscard]] const posenc::TensorView<float>& out() const { return out_.view; }

 private:
  DecodeSize size_;
  NormalTensor k_, v_, q_, out_;
  mutable Eigen::VectorXf scores_;
};

void baseline_row(const DecodeRun& run) {
  const DecodeBaseline pass(run.size);
  const auto limit = pass.limit(run.team);
  const auto [time, limit_time] = once_in_turns(run.state, pass, limit);
  report_reading(run, limit.work(), time, limit_time);
}

/// Whether the baseline and decode() agree up to rounding.
bool baseline_agrees() {
  const DecodeSize size{.keys = 1000, .heads = 4, .kv_heads = 2};
  const DecodeBaseline baseline(size);
  baseline();
  Team one(1);
  const auto bound = bind(with_nothing(), {.num_heads = 4, .num_kv_heads = 2});
  const PassOf<KeyState::raw, float, with_nothing> pass(size, bound, one);
  pass();
  for (Index h = 0; h < size.heads; ++h)
    for (Index c = 0; c < size.width; ++c)
      if (const float a = baseline.out()(0, h, c), b = pass.out()(0, h, c);
          !(std::abs(a - b) < 2e-5F)) {
        std::fprintf(stderr,
                     "bench_decode: baseline eigen and decode() differ at head %td, channel %td: "
                     "%g and %g.\n",
                     h, c, static_cast<double>(a), static_cast<double>(b));
        return false;
      }
  return true;
}

/// Takes --<name>=<value> out of the arguments; the value, or nothing.
const char* take(int& argc, char** argv, std::string_view flag) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(flag)) continue;
    char* const found = argv[i];
    std::rotate(argv + i, argv + i + 1, argv + argc);
    --argc;
    return found + flag.size();
  }
  return nullptr;
}

/// Numbers between 1 and `most`, separated by commas; none if they are not.
std::vector<Index> numbers(std::string_view text, Index most) {
  std::vector<Index> all;
  while (true) {
    Index number = 0;
    const char* const end = text.data() + text.size();
    const auto [read, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || number < 1 || number > most) return {};
    all.push_back(number);
    if (read == end) return all;
    if (*read != ',') return {};
    text.remove_prefix(static_cast<std::size_t>(read + 1 - text.data()));
  }
}

/// False: something is not a choice, which has been said.
bool choose(int& argc, char** argv, DecodeChoice& choice) {
  if (const char* const rest = take(argc, argv, "--all")) {
    choice.all = true;
    if (*rest != '\0') return std::fprintf(stderr, "bench_decode: --all takes no value.\n"), false;
  }
  if (const char* const text = take(argc, argv, "--keys=")) {
    choice.keys = numbers(text, Index{1} << 24);
    choice.keys_given = true;
    if (choice.keys.empty()) {
      std::fprintf(stderr,
                   "bench_decode: --keys must be lengths between 1 and 16,777,216, separated by "
                   "commas, got \"%s\".\n",
                   text);
      return false;
    }
  }
  if (const char* const text = take(argc, argv, "--memory=")) {
    const std::vector<Index> gib = numbers(text, 1 << 20);
    if (gib.size() != 1) {
      std::fprintf(stderr, "bench_decode: --memory must be a number of GiB, got \"%s\".\n", text);
      return false;
    }
    choice.memory = static_cast<double>(gib[0]);
  }
  return true;
}

}  // namespace

void add_row(const DecodeChoice& choice, const DecodeRow& row, const DecodeSize& size,
             int threads) {
  const std::string name = row.element + "/" + row.what + "/" + std::to_string(size.heads) + ":" +
                           std::to_string(size.kv_heads) + "/" + std::to_string(size.keys) +
                           "/threads:" + std::to_string(threads);
  DecodeSize held = size;
  if (row.held != 0) held.keys = row.held;
  const double needs = row.caches * held.bytes(row.bytes) / (1 << 30);
  const auto run = [row, size, threads, needs, most = choice.memory](benchmark::State& state) {
    if (needs > most) {
      const std::string message =
          "needs " + std::to_string(static_cast<int>(needs) + 1) +
          " GiB, more than --memory=" + std::to_string(static_cast<int>(most));
      return state.SkipWithError(message.c_str());
    }
    Team team(threads);
    row.run({state, team, size});
  };
  benchmark::RegisterBenchmark(name.c_str(), run)
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMicrosecond);
}

void add_row(const DecodeChoice& choice, const DecodeRow& row) {
  for (const Index kv_heads : {Index{8}, Index{32}})
    for (const Index keys : choice.keys)
      for (const int threads : one_and_all_threads()) {
        const bool usual = kv_heads == 8 && threads == 1 && (keys == 32768 || choice.keys_given);
        if (usual || row.central || choice.all)
          add_row(choice, row, {.keys = keys, .heads = 32, .kv_heads = kv_heads}, threads);
      }
}

}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  DecodeChoice choice;
  benchmark::Initialize(&argc, argv);
  if (!choose(argc, argv, choice)) return 2;
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (!baseline_agrees()) return 1;
  add_bfloat16_rows(choice);
  add_float16_rows(choice);
  add_float_rows(choice);
  for (const Index keys : choice.keys)
    add_row(choice, {"eigen", "rotated", baseline_row, sizeof(float), 1},
            {.keys = keys, .heads = 32, .kv_heads = 8}, 1);
  benchmark::AddCustomContext("simd_level", posenc::simd::name(posenc::simd::level()));
  benchmark::AddCustomContext("limit_vectors", kernels().name);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
