// SPDX-License-Identifier: MIT
//
// The tokens that a cache holds: which there are, where they stand, how they are dropped, copied and
// found. Whatever the state of the keys is; key_value_cache.hpp adds it, and append().
#pragma once

#include <posenc/cache/rotated_by.hpp>
#include <posenc/cache/rows.hpp>
#include <posenc/cache/slots.hpp>

#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <Element T>
class HeldTokens {
 public:
  [[nodiscard]] const CacheShape& shape() const { return rows_.shape(); }
  [[nodiscard]] bool is_ring() const { return sinks_ < shape().capacity; }
  [[nodiscard]] bool is_paged() const { return rows_.is_paged(); }
  [[nodiscard]] bool is_streaming() const { return by_rank_; }

  /// Tokens of a sequence that are held, of those appended.
  /// These throw Error when there is no such sequence, token, head or coordinate.
  [[nodiscard]] Index tokens(Index sequence) const { return slots("tokens", sequence).tokens(); }
  /// Index and position of the token that is appended next.
  [[nodiscard]] Position next_index(Index sequence) const {
    return slots("next_index", sequence).next_index();
  }
  [[nodiscard]] Position next_position(Index sequence) const {
    const Slots& s = slots("next_position", sequence);
    return by_rank_ ? std::min(s.tokens(), shape().capacity - 1) : s.next_position();
  }
  /// Index and position of the token of a rank, 0 to tokens() - 1.
  [[nodiscard]] Position index(Index sequence, Index rank) const {
    return slots_of_token("index", sequence, rank).index(rank);
  }
  [[nodiscard]] Position position(Index sequence, Index rank, int axis = 0) const {
    const Slots& s = slots_of_token("position", sequence, rank);
    check_one_of("position", "positions have coordinates", axis, shape().axes);
    return by_rank_ ? rank : s.position(rank, axis);
  }
  /// Keys and values of a token as they are kept.
  [[nodiscard]] std::span<const T> key(Index sequence, Index rank, Index kv_head) const {
    const Slots& s = slots_of_token("key", sequence, rank);
    check_one_of("key", "there are key heads", kv_head, shape().kv_heads);
    return {rows_.key(sequence, s.slot(rank), kv_head), size(shape().head_dim)};
  }
  [[nodiscard]] std::span<const T> value(Index sequence, Index rank, Index kv_head) const {
    const Slots& s = slots_of_token("value", sequence, rank);
    check_one_of("value", "there are key heads", kv_head, shape().kv_heads);
    return {rows_.value(sequence, s.slot(rank), kv_head), size(shape().value_dim)};
  }

  /// Gives a sequence its pages, for at most its capacity; pages that it has already and keeps stay
  /// as they are. A page may stand in the tables of several sequences, and may then only be read.
  /// Throws Error for pages that are not in the pool, and when held tokens would lose theirs.
  void set_pages(Index sequence, std::span<const Index> pages);

  // Tokens that are dropped leave the sequence, which is from then on one that never had them: those
  // behind them count on from those before, as rows of a vector do behind erase(), so windows and all
  // that goes by the index see the tokens that are left. Positions stay; shift() changes these. What
  // is appended next stands behind the last token that is left.

  /// Drops the tokens whose index is at least this; the next token takes its place.
  /// Throws Error when the index lies beyond the sequence, and for a ring that has overwritten
  /// tokens which would have to come back.
  void truncate(Index sequence, Position index);

  /// Drops the tokens with index [first, last); rows move to close the gap.
  /// Throws Error when the range is not one, or lies beyond the sequence, and when rows of a page
  /// that others share would move.
  void evict(Index sequence, Position first, Position last);

  /// Of the tokens from index `first` on, a draft, keeps those with these indices, the path from its
  /// root that was accepted, and drops the others. An empty path is truncate(sequence, first).
  /// Throws Error when the indices do not rise or are none of the draft's, when a ring has
  /// overwritten one of them, and when rows of a page that others share would move.
  void keep_path(Index sequence, Position first, std::span<const Position> path);

  /// Makes `to` a copy of the tokens of `from` whose index is below `end`. Pages that both have are
  /// shared and not copied: give `to` the full pages of a prefix and one of its own for the rest.
  /// Throws Error when `to` has no room.
  void fork(Index from, Index to, Position end);
  void fork(Index from, Index to) { fork(from, to, next_index(from)); }

  /// Drops all tokens of a sequence; the next one has index 0.
  void clear(Index sequence) { change("clear", sequence).clear(); }

  // --- For those who read or change keys in place ----------------------------------------------

  [[nodiscard]] const Slots& slots(const char* what, Index sequence) const {
    check_sequence(what, sequence);
    return sequences_[size(sequence)].slots;
  }
  [[nodiscard]] Slots& change(const char* what, Index sequence) {
    check_sequence(what, sequence);
    return sequences_[size(sequence)].slots;
  }
  [[nodiscard]] const CacheRows<T>& rows() const { return rows_; }

 protected:
  struct Sequence {
    Slots slots;
    RotatedBy rotated_by{};
  };

  HeldTokens(const CacheShape& sizes, const PagePool<T>& pool, Index sinks, bool by_rank)
      : rows_(checked_rows(sizes, pool, by_rank)), sinks_(sinks), by_rank_(by_rank) {
    for (Index s = 0; s < sizes.sequences; ++s)
      sequences_.push_back({Slots(sizes.capacity, sinks_, rows_.page_tokens(), sizes.axes), {}});
  }
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  /// Builds no name where nothing is wrong.
  static void raise(const Problems& problems, const char* what) {
    if (problems.empty()) return;
    std::string who = "posenc::KeyValueCache::";
    who += what;
    problems.raise_if_any(who);
  }
  POSENC_DETAIL_COLD static void check_one_of(const char* what, const char* rule, Index value,
                                              Index count) {
    if (value >= 0 && value < count) return;
    Problems problems;
    problems.add(rule, " 0 to ", count - 1, ", got ", value, ".");
    raise(problems, what);
  }
  POSENC_DETAIL_COLD void check_sequence(const char* what, Index sequence) const {
    check_one_of(what, "there are sequences", sequence, shape().sequences);
  }
  [[nodiscard]] const Slots& slots_of_token(const char* what, Index sequence, Index rank) const {
    const Slots& s = slots(what, sequence);
    Problems problems;
    problems.require(rank >= 0 && rank < s.tokens(), "sequence ", sequence, " holds ", s.tokens(),
                     " tokens, so there is none of rank ", rank, ".");
    raise(problems, what);
    return s;
  }

  CacheRows<T> rows_;
  Index sinks_;
  bool by_rank_;
  std::vector<Sequence> sequences_;

 private:
  /// Drops the tokens with index [first, last) but for some that are held.
  void remove(const char* what, Index sequence, Position first, Position last,
              std::span<const Position> kept = {});

  static CacheRows<T> checked_rows(CacheShape sizes, const PagePool<T>& pool, bool by_rank) {
    if (sizes.value_dim == 0) sizes.value_dim = sizes.head_dim;
    Problems problems;
    CacheRows<T> rows(problems, sizes, pool);
    problems.require(
        !by_rank || sizes.axes == 1,
        "positions of a streaming cache are places in it and have one coordinate, got ", sizes.axes,
        ".");
    problems.raise_if_any("posenc::KeyValueCache");
    return rows;
  }
};

template <Element T>
void HeldTokens<T>::set_pages(Index sequence, std::span<const Index> pages) {
  check_sequence("set_pages", sequence);
  Problems problems;
  rows_.check_pages(problems, sequence, pages, sequences_[size(sequence)].slots.tokens());
  raise(problems, "set_pages");
  rows_.set_pages(sequence, pages);
}

template <Element T>
void HeldTokens<T>::truncate(Index sequence, Position index) {
  Slots& s = change("truncate", sequence);
  Problems problems;
  problems.require(index >= 0 && index <= s.next_index(), "sequence ", sequence,
                   " has tokens up to index ", s.next_index(), ", so it cannot end at ", index,
                   ".");
  raise(problems, "truncate");
  const Index kept = s.rank_of(index);
  problems.require(kept == s.tokens() || kept == index, "a ring of ", sinks_, " sinks and ",
                   shape().capacity - sinks_, " more that ends at ", index,
                   " holds the tokens from ",
                   std::max<Position>(sinks_, index - (shape().capacity - sinks_)),
                   " on, but those before ", s.overwritten(), " are overwritten.");
  raise(problems, "truncate");
  s.truncate(index);
}

template <Element T>
void HeldTokens<T>::evict(Index sequence, Position first, Position last) {
  const Slots& s = slots("evict", sequence);
  Problems problems;
  problems.require(first >= 0 && first <= last && last <= s.next_index(), "sequence ", sequence,
                   " has tokens up to index ", s.next_index(), ", so [", first, ", ", last,
                   ") is no range of them.");
  raise(problems, "evict");
  remove("evict", sequence, first, last);
}

template <Element T>
void HeldTokens<T>::keep_path(Index sequence, Position first, std::span<const Position> path) {
  const Slots& s = slots("keep_path", sequence);
  Problems problems;
  problems.require(first >= 0 && first <= s.next_index(), "sequence ", sequence,
                   " has tokens up to index ", s.next_index(), ", so no draft of it begins at ",
                   first, ".");
  for (std::size_t i = 0; problems.empty() && i < path.size(); ++i) {
    const Position index = path[i];
    if (index < first || index >= s.next_index())
      problems.add("the draft of sequence ", sequence, " has the indices [", first, ", ",
                   s.next_index(), "), so its path cannot go through ", index, ".");
    else if (i > 0 && index <= path[i - 1])
      problems.add("the indices of a path must rise, got ", index, " after ", path[i - 1], ".");
    else if (!s.holds(index))
      problems.add("sequence ", sequence, " is a ring of ", s.capacity(),
                   " tokens that has overwritten token ", index,
                   " of the path: make it longer by the tokens of a draft.");
  }
  raise(problems, "keep_path");
  remove("keep_path", sequence, first, s.next_index(), path);
}

template <Element T>
void HeldTokens<T>::remove(const char* what, Index sequence, Position first, Position last,
                           std::span<const Position> kept) {
  Slots& s = change(what, sequence);
  const Index from = s.rank_of(first), to = s.rank_of(last), stay = std::ssize(kept);
  Index in_place = 0;  // those at the beginning that do not move
  while (in_place < stay && kept[size(in_place)] == first + in_place) ++in_place;
  Problems problems;
  if (!is_ring() && to - from > stay)
    rows_.check_own(problems, sequence, from + in_place, from + stay + s.tokens() - to);
  raise(problems, what);
  s.remove(first, last, kept,
           [&](Index source, Index target) { rows_.copy(sequence, source, sequence, target); });
}

template <Element T>
void HeldTokens<T>::fork(Index from, Index to, Position end) {
  const Slots& source = slots("fork", from);
  Slots& target = change("fork", to);
  Problems problems;
  problems.require(from != to, "a sequence cannot be forked into itself, got ", from, " twice.");
  problems.require(end >= 0 && end <= source.next_index(), "sequence ", from,
                   " has tokens up to index ", source.next_index(), ", so it cannot be forked at ",
                   end, ".");
  raise(problems, "fork");
  const Index tokens = source.rank_of(end);
  problems.require(!is_ring() || tokens == source.tokens(),
                   "a ring can be forked only as a whole, at ", source.next_index(), ", not at ",
                   end, ".");
  const Index room = rows_.room(to);
  problems.require(tokens <= room, "sequence ", to, " has pages for ", room, " tokens, but ",
                   tokens, " are to be forked into it: give it more with set_pages().");
  raise(problems, "fork");
  source.for_runs(0, tokens, [&](const SlotRun& run) {
    if (!rows_.share(from, to, run.slot))
      rows_.check_own(problems, to, run.slot, run.slot + run.tokens);
  });
  raise(problems, "fork");
  source.for_runs(0, tokens, [&](const SlotRun& run) {
    if (rows_.share(from, to, run.slot)) return;
    for (Index i = 0; i < run.tokens; ++i) rows_.copy(from, run.slot + i, to, run.slot + i);
  });
  target.copy(source, end);
  sequences_[size(to)].rotated_by = sequences_[size(from)].rotated_by;
}

}  // namespace detail

POSENC_NAMESPACE_END
