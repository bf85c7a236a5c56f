// SPDX-License-Identifier: MIT
//
// Do two views share memory? Results may not be written over inputs that are still to be read, and
// silently wrong numbers are worse than a refusal.
#pragma once

#include <posenc/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// An axis of a view: how many elements, how far apart.
struct Axis {
  Index size = 0, stride = 0;
};

template <class T>
std::array<Axis, 3> axes(const TensorView<T>& view) {
  return {{{view.tokens, view.token_stride},
           {view.heads, view.head_stride},
           {view.width, view.channel_stride}}};
}

template <class T>
bool is_empty(const TensorView<T>& view) {
  return view.tokens == 0 || view.heads == 0 || view.width == 0;
}

/// Do all distances between elements, in bytes, fit in an Index? Sizes must not be negative.
template <class T>
POSENC_DETAIL_COLD bool fits_in_memory(const TensorView<T>& view) {
  if (is_empty(view)) return true;
  constexpr Index most = std::numeric_limits<Index>::max() / 16;
  for (const Axis axis : axes(view)) {
    Index reach = 0, bytes = 0;
    if (axis.stride == std::numeric_limits<Index>::min() ||
        !multiply(axis.size - 1, std::abs(axis.stride), reach) ||
        !multiply(reach, static_cast<Index>(sizeof(T)), bytes) || bytes > most)
      return false;
  }
  return true;
}

struct ByteRange {
  std::intptr_t first = 0, last = 0;  // [first, last)
};

/// The least range of addresses that holds the elements along some axes.
template <class T>
ByteRange byte_range(const TensorView<T>& view, std::initializer_list<Axis> along) {
  const auto base = reinterpret_cast<std::intptr_t>(view.data);
  constexpr auto size = static_cast<Index>(sizeof(T));
  ByteRange range{base, base + size};
  for (const Axis axis : along) {
    const Index reach = size * (axis.size - 1) * axis.stride;
    (reach < 0 ? range.first : range.last) += reach;
  }
  return range;
}

/// The range of one token.
template <class T>
ByteRange token_bytes(const TensorView<T>& view) {
  const auto [token, head, channel] = axes(view);
  return byte_range(view, {head, channel});
}

template <class T>
ByteRange all_bytes(const TensorView<T>& view) {
  const auto [token, head, channel] = axes(view);
  return byte_range(view, {token, head, channel});
}

/// Said of a tensor that would fit if its first two axes changed places.
constexpr const char* swap_hint(bool would_fit) {
  return would_fit
             ? " With tokens and heads swapped it would fit: the axes of a TensorView are [tokens, "
               "heads, width], and memory that lies head by head is "
               "TensorView<T>::head_major(data, heads, tokens, width)."
             : "";
}

/// The shape of a view as a text; cheap to make where none is wanted.
struct ShapeText {
  Index tokens, heads, width;

  template <class T>
  explicit ShapeText(const TensorView<T>& view)
      : tokens(view.tokens), heads(view.heads), width(view.width) {}

  POSENC_DETAIL_COLD operator std::string() const {
    return sentence({"[", tokens, ", ", heads, ", ", width, "]"});
  }
};

/// Reports sizes and pointers that no tensor has; then distances within the view fit in an Index.
template <class T>
POSENC_DETAIL_COLD void check_view(Problems& problems, const char* name,
                                   const TensorView<T>& view) {
  const bool sensible = view.tokens >= 0 && view.heads >= 0 && view.width >= 0;
  if (!sensible || !fits_in_memory(view))
    problems.add("sizes must not be negative and must fit in memory, but ", name, " is ",
                 ShapeText(view), ".");
  if (!view.data && !is_empty(view))
    problems.add(name, " is ", ShapeText(view), " but its data pointer is null.");
}

}  // namespace detail

/// True when no two places of the view are the same element, which is what a result needs. Exact
/// for views whose axes nest, in any order; for those that interleave it errs towards false.
template <class T>
POSENC_DETAIL_COLD [[nodiscard]] bool has_distinct_elements(const TensorView<T>& view) {
  std::array<detail::Axis, 3> axes = detail::axes(view);
  if (detail::is_empty(view)) return true;
  for (detail::Axis& axis : axes) axis.stride = std::abs(axis.stride);
  // Three are sorted by hand: an algorithm would be compiled for them.
  for (const std::size_t i : {0U, 1U, 0U})
    if (axes[i + 1].stride < axes[i].stride) std::swap(axes[i], axes[i + 1]);
  Index reach = 0;  // of the axes so far
  for (const detail::Axis axis : axes) {
    if (axis.size == 1) continue;
    if (axis.stride <= reach) return false;
    reach += (axis.size - 1) * axis.stride;
  }
  return true;
}

namespace detail {

/// Reports a view that cannot hold a result.
template <class T>
POSENC_DETAIL_COLD void check_result(Problems& problems, const char* name,
                                     const TensorView<T>& view) {
  if (!has_distinct_elements(view))
    problems.add("two places of ", name, " share an element (strides ", view.token_stride, ", ",
                 view.head_stride, ", ", view.channel_stride, "), so it cannot hold a result.");
}

}  // namespace detail

/// True when the two views may share an element. Exact for views that do not interleave, and for
/// views of one packed buffer (equal token strides); otherwise it errs towards true.
template <class A, class B>
POSENC_DETAIL_COLD [[nodiscard]] bool overlap(const TensorView<A>& a, const TensorView<B>& b) {
  if (detail::is_empty(a) || detail::is_empty(b)) return false;
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

/// True when both views name exactly the same elements in the same order. The stride of an axis of
/// one element does not matter.
template <class A, class B>
[[nodiscard]] bool same_elements(const TensorView<A>& a, const TensorView<B>& b) {
  if constexpr (sizeof(A) != sizeof(B)) return false;
  if (static_cast<const void*>(a.data) != static_cast<const void*>(b.data)) return false;
  const auto x = detail::axes(a), y = detail::axes(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i].size != y[i].size || (x[i].size > 1 && x[i].stride != y[i].stride)) return false;
  return true;
}

POSENC_NAMESPACE_END
