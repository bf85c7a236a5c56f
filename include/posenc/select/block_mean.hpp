// SPDX-License-Identifier: MIT
//
// The mean of the keys of a block.
#pragma once

#include <posenc/select/key_selector.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// to [width] = sum of keys / tokens. Each key is divided before it is added, so that a mean that is finite comes out so.
inline void block_mean(const KeyBlock& block, float* to) {
  const float share = 1 / static_cast<float>(block.tokens);
  std::fill_n(to, block.width, 0.0F);
  for (Index t = 0; t < block.tokens; ++t) {
    const float* const key = block.keys + t * block.width;
    for (Index c = 0; c < block.width; ++c) to[c] += share * key[c];
  }
}

}  // namespace detail

POSENC_NAMESPACE_END
