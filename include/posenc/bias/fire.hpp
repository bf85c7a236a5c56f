// SPDX-License-Identifier: MIT
//
// FIRE: functional interpolation for relative positional encoding, a bias learned as a function.
//
//   Li et al., arXiv 2310.04418; mcleish7/arithmetic, embeddings.py.
//
//   score += f(u)[head],   u = psi(D) / (psi(max(threshold, query)) + epsilon),
//                          psi(x) = ln(|c x| + 1)
//
// f is a small network of one number, Linear(1, width), ReLU, Linear(width, num_heads). Dividing by
// the query's position maps every causal distance into [0, 1), so the function interpolates however
// long the input; below the threshold, in tokens, the normaliser stays put, and there the bias
// depends on D alone. Positions count from 0; a query at a negative one is below the threshold.
// Keys in the future count by |D|, as in the reference: u exceeds 1 for those that are further
// ahead than the query, and the threshold, are from the start.
//
// A ReLU network of one number is piecewise linear. Binding finds its breakpoints, at most width of
// them, and each head's line between any two, in double; a score then costs a search among them and
// one line, not the network, and the result is the network's.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct Fire;

/// FIRE with its lines and logarithms at hand.
class PreparedFire {
 public:
  PreparedFire(const Fire& fire, Index num_heads);

  [[nodiscard]] double score_bias(const Score& at) const {
    const double u = psi(std::abs(at.distance())) /
                     (std::max(psi(std::max<Position>(at.query, 0)), psi_threshold_) + epsilon_);
    std::size_t piece = 0;  // how many breakpoints are at most u, by halving
    for (std::size_t step = (breaks_.size() + 1) / 2; step != 0; step /= 2)
      piece += step * std::size_t{breaks_[piece + step - 1] <= u};
    const Line& line = lines_[static_cast<std::size_t>(at.head) * (breaks_.size() + 1) + piece];
    return line.slope * u + line.intercept;
  }

 private:
  struct Line {
    double slope = 0, intercept = 0;
  };

  [[nodiscard]] double psi(Position n) const {
    const auto i = static_cast<std::size_t>(n);
    return i < psi_.size() ? psi_[i] : std::log1p(c_ * static_cast<double>(n));
  }
  void find_breaks(const Fire& fire);
  [[nodiscard]] Line line_from(const Fire& fire, std::size_t head, double left) const;

  double c_, psi_threshold_, epsilon_;
  std::vector<double> psi_;     ///< of the first distances
  std::vector<double> breaks_;  ///< rising; padded with infinity to one less than a power of two
  std::vector<Line> lines_;     ///< [head][piece]; piece 0 begins at u = 0
};

struct Fire {
  std::vector<float> hidden_weight{};  ///< mlp.0.weight, [width] (PyTorch: [width][1])
  std::vector<float> hidden_bias{};    ///< mlp.0.bias, [width]
  std::vector<float> output_weight{};  ///< mlp.2.weight, [num_heads][width]
  std::vector<float> output_bias{};    ///< mlp.2.bias, [num_heads]
  float c = 0.1F;                      ///< inverse of the distance where psi starts to flatten
  double threshold = 512;              ///< tokens; |L_multiplier init_L| of the reference
  double epsilon = 1e-6;
  Index cached_distances = 65'536;  ///< logarithms below this are tabulated at bind (8 bytes each)

  [[nodiscard]] PreparedFire prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    const Index width = std::ssize(hidden_weight);
    constexpr Index most_cached = Index{1} << 24;
    problems.require(width > 0, "Fire: hidden_weight must have a value per hidden unit, got none.");
    problems.require(std::ssize(hidden_bias) == width, "Fire: hidden_bias must have ", width,
                     " values, as many as hidden_weight, got ", hidden_bias.size(), ".");
    Index weights = 0;
    problems.require(shape.num_heads < 0 || (multiply(width, shape.num_heads, weights) &&
                                             std::ssize(output_weight) == weights),
                     "Fire: output_weight must have ", shape.num_heads, " query heads x ", width,
                     " hidden units, got ", output_weight.size(), " values.");
    problems.require(std::ssize(output_bias) == shape.num_heads,
                     "Fire: output_bias must have one value for each of the ", shape.num_heads,
                     " query heads, got ", output_bias.size(), ".");
    for (const auto& [name, values] : {std::pair{"hidden_weight", &hidden_weight},
                                       {"hidden_bias", &hidden_bias},
                                       {"output_weight", &output_weight},
                                       {"output_bias", &output_bias}})
      problems.require(std::all_of(values->begin(), values->end(),
                                   [](float w) { return std::isfinite(w); }),
                       "Fire: every value of ", name, " must be finite.");
    problems.require(std::isfinite(c) && c != 0, "Fire: c must be finite and not zero, got ", c,
                     ".");
    problems.require(std::isfinite(threshold) && threshold > 0,
                     "Fire: threshold must be positive and finite, got ", threshold, ".");
    problems.require(std::isfinite(epsilon) && epsilon > 0,
                     "Fire: epsilon must be positive and finite, got ", epsilon, ".");
    problems.require(cached_distances >= 0 && cached_distances <= most_cached,
                     "Fire: cached_distances must lie within [0, ", most_cached, "], got ",
                     cached_distances, ".");
  }
};

inline PreparedFire::PreparedFire(const Fire& fire, Index num_heads)
    : c_(std::abs(static_cast<double>(fire.c))), psi_threshold_(std::log1p(c_ * fire.threshold)),
      epsilon_(fire.epsilon) {
  for (Index n = 0; n < fire.cached_distances; ++n)
    psi_.push_back(std::log1p(c_ * static_cast<double>(n)));
  find_breaks(fire);
  for (Index head = 0; head < num_heads; ++head) {
    lines_.push_back(line_from(fire, static_cast<std::size_t>(head), 0));
    for (const double left : breaks_)
      lines_.push_back(line_from(fire, static_cast<std::size_t>(head), left));
  }
}

/// Where hidden units turn on or off, for u > 0.
inline void PreparedFire::find_breaks(const Fire& fire) {
  for (std::size_t k = 0; k < fire.hidden_weight.size(); ++k) {
    const double at =
        -static_cast<double>(fire.hidden_bias[k]) / static_cast<double>(fire.hidden_weight[k]);
    if (at > 0 && std::isfinite(at)) breaks_.push_back(at);
  }
  std::sort(breaks_.begin(), breaks_.end());
  breaks_.resize(std::bit_ceil(breaks_.size() + 1) - 1, std::numeric_limits<double>::infinity());
}

/// A head's line on the piece that begins at `left`: the sum over the units that are on there.
inline PreparedFire::Line PreparedFire::line_from(const Fire& fire, std::size_t head,
                                                  double left) const {
  Line line{.slope = 0, .intercept = static_cast<double>(fire.output_bias[head])};
  const std::size_t width = fire.hidden_weight.size();
  for (std::size_t k = 0; k < width; ++k) {
    const auto w = static_cast<double>(fire.hidden_weight[k]);
    const auto b = static_cast<double>(fire.hidden_bias[k]);
    const bool on = w > 0 ? -b / w <= left : w < 0 ? -b / w > left : b > 0;
    if (!on) continue;
    const auto output = static_cast<double>(fire.output_weight[head * width + k]);
    line.slope += output * w;
    line.intercept += output * b;
  }
  return line;
}

POSENC_NAMESPACE_END
