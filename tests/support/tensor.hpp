// SPDX-License-Identifier: MIT
//
// Tensors with strides, that own their memory.
#pragma once

#include "random.hpp"

#include <posenc/core/view.hpp>

#include <limits>
#include <vector>

namespace posenc_test {

using posenc::TensorView;

inline std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// Tokens x heads x width in one of several memory layouts.
template <class T>
class Tensor {
 public:
  enum Memory { token_major, head_major, padded };

  Tensor(Index tokens, Index heads, Index width, Memory memory = token_major) {
    const Index gap = memory == padded ? 2 : 1;
    data_.assign(size(gap * (tokens * heads * width + 8)), std::numeric_limits<T>::quiet_NaN());
    if (memory == head_major)
      view_ = TensorView<T>::head_major(data_.data(), heads, tokens, width);
    else
      view_ = {data_.data(), tokens, heads, width, gap * heads * width, gap * width, gap};
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  Tensor(Tensor&&) = default;

  /// Uniform in [-gain, gain); the numbers are exact in float when gain is a power of two.
  Tensor& fill(Random random, double gain = 1) {
    for (Index t = 0; t < view_.tokens; ++t)
      for (Index h = 0; h < view_.heads; ++h)
        for (Index d = 0; d < view_.width; ++d)
          view_(t, h, d) = static_cast<T>(random.real(-gain, gain));
    return *this;
  }

  [[nodiscard]] TensorView<T> view() { return view_; }
  [[nodiscard]] TensorView<const T> view() const { return view_; }
  operator TensorView<const T>() const { return view_; }

 private:
  std::vector<T> data_;
  TensorView<T> view_;
};

/// Its elements, [tokens][heads][width].
inline std::vector<float> numbers(const TensorView<const float>& x) {
  std::vector<float> all;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) all.push_back(x(t, h, c));
  return all;
}

}  // namespace posenc_test
