// SPDX-License-Identifier: MIT
//
// Pairs: blocks of queries and chunks of keys, in the order in which they are begun. The last queries meet the
// first keys first, and both move towards the diagonal at the same pace, so that of a causal mask the smallest
// pairs come last, and pairs that follow each other seldom share queries or keys.
#pragma once

#include <posenc/core/types.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

struct Pair {
  Index kv_head = 0, block = 0, chunk = 0;
};

class Pairs {
 public:
  /// A block is of `block` queries, a chunk of `chunk` keys.
  Pairs(Index kv_heads, Index blocks, Index block, Index chunks, Index chunk)
      : kv_heads_(kv_heads), blocks_(blocks), chunks_(chunks),
        block_step_(std::max<Index>(block / chunk, 1)),
        chunk_step_(std::max<Index>(chunk / block, 1)) {}

  /// Pair i; not before one that was asked for already.
  Pair at(Index i) {
    const Index kv_head = i % kv_heads_;
    i /= kv_heads_;
    // A wave is all pairs that are equally far from the first: blocks count one or several, chunks the other.
    const bool by_block = block_step_ > 1;
    const Index step = std::max(block_step_, chunk_step_);
    const Index far = by_block ? blocks_ : chunks_, near = by_block ? chunks_ : blocks_;
    for (;; ++wave_) {
      const Index first = std::max<Index>((wave_ - near + step) / step, 0);
      const Index some = std::max<Index>(std::min(wave_ / step, far - 1) - first + 1, 0);
      if (i - before_ < some) {
        const Index a = first + i - before_, b = wave_ - a * step;
        return {kv_head, blocks_ - 1 - (by_block ? a : b), by_block ? b : a};
      }
      before_ += some;
    }
  }

 private:
  Index kv_heads_, blocks_, chunks_;
  Index block_step_, chunk_step_;  ///< of a wave; one of them is 1
  Index wave_ = 0, before_ = 0;    ///< pairs before it
};

}  // namespace detail

POSENC_NAMESPACE_END
