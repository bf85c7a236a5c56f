// SPDX-License-Identifier: MIT
//
// attention_backward() beside attention(): float, heads of 128 channels, causal.
//
//   <encoding>/<query heads>:<key heads>/<tokens>/threads:<n>
//
// forward_ms and backward_ms are medians, measured in turns with the peak of multiply-adds of the level
// that runs; backward/forward is their ratio. of_peak counts five products for the gradient (10 N^2 d per
// head, half of it under the mask). of_plain is the gradient's time over that without an encoding, in the
// same turns. Gradients of parameters are wanted where there are any. Workspaces are made before.
#include "support/attention.hpp"
#include "support/limits.hpp"
#include "support/paired.hpp"

#include <posenc/gallery/example_weights.hpp>

#include <random>
#include <string>

namespace {

using namespace posenc;
using namespace bench;

/// A forward pass with what its gradient needs, and the gradient.
template <class E>
class BackwardPass {
 public:
  BackwardPass(const AttentionTensors& on, const Bound<E>& bound, const AnyExecutor& executor,
               const ParameterOptions& learned = {})
      : on_(on), bound_(bound), d_out_(size().tokens, size().heads, size().width, 5),
        d_q_(size().tokens, size().heads, size().width, 6),
        d_k_(size().tokens, size().kv_heads, size().width, 7),
        d_v_(size().tokens, size().kv_heads, size().width, 8),
        lse_(static_cast<std::size_t>(size().tokens * size().heads)), parameters_(bound, learned),
        forward_memory_(floats(attention_workspace<float>(bound, shape(), executor))),
        backward_memory_(floats(attention_backward_workspace<float>(bound, shape(), executor))),
        executor_(executor) {
    forward();
  }

  void forward() const {
    attention(on_.q.view, on_.k.view, on_.v.view, on_.out.view, bound_,
              {.lse = lse_, .executor = executor_, .workspace = bytes(forward_memory_)});
  }
  void backward() const {
    attention_backward<float>({on_.q.view, on_.k.view, on_.v.view, on_.out.view, lse_}, d_out_.view,
                              {d_q_.view, d_k_.view, d_v_.view, &parameters_}, bound_,
                              {.executor = executor_, .workspace = bytes(backward_memory_)});
  }

 private:
  [[nodiscard]] const AttentionSize& size() const { return on_.size; }
  [[nodiscard]] AttentionShape shape() const {
    return {size().tokens, size().tokens, size().width, size().width};
  }
  static Index floats(std::size_t bytes) { return static_cast<Index>(bytes / sizeof(float)) + 1; }
  static std::span<std::byte> bytes(const Memory<float>& memory) {
    return std::as_writable_bytes(std::span(memory.floats(), memory.bytes() / sizeof(float)));
  }

  const AttentionTensors& on_;
  Bound<E> bound_;
  NormalTensor d_out_, d_q_, d_k_, d_v_;
  mutable std::vector<float> lse_;
  mutable ParameterGradients parameters_;
  Memory<float> forward_memory_, backward_memory_;
  AnyExecutor executor_;
};

struct Run {
  benchmark::State& state;
  Team& team;
  AttentionSize size;
};

template <class E>
void measure(const Run& run, const E& encoding, const ParameterOptions& learned = {}) {
  const AttentionTensors tensors(run.size), plain_tensors(run.size);
  const BindOptions heads{.num_heads = run.size.heads, .num_kv_heads = run.size.kv_heads};
  const BackwardPass pass(tensors, bind(encoding, heads), run.team.executor(), learned);
  const BackwardPass plain(plain_tensors, bind(Causal{}, heads), run.team.executor());
  constexpr Index steps = 4'000'000;  // about ten milliseconds
  const auto peak = multiply_add_limit(run.team, kernels(simd::level()), steps);
  const auto [backward, forward, without, peak_time] = in_turns(
      run.state, [&] { pass.backward(); }, [&] { pass.forward(); }, [&] { plain.backward(); },
      peak);
  auto& counters = run.state.counters;
  const double operations = 2.5 * run.size.operations(true);
  counters["forward_ms"] = forward * 1e3;
  counters["backward_ms"] = backward * 1e3;
  counters["backward/forward"] = backward / forward;
  counters["GFLOP/s"] = operations / backward * 1e-9;
  counters["of_peak"] = operations / backward * peak_time / peak.work();
  counters["of_plain"] = backward / without;
}

RoPE<HalfSplit> rope(const Run& run) { return {.head_dim = run.size.width}; }
std::vector<float> table(const Run& run) {
  return std::vector<float>(static_cast<std::size_t>(32 * run.size.heads), 0.1F);
}
Fire fire(const Run& run) {
  const auto some = [](Index count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& x : values) x = normal(generator);
    return values;
  };
  constexpr Index width = 32;
  return {.hidden_weight = some(width, 1),
          .hidden_bias = some(width, 2),
          .output_weight = some(width * run.size.heads, 3),
          .output_bias = some(run.size.heads, 4)};
}
auto shaw(const Run& run) {
  constexpr Position clip = 16;
  const std::vector<float> table(static_cast<std::size_t>((2 * clip + 1) * run.size.width), 0.1F);
  return ShawKeys{.table = table, .clip = clip} | ShawValues{.table = table, .clip = clip} |
         Causal{};
}
Position window(const Run& run) { return run.size.tokens / 4; }

struct Row {
  std::string name;
  void (*run)(const Run&);
};

// clang-format off: a row is a line
const Row rows[] = {
    {"none", [](const Run& r) { measure(r, encoding(Causal{})); }},
    {"RoPE", [](const Run& r) { measure(r, rope(r) | Causal{}); }},
    {"ALiBi", [](const Run& r) { measure(r, ALiBi{} | Causal{}); }},
    {"T5Bias", [](const Run& r) { measure(r, T5Bias{.table = table(r), .bidirectional = false} | Causal{}); }},
    {"KerpleLog", [](const Run& r) { measure(r, KerpleLog{} | Causal{}); }},
    {"ForgetGate", [](const Run& r) { measure(r, rope(r) | gallery::example_forget_gate(r.size.heads, r.size.tokens) | Causal{}); }},
    {"Fire", [](const Run& r) { measure(r, fire(r) | Causal{}); }},
    {"learned frequencies", [](const Run& r) { measure(r, rope(r) | Causal{}, {.frequencies = true}); }},
    {"StepTemperature", [](const Run& r) { measure(r, rope(r) | StepTemperature{.context = 512} | Causal{}); }},
    {"SoftCap", [](const Run& r) { measure(r, SoftCap{50} | Causal{}); }},
    {"SinkLogit", [](const Run& r) { measure(r, SinkLogit{} | Causal{}); }},
    {"XPos", [](const Run& r) { measure(r, rope(r) | XPos{.scale_base = 4096, .centre = r.size.tokens / 2} | Causal{}); }},
    {"RotateValues", [](const Run& r) { measure(r, rope(r) | RotateValues{} | Causal{}); }},
    {"LogN", [](const Run& r) { measure(r, rope(r) | LogN{.base_length = 512} | Causal{}); }},
    {"Sandwich", [](const Run& r) { measure(r, Sandwich{} | Causal{}); }},
    {"Shaw", [](const Run& r) { measure(r, shaw(r)); }},
    {"ReRoPE", [](const Run& r) { measure(r, rope(r) | ReRoPE{.window = window(r)} | Causal{}); }},
    {"LeakyReRoPE", [](const Run& r) { measure(r, rope(r) | LeakyReRoPE{.window = window(r)} | Causal{}); }},
    {"SlidingWindow", [](const Run& r) { measure(r, rope(r) | SlidingWindow{.left = window(r)}); }},
};
// clang-format on

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const Row& row : rows)
    for (const AttentionSize& size :
         {AttentionSize{2048, 4, 4}, AttentionSize{2048, 8, 2}, AttentionSize{2048, 1, 1},
          AttentionSize{8192, 8, 2}, AttentionSize{8192, 1, 1}})
      for (const int threads : one_and_all_threads()) add_row<Run>(row, size, threads);
  benchmark::AddCustomContext("simd_level", simd::name(simd::level()));
  benchmark::AddCustomContext("peak_vectors", kernels(simd::level()).name);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
