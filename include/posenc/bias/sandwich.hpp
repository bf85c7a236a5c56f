// SPDX-License-Identifier: MIT
//
// Sandwich: ALiBi-like decay from the inner products of sinusoidal encodings.
//
//   Chi et al., arXiv 2212.10356; NVIDIA/NeMo, sandwich_relative_position_embedding.py.
//
//   score += H / (8 h) (sum over t = 1 .. width/2 of cos(D base^(-2t/width)) - width/2),  h = 1..H
//
// No learned parameter; zero at D = 0 and never positive. t starts at 1, so that no frequency is 1
// radian per token, as one is in sinusoidal encodings. The paper takes width 128, NeMo a head's.
//
// The sum does not depend on the head. Its values up to `cached_distances` are tabulated at bind,
// through cos(a + b) = cos a cos b - sin a sin b, so that a token costs width/2 products and no
// cosine; greater distances are right too, but each costs width/2 cosines.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Sandwich with its sums at hand.
class PreparedSandwich {
 public:
  PreparedSandwich(Index width, double base, Index num_heads, Index cached_distances)
      : num_heads_(num_heads) {
    for (Index t = 1; t <= width / 2; ++t)
      frequencies_.push_back(
          std::pow(base, -2.0 * static_cast<double>(t) / static_cast<double>(width)));
    tabulate(cached_distances);
  }

  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    const double n = std::abs(static_cast<double>(distance));
    const double sum =
        n < static_cast<double>(sums_.size()) ? sums_[static_cast<std::size_t>(n)] : cosines(n);
    const double excess = std::min(0.0, sum - static_cast<double>(frequencies_.size()));
    return excess * static_cast<double>(num_heads_) / (8.0 * static_cast<double>(head + 1));
  }

 private:
  [[nodiscard]] double cosines(double distance) const {
    double sum = 0;
    for (const double frequency : frequencies_) sum += std::cos(distance * frequency);
    return sum;
  }

  void tabulate(Index count) {
    constexpr Index block = 256;  // distance = first + low, low < block
    sums_.assign(static_cast<std::size_t>(count), 0.0);
    std::vector<double> cos_low(block), sin_low(block);
    for (const double frequency : frequencies_) {
      for (std::size_t low = 0; low < block; ++low) {
        cos_low[low] = std::cos(static_cast<double>(low) * frequency);
        sin_low[low] = std::sin(static_cast<double>(low) * frequency);
      }
      for (Index first = 0; first < count; first += block) {
        const double cos_first = std::cos(static_cast<double>(first) * frequency);
        const double sin_first = std::sin(static_cast<double>(first) * frequency);
        double* sums = sums_.data() + first;
        const auto lows = static_cast<std::size_t>(std::min(block, count - first));
        for (std::size_t low = 0; low < lows; ++low)
          sums[low] += cos_first * cos_low[low] - sin_first * sin_low[low];
      }
    }
  }

  std::vector<double> frequencies_, sums_;
  Index num_heads_;
};

struct Sandwich {
  Index width = 128;                ///< channels of the sinusoidal encoding that it descends from
  double base = 10000;              ///< of its frequencies
  Index cached_distances = 65'536;  ///< distances below this are tabulated at bind (8 bytes each)

  [[nodiscard]] PreparedSandwich prepare(const HeadShape& shape) const {
    return {width, base, shape.num_heads, cached_distances};
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(width > 0 && width % 2 == 0, "Sandwich: width must be positive and even, got ",
                     width, ".");
    problems.require(std::isfinite(base) && base > 1,
                     "Sandwich: base must exceed 1 and be finite, got ", base, ".");
    constexpr Index most_cached = Index{1} << 26;
    problems.require(cached_distances >= 0 && cached_distances <= most_cached,
                     "Sandwich: cached_distances must be between 0 and ", most_cached, ", got ",
                     cached_distances, ".");
  }
};

POSENC_NAMESPACE_END
