// SPDX-License-Identifier: MIT
//
// The blocks of greatest score, beside those that are read in any case, and blocks as ranges of tokens.
//
// Of equal scores the earlier block comes first. NaN comes before all numbers, as in torch.topk: keys that are broken show
// in what is computed of them, as they do when all keys are read.
#pragma once

#include <posenc/select/selection.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Score and block as one number: the greater one is chosen first. There are less than 2^32 blocks.
inline std::uint64_t rank_block(float score, Index block) {
  constexpr std::uint32_t sign = 0x80000000U;
  auto bits = std::bit_cast<std::uint32_t>(score);
  if (score != score)
    bits = ~0U;
  else if (bits != sign)  // the bits of -0, which equals 0, are what those of 0 become
    bits = (bits & sign) != 0 ? ~bits : bits | sign;
  return std::uint64_t{bits} << 32 | (~0U - static_cast<std::uint32_t>(block));
}
/// The order of such numbers.
struct IsChosenBefore {
  bool operator()(std::uint64_t a, std::uint64_t b) const { return a > b; }
};
inline Index block_of(std::uint64_t rank) {
  return static_cast<Index>(~0U - static_cast<std::uint32_t>(rank));
}

/// Moves the `top` blocks of greatest score of [first, last) to the front of `room`, in rising order of blocks; there is
/// room for 2 top numbers. scores[b] is that of block b, and there are more than `top` blocks.
inline void choose_blocks(const float* scores, Index first, Index last, Index top,
                          std::uint64_t* room) {
  // Those that may be among the chosen gather until there are twice as many as needed; then the lower half goes,
  // and what is not above the least that is left has no chance any more. So most scores cost a comparison.
  Index held = 0;
  float least = 0;
  bool is_full = false;
  const auto halve = [&] {
    std::nth_element(room, room + top - 1, room + held, IsChosenBefore{});
    held = top;
    least = scores[block_of(room[top - 1])];
    is_full = true;
  };
  for (Index b = first; b < last && top > 0; ++b) {
    // An equal score comes later, so it comes behind.
    if (is_full && scores[b] <= least) continue;
    room[held++] = rank_block(scores[b], b);
    if (held == 2 * top) halve();
  }
  if (held > top) halve();
  std::sort(room, room + top,
            [](std::uint64_t a, std::uint64_t b) { return block_of(a) < block_of(b); });
}

/// Calls add(first, last) for ranges of blocks, of `all` in rising order: those outside of [first, last), and of those
/// within it the `top` of greatest score. `room` as above.
template <class Add>
void for_chosen(const float* scores, Index first, Index last, Index all, Index top,
                std::uint64_t* room, const Add& add) {
  if (last - first <= top) return add(0, all);
  add(0, first);
  choose_blocks(scores, first, last, top, room);
  for (Index i = 0; i < top; ++i) {
    const Index block = block_of(room[i]);
    add(block, block + 1);
  }
  add(last, all);
}

/// Ranges of tokens of blocks that come in rising order, behind those of no block.
class BlockRanges {
 public:
  /// Block 0 begins with the token of rank `origin`; those before it are read.
  BlockRanges(Index origin, Index block, Index tokens, KeyRange* to)
      : origin_(origin), block_(block), tokens_(tokens), to_(to) {
    add_tokens(0, origin);
  }

  /// Blocks [first, last), as far as there are tokens.
  void add(Index first, Index last) {
    add_tokens(origin_ + first * block_, origin_ + last * block_);
  }
  [[nodiscard]] Index count() const { return count_; }

 private:
  void add_tokens(Index from, Index end) {
    end = std::min(end, tokens_);
    if (from >= end) return;
    if (count_ > 0 && to_[count_ - 1].first + to_[count_ - 1].tokens == from)
      to_[count_ - 1].tokens += end - from;
    else
      to_[count_++] = {from, end - from};
  }

  Index origin_, block_, tokens_;
  KeyRange* to_;
  Index count_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
