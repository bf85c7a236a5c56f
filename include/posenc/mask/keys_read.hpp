// SPDX-License-Identifier: MIT
//
// KeysRead: which share of the keys queries read of those that they may see.
#pragma once

#include <posenc/mask/chosen_blocks.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

/// Summed over queries; of choices that heads make for themselves, the mean.
struct KeysRead {
  double read = 0, all = 0;

  [[nodiscard]] double share() const { return all == 0 ? 1 : read / all; }
  KeysRead& operator+=(const KeysRead& other) {
    read += other.read, all += other.all;
    return *this;
  }
};

/// Of the blocks that were chosen for queries, the keys up to their own.
[[nodiscard]] inline KeysRead keys_read(const BlockSets& sets) {
  const BlockSets::Sizes& s = sets.sizes();
  KeysRead keys;
  for (Index row = 0; row < s.queries; ++row) {
    const Index seen = s.first + row + 1;
    Index read = 0;
    for (Index c = 0; c < s.choices; ++c)
      for (Index b = 0; b < s.blocks && b * s.block < seen; ++b)
        if (sets.contains(c, row / s.query_block, b)) read += std::min(s.block, seen - b * s.block);
    keys += {static_cast<double>(read) / static_cast<double>(s.choices), static_cast<double>(seen)};
  }
  return keys;
}

POSENC_NAMESPACE_END
