// SPDX-License-Identifier: MIT
//
// T5Bias: a learned bias per head and bucket of distances.
//
//   Raffel et al., arXiv 1910.10683; mesh-tensorflow, transformer_layers.py; transformers,
//   models/t5/modeling_t5.py.
//
//   score = q . k + table[bucket(r)][head],   r = key - query
//
// T5 does not divide scores by sqrt(head_dim); its initialisation of W_q does. MPNet and TorchScale
// take the buckets and keep the division: `scaled`. One table belongs to all layers of a stack.
#pragma once

#include <posenc/bias/t5_buckets.hpp>
#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// T5Bias with its buckets at hand.
struct PreparedT5Bias {
  T5Buckets buckets;
  std::vector<float> table;
  Index num_heads;

  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    return static_cast<double>(table[place(head, distance)]);
  }
  /// Of the table.
  [[nodiscard]] Index num_parameters() const { return std::ssize(table); }
  void relative_bias_gradient(Index head, Position distance, double sum,
                              std::span<double> gradient) const {
    gradient[place(head, distance)] += sum;
  }

 private:
  [[nodiscard]] std::size_t place(Index head, Position distance) const {
    const Position last = buckets.starts.back();
    const Index bucket = buckets.bucket(-std::clamp(distance, -last, last));
    return static_cast<std::size_t>(bucket * num_heads + head);
  }
};

struct T5Bias {
  std::vector<float> table{};   ///< [num_buckets][num_heads], as checkpoints store it
  Index num_buckets = 32;       ///< config: relative_attention_num_buckets
  Position max_distance = 128;  ///< config: relative_attention_max_distance
  bool bidirectional = true;    ///< true in encoders, false in decoders
  bool scaled = false;          ///< keep the softmax scale 1/sqrt(head_dim), which T5 has not

  [[nodiscard]] double score_scale(Index head_dim) const {
    return scaled ? 1 / std::sqrt(static_cast<double>(head_dim)) : 1;
  }

  [[nodiscard]] PreparedT5Bias prepare(const HeadShape& shape) const {
    return {T5Buckets(bidirectional, num_buckets, max_distance), table, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    T5Buckets::check(problems, bidirectional, num_buckets, max_distance);
    Index values = 0;
    problems.require(num_buckets < 0 || shape.num_heads < 0 ||
                         (multiply(num_buckets, shape.num_heads, values) &&
                          std::ssize(table) == values),
                     "T5Bias: table must have ", num_buckets, " buckets x ", shape.num_heads,
                     " query heads, got ", table.size(), " values.");
    problems.require(std::all_of(table.begin(), table.end(),
                                 [](float b) { return std::isfinite(b); }),
                     "T5Bias: every value of the table must be finite.");
  }
};

POSENC_NAMESPACE_END
