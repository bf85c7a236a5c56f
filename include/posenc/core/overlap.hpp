// SPDX-License-Identifier: MIT
//
// Do two views share memory? Results may not be written over inputs that are still to be read, and
// silently wrong numbers are worse than a refusal.
#pragma once

#include <posenc/core/view.hpp>

#include <algorithm>
#include <functional>

POSENC_NAMESPACE_BEGIN

namespace detail {

struct ByteRange {
  std::intptr_t first = 0, last = 0;  // [first, last)
};

/// The least range of addresses that holds `heads` x `width` elements of one token.
template <class T>
ByteRange token_bytes(const TensorView<T>& view) {
  const Index head_reach = (view.heads - 1) * view.head_stride;
  const Index channel_reach = (view.width - 1) * view.channel_stride;
  const auto base = reinterpret_cast<std::intptr_t>(view.data);
  const auto size = static_cast<Index>(sizeof(T));
  return {base + size * (std::min<Index>(0, head_reach) + std::min<Index>(0, channel_reach)),
          base + size * (std::max<Index>(0, head_reach) + std::max<Index>(0, channel_reach) + 1)};
}

template <class T>
ByteRange all_bytes(const TensorView<T>& view) {
  const Index reach = (view.tokens - 1) * view.token_stride * static_cast<Index>(sizeof(T));
  ByteRange range = token_bytes(view);
  range.first += std::min<Index>(0, reach);
  range.last += std::max<Index>(0, reach);
  return range;
}

}  // namespace detail

/// True when the two views may share an element. Exact for views that do not interleave, and for
/// views of one packed buffer (equal token strides); otherwise it errs towards true.
template <class A, class B>
[[nodiscard]] bool overlap(const TensorView<A>& a, const TensorView<B>& b) {
  if (a.tokens * a.heads * a.width == 0 || b.tokens * b.heads * b.width == 0) return false;
  const detail::ByteRange all_a = detail::all_bytes(a), all_b = detail::all_bytes(b);
  if (all_a.last <= all_b.first || all_b.last <= all_a.first) return false;

  // Packed rows, [tokens][q heads | k heads | v heads]: compare the places within one period.
  const auto period_a = a.token_stride * static_cast<Index>(sizeof(A));
  const auto period_b = b.token_stride * static_cast<Index>(sizeof(B));
  const detail::ByteRange one_a = detail::token_bytes(a), one_b = detail::token_bytes(b);
  if (period_a != period_b || period_a <= 0) return true;
  if (one_a.last - one_a.first > period_a || one_b.last - one_b.first > period_a) return true;
  const auto shift = [&](std::intptr_t difference) {
    return ((difference % period_a) + period_a) % period_a;
  };
  return shift(one_b.first - one_a.first) < one_a.last - one_a.first ||
         shift(one_a.first - one_b.first) < one_b.last - one_b.first;
}

/// True when both views name exactly the same elements in the same order.
template <class A, class B>
[[nodiscard]] bool same_elements(const TensorView<A>& a, const TensorView<B>& b) {
  return static_cast<const void*>(a.data) == static_cast<const void*>(b.data) &&
         a.tokens == b.tokens && a.heads == b.heads && a.width == b.width &&
         a.token_stride == b.token_stride && a.head_stride == b.head_stride &&
         a.channel_stride == b.channel_stride;
}

POSENC_NAMESPACE_END
