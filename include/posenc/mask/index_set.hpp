// SPDX-License-Identifier: MIT
//
// IndexSet: whole numbers from 0 on, a bit each. Whether a number is in it, and how many of an interval are, is
// told in constant time and without a branch.
#pragma once

#include <posenc/core/score.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Bits of a row of words below bit i. before[w] are those of the words before word w, and there is a word of i.
inline Position count_below(const std::uint64_t* bits, const std::uint32_t* before, Position i) {
  const auto w = static_cast<std::size_t>(i) / 64;
  const std::uint64_t lower = (std::uint64_t{1} << (i & 63)) - 1;
  return Position{before[w]} + std::popcount(bits[w] & lower);
}

class IndexSet {
 public:
  static constexpr Position limit = Position{1} << 28;  ///< of what it may hold: 48 MiB

  IndexSet() : IndexSet(std::vector<Position>{}) {}
  /// In any order, and each as often as you like; all of them within [0, limit).
  explicit IndexSet(const std::vector<Position>& members) {
    const Position greatest =
        members.empty() ? -1 : *std::max_element(members.begin(), members.end());
    // One word more, which is empty: that of all greater numbers, and of negative ones.
    bits_.resize(static_cast<std::size_t>((greatest + 64) / 64 + 1));
    for (const Position i : members) bits_[word(i)] |= std::uint64_t{1} << (i % 64);
    before_.reserve(bits_.size());
    std::uint32_t count = 0;
    for (const std::uint64_t bits : bits_) {
      before_.push_back(count);
      count += static_cast<std::uint32_t>(std::popcount(bits));
    }
  }

  [[nodiscard]] bool contains(Position i) const { return (bits_[word(i)] >> (i & 63) & 1) != 0; }

  /// Members that lie in [first, last]; a first below 0 is 0.
  [[nodiscard]] Position count(Interval range) const {
    const Position first = std::max<Position>(range.first, 0);
    return range.last < first ? 0 : below(range.last + 1) - below(first);
  }

 private:
  [[nodiscard]] std::size_t word(Position i) const {
    return std::min(static_cast<std::size_t>(i) / 64, bits_.size() - 1);
  }
  [[nodiscard]] Position below(Position i) const {
    const std::size_t w = word(i);
    return count_below(bits_.data() + w, before_.data() + w, i & 63);
  }

  std::vector<std::uint64_t> bits_;
  std::vector<std::uint32_t> before_;  ///< members in earlier words
};

}  // namespace detail

POSENC_NAMESPACE_END
