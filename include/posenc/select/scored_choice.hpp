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
    BlockRanges ranges(block, tokens, ranges_.data());
    if (chosen == last - first) {
      ranges.add(0, all);
    } else {
      ranges.add(0, first);
      choose_blocks(scores, first, last, chosen, best_.data());
      for (Index i = 0; i < chosen; ++i) {
        const Index b = block_of(best_[static_cast<std::size_t>(i)]);
        ranges.add(b, b + 1);
      }
      ranges.add(last, all);
    }
    return std::span(ranges_).first(static_cast<std::size_t>(ranges.count()));
  }

 private:
  std::vector<KeyRange> ranges_;
  std::vector<std::uint64_t> best_;
};

}  // namespace detail

POSENC_NAMESPACE_END
