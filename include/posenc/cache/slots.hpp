// SPDX-License-Identifier: MIT
//
// Slots: which tokens of a sequence a cache holds, where they stand, and where they lie.
//
// A token has three numbers. Its index is its place in the sequence: how many were appended before
// it; it never changes, and masks go by it. Its position is what rotations and distances use: the
// index, unless the caller said otherwise or shifted it. Its rank is its place among the tokens
// that are still held. Tokens lie in slots, in the order of their ranks; a ring begins anew when it
// is full, behind the sinks, and overwrites the oldest.
//
//   ring of 3 sinks and 5 more after 10 tokens     slots   0 1 2 | 8 9 5 6 7     (indices)
//                                                  ranks   0 1 2 | 6 7 3 4 5
#pragma once

#include <posenc/core/positions.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Consecutive ranks that lie in consecutive slots of one page.
struct SlotRun {
  Index rank = 0;
  Index slot = 0;
  Index tokens = 0;
};

class Slots {
 public:
  /// sinks: tokens that a ring never overwrites; `capacity` where it is none.
  Slots(Index capacity, Index sinks, Index page_tokens, int axes)
      : capacity_(capacity), sinks_(sinks), page_tokens_(page_tokens), axes_(axes),
        index_(static_cast<std::size_t>(capacity)),
        position_(static_cast<std::size_t>(capacity * axes)) {}

  [[nodiscard]] Index capacity() const { return capacity_; }
  [[nodiscard]] bool is_ring() const { return sinks_ < capacity_; }
  [[nodiscard]] Index sinks() const { return sinks_; }
  [[nodiscard]] Index tokens() const { return tokens_; }
  /// Index and position of the token that is appended next.
  [[nodiscard]] Position next_index() const { return next_index_; }
  [[nodiscard]] Position next_position() const { return next_position_; }

  [[nodiscard]] Index slot(Index rank) const {
    if (rank < sinks_ || !is_ring()) return rank;
    return sinks_ + (oldest_ + rank - sinks_) % (capacity_ - sinks_);
  }
  [[nodiscard]] Position index(Index rank) const { return index_[size(slot(rank))]; }
  [[nodiscard]] Position position(Index rank, int axis = 0) const {
    return position_[size(axis * capacity_ + slot(rank))];
  }
  /// Positions by slot.
  [[nodiscard]] Positions positions(Index slot, Index tokens) const {
    return Positions(position_, axes_).subspan(size(slot), size(tokens));
  }
  [[nodiscard]] Position index_of_slot(Index slot) const { return index_[size(slot)]; }

  /// The least rank whose index is at least this.
  [[nodiscard]] Index rank_of(Position index) const {
    Index first = 0, last = tokens_;
    while (first < last) {
      const Index middle = (first + last) / 2;
      if (this->index(middle) < index)
        first = middle + 1;
      else
        last = middle;
    }
    return first;
  }

  /// The slot of the token that is appended next.
  [[nodiscard]] Index next_slot() const {
    return tokens_ < capacity_ ? slot(tokens_) : sinks_ + oldest_;
  }
  /// One more than the greatest index that a ring has overwritten.
  [[nodiscard]] Position overwritten() const { return overwritten_; }

  /// One more than the greatest position that is held, and at least 0.
  [[nodiscard]] Position length() const { return length_; }

  /// The run of ranks that begins with `first` and ends before `last`. With `gaps` it ends where an
  /// index is left out.
  [[nodiscard]] SlotRun run(Index first, Index last, bool gaps = false) const {
    const Index from = slot(first);
    Index most = std::min(last - first, page_tokens_ - from % page_tokens_);
    if (is_ring()) most = std::min(most, (first < sinks_ ? sinks_ : capacity_) - from);
    Index tokens = gaps ? 1 : most;
    while (tokens < most && index_[size(from + tokens)] == index_[size(from)] + tokens) ++tokens;
    return {first, from, tokens};
  }
  /// Calls f(run) for the ranks [first, last).
  template <class F>
  void for_runs(Index first, Index last, const F& f, bool gaps = false) const {
    while (first < last) {
      const SlotRun next = run(first, last, gaps);
      f(next);
      first += next.tokens;
    }
  }

  // --- Changes: their callers have checked that they are possible -------------------------------

  /// Gives the next token its slot, in a full ring that of the oldest.
  Index add() {
    const Index at = next_slot();
    if (tokens_ < capacity_) {
      ++tokens_;
    } else {
      overwritten_ = index_[size(at)] + 1;
      oldest_ = (oldest_ + 1) % (capacity_ - sinks_);
      if (greatest_of(at) + 1 == length_) {  // ids may go down again
        for (int axis = 0; axis < axes_; ++axis)
          position_[size(axis * capacity_ + at)] = -greatest_position;
        measure();
      }
    }
    index_[size(at)] = next_index_++;
    return at;
  }
  /// Positions of the token in a slot; later ones follow.
  void place(Index slot, const Positions& positions, Index token) {
    Position greatest = positions[token];
    for (int axis = 0; axis < axes_; ++axis) {
      const Position p = positions.at(positions.axes() == 1 ? 0 : axis, token);
      position_[size(axis * capacity_ + slot)] = p;
      greatest = std::max(greatest, p);
    }
    next_position_ = greatest + 1;
    length_ = std::max(length_, next_position_);
  }
  /// Keeps the first `tokens` ranks; the next token has this index. It stands behind the last one
  /// that is left, further by one for every index between them that was evicted.
  void truncate(Index tokens, Position next_index) {
    if (next_index == next_index_) return;
    tokens_ = tokens;
    next_index_ = next_index;
    if (tokens_ <= sinks_) oldest_ = 0;
    overwritten_ = std::min(overwritten_, next_index);
    next_position_ =
        tokens == 0 ? next_index : greatest_of(slot(tokens - 1)) + next_index - index(tokens - 1);
    measure();
  }
  void clear() {
    truncate(0, 0);
    next_position_ = 0;
  }
  /// Forgets `tokens` ranks from `first` on; the token at each later rank moves down, which
  /// move(from slot, to slot) does for what lies there.
  template <class F>
  void remove(Index first, Index tokens, const F& move) {
    for (Index rank = first; rank + tokens < tokens_; ++rank) {
      const Index from = slot(rank + tokens), to = slot(rank);
      index_[size(to)] = index_[size(from)];
      for (int axis = 0; axis < axes_; ++axis)
        position_[size(axis * capacity_ + to)] = position_[size(axis * capacity_ + from)];
      move(from, to);
    }
    tokens_ -= tokens;
    if (tokens_ <= sinks_) oldest_ = 0;
    measure();
  }
  /// Adds to the positions of the tokens with index [first, last), and of those to come where these
  /// are the last.
  void shift(Position first, Position last, Position by) {
    const Index from = rank_of(first), to = rank_of(last);
    for (Index rank = from; rank < to; ++rank)
      for (int axis = 0; axis < axes_; ++axis) position_[size(axis * capacity_ + slot(rank))] += by;
    if (first < last && last == next_index_) next_position_ += by;
    measure();
  }
  /// What `other` holds of its first ranks, in the same slots; both have the same capacity.
  void copy(const Slots& other, Index tokens, Position next_index) {
    *this = other;
    truncate(tokens, next_index);
  }

 private:
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  [[nodiscard]] Position greatest_of(Index slot) const {
    Position greatest = position_[size(slot)];
    for (int axis = 1; axis < axes_; ++axis)
      greatest = std::max(greatest, position_[size(axis * capacity_ + slot)]);
    return greatest;
  }
  void measure() {
    length_ = 0;
    for (Index rank = 0; rank < tokens_; ++rank)
      length_ = std::max(length_, greatest_of(slot(rank)) + 1);
  }

  Index capacity_, sinks_, page_tokens_;
  int axes_;
  Index tokens_ = 0;
  Index oldest_ = 0;  ///< of a ring: how far its beginning has moved behind the sinks
  Position next_index_ = 0, next_position_ = 0, length_ = 0, overwritten_ = 0;
  std::vector<Position> index_;     ///< [slot]
  std::vector<Position> position_;  ///< [axis][slot]
};

}  // namespace detail

POSENC_NAMESPACE_END
