// SPDX-License-Identifier: MIT
//
// TensorView: a strided window on somebody else's memory, shaped [tokens, heads, width].
//
// Every tensor that attention reads or writes has these three axes; engines differ only in the
// order in which they lie in memory, which is a matter of strides. Strides count elements and may
// be anything (also zero, to share one head among many, or negative, to walk backwards).
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <type_traits>

POSENC_NAMESPACE_BEGIN

template <class T>
struct TensorView {
  T* data = nullptr;
  Index tokens = 0;
  Index heads = 0;
  Index width = 0;
  Index token_stride = 0;
  Index head_stride = 0;
  Index channel_stride = 1;

  constexpr TensorView() = default;

  /// Contiguous memory [tokens][heads][width].
  /// Throws Error when a size is negative or the product of the sizes overflows.
  constexpr TensorView(T* data_, Index tokens_, Index heads_, Index width_)
      : TensorView(data_, tokens_, heads_, width_, checked_row(tokens_, heads_, width_), width_) {}

  /// Any memory, by the distances between two tokens, two heads and two channels.
  constexpr TensorView(T* data_, Index tokens_, Index heads_, Index width_, Index token_stride_,
                       Index head_stride_, Index channel_stride_ = 1)
      : data(data_), tokens(tokens_), heads(heads_), width(width_), token_stride(token_stride_),
        head_stride(head_stride_), channel_stride(channel_stride_) {}

  /// Contiguous memory [heads][tokens][width], the order of most caches.
  [[nodiscard]] static constexpr TensorView head_major(T* data, Index heads, Index tokens,
                                                       Index width) {
    checked_row(tokens, heads, width);
    return {data, tokens, heads, width, width, tokens * width};
  }

  /// A view of T reads as a view of const T.
  constexpr operator TensorView<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, tokens, heads, width, token_stride, head_stride, channel_stride};
  }

  [[nodiscard]] constexpr T* row(Index token, Index head) const {
    return data + token * token_stride + head * head_stride;
  }
  [[nodiscard]] constexpr T& operator()(Index token, Index head, Index channel) const {
    return row(token, head)[channel * channel_stride];
  }

  /// Tokens [first, first + count) of this view.
  [[nodiscard]] constexpr TensorView slice(Index first, Index count) const {
    if (first < 0 || count < 0 || count > tokens - first) {
      Problems problems;
      problems.add("tokens [", first, ", ", first, " + ", count, ") are not within the ", tokens,
                   " tokens of the view.");
      problems.raise_if_any("posenc::TensorView::slice");
    }
    return {row(first, 0), count, heads, width, token_stride, head_stride, channel_stride};
  }

 private:
  static constexpr Index checked_row(Index tokens, Index heads, Index width) {
    // An axis of size 0 counts as 1 here, so that strides fit too.
    const auto at_least_one = [](Index size) { return size == 0 ? 1 : size; };
    Index row = 0, all = 0, bytes = 0;
    const bool fits = tokens >= 0 && heads >= 0 && width >= 0 &&
                      multiply(at_least_one(heads), at_least_one(width), row) &&
                      multiply(row, at_least_one(tokens), all) &&
                      multiply(all, static_cast<Index>(sizeof(T)), bytes);
    if (!fits) {
      Problems problems;
      problems.add("sizes must not be negative and their product must fit in memory, got [", tokens,
                   " tokens, ", heads, " heads, ", width, " channels].");
      problems.raise_if_any("posenc::TensorView");
    }
    return heads * width;
  }
};

POSENC_NAMESPACE_END
