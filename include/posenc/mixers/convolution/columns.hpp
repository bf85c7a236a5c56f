// SPDX-License-Identifier: MIT
//
// Sixteen neighbouring channels of a tensor, a row of a token at a time.
#pragma once

#include <posenc/mixers/tensors.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index group_channels = 16;

/// The channels of one group, head by head where heads do not lie side by side.
struct Group {
  Index first, count;

  Group(Index group, Index channels)
      : first(group * group_channels), count(std::min(group_channels, channels - first)) {}

  static Index groups(Index channels) { return (channels + group_channels - 1) / group_channels; }

  /// Calls f(memory of the first of n elements, n, place in the group) for the pieces of a token's row.
  template <class Byte, class F>
  void for_pieces(const Rows<float, Byte>& x, Index token, const F& f) const {
    for (Index i = 0; i < count;) {
      // Most tensors have one head, and a division would take as long as the piece.
      const Index head = x.heads == 1 ? 0 : (first + i) / x.width,
                  channel = first + i - head * x.width, n = std::min(count - i, x.width - channel);
      f(x.row(token, head) + channel * x.channel_stride * x.storage->bytes, n, i);
      i += n;
    }
  }
  /// True when all of it is finite; `to` has 16 numbers, of which others are left as they are. Behind the last token are
  /// zeros.
  template <class Byte>
  bool load(const Rows<float, Byte>& x, Index token, float* to) const {
    if (token >= x.tokens) return std::fill_n(to, count, 0.0F), true;
    bool finite = true;
    for_pieces(x, token, [&](const std::byte* from, Index n, Index at) {
      finite =
          (x.channel_stride == 1 ? x.storage->load(n, from, to + at)
                                 : x.storage->load_apart(n, from, x.channel_stride, to + at)) &&
          finite;
    });
    return finite;
  }
  void store(const OutRows<float>& x, Index token, const float* from) const {
    for_pieces(x, token, [&](std::byte* to, Index n, Index at) {
      x.storage->store(n, from + at, to, x.channel_stride);
    });
  }
};

/// The same tokens from the last to the first.
template <class Byte>
Rows<float, Byte> reversed(Rows<float, Byte> x) {
  if (x.tokens > 0) x.data = x.row(x.tokens - 1, 0);
  x.token_stride = -x.token_stride;
  return x;
}

}  // namespace detail

POSENC_NAMESPACE_END
