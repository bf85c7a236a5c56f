// SPDX-License-Identifier: MIT
//
// Storage: how the elements of a row lie in memory, as the kernels see them. A kernel computes in U
// (float or double) and reads and writes rows through these functions, so it is compiled once for all
// elements, and an element of another kind is a table more.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/view.hpp>
#include <posenc/simd/dispatch.hpp>

#include <cstddef>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
struct Storage {
  Index bytes = 0;        ///< of an element
  bool is_plain = false;  ///< elements are numbers of U
  /// Reads n elements that lie side by side, or `stride` apart; true when all of them are finite.
  bool (*load)(Index n, const void* from, U* to) = nullptr;
  bool (*load_apart)(Index n, const void* from, Index stride, U* to) = nullptr;
  /// Writes n elements, `stride` apart, each rounded once.
  void (*store)(Index n, const U* from, void* to, Index stride) = nullptr;
};

/// How elements T are read and written, by level.
template <Element T>
const simd::ByLevel<Storage<arithmetic_t<T>>>& storage() {
  static constexpr auto table = simd::by_level<T>([]<class Level>(Level) {
    using U = arithmetic_t<T>;
    Storage<U> storage;
    storage.bytes = sizeof(T);
    storage.is_plain = std::is_same_v<T, U>;
    storage.load = [](Index n, const void* from, U* to) {
      return Level::copy_finite(n, static_cast<const T*>(from), to);
    };
    storage.load_apart = [](Index n, const void* from, Index stride, U* to) {
      for (Index i = 0; i < n; ++i) to[i] = widen(static_cast<const T*>(from)[i * stride]);
      return Level::copy_finite(n, to, to);
    };
    storage.store = [](Index n, const U* from, void* to, Index stride) {
      T* const elements = static_cast<T*>(to);
      if (stride == 1) return Level::narrow_row(n, from, elements);
      for (Index i = 0; i < n; ++i) elements[i * stride] = narrow<T>(from[i]);
    };
    return storage;
  });
  return table;
}
#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT const simd::ByLevel<Storage<float>>& storage<float>();
POSENC_DETAIL_DOUBLE const simd::ByLevel<Storage<double>>& storage<double>();
#endif

/// A tensor of any element, [tokens, heads, width]; strides count elements.
template <class U, class Byte = const std::byte>
struct Rows {
  Byte* data = nullptr;
  Index tokens = 0, heads = 0, width = 0;
  Index token_stride = 0, head_stride = 0, channel_stride = 1;
  const Storage<U>* storage = nullptr;

  Rows() = default;
  template <class T>
  Rows(const TensorView<T>& view, std::size_t level)
      : data(reinterpret_cast<Byte*>(view.data)), tokens(view.tokens), heads(view.heads),
        width(view.width), token_stride(view.token_stride), head_stride(view.head_stride),
        channel_stride(view.channel_stride),
        storage(&detail::storage<std::remove_const_t<T>>()[level]) {}

  [[nodiscard]] Byte* row(Index token, Index head) const {
    return data + token * token_stride * storage->bytes + bytes_before(head);
  }
  /// From the first head of a token to this one.
  [[nodiscard]] Index bytes_before(Index head) const { return head * head_stride * storage->bytes; }
  /// Elements that a kernel can read where they are.
  [[nodiscard]] bool is_plain() const { return storage->is_plain && channel_stride == 1; }
  [[nodiscard]] const U* plain_row(Index token, Index head) const {
    return reinterpret_cast<const U*>(row(token, head));
  }
  /// True when all of it is finite.
  bool load(Index token, Index head, U* to) const {
    return channel_stride == 1 ? storage->load(width, row(token, head), to)
                               : storage->load_apart(width, row(token, head), channel_stride, to);
  }
  void store(Index token, Index head, const U* from) const
    requires(!std::is_const_v<Byte>)
  {
    storage->store(width, from, row(token, head), channel_stride);
  }
};
template <class U>
using OutRows = Rows<U, std::byte>;

/// A row as floats, also where the kernels compute in double.
template <class U>
void load_floats(const Rows<U>& from, Index token, Index head, float* to) {
  if constexpr (std::is_same_v<U, float>)
    from.load(token, head, to);
  else
    for (Index c = 0; c < from.width; ++c)
      to[c] = static_cast<float>(from.plain_row(token, head)[c * from.channel_stride]);
}

/// Fetches rows of one head before they are needed: those of a head may lie pages apart, where a
/// processor does not prefetch by itself. Rows beyond the last are left out.
template <bool ForWriting = false, class T, class Byte>
void prefetch_rows(const Rows<T, Byte>& x, Index first, Index rows, Index head) {
  constexpr Index line = 64;
  if (x.channel_stride != 1) return;
  for (Index t = first; t < std::min(first + rows, x.tokens); ++t)
    for (Index at = 0; at < x.width * x.storage->bytes; at += line)
      __builtin_prefetch(x.row(t, head) + at, ForWriting ? 1 : 0, 2);
  __asm__ volatile("");  // without it GCC finds no effect here and leaves out calls
}

/// The number of the level that runs, for tables by level.
inline std::size_t level_index() { return static_cast<std::size_t>(simd::level()); }

}  // namespace detail

POSENC_NAMESPACE_END
