// SPDX-License-Identifier: MIT
//
// rotate(): heads of 128 channels, [tokens][heads][128], 32 heads (q_and_k: and 8 of keys).
//
//   <element>/<layout>[/<what>]/tokens[/threads:n]       the library
//   baseline/<what>/<layout>/tokens                      what one would write without it
//
// GB/s counts each rotated channel as read once and written once; of_scale is the speed as a share
// of what the machine reaches at x *= a in place over the same bytes, measured in turns (of_copy:
// at a copy, for what is not in place). of_bound is the speed as a share of the slower of two: that one,
// and the products and conversions alone, over a block that stays in the first-level cache, with its
// angles at hand (steps_GB/s). With threads, all run on the same team.
#include "baselines/rotate.hpp"
#include "support/limits.hpp"
#include "support/memory.hpp"
#include "support/paired.hpp"

#include <posenc/eigen.hpp>
#include <posenc/posenc.hpp>

#include <cstdio>
#include <string>

namespace {

using namespace posenc;
using namespace bench;

constexpr Index heads = 32, kv_heads = 8, width = 128;
constexpr Position first = 1000;  // of the tokens' positions

struct Run {
  benchmark::State& state;
  Team& team;
  Index tokens;

  [[nodiscard]] RotateOptions options() const { return {.executor = team.executor()}; }
};

template <class T>
struct Tensor {
  explicit Tensor(Index tokens, Index heads_ = heads)
      : memory(tokens * heads_ * width), view(memory.data(), tokens, heads_, width) {}
  Memory<T> memory;
  TensorView<T> view;

  /// As floats, which is what limits are measured with.
  [[nodiscard]] Blocks blocks() const {
    return {memory.floats(), static_cast<Index>(memory.bytes() / sizeof(float))};
  }
};

/// The steps of a rotation where nothing waits for memory or angles: as many, all over one block.
template <class T, class L>
auto steps_limit(double bytes, Team& team) {
  static constexpr Index block =
      8192 / (width * Index{sizeof(T)});  // heads, in a quarter of the cache
  const auto passes = static_cast<Index>(bytes / (2 * block * width * Index{sizeof(T)}));
  return Limit(team, bytes, std::array{block}, [passes](Index, Index i, Index n) {
    using U = arithmetic_t<T>;
    alignas(64) T x[block * width]{};
    alignas(64) U cos[width / 2], sin[width / 2]{};
    std::fill(std::begin(cos), std::end(cos), U{1});
    simd::dispatch<T>([&]<class Level>(Level) {
      Level::template rotate<L>(passes * (i + 1) / n - passes * i / n, block, 0, width / 2,
                                width / 2, x, 0, width, x, 0, width, cos, sin, 0);
    });
    benchmark::DoNotOptimize(x[0]);
  });
}

template <class T, class L, class Subject>
void in_place(const Run& run, const Blocks& touched, const Subject& subject) {
  const auto scale = scale_limit(touched, run.team);
  const auto steps = steps_limit<T, L>(scale.work(), run.team);
  const auto [time, scale_time, steps_time] = in_turns(run.state, subject, scale, steps);
  auto& counters = run.state.counters;
  counters["GB/s"] = scale.work() / time * 1e-9;
  counters["scale_GB/s"] = scale.work() / scale_time * 1e-9;
  counters["steps_GB/s"] = scale.work() / steps_time * 1e-9;
  counters["of_scale"] = scale_time / time;
  counters["of_bound"] = std::max(scale_time, steps_time) / time;
}

template <class T, class L>
void offset(const Run& run) {
  const auto bound = bind(RoPE<L>{.head_dim = width});
  const Tensor<T> x(run.tokens);
  in_place<T, L>(run, x.blocks(), [&] { rotate(x.view, first, bound, run.options()); });
}

template <class T, class L>
void q_and_k(const Run& run) {
  const auto bound = bind(RoPE<L>{.head_dim = width});
  const Tensor<T> both(run.tokens, heads + kv_heads);
  const TensorView<T> q(both.memory.data(), run.tokens, heads, width);
  const TensorView<T> k(q.row(run.tokens, 0), run.tokens, kv_heads, width);
  in_place<T, L>(run, both.blocks(), [&] { rotate(q, k, first, bound, run.options()); });
}

/// The angles of a step, computed once and applied in every layer.
template <class T, class L>
void rotations(const Run& run) {
  const Rotations<L, arithmetic_t<T>> at(bind(RoPE<L>{.head_dim = width}), first, run.tokens);
  const Tensor<T> x(run.tokens);
  in_place<T, L>(run, x.blocks(), [&] { rotate(x.view, at, run.options().executor); });
}

template <class T, class L>
void out_of_place(const Run& run) {
  const auto bound = bind(RoPE<L>{.head_dim = width});
  const Tensor<T> x(run.tokens), y(run.tokens);
  const auto limit = copy_limit(x.blocks(), y.memory.floats(), run.team);
  paired(
      run.state, limit.work(), [&] { rotate(x.view, y.view, first, bound, run.options()); }, "copy",
      limit);
}

/// 64 of 128 channels.
template <class L, Index rotary_offset>
void partial(const Run& run) {
  const auto bound =
      bind(RoPE<L>{.head_dim = width, .rotary_dim = 64, .rotary_offset = rotary_offset});
  const Tensor<float> x(run.tokens);
  const Blocks touched(x.memory.data() + rotary_offset, run.tokens * heads, 64, width);
  in_place<float, L>(run, touched, [&] { rotate(x.view, first, bound, run.options()); });
}

/// Packed documents of 100 tokens.
template <class L>
void ids(const Run& run) {
  const auto bound = bind(RoPE<L>{.head_dim = width});
  std::vector<Position> positions;
  for (Index t = 0; t < run.tokens; ++t) positions.push_back(t % 100);
  const Tensor<float> x(run.tokens);
  in_place<float, L>(run, x.blocks(), [&] { rotate(x.view, positions, bound, run.options()); });
}

/// The same documents as sequences of a ragged batch.
template <class L>
void ragged(const Run& run) {
  const auto bound = bind(RoPE<L>{.head_dim = width});
  std::vector<Index> starts;
  for (Index t = 0; t < run.tokens; t += 100) starts.push_back(t);
  starts.push_back(run.tokens);
  const Tensor<float> x(run.tokens);
  in_place<float, L>(run, x.blocks(),
                     [&] { rotate(x.view, RaggedBatch{.starts = starts}, bound, run.options()); });
}

/// An image of 32 columns.
template <class L>
void m_rope(const Run& run, const MRoPE& axes) {
  const auto bound = bind(RoPE<L>{.head_dim = width} | axes);
  std::vector<Position> positions(static_cast<std::size_t>(run.tokens), first);
  for (Index t = 0; t < run.tokens; ++t) positions.push_back(first + t / 32);
  for (Index t = 0; t < run.tokens; ++t) positions.push_back(first + t % 32);
  const Tensor<float> x(run.tokens);
  in_place<float, L>(run, x.blocks(),
                     [&] { rotate(x.view, Positions(positions, 3), bound, run.options()); });
}
void chunked_axes(const Run& run) { m_rope<HalfSplit>(run, {.sections = {16, 24, 24}}); }
void interleaved_axes(const Run& run) {
  m_rope<HalfSplit>(run, {.sections = {24, 20, 20}, .interleaved = true});
}

template <class Baseline>
void baseline(const Run& run) {
  Baseline rotation({.tokens = run.tokens, .heads = heads, .width = width, .first = first});
  const Tensor<float> x(run.tokens);
  in_place<float, HalfSplit>(run, x.blocks(), [&] { rotation(x.memory.data()); });
}

using baselines::ArrayExpression, baselines::Loop, baselines::Recurrence, baselines::RotateHalf;

struct Row {
  std::string name;
  void (*run)(const Run&);
  std::vector<Index> tokens;
  bool with_threads = false;
};

const std::vector<Index> all{1, 32, 512, 4096, 32768}, some{32, 512, 4096}, few{1, 32};

// clang-format off: a row is a line
const Row rows[] = {
    {"float/HalfSplit", offset<float, HalfSplit>, all, true},
    {"float/Interleaved", offset<float, Interleaved>, all, true},
    {"bfloat16/HalfSplit", offset<Eigen::bfloat16, HalfSplit>, all, true},
    {"bfloat16/Interleaved", offset<Eigen::bfloat16, Interleaved>, all, true},
    {"half/HalfSplit", offset<Eigen::half, HalfSplit>, all, true},
    {"half/Interleaved", offset<Eigen::half, Interleaved>, all, true},
    {"double/HalfSplit", offset<double, HalfSplit>, some},
    {"double/Interleaved", offset<double, Interleaved>, some},

    {"float/HalfSplit/q_and_k", q_and_k<float, HalfSplit>, all},
    {"bfloat16/HalfSplit/q_and_k", q_and_k<Eigen::bfloat16, HalfSplit>, all},
    {"float/HalfSplit/rotations", rotations<float, HalfSplit>, all},
    {"float/Interleaved/rotations", rotations<float, Interleaved>, few},
    {"bfloat16/HalfSplit/rotations", rotations<Eigen::bfloat16, HalfSplit>, few},
    {"half/HalfSplit/rotations", rotations<Eigen::half, HalfSplit>, few},
    {"float/HalfSplit/out_of_place", out_of_place<float, HalfSplit>, all},
    {"float/Interleaved/out_of_place", out_of_place<float, Interleaved>, some},
    {"bfloat16/HalfSplit/out_of_place", out_of_place<Eigen::bfloat16, HalfSplit>, some},
    {"float/HalfSplit/rotary_dim:64", partial<HalfSplit, 0>, some},
    {"float/Interleaved/rotary_dim:64", partial<Interleaved, 0>, some},
    {"float/HalfSplit/rotary_offset:64", partial<HalfSplit, 64>, some},
    {"float/HalfSplit/ids", ids<HalfSplit>, some},
    {"float/HalfSplit/ragged", ragged<HalfSplit>, some},
    {"float/HalfSplit/m_rope", chunked_axes, some},
    {"float/HalfSplit/m_rope_interleaved", interleaved_axes, some},

    {"baseline/loop/HalfSplit", baseline<Loop<false>>, some},
    {"baseline/loop/Interleaved", baseline<Loop<true>>, some},
    {"baseline/eigen/HalfSplit", baseline<ArrayExpression<false>>, some},
    {"baseline/eigen/Interleaved", baseline<ArrayExpression<true>>, some},
    {"baseline/rotate_half/HalfSplit", baseline<RotateHalf>, some},
    {"baseline/recurrence/HalfSplit", baseline<Recurrence<false>>, some},
    {"baseline/recurrence/Interleaved", baseline<Recurrence<true>>, some},
};
// clang-format on

void add(const Row& row, Index tokens, int threads) {
  std::string name = row.name + "/" + std::to_string(tokens);
  if (threads > 1) name += "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(),
                               [&row, tokens, threads](benchmark::State& state) {
                                 Team team(threads);
                                 row.run({state, team, tokens});
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

/// Whether a baseline agrees with rotate(), at positions where float angles are exact enough.
template <class L, class Baseline>
bool agrees(const char* name) {
  constexpr Index tokens = 16;
  const Tensor<float> x(tokens), expected(tokens);
  Baseline({.tokens = tokens, .heads = heads, .width = width})(x.memory.data());
  rotate(expected.view, 0, RoPE<L>{.head_dim = width} | Encoding<>{});
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c)
        if (!(std::abs(x.view(t, h, c) - expected.view(t, h, c)) < 2e-5F)) {
          std::fprintf(stderr,
                       "bench_rotate: baseline %s and rotate() differ at token %td, head %td, "
                       "channel %td: %g and %g.\n",
                       name, t, h, c, static_cast<double>(x.view(t, h, c)),
                       static_cast<double>(expected.view(t, h, c)));
          return false;
        }
  return true;
}

bool baselines_agree() {
  return agrees<HalfSplit, Loop<false>>("loop") && agrees<Interleaved, Loop<true>>("loop") &&
         agrees<HalfSplit, ArrayExpression<false>>("eigen") &&
         agrees<Interleaved, ArrayExpression<true>>("eigen") &&
         agrees<HalfSplit, RotateHalf>("rotate_half") &&
         agrees<HalfSplit, Recurrence<false>>("recurrence") &&
         agrees<Interleaved, Recurrence<true>>("recurrence");
}

}  // namespace

int main(int argc, char** argv) {
  if (!baselines_agree()) return 1;
  for (const Row& row : rows)
    for (const Index tokens : row.tokens)
      for (const int threads : one_and_all_threads())
        if (threads == 1 || (row.with_threads && tokens >= 512)) add(row, tokens, threads);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("simd_level", simd::name(simd::level()));
  benchmark::AddCustomContext("limit_vectors", kernels().name);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
