// SPDX-License-Identifier: MIT
//
// LearnedParts: what a mixing learns, matrices and rows of numbers, as parts of the one list that a scheme has.
#pragma once

#include <posenc/lab/weights.hpp>

#include <algorithm>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

class LearnedParts {
 public:
  /// What is learned is kept in so many parts of itself, which undoes the default of OptimizerOptions::learned_rate:
  /// here are matrices, which are to move as weights do.
  static constexpr double unit = 0.05;

  /// A further part as it begins; gives its number.
  template <class N>
  Index add(const std::vector<N>& begins) {
    firsts_.push_back(size());
    for (const N x : begins) initial_.push_back(static_cast<double>(x) / unit);
    return std::ssize(firsts_) - 1;
  }
  [[nodiscard]] Index size() const { return std::ssize(initial_); }
  [[nodiscard]] const std::vector<double>& initial() const { return initial_; }

  /// A part of the list of all that is learned, as numbers to compute with, or as a matrix of so many columns.
  [[nodiscard]] std::vector<float> floats(std::span<const double> learned, Index part) const {
    std::vector<float> some;
    for (const double x : of(learned, part)) some.push_back(static_cast<float>(unit * x));
    return some;
  }
  [[nodiscard]] Matrix matrix(std::span<const double> learned, Index part, Index columns) const {
    const std::vector<float> some = floats(learned, part);
    return ConstMatrixView(some.data(), std::ssize(some) / std::max<Index>(columns, 1), columns);
  }
  /// Its place in any such list.
  template <class N>
  [[nodiscard]] std::span<N> of(std::span<N> all, Index part) const {
    const auto i = static_cast<std::size_t>(part);
    const Index last = i + 1 < firsts_.size() ? firsts_[i + 1] : size();
    return all.subspan(static_cast<std::size_t>(firsts_[i]),
                       static_cast<std::size_t>(last - firsts_[i]));
  }

 private:
  std::vector<Index> firsts_;
  std::vector<double> initial_;
};

/// The gradient of all parts of a pass, which goes to the scheme's at its end.
class LearnedGradient {
 public:
  explicit LearnedGradient(const LearnedParts& parts)
      : parts_(parts), values_(static_cast<std::size_t>(parts.size())) {}

  [[nodiscard]] std::span<double> part(Index i) { return parts_.of(std::span(values_), i); }
  /// A part becomes these numbers.
  template <class Numbers>
  void set(Index i, const Numbers& numbers) {
    std::copy(numbers.begin(), numbers.end(), part(i).begin());
  }
  void set(Index i, const Matrix& numbers) {
    std::copy_n(numbers.data(), numbers.size(), part(i).begin());
  }
  void add_to(std::span<double> d_learned) const {
    for (std::size_t i = 0; i < values_.size(); ++i)
      d_learned[i] += LearnedParts::unit * values_[i];
  }

 private:
  const LearnedParts& parts_;
  std::vector<double> values_;
};

/// Uniform within [-most, most).
[[nodiscard]] inline std::vector<double> uniform(Index count, double most, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<double> all;
  for (Index i = 0; i < count; ++i) all.push_back(random.real(-most, most));
  return all;
}

}  // namespace lab

POSENC_NAMESPACE_END
