// SPDX-License-Identifier: MIT
//
// How views are compared; see overlap.hpp.
#pragma once

#include <posenc/core/overlap.hpp>

#include <array>
#include <cstdint>
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

inline std::array<Axis, 3> axes(const Extent& view) {
  return {{{view.tokens, view.token_stride},
           {view.heads, view.head_stride},
           {view.width, view.channel_stride}}};
}

inline bool is_empty(const Extent& view) {
  return view.tokens == 0 || view.heads == 0 || view.width == 0;
}

/// Do all distances between elements, in bytes, fit in an Index? Sizes must not be negative.
POSENC_DETAIL_COLD inline bool fits_in_memory(const Extent& view) {
  if (is_empty(view)) return true;
  constexpr Index most = std::numeric_limits<Index>::max() / 16;
  for (const Axis axis : axes(view)) {
    Index reach = 0, bytes = 0;
    if (axis.stride == std::numeric_limits<Index>::min() ||
        !multiply(axis.size - 1, std::abs(axis.stride), reach) ||
        !multiply(reach, view.element, bytes) || bytes > most)
      return false;
  }
  return true;
}

struct ByteRange {
  std::intptr_t first = 0, last = 0;  // [first, last)
};

/// The least range of addresses that holds the elements along some axes.
POSENC_DETAIL_COLD inline ByteRange byte_range(const Extent& view,
                                               std::initializer_list<Axis> along) {
  const auto base = reinterpret_cast<std::intptr_t>(view.data);
  ByteRange range{base, base + view.element};
  for (const Axis axis : along) {
    const Index reach = (axis.size - 1) * axis.stride * view.element;  // of a stride of 0, any size
    (reach < 0 ? range.first : range.last) += reach;
  }
  return range;
}

/// The range of one token.
inline ByteRange token_bytes(const Extent& view) {
  const auto [token, head, channel] = axes(view);
  return byte_range(view, {head, channel});
}

inline ByteRange all_bytes(const Extent& view) {
  const auto [token, head, channel] = axes(view);
  return byte_range(view, {token, head, channel});
}

POSENC_DETAIL_DEFINITION void check_view(Problems& problems, const char* name, const Extent& view) {
  const bool sensible = view.tokens >= 0 && view.heads >= 0 && view.width >= 0;
  if (!sensible || !fits_in_memory(view))
    problems.add("sizes must not be negative and must fit in memory, but ", name, " is ",
                 ShapeText(view), ".");
  if (!view.data && !is_empty(view))
    problems.add(name, " is ", ShapeText(view), " but its data pointer is null.");
}

POSENC_DETAIL_DEFINITION void check_result(Problems& problems, const char* name,
                                           const Extent& view) {
  if (!has_distinct_elements(view))
    problems.add("two places of ", name, " share an element (strides ", view.token_stride, ", ",
                 view.head_stride, ", ", view.channel_stride, "), so it cannot hold a result.");
}

}  // namespace detail

POSENC_DETAIL_DEFINITION bool has_distinct_elements(const detail::Extent& view) {
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

POSENC_DETAIL_DEFINITION bool overlap(const detail::Extent& a, const detail::Extent& b) {
  if (detail::is_empty(a) || detail::is_empty(b)) return false;
  const detail::ByteRange all_a = detail::all_bytes(a), all_b = detail::all_bytes(b);
  if (all_a.last <= all_b.first || all_b.last <= all_a.first) return false;

  // Packed rows, [tokens][q heads | k heads | v heads]: compare the places within one period.
  Index period_a = 0, period_b = 0;
  if (a.token_stride <= 0 || b.token_stride <= 0 ||
      !multiply(a.token_stride, a.element, period_a) ||
      !multiply(b.token_stride, b.element, period_b) || period_a != period_b)
    return true;
  const detail::ByteRange one_a = detail::token_bytes(a), one_b = detail::token_bytes(b);
  if (one_a.last - one_a.first > period_a || one_b.last - one_b.first > period_a) return true;
  const auto shift = [&](std::intptr_t difference) {
    return ((difference % period_a) + period_a) % period_a;
  };
  return shift(one_b.first - one_a.first) < one_a.last - one_a.first ||
         shift(one_a.first - one_b.first) < one_b.last - one_b.first;
}

POSENC_DETAIL_DEFINITION bool same_elements(const detail::Extent& a, const detail::Extent& b) {
  if (a.element != b.element || a.data != b.data) return false;
  const auto x = detail::axes(a), y = detail::axes(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i].size != y[i].size || (x[i].size > 1 && x[i].stride != y[i].stride)) return false;
  return true;
}

POSENC_NAMESPACE_END
