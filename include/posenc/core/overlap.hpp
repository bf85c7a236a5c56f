// SPDX-License-Identifier: MIT
//
// Do two views share memory? Results may not be written over inputs that are still to be read, and
// silently wrong numbers are worse than a refusal.
#pragma once

#include <posenc/core/view.hpp>

#include <string>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Where the elements of a view lie, whatever they are: what follows is compiled once for all of them.
struct Extent {
  const void* data = nullptr;
  Index element = 0;  ///< bytes
  Index tokens = 0, heads = 0, width = 0;
  Index token_stride = 0, head_stride = 0, channel_stride = 0;

  template <class T>
  Extent(const TensorView<T>& view)
      : data(view.data), element(sizeof(T)), tokens(view.tokens), heads(view.heads),
        width(view.width), token_stride(view.token_stride), head_stride(view.head_stride),
        channel_stride(view.channel_stride) {}
};

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

  explicit ShapeText(const Extent& view)
      : tokens(view.tokens), heads(view.heads), width(view.width) {}

  POSENC_DETAIL_COLD operator std::string() const {
    return sentence({"[", tokens, ", ", heads, ", ", width, "]"});
  }
};

/// Reports sizes and pointers that no tensor has; then distances within the view fit in an Index.
void check_view(Problems& problems, const char* name, const Extent& view);
/// Reports a view that cannot hold a result.
void check_result(Problems& problems, const char* name, const Extent& view);

}  // namespace detail

/// True when no two places of the view are the same element, which is what a result needs. Exact
/// for views whose axes nest, in any order; for those that interleave it errs towards false.
[[nodiscard]] bool has_distinct_elements(const detail::Extent& view);

/// True when the two views may share an element. Exact for views that do not interleave, and for
/// views of one packed buffer (equal token strides); otherwise it errs towards true.
[[nodiscard]] bool overlap(const detail::Extent& a, const detail::Extent& b);

/// True when both views name exactly the same elements in the same order. The stride of an axis of
/// one element does not matter.
[[nodiscard]] bool same_elements(const detail::Extent& a, const detail::Extent& b);

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/core/overlap_definitions.hpp>
#endif
