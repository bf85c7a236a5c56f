// SPDX-License-Identifier: MIT
//
// SlidingWindow: a query sees the keys within `left` tokens before and `right` tokens after itself.
//
//   visible: -right <= D <= left,  D = query_index - key_index,  and D a multiple of `dilation`
//
// Both bounds are included, as in FlashAttention's window_size. The same word means three numbers:
//
//   who                                              visible      tokens   here
//   window_size (l, r) of FlashAttention            -r <= D <= l   l+r+1    {.left = l, .right = r}
//   sliding_window w of Hugging Face and gpt-oss     0 <= D < w    w        from_token_count(w)
//   sliding masks of attention-gym                   0 <= D <= w   w + 1    {.left = w}
//
// With right = 0, the default, it is causal. L layers of it look back left * L tokens.
//
// D counts tokens of the sequence, not positions: those that share a position count one each, and those
// that were evicted from a cache, or lie off the path of a draft that was kept, count no more.
//
// Cache: a ring of left + 1 keys suffices.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

struct SlidingWindow {
  static constexpr Position unlimited = std::numeric_limits<Position>::max();

  Position left = unlimited;  ///< greatest visible distance into the past
  Position right = 0;         ///< greatest visible distance into the future
  Position dilation = 1;      ///< 1: every key of the window, 2: every second, ...

  /// The window of `tokens` tokens that ends with the query's own.
  [[nodiscard]] static constexpr SlidingWindow from_token_count(Position tokens) {
    return {.left = tokens - 1, .right = 0};
  }

  [[nodiscard]] constexpr bool visible(const Score& at) const {
    const Position d = at.query_index - at.key_index;
    return d <= left && d >= -right && (dilation == 1 || d % dilation == 0);
  }

  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    const Position least = tile.query_index.first - tile.key_index.last;
    const Position greatest = tile.query_index.last - tile.key_index.first;
    const Position first = std::max(least, -right), last = std::min(greatest, left);
    if (first > last || floor_to_dilation(last) < first) return TileClass::none;
    if (first != least || last != greatest) return TileClass::partial;
    return dilation == 1 || least == greatest ? TileClass::full : TileClass::partial;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(left >= 0, "SlidingWindow: left must not be negative, got ", left,
                     " (a window of w tokens has left = w - 1).");
    problems.require(right >= 0, "SlidingWindow: right must not be negative, got ", right, ".");
    problems.require(dilation >= 1, "SlidingWindow: dilation must be at least 1, got ", dilation,
                     ".");
  }

 private:
  /// The greatest multiple of dilation that is at most d.
  [[nodiscard]] constexpr Position floor_to_dilation(Position d) const {
    const Position above = d % dilation;
    return d - (above < 0 ? above + dilation : above);
  }
};

POSENC_NAMESPACE_END
