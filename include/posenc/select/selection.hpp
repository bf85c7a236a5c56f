// SPDX-License-Identifier: MIT
//
// Selection: which keys of a cache the queries of one call to decode() read.
//
// Methods that look at part of a long context choose that part first and attend to it then. A Selection is what they
// hand over: choices, each for some rows of q and some query heads, and for each the tokens of the sequence as ranges
// of ranks (a rank is a token's place among those that the cache holds). It is plain data: a method of your own fills
// one, and what a method of the library has chosen can be looked at.
//
//   Selection chosen;
//   chosen.add({.query = 0, .queries = 1, .head = 0, .heads = 8}, std::vector<KeyRange>{{0, 128}, {5'120, 256}});
//   decode(q, cache, out, bound, {.selection = &chosen});
//
// Keys outside of it are not read. Masks, biases and distance maps of the encoding apply to those inside as they do
// without a selection.
#pragma once

#include <posenc/core/types.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Ranks [first, first + tokens).
struct KeyRange {
  Index first = 0, tokens = 0;

  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};

/// Where chosen keys stand, for rotations, distances, biases and the temperatures of queries.
enum class Placement {
  own,        ///< at their own positions
  contiguous  ///< moved together: the first chosen key at 0, the next at 1, ...; a query where its own token is among them
};

class Selection {
 public:
  /// Rows [query, query + queries) of q, which are of one sequence, and query heads [head, head + heads).
  struct Readers {
    Index query = 0, queries = 1, head = 0, heads = 1;

    friend bool operator==(const Readers&, const Readers&) = default;
  };
  struct Choice {
    Readers readers{};
    std::span<const KeyRange> ranges{};
    std::span<const Index> before{};  ///< [range], chosen tokens before it
    Index tokens = 0;                 ///< of all ranges

    /// Chosen tokens of ranks below this one.
    [[nodiscard]] Index place_of(Index rank) const {
      const auto after = std::partition_point(ranges.begin(), ranges.end(),
                                              [&](const KeyRange& r) { return r.first < rank; });
      if (after == ranges.begin()) return 0;
      const auto last = static_cast<std::size_t>(after - ranges.begin() - 1);
      return before[last] + std::min(ranges[last].tokens, rank - ranges[last].first);
    }
  };

  Placement placement = Placement::own;

  /// Ranges in rising order that do not overlap; decode() checks them.
  void add(const Readers& readers, std::span<const KeyRange> ranges) {
    readers_.push_back(readers);
    Index tokens = 0;
    for (const KeyRange& range : ranges) {
      ranges_.push_back(range);
      before_.push_back(tokens);
      tokens += range.tokens;
    }
    tokens_.push_back(tokens);
    ends_.push_back(ranges_.size());
  }
  /// Forgets all choices; the memory stays, so that a selection that is filled for every token allocates nothing.
  void clear() {
    readers_.clear(), tokens_.clear(), ranges_.clear(), before_.clear(), ends_.clear();
  }
  [[nodiscard]] Index size() const { return std::ssize(readers_); }
  [[nodiscard]] Choice operator[](Index i) const {
    const auto at = static_cast<std::size_t>(i);
    const std::size_t first = at == 0 ? 0 : ends_[at - 1];
    const std::size_t count = ends_[at] - first;
    return {readers_[at], std::span(ranges_).subspan(first, count),
            std::span(before_).subspan(first, count), tokens_[at]};
  }

 private:
  std::vector<Readers> readers_;   ///< [choice]
  std::vector<Index> tokens_;      ///< [choice]
  std::vector<std::size_t> ends_;  ///< [choice], in the ranges
  std::vector<KeyRange> ranges_;
  std::vector<Index> before_;  ///< [range]
};

POSENC_NAMESPACE_END
