// SPDX-License-Identifier: MIT
//
// BlockGrid: which tokens that a cache holds form which block.
//
// Blocks are of indices: each holds `block` of them, from a multiple of `block` on, so that what a ring overwrites
// moves no token into another block. Of a sequence that has lost nothing, ranks are indices and blocks lie one after
// another from the first token on. Where a ring has overwritten tokens, the first whole block behind the gap is the
// first of the grid; what is held before it (the sinks, and a block of which tokens are gone) has no summary and is
// always read.
#pragma once

#include <posenc/cache/slots.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

struct BlockGrid {
  Index block = 1;   ///< tokens of one
  Index first = 0;   ///< of the sequence's blocks, the one that is block 0 here
  Index origin = 0;  ///< rank of its first token

  BlockGrid() = default;
  BlockGrid(const Slots& slots, Index block_) : block(block_) {
    const Position gap_ends = slots.overwritten();
    if (gap_ends == 0) return;
    first = (gap_ends - 1) / block + 1;
    origin = first * block - (slots.next_index() - slots.tokens());
  }

  /// Of the first so many tokens that are held: blocks that have some of them, and blocks that are whole.
  [[nodiscard]] Index blocks(Index tokens) const {
    return tokens <= origin ? 0 : (tokens - origin - 1) / block + 1;
  }
  [[nodiscard]] Index whole(Index tokens) const {
    return tokens <= origin ? 0 : (tokens - origin) / block;
  }
  [[nodiscard]] Index rank(Index of_block) const { return origin + of_block * block; }
};

}  // namespace detail

POSENC_NAMESPACE_END
