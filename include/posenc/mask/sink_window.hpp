// SPDX-License-Identifier: MIT
//
// SinkWindow: a query sees the first tokens of the sequence and the recent ones (a lambda-shaped
// mask).
//
//   Xiao et al., StreamingLLM, arXiv 2309.17453; Han et al., LM-Infinite, arXiv 2308.16137.
//
//   visible: D >= 0 and (D < window or key_index < sinks),  D = query_index - key_index
//
// `window` counts tokens of the sequence and includes the query's own; `sinks` are the first ones of the
// sequence. Neither goes by positions, and tokens that were evicted from a cache count no more.
// StreamingLLM keeps 4 sinks; LM-Infinite 10 to 100 and the trained length as window. Both also change
// the distance at which sinks are seen, which is not a mask's business: the components StreamingLLM and
// LMInfinite are this mask with that.
//
// Cache: a ring of sinks + window keys with `sinks` sinks suffices.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

struct SinkWindow {
  Position sinks = 4;     ///< tokens at the start of the sequence that everybody sees
  Position window = 512;  ///< recent tokens, the query's own included

  [[nodiscard]] constexpr bool visible(const Score& at) const {
    const Position d = at.query_index - at.key_index;
    return d >= 0 && (d < window || at.key_index < sinks);
  }

  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    const Interval query = tile.query_index, key = tile.key_index;
    const Position least = query.first - key.last, greatest = query.last - key.first;
    const bool recent_some = greatest >= 0 && least < window;
    const bool sinks_some = greatest >= 0 && key.first < sinks;
    if (!recent_some && !sinks_some) return TileClass::none;
    const bool sinks_all = key.last < sinks;
    const bool others_recent = query.last - std::max(key.first, std::min(sinks, key.last)) < window;
    return least >= 0 && (sinks_all || others_recent) ? TileClass::full : TileClass::partial;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(sinks >= 0, "SinkWindow: sinks must not be negative, got ", sinks, ".");
    problems.require(window >= 1,
                     "SinkWindow: window counts tokens, the query's own included, and must "
                     "be at least 1, got ",
                     window, ".");
  }
};

POSENC_NAMESPACE_END
