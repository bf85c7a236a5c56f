// SPDX-License-Identifier: MIT
//
// ScoredChoice: from the scores of blocks to a choice of a Selection.
#pragma once

#include <posenc/select/choose.hpp>
#include <posenc/select/key_selector.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Forced blocks, and of the others the `top` with the greatest scores. Its memory serves call after call.
class ScoredChoice {
 public:
  /// scores[b] is that of block b of `tokens` tokens; those of forced blocks are not read.
  std::span<const KeyRange> operator()(const float* scores, Index block, Index tokens,
                                       const ForcedBlocks& forced, Index top) {
    const Index all = tokens == 0 ? 0 : (tokens - 1) / block + 1;
    const Index first = std::min(forced.first, all), last = std::max(first, all - forced.last),
                chosen = std::min(top, last - first);
    ranges_.resize(static_cast<std::size_t>(chosen + 2));
    best_.resize(static_cast<std::size_t>(2 * chosen + 1));
    BlockRanges ranges(0, block, tokens, ranges_.data());
    for_chosen(scores, first, last, all, chosen, best_.data(),
               [&](Index from, Index end) { ranges.add(from, end); });
    return std::span(ranges_).first(static_cast<std::size_t>(ranges.count()));
  }

 private:
  std::vector<KeyRange> ranges_;
  std::vector<std::uint64_t> best_;
};

}  // namespace detail

POSENC_NAMESPACE_END
