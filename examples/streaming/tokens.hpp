// SPDX-License-Identifier: MIT
//
// Tokens without a model: queries, keys and values that follow from the index of a token alone, so
// that nobody has to keep them to know them again.
#pragma once

#include <posenc/core/view.hpp>

#include <random>
#include <vector>

namespace streaming {

using posenc::Index;

class Tokens {
 public:
  Tokens(Index heads, Index width, unsigned seed) : heads_(heads), width_(width) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    numbers_.resize(static_cast<std::size_t>(starts + heads * width));
    for (float& x : numbers_) x = normal(random);
  }

  /// Of one token, [1, heads, width]. Tokens that are fewer than a prime number apart differ.
  [[nodiscard]] posenc::TensorView<const float> operator()(Index token) const {
    constexpr Index step = 7919;
    return {numbers_.data() + token % starts * step % starts, 1, heads_, width_};
  }
  /// Of several, by their indices, [tokens][heads][width].
  [[nodiscard]] std::vector<float> dense(const std::vector<posenc::Position>& tokens) const {
    std::vector<float> all;
    for (const posenc::Position token : tokens) {
      const float* const row = (*this)(token).data;
      all.insert(all.end(), row, row + heads_ * width_);
    }
    return all;
  }

 private:
  static constexpr Index starts = 65537;  // prime
  Index heads_, width_;
  std::vector<float> numbers_;
};

}  // namespace streaming
