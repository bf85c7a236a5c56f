// SPDX-License-Identifier: MIT
//
// A small network of one number, Linear(1, width), ReLU, Linear(width, heads), as lines.
//
// A ReLU network of one number is piecewise linear. Its breakpoints, at most width of them, are where
// hidden units turn on or off; each head has a line between any two. All of it is found once, in double,
// and its value is then slope * u + intercept. So are the gradients: of all that goes into a line,
//
//   d slope = sum of dx u,  d intercept = sum of dx       over the scores whose u lies on the piece
//
// and the units that are on there share it.
#pragma once

#include <posenc/core/types.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

struct Line {
  double slope = 0, intercept = 0;
  double operator()(double u) const { return slope * u + intercept; }
};

class NetworkLines {
 public:
  NetworkLines(std::vector<float> hidden_weight, std::vector<float> hidden_bias,
               std::vector<float> output_weight, const std::vector<float>& output_bias,
               Index num_heads)
      : weight_(std::move(hidden_weight)), bias_(std::move(hidden_bias)),
        output_(std::move(output_weight)), heads_(static_cast<std::size_t>(num_heads)) {
    for (std::size_t k = 0; k < weight_.size(); ++k)
      if (const double at = turn(k); at > 0 && std::isfinite(at)) breaks_.push_back(at);
    std::sort(breaks_.begin(), breaks_.end());
    breaks_.resize(std::bit_ceil(breaks_.size() + 1) - 1, std::numeric_limits<double>::infinity());
    for (std::size_t head = 0; head < heads_; ++head)
      for (std::size_t piece = 0; piece < pieces(); ++piece)
        lines_.push_back(line(head, piece, static_cast<double>(output_bias[head])));
  }

  [[nodiscard]] std::size_t pieces() const { return breaks_.size() + 1; }
  /// Where pieces 1, 2, ... begin; rising, padded with infinity to one less than a power of two.
  [[nodiscard]] const double* breaks() const { return breaks_.data(); }
  /// The lines of a head by piece; piece 0 begins at u = 0.
  [[nodiscard]] const Line* lines(Index head) const {
    return lines_.data() + static_cast<std::size_t>(head) * pieces();
  }
  /// How many breakpoints are at most u, by halving.
  [[nodiscard]] std::size_t piece(double u) const {
    std::size_t piece = 0;
    for (std::size_t step = (breaks_.size() + 1) / 2; step != 0; step /= 2)
      piece += step * std::size_t{breaks_[piece + step - 1] <= u};
    return piece;
  }

  /// Weights and biases: of the hidden units, then of the heads.
  [[nodiscard]] std::size_t num_parameters() const {
    return 2 * weight_.size() + output_.size() + heads_;
  }
  /// Gradients of lines, [head][piece][slope, intercept], and where they are kept.
  [[nodiscard]] std::size_t num_sums() const { return 2 * lines_.size(); }
  [[nodiscard]] double* sums(std::span<double> all, Index head, std::size_t piece) const {
    return all.data() + 2 * (static_cast<std::size_t>(head) * pieces() + piece);
  }

  /// Adds the gradients of weights and biases, from those of lines.
  void gradient_of_sums(std::span<const double> sums, std::span<double> gradient) const {
    const std::size_t width = weight_.size();
    double* const of_weight = gradient.data();
    double* const of_bias = of_weight + width;
    double* const of_output = of_bias + width;
    double* const of_output_bias = of_output + output_.size();
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const double slope = sums[2 * i], intercept = sums[2 * i + 1];
      if (slope == 0 && intercept == 0) continue;
      const std::size_t head = i / pieces();
      of_output_bias[head] += intercept;
      for (std::size_t k = 0; k < width; ++k) {
        if (!is_on(k, i % pieces())) continue;
        const auto output = static_cast<double>(output_[head * width + k]);
        of_weight[k] += output * slope;
        of_bias[k] += output * intercept;
        of_output[head * width + k] +=
            static_cast<double>(weight_[k]) * slope + static_cast<double>(bias_[k]) * intercept;
      }
    }
  }

 private:
  /// Where a hidden unit turns on or off.
  [[nodiscard]] double turn(std::size_t k) const {
    return -static_cast<double>(bias_[k]) / static_cast<double>(weight_[k]);
  }
  [[nodiscard]] bool is_on(std::size_t k, std::size_t piece) const {
    const double left = piece == 0 ? 0 : breaks_[piece - 1];
    return weight_[k] > 0 ? turn(k) <= left : weight_[k] < 0 ? turn(k) > left : bias_[k] > 0;
  }
  /// The sum over the units that are on.
  [[nodiscard]] Line line(std::size_t head, std::size_t piece, double output_bias) const {
    Line line{.slope = 0, .intercept = output_bias};
    for (std::size_t k = 0; k < weight_.size(); ++k) {
      if (!is_on(k, piece)) continue;
      const auto output = static_cast<double>(output_[head * weight_.size() + k]);
      line.slope += output * static_cast<double>(weight_[k]);
      line.intercept += output * static_cast<double>(bias_[k]);
    }
    return line;
  }

  std::vector<float> weight_, bias_, output_;  ///< hidden, hidden, [head][width]
  std::size_t heads_;
  std::vector<double> breaks_;
  std::vector<Line> lines_;  ///< [head][piece]
};

}  // namespace detail

POSENC_NAMESPACE_END
