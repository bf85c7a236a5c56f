// SPDX-License-Identifier: MIT
//
// ALiBi: attention with linear biases.
//
//   Press et al., Train Short, Test Long, arXiv 2108.12409; slopes as in ofirpress/
//   attention_with_linear_biases, fairseq/models/transformer.py (BLOOM's and MPT's are the same).
//
//   score -= m_h * |query - key|, added after the softmax scale and not scaled by it
//
// Slopes for a power of two of heads: m_h = 2^(-max_bias h / H), h = 1..H. Otherwise the slopes of
// the next lower power of two c, then every second slope of 2c; the order is not monotone. Erratum:
// several libraries use 2^(-8h/H) for every H, which no checkpoint was trained with.
//
// With a causal mask the formula is the paper's; without one it is the symmetric form that
// FlashAttention and x-transformers use.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// The slope of every head, in the order of the heads.
[[nodiscard]] inline std::vector<double> alibi_slopes(Index num_heads, double max_bias = 8) {
  const auto powers = static_cast<Index>(std::bit_floor(static_cast<std::size_t>(num_heads)));
  const auto slope = [&](Index head, Index heads) {
    return std::exp2(-max_bias * static_cast<double>(head) / static_cast<double>(heads));
  };
  std::vector<double> slopes;
  for (Index h = 1; h <= powers; ++h) slopes.push_back(slope(h, powers));
  for (Index h = 1; std::ssize(slopes) < num_heads; h += 2) slopes.push_back(slope(h, 2 * powers));
  return slopes;
}

/// ALiBi with its slopes at hand. They can be learned: the gradient is that of each head's slope before
/// `factor`.
struct PreparedALiBi {
  std::vector<double> slopes;  ///< times factor
  double factor = 1;

  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    return -slopes[static_cast<std::size_t>(head)] * std::abs(static_cast<double>(distance));
  }
  [[nodiscard]] Index num_parameters() const { return std::ssize(slopes); }
  void relative_bias_gradient(Index head, Position distance, double sum,
                              std::span<double> gradient) const {
    gradient[static_cast<std::size_t>(head)] -=
        factor * std::abs(static_cast<double>(distance)) * sum;
  }
};

struct ALiBi {
  double max_bias = 8;           ///< exponent of the last slope (MPT: alibi_bias_max)
  std::vector<double> slopes{};  ///< one per query head; empty means the paper's rule
  double slope_factor = 1;       ///< multiplies every slope; trained / target length interpolates
                                 ///< (arXiv 2310.13017), 1/sqrt(head_dim) reads Falcon checkpoints

  [[nodiscard]] PreparedALiBi prepare(const HeadShape& shape) const {
    PreparedALiBi prepared{slopes.empty() ? alibi_slopes(shape.num_heads, max_bias) : slopes,
                           slope_factor};
    for (double& slope : prepared.slopes) slope *= slope_factor;
    return prepared;
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(std::isfinite(max_bias) && max_bias > 0,
                     "ALiBi: max_bias must be positive and finite, got ", max_bias, ".");
    problems.require(std::isfinite(slope_factor), "ALiBi: slope_factor must be finite, got ",
                     slope_factor, ".");
    problems.require(slopes.empty() || std::ssize(slopes) == shape.num_heads, "ALiBi: got ",
                     slopes.size(), " slopes for ", shape.num_heads, " query heads.");
    problems.require(std::all_of(slopes.begin(), slopes.end(),
                                 [](double m) { return std::isfinite(m); }),
                     "ALiBi: every slope must be finite.");
  }
};

POSENC_NAMESPACE_END
