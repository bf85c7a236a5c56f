// SPDX-License-Identifier: MIT
//
// Slots: which tokens of a sequence a cache holds, where they stand, and where they lie.
//
// A token has three numbers. Its index is its place in the sequence: how many tokens of it come
// before, and masks go by it. Its position is what rotations and distances use: the index, unless
// the caller said otherwise or shifted it. Its rank is its place among the tokens that are held.
//
// A token that is taken out of the sequence (remove) leaves no gap: the indices of those behind it
// go down, as if it had never been appended, and their positions stay. A token that a ring overwrites
// is still one of the sequence and counts in the indices; only its keys are gone. So ranks and indices
// are the same numbers but for these.
//
// Tokens lie in slots, in the order of their ranks; a ring begins anew when it is full, behind the
// sinks, and overwrites the oldest.
//
//   ring of 3 sinks and 5 more after 10 tokens     slots   0 1 2 | 8 9 5 6 7     (indices)
//                                                  ranks   0 1 2 | 6 7 3 4 5
#pragma once

#include <posenc/cache/edits.hpp>
#include <posenc/core/positions.hpp>

#include <algorithm>
#include <span>
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
    return first_rank([&](Index rank) { return this->index(rank) >= index; });
  }
  [[nodiscard]] bool holds(Position index) const {
    const Index rank = rank_of(index);
    return rank < tokens_ && this->index(rank) == index;
  }

  /// The slot of the token that is appended next.
  [[nodiscard]] Index next_slot() const {
    return tokens_ < capacity_ ? slot(tokens_) : sinks_ + oldest_;
  }
  /// The indices that a ring has overwritten lie within [first_overwritten(), overwritten()); between
  /// them may be tokens that became its sinks when earlier ones were removed. 0 and 0: none.
  [[nodiscard]] Position first_overwritten() const {
    return lost() == 0 ? 0 : first_rank([&](Index rank) { return index(rank) > rank; });
  }
  [[nodiscard]] Position overwritten() const {
    return lost() == 0 ? 0 : lost() + first_rank([&](Index r) { return index(r) - r == lost(); });
  }

  /// One more than the greatest position that is held, and at least 0.
  [[nodiscard]] Position length() const { return length_; }

  /// The run of ranks that begins with `first` and ends before `last`. With `gaps` it ends where an
  /// index is left out.
  [[nodiscard]] SlotRun run(Index first, Index last, bool gaps = false) const {
    const Index from = slot(first);
    Index most = std::min(last - first, page_tokens_ - from % page_tokens_);
    if (is_ring()) most = std::min(most, (first < sinks_ ? sinks_ : capacity_) - from);
    Index tokens = gaps && is_ring() ? 1 : most;
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

  /// What has changed, by index; see cache/edits.hpp. (A token that a ring overwrites changes no other.)
  [[nodiscard]] const Edits& edits() const { return edits_; }

  // --- Changes: their callers have checked that they are possible -------------------------------

  /// Gives the next token its slot, in a full ring that of the oldest.
  Index add() {
    const Index at = next_slot();
    if (tokens_ < capacity_) {
      ++tokens_;
    } else {
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
  /// Takes the tokens with index [first, last) out of the sequence, but for some of them that are
  /// held, in rising order. Later tokens take the places of those that are gone, and move(from slot,
  /// to slot) does so for what lies there. Where the last token goes, the next one stands behind the
  /// one that is left, further by one for every token between them that a ring has overwritten.
  template <class F>
  void remove(Position first, Position last, std::span<const Position> kept, const F& move) {
    const Position gone = last - first - std::ssize(kept);
    if (gone == 0) return;
    const bool takes_last = last == next_index_ && (kept.empty() || kept.back() + 1 != last);
    Index to = rank_of(first);
    edits_.add(first);
    auto next = kept.begin();
    for (Index from = to; from < tokens_; ++from) {
      const Position index = this->index(from);
      Position moved = index - gone;  // its index from now on
      if (index < last) {
        if (next == kept.end() || *next != index) continue;
        moved = first + (next++ - kept.begin());
      }
      if (from != to) move_slot(slot(from), slot(to), move);
      index_[size(slot(to++))] = moved;
    }
    tokens_ = to;
    next_index_ -= gone;
    if (tokens_ <= sinks_) oldest_ = 0;
    if (takes_last)
      next_position_ = tokens_ == 0
                           ? next_index_
                           : greatest_of(slot(tokens_ - 1)) + next_index_ - index(tokens_ - 1);
    measure();
  }
  /// The first tokens, up to an index, which the next one has.
  void truncate(Position index) {
    remove(index, next_index_, {}, [](Index, Index) {});
  }
  void clear() {
    truncate(0);
    next_position_ = 0;
  }
  /// Adds to the positions of the tokens with index [first, last), and of those to come where these
  /// are the last.
  void shift(Position first, Position last, Position by) {
    const Index from = rank_of(first), to = rank_of(last);
    edits_.add(first);
    for (Index rank = from; rank < to; ++rank)
      for (int axis = 0; axis < axes_; ++axis) position_[size(axis * capacity_ + slot(rank))] += by;
    if (first < last && last == next_index_) next_position_ += by;
    measure();
  }
  /// What `other` holds of its tokens up to an index, in the same slots; both have the same capacity.
  void copy(const Slots& other, Position end) {
    const Edits own = edits_;
    *this = other;
    edits_ = own;
    rewrite();
    truncate(end);
  }
  /// All that lies in the slots was written anew.
  void rewrite() { edits_.add(0); }

 private:
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  /// Tokens that a ring has overwritten.
  [[nodiscard]] Position lost() const { return next_index_ - tokens_; }
  /// The first rank of which f says yes, as it does of all that follow; tokens() if none.
  template <class F>
  [[nodiscard]] Index first_rank(const F& f) const {
    Index first = 0, last = tokens_;
    while (first < last) {
      const Index middle = (first + last) / 2;
      if (f(middle))
        last = middle;
      else
        first = middle + 1;
    }
    return first;
  }
  template <class F>
  void move_slot(Index from, Index to, const F& move) {
    for (int axis = 0; axis < axes_; ++axis)
      position_[size(axis * capacity_ + to)] = position_[size(axis * capacity_ + from)];
    move(from, to);
  }
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
  Position next_index_ = 0, next_position_ = 0, length_ = 0;
  std::vector<Position> index_;     ///< [slot]
  std::vector<Position> position_;  ///< [axis][slot]
  Edits edits_;
};

}  // namespace detail

POSENC_NAMESPACE_END
