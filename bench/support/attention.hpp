// SPDX-License-Identifier: MIT
//
// One call of attention as it is measured: tensors of random numbers, and a workspace made before.
#pragma once

#include "support/memory.hpp"
#include "support/team.hpp"

#include <posenc/posenc.hpp>

#include <benchmark/benchmark.h>

#include <random>
#include <string>

namespace bench {

using posenc::Index;

struct AttentionSize {
  Index tokens, heads, kv_heads, width = 128;

  /// Two products of two operations, 4 N M d per head; half of them where keys after the query are
  /// hidden.
  [[nodiscard]] double operations(bool causal) const {
    const double pairs = static_cast<double>(tokens) * static_cast<double>(tokens);
    return (causal ? 2.0 : 4.0) * pairs * static_cast<double>(width * heads);
  }
};

/// [tokens][heads][width]. Scores are normal too, as at the start of training: none is so small that
/// its exponential would be a denormal number.
class NormalTensor {
 public:
  NormalTensor(Index tokens, Index heads, Index width, unsigned seed)
      : memory_(tokens * heads * width), view(memory_.data(), tokens, heads, width) {
    // A prime number of numbers, over and over, so that no row is the same as the next.
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> block(65537);
    for (float& x : block) x = normal(generator);
    for (Index i = 0; i < tokens * heads * width; ++i)
      memory_.data()[i] = block[static_cast<std::size_t>(i) % block.size()];
  }

 private:
  Memory<float> memory_;

 public:
  posenc::TensorView<float> view;
};

struct AttentionTensors {
  explicit AttentionTensors(const AttentionSize& size_)
      : size(size_), q(size.tokens, size.heads, size.width, 1),
        k(size.tokens, size.kv_heads, size.width, 2), v(size.tokens, size.kv_heads, size.width, 3),
        out(size.tokens, size.heads, size.width, 4) {}
  AttentionSize size;
  NormalTensor q, k, v, out;
};

template <class E>
class AttentionPass {
 public:
  AttentionPass(const AttentionTensors& on, const posenc::Bound<E>& bound,
                const posenc::AnyExecutor& executor = {})
      : on_(on), bound_(bound), workspace_(workspace_bytes(executor) / Index{sizeof(float)} + 1) {
    options_.workspace =
        std::as_writable_bytes(std::span(workspace_.floats(), workspace_.bytes() / sizeof(float)));
    options_.executor = executor;
  }

  void operator()() const {
    attention(on_.q.view, on_.k.view, on_.v.view, on_.out.view, bound_, options_);
  }

 private:
  [[nodiscard]] Index workspace_bytes(const posenc::AnyExecutor& executor) const {
    const AttentionSize& s = on_.size;
    return static_cast<Index>(posenc::attention_workspace<float>(
        bound_, {s.tokens, s.tokens, s.width, s.width}, executor));
  }

  const AttentionTensors& on_;
  posenc::Bound<E> bound_;
  Memory<float> workspace_;
  posenc::AttentionOptions<float> options_;
};

/// Registers row.run of a size on so many threads, as <row>/<query heads>:<key heads>/<tokens>/threads:<n>.
/// The row has to outlive the benchmarks.
template <class Run, class Row>
void add_row(const Row& row, const AttentionSize& size, int threads) {
  const std::string name = row.name + "/" + std::to_string(size.heads) + ":" +
                           std::to_string(size.kv_heads) + "/" + std::to_string(size.tokens) +
                           "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(),
                               [&row, size, threads](benchmark::State& state) {
                                 Team team(threads);
                                 row.run(Run{state, team, size});
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace bench
