// SPDX-License-Identifier: MIT
//
// bench_rotate: rotate() on 32 heads of 128, against the in-place scale of as many bytes measured in
// turns with it (`of_scale`), and against what one would write without the library.
//
// Rows are <what>/<element>/<tokens>[/threads:2]. A turn rotates forwards, the next one back, so that
// numbers stay what they are however long the benchmark runs.
#include "baselines/rotate.hpp"
#include "support/limits.hpp"
#include "support/memory.hpp"
#include "support/paired.hpp"

#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/ragged.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotations.hpp>

#include <cstdio>
#include <string>

namespace {

using namespace posenc;
using bench::Memory;
using bench::Team;

constexpr Index heads = 32, width = 128;

template <class T>
struct Tensor {
  Memory<T> memory;
  TensorView<T> view;

  explicit Tensor(Index tokens)
      : memory(tokens * heads * width), view(memory.data(), tokens, heads, width) {}

  /// The same memory as floats, for a limit.
  [[nodiscard]] bench::Blocks blocks() const {
    return {memory.floats(), static_cast<Index>(memory.bytes() / sizeof(float))};
  }
  [[nodiscard]] double bytes_moved() const {  // read and written
    return 2.0 * static_cast<double>(memory.bytes());
  }
};

struct Setting {
  Index tokens;
  int threads = 1;
};

/// subject(view, back, executor) rotates forwards or back, `share` of all bytes. The limit's `of_scale`
/// is about as many bytes: what a scale of the whole tensor would take for that share.
template <class T, class Subject>
void in_place(benchmark::State& state, const Setting& setting, double share,
              const Subject& subject) {
  const Tensor<T> tensor(setting.tokens), scaled(setting.tokens);
  Team team(setting.threads);
  const auto pool = team.executor();
  const AnyExecutor executor = setting.threads == 1 ? AnyExecutor(Serial{}) : AnyExecutor(pool);
  bool back = false;
  bench::paired(
      state, tensor.bytes_moved(),
      [&] { subject(tensor.view, std::exchange(back, !back), executor); }, "scale",
      bench::scale_limit(scaled.blocks(), team));
  state.counters["GB/s"] = state.counters["GB/s"] * share;
  state.counters["of_scale"] = state.counters["of_scale"] * share;
}

template <class Run>
void row(const std::string& name, const Setting& setting, Run run) {
  std::string full = name + "/" + std::to_string(setting.tokens);
  if (setting.threads > 1) full += "/threads:" + std::to_string(setting.threads);
  benchmark::RegisterBenchmark(full.c_str(), run)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

/// Forwards, then back.
template <class T, class B>
void rotate_row(const std::string& name, const Setting& setting, const B& bound,
                const std::vector<Position>& ids = {}, int axes = 1) {
  row(name, setting, [=](benchmark::State& state) {
    const Positions positions = ids.empty() ? Positions(100) : Positions(ids, axes);
    const double share =
        static_cast<double>(bound.rotary().state.rotary_dim) / static_cast<double>(width);
    in_place<T>(state, setting, share,
                [&](TensorView<T> x, bool back, const AnyExecutor& executor) {
                  if (back)
                    unrotate(x, positions, bound, {.executor = executor});
                  else
                    rotate(x, positions, bound, {.executor = executor});
                });
  });
}

template <class L>
auto rope(Index rotary_dim = 0, Index offset = 0) {
  return bind(RoPE<L>{.head_dim = width, .rotary_dim = rotary_dim, .rotary_offset = offset});
}

void ours() {
  const auto half = rope<HalfSplit>();
  const auto interleaved = rope<Interleaved>();
  for (const int threads : bench::one_and_all_threads()) {
    for (const Index tokens : {1, 32, 512, 4096, 32768}) {
      const Setting setting{tokens, threads};
      if (threads > 1 && tokens < 512) continue;  // one thread runs these anyway
      rotate_row<float>("half_split/float", setting, half);
      rotate_row<float>("interleaved/float", setting, interleaved);
      rotate_row<Eigen::bfloat16>("half_split/bfloat16", setting, half);
      rotate_row<Eigen::bfloat16>("interleaved/bfloat16", setting, interleaved);
      rotate_row<Eigen::half>("half_split/float16", setting, half);
      rotate_row<Eigen::half>("interleaved/float16", setting, interleaved);
    }
  }
  for (const Index tokens : {512, 4096}) {
    const Setting setting{tokens};
    rotate_row<double>("half_split/double", setting, half);
    // Half of the channels: GB/s and of_scale are about the bytes that are rotated.
    rotate_row<float>("partial/float", setting, rope<HalfSplit>(64));
    rotate_row<float>("offset/float", setting, rope<HalfSplit>(64, 64));
    std::vector<Position> ids, grid;
    for (Index t = 0; t < tokens; ++t) ids.push_back(t * 37 % tokens);
    rotate_row<float>("ids/float", setting, half, ids);
    for (int axis = 0; axis < 3; ++axis)  // an image of 16 columns: time, row, column
      for (Index t = 0; t < tokens; ++t)
        grid.push_back(axis == 0 ? 5 : axis == 1 ? 5 + t / 16 : 5 + t % 16);
    const RoPE<HalfSplit> base{.head_dim = width};
    rotate_row<float>("m_rope/float", setting, bind(base | MRoPE{.sections = {16, 24, 24}}), grid,
                      3);
    rotate_row<float>("m_rope_interleaved/float", setting,
                      bind(base | MRoPE{.sections = {24, 20, 20}, .interleaved = true}), grid, 3);
  }
  // Decoding: one token, its cosines and sines computed in the call or at hand.
  for (const Index tokens : {1, 32}) {
    const Setting setting{tokens};
    row("at_hand/float", setting, [=](benchmark::State& state) {
      const Rotations forth(half, 100, tokens), back(half, 0, tokens);
      in_place<float>(state, setting, 1, [&](TensorView<float> x, bool second, const AnyExecutor&) {
        rotate(x, second ? back : forth);
      });
    });
    row("q_and_k/float", setting, [=](benchmark::State& state) {
      const Tensor<float> keys(tokens);  // as many bytes again
      in_place<float>(state, setting, 2, [&](TensorView<float> q, bool back, const AnyExecutor&) {
        if (back)
          unrotate(q, keys.view, 100, half);
        else
          rotate(q, keys.view, 100, half);
      });
    });
  }
  for (const Index tokens : {512, 4096}) {
    row("out_of_place/float", {tokens}, [=](benchmark::State& state) {
      const Tensor<float> from(tokens), to(tokens), x(tokens), y(tokens);
      Team team(1);
      bench::paired(
          state, from.bytes_moved(), [&] { rotate(from.view, to.view, 100, half); }, "copy",
          bench::copy_limit(x.blocks(), y.memory.data(), team));
    });
    row("ragged/float", {tokens}, [=](benchmark::State& state) {
      std::vector<Index> starts;
      for (Index s = 0; s <= tokens; s += 64) starts.push_back(s);
      in_place<float>(state, {tokens}, 1, [&](TensorView<float> x, bool back, const AnyExecutor&) {
        if (back)
          unrotate(x, RaggedBatch{.starts = starts}, half);
        else
          rotate(x, RaggedBatch{.starts = starts}, half);
      });
    });
  }
}

template <class F>
void baseline_row(const char* name, Index tokens, bool interleaved, F f) {
  row(std::string(name) + (interleaved ? "/interleaved" : "/half_split"), {tokens},
      [=](benchmark::State& state) {
        const baselines::Shape shape{tokens, heads, width, 10000, interleaved};
        const baselines::Tables tables(shape);
        in_place<float>(state, {tokens}, 1, [&](TensorView<float> x, bool, const AnyExecutor&) {
          f(shape, tables, x.data);
        });
      });
}

const auto by_recurrence = [](const baselines::Shape& shape, const baselines::Tables&, float* x) {
  baselines::recurrence(shape, x);
};

void others() {
  for (const Index tokens : {32, 512, 4096})
    for (const bool interleaved : {false, true}) {
      baseline_row("baseline_loop", tokens, interleaved, baselines::loop);
      baseline_row("baseline_eigen", tokens, interleaved, baselines::eigen);
      if (!interleaved)
        baseline_row("baseline_rotate_half", tokens, interleaved, baselines::rotate_half);
      baseline_row("baseline_recurrence", tokens, interleaved, by_recurrence);
    }
}

/// All of them compute the same.
bool baselines_agree() {
  bool agree = true;
  for (const bool interleaved : {false, true}) {
    const baselines::Shape shape{5, heads, width, 10000, interleaved};
    const baselines::Tables tables(shape);
    const auto check = [&](const char* name, auto&& f) {
      const Tensor<float> expected(shape.tokens), x(shape.tokens);
      if (interleaved)
        rotate(expected.view, 0, rope<Interleaved>());
      else
        rotate(expected.view, 0, rope<HalfSplit>());
      f(shape, tables, x.view.data);
      for (Index i = 0; i < shape.tokens * heads * width; ++i)
        if (std::abs(x.view.data[i] - expected.view.data[i]) > 1e-5F) {
          std::fprintf(stderr, "%s differs from rotate() at element %td: %g, not %g\n", name, i,
                       static_cast<double>(x.view.data[i]),
                       static_cast<double>(expected.view.data[i]));
          agree = false;
          return;
        }
    };
    check("loop", baselines::loop);
    check("eigen", baselines::eigen);
    if (!interleaved) check("rotate_half", baselines::rotate_half);
    check("recurrence", by_recurrence);
  }
  return agree;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (!baselines_agree()) return 1;
  benchmark::AddCustomContext("SIMD level", simd::name(simd::level()));
  ours();
  others();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
