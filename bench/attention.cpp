// SPDX-License-Identifier: MIT
//
// attention() over whole sequences (prefill): float, heads of 128 channels.
//
//   <who>/<what>/<query heads>:<key heads>/<tokens>/threads:<n>
//
//   posenc     full (no mask), causal, causal_rope
//   eigen      full, causal: the dense formula, one thread
//   openblas   products: the two products alone
//
// GFLOP/s counts 4 N^2 d per head, half of that where a mask is causal, whoever computes more;
// of_peak is the speed as a share of what multiply-adds of the level that runs reach, measured in
// turns on as many threads (peak_GFLOP/s). Times are medians. The workspace is made before.
#include "baselines/attention.hpp"
#include "support/attention.hpp"
#include "support/limits.hpp"
#include "support/paired.hpp"

#include <cstdio>
#include <string>
#include <string_view>

namespace {

using namespace posenc;
using namespace bench;

struct Run {
  benchmark::State& state;
  Team& team;
  AttentionSize size;
};

template <class Subject>
void against_peak(const Run& run, double operations, const Subject& subject) {
  constexpr Index steps = 4'000'000;  // about ten milliseconds
  const auto peak = multiply_add_limit(run.team, kernels(simd::level()), steps);
  const auto [time, peak_time] = in_turns(run.state, subject, peak);
  run.state.counters["GFLOP/s"] = operations / time * 1e-9;
  run.state.counters["peak_GFLOP/s"] = peak.work() / peak_time * 1e-9;
  run.state.counters["of_peak"] = operations / time * peak_time / peak.work();
}

template <class E>
void measure(const Run& run, const E& encoding, bool causal) {
  const AttentionTensors tensors(run.size);
  const auto bound =
      bind(encoding, {.num_heads = run.size.heads, .num_kv_heads = run.size.kv_heads});
  const AttentionPass pass(tensors, bound, run.team.executor());
  against_peak(run, run.size.operations(causal), pass);
}
void full(const Run& run) { measure(run, Encoding<>{}, false); }
void causal(const Run& run) { measure(run, encoding(Causal{}), true); }
void causal_rope(const Run& run) {
  measure(run, RoPE<HalfSplit>{.head_dim = run.size.width} | Causal{}, true);
}

/// A baseline on all heads, each of which is one thread's.
template <class Baseline>
class HeadByHead {
 public:
  HeadByHead(const AttentionTensors& on, Team& team, const Baseline& baseline)
      : on_(on), team_(team), baseline_(baseline) {
    for (Index i = 0; i < team.size(); ++i)
      scores_.emplace_back(baselines::Scores::Zero(on.size.tokens, on.size.tokens));
  }
  void operator()() const {
    const Index threads = team_.size(), heads = on_.size.heads;
    team_.run(threads, [&](Index thread) {
      for (Index h = thread; h < heads; h += threads)
        baseline_({on_.q.view.row(0, h), on_.k.view.row(0, h), on_.v.view.row(0, h),
                   on_.out.view.row(0, h), on_.size.tokens, on_.size.width, on_.size.width * heads},
                  scores_[static_cast<std::size_t>(thread)]);
    });
  }

 private:
  const AttentionTensors& on_;
  Team& team_;
  Baseline baseline_;
  mutable std::vector<baselines::Scores> scores_;
};

template <bool causal>
void dense(const Run& run) {
  const AttentionTensors tensors(run.size);
  against_peak(run, run.size.operations(causal),
               HeadByHead(tensors, run.team, baselines::Dense{causal}));
}
#if defined(BENCH_HAS_OPENBLAS)
void products(const Run& run) {
  const AttentionTensors tensors(run.size);
  against_peak(run, run.size.operations(false),
               HeadByHead(tensors, run.team, baselines::Products{}));
}
#endif

// The longest have fewer heads, and so do baselines from 8,192 tokens on (longer ones would need
// gigabytes for the scores of a head): a pass should not take minutes.
const std::vector<AttentionSize> sizes{{512, 32, 32}, {512, 32, 8},   {2048, 32, 32},
                                       {2048, 32, 8}, {8192, 32, 32}, {8192, 32, 8},
                                       {32768, 4, 4}, {32768, 4, 1}};
const std::vector<AttentionSize> grouped{{512, 32, 8}, {2048, 32, 8}, {8192, 32, 8}, {32768, 4, 1}};
const std::vector<AttentionSize> dense_sizes{{512, 32, 32}, {2048, 32, 32}, {8192, 4, 4}};

struct Row {
  std::string name;
  void (*run)(const Run&);
  const std::vector<AttentionSize>& sizes;
  bool with_threads = true;
};

const Row rows[] = {
    {"posenc/causal", causal, sizes},
    {"posenc/full", full, sizes},
    {"posenc/causal_rope", causal_rope, grouped},
    {"eigen/causal", dense<true>, dense_sizes, false},
    {"eigen/full", dense<false>, dense_sizes, false},
#if defined(BENCH_HAS_OPENBLAS)
    {"openblas/products", products, dense_sizes},
#endif
};

/// Whether two results are equal up to rounding.
bool agree(const char* who, const AttentionTensors& a, const AttentionTensors& b) {
  const AttentionSize& size = a.size;
  for (Index t = 0; t < size.tokens; ++t)
    for (Index h = 0; h < size.heads; ++h)
      for (Index c = 0; c < size.width; ++c)
        if (!(std::abs(a.out.view(t, h, c) - b.out.view(t, h, c)) < 2e-5F)) {
          std::fprintf(stderr,
                       "bench_attention: baseline %s and attention() differ at token %td, head "
                       "%td, channel %td: %g and %g.\n",
                       who, t, h, c, static_cast<double>(a.out.view(t, h, c)),
                       static_cast<double>(b.out.view(t, h, c)));
          return false;
        }
  return true;
}

template <bool causal, class E>
bool dense_agrees(const E& encoding) {
  const AttentionTensors ours({100, 2, 2}), theirs({100, 2, 2});
  attention(ours.q.view, ours.k.view, ours.v.view, ours.out.view, encoding);
  Team one(1);
  HeadByHead(theirs, one, baselines::Dense{causal})();
  return agree("eigen", theirs, ours);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (!dense_agrees<true>(encoding(Causal{})) || !dense_agrees<false>(Encoding<>{})) return 1;
  for (const Row& row : rows)
    for (const AttentionSize& size : row.sizes)
      for (const int threads : one_and_all_threads())
        if (threads == 1 || row.with_threads) add_row<Run>(row, size, threads);
#if defined(BENCH_HAS_OPENBLAS)
  openblas_set_num_threads(1);  // threads are ours, a head each
  benchmark::AddCustomContext("openblas_kernels", openblas_get_corename());
  if (simd::level() >= simd::Level::avx512 &&
      std::string_view(openblas_get_corename()) == "Haswell")
    std::fprintf(stderr,
                 "bench_attention: OpenBLAS runs its kernels for AVX2, posenc those for AVX-512: "
                 "unset OPENBLAS_CORETYPE, or set it to SkylakeX if that does not help.\n");
#endif
  benchmark::AddCustomContext("simd_level", simd::name(simd::level()));
  benchmark::AddCustomContext("peak_vectors", kernels(simd::level()).name);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
