// SPDX-License-Identifier: MIT
//
// A check of calls with components that have no answer for some tokens: every key that a query sees must stand
// at a distance for which there is a vector, and data that come with tokens must have come.
#pragma once

#include <posenc/attention/score/rectangle.hpp>
#include <posenc/attention/score/tile.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Reports tokens of a sequence that some component has no data of.
POSENC_DETAIL_COLD inline void check_known_tokens(Problems& problems, const Answers& answers,
                                                  Index sequence, const Interval& tokens) {
  for (const auto& [self, ask] : answers.asked()) {
    if (!ask->known_tokens) continue;
    const Position known = ask->known_tokens(self, sequence);
    problems.require(tokens.first >= 0 && tokens.last < known, "the call has tokens ", tokens.first,
                     " to ", tokens.last, " of sequence ", sequence,
                     ", but the encoding has data of its first ", known,
                     " alone: append theirs before the call (GateSums::append for ForgetGate).");
  }
}

/// Divides the plane of queries and keys until masks or distances decide.
class DistanceCheck {
 public:
  DistanceCheck(const Answers& answers, const Coordinates& at, Index sequence)
      : answers_(answers), at_(at), sequence_(sequence) {}

  void operator()(Problems& problems, Index queries, Index keys) const {
    if (problems.empty() && queries > 0 && keys > 0)
      check_known_tokens(problems, answers_, sequence_,
                         {std::min(at_.query_offset, at_.key_offset),
                          std::max(at_.query_offset + queries, at_.key_offset + keys) - 1});
    if (!problems.empty() || !answers_.relative().limited || queries == 0 || keys == 0) return;
    for (const auto& [self, ask] : answers_.asked())
      if (ask->distances) visit(problems, ask->distances(self), {0, queries, 0, keys});
  }

 private:
  [[nodiscard]] Tile tile(const Rectangle& r) const {
    const Position q = at_.query_offset + r.query, k = at_.key_offset + r.key;
    return {bounds(at_.query, r.query, r.queries),
            bounds(at_.key, r.key, r.keys),
            {q, q + r.queries - 1},
            {k, k + r.keys - 1},
            {0, answers_.shape().num_heads - 1},
            sequence_};
  }

  /// True once a pair is found.
  POSENC_DETAIL_COLD bool visit(Problems& problems, const Interval& allowed,
                                const Rectangle& r) const {
    const Tile tile = this->tile(r);
    if (tile.least_distance() >= allowed.first && tile.greatest_distance() <= allowed.last)
      return false;
    if (answers_.classify(tile) == TileClass::none) return false;
    if (r.queries == 1 && r.keys == 1) {
      if (!is_visible(tile)) return false;
      problems.add("the query at position ", tile.query.first, " sees the key at position ",
                   tile.key.first, ", at a distance of ", tile.least_distance(),
                   ", but the encoding has vectors for distances ", allowed.first, " to ",
                   allowed.last, ": hide the key with a mask, or give more of them.");
      return true;
    }
    const auto [one, other] = r.halves();
    return visit(problems, allowed, one) || visit(problems, allowed, other);
  }

  [[nodiscard]] bool is_visible(const Tile& at) const {
    Score score{at.query.first, at.key.first, at.query_index.first, at.key_index.first, 0,
                sequence_};
    for (; score.head < answers_.shape().num_heads; ++score.head)
      if (answers_.visible(score)) return true;
    return false;
  }

  const Answers& answers_;
  const Coordinates& at_;
  Index sequence_;
};

}  // namespace detail

POSENC_NAMESPACE_END
