// SPDX-License-Identifier: MIT
//
// Tokens of a group of channels as the two forms of a long convolution want them: for transforms each channel in a row of
// its own, and for the sum as it stands rows of 16 doubles.
#pragma once

#include <posenc/mixers/convolution/fft.hpp>
#include <posenc/mixers/convolution/leaves.hpp>
#include <posenc/mixers/convolution/plan.hpp>

#include <algorithm>
#include <array>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Makes a buffer hold at least n elements.
template <class T>
void grow(std::vector<T>& buffer, Index n) {
  if (std::ssize(buffer) < n) buffer.resize(static_cast<std::size_t>(n));
}

/// A row for each channel.
class ChannelRows {
 public:
  void prepare(Index tokens) {
    row_ = tokens + 16;  // rows of a power of two would fall on the same lines of a cache
    grow(numbers_, group_channels * row_);
  }
  [[nodiscard]] float* of(Index c) { return numbers_.data() + c * row_; }

  /// Tokens [first, last), those that are not finite as zeros.
  void load(const Group& group, const Rows<float>& x, Index first, Index last,
            NotFinite& not_finite) {
    std::array<float, group_channels> row;
    for (Index t = first; t < last; ++t) {
      if (!group.load(x, t, row.data())) not_finite.note(t, group.count, row.data());
      for (Index c = 0; c < group.count; ++c) of(c)[t - first] = row[static_cast<std::size_t>(c)];
    }
  }

 private:
  std::vector<float> numbers_;
  Index row_ = 0;
};

/// A row for each token, behind the zeros that the direct form wants.
class TokenRows {
 public:
  void prepare(Index tokens) {
    grow(numbers_, (tokens + convolution_leaves().zero_rows) * group_channels);
  }

  /// Tokens [first, last), those that are not finite as zeros: returns the row of the first.
  const double* load(const Group& group, const Rows<float>& x, Index first, Index last,
                     NotFinite& not_finite) {
    double* const rows = numbers_.data() + convolution_leaves().zero_rows * group_channels;
    std::fill(numbers_.data(), rows, 0.0);
    std::array<float, group_channels> row{};
    for (Index t = first; t < last; ++t) {
      if (!group.load(x, t, row.data())) not_finite.note(t, group.count, row.data());
      std::copy(row.begin(), row.end(), rows + (t - first) * group_channels);
    }
    return rows;
  }

 private:
  std::vector<double> numbers_;
};

/// Transforms in U of a few numbers among zeros.
template <class U>
class PaddedTransforms {
 public:
  void prepare(Index length) {
    fft_.prepare(length);
    grow(x_, length);
  }
  /// Of some zeros, `count` numbers that lie `stride` apart, and zeros up to the length.
  template <class T>
  void forward(Index length, Index zeros, Index count, const T* from, Index stride, U* spectrum) {
    const auto first = std::fill_n(x_.begin(), zeros, U{0});
    for (Index i = 0; i < count; ++i) first[i] = static_cast<U>(from[i * stride]);
    std::fill(first + count, x_.begin() + length, U{0});
    fft_.forward(length, x_.data(), spectrum);
  }
  const U* inverse(Index length, const U* spectrum) {
    fft_.inverse(length, spectrum, x_.data());
    return x_.data();
  }

 private:
  RealFFT<U> fft_;
  std::vector<U> x_;
};

}  // namespace detail

POSENC_NAMESPACE_END
