// SPDX-License-Identifier: MIT
//
// Small models and the schemes that the tests of the lab train.
#pragma once

#include <posenc/lab/experiment.hpp>
#include <posenc/lab/tasks.hpp>
#include <posenc/posenc.hpp>

#include "../executor/pools.hpp"
#include "../support/catch.hpp"

#include <string>
#include <vector>

namespace lab_test {

using namespace posenc;

inline constexpr lab::ModelShape tiny{
    .layers = 2, .heads = 2, .head_dim = 4, .mlp_ratio = 2, .vocabulary = 16};

inline RoPE<HalfSplit> rope(Index head_dim = 4) { return {.head_dim = head_dim}; }

inline lab::Scheme t5_scheme(std::vector<double> table, Index heads) {
  return {"T5", std::move(table), [heads](std::span<const double> values) {
            return AnyEncoding(T5Bias{.table = std::vector<float>(values.begin(), values.end()),
                                      .num_buckets = std::ssize(values) / heads,
                                      .bidirectional = false,
                                      .scaled = true} |
                               Causal{});
          }};
}
inline lab::Scheme no_scheme() { return {"none", AnyEncoding(encoding(Causal{}))}; }

inline lab::Scheme learned_scheme(const std::vector<double>& table, Index width) {
  return no_scheme().adding(table, [width](std::span<const double> values) {
    return LearnedAbsolute{.table = std::vector<float>(values.begin(), values.end()),
                           .length = std::ssize(values) / width,
                           .width = width};
  });
}

/// Tasks on so many threads, which are started anew for each call.
inline AnyExecutor threads(int count) {
  return Pool(count,
              [count](Index tasks, TaskRef task) { run_on_new_threads(count, tasks, task); });
}

/// Bytes below the vocabulary, which a model can learn something from.
inline std::vector<std::uint8_t> small_text(Index bytes, std::uint64_t seed = 5) {
  std::vector<std::uint8_t> text = lab::generated_text(bytes, seed);
  for (std::uint8_t& byte : text) byte %= 16;
  return text;
}

}  // namespace lab_test
