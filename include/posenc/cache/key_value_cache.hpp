// SPDX-License-Identifier: MIT
//
// KeyValueCache: keys and values of the tokens that generation has seen, of one layer, for any
// number of sequences of any lengths.
//
//   KeyValueCache<KeyState::rotated, Eigen::bfloat16> cache =
//       KeyValueCache<KeyState::rotated, Eigen::bfloat16>::contiguous(
//           {.sequences = 8, .kv_heads = 8, .head_dim = 128, .capacity = 32'768});
//   cache.append(sequence, k, v, bound);
//   decode(q, cache, out, bound);
//
// Rows of one head lie side by side, [sequence or page][kv head][token][channel]: a cache with the
// heads of a token side by side would halve the speed at which one query reads it.
//
//   contiguous   room for `capacity` tokens of every sequence
//   ring         the first `sinks` tokens and the most recent ones, `capacity` in all; the rest is
//                overwritten
//   streaming    a ring whose positions are places in the cache (StreamingLLM)
//   paged        pages of an engine's own pool, [page][kv head][page token][channel], as the page
//                table of each sequence says; a page may serve several sequences (a shared prefix)
//
// The state of the keys is part of the type (core/key_state.hpp), the element is float, double,
// bfloat16 or float16; arithmetic is in float, or double. A cache remembers by which encoding its
// keys were rotated and refuses another one. Keys are never multiplied by the attention factor.
//
// Calls that change a sequence say with indices which tokens they mean (see cache/slots.hpp: the
// index of a token is the number of tokens appended before it, and never changes). They check
// first: a call that throws has changed nothing. Different sequences may be changed by different
// threads, unless they share pages; nothing may be read while it is changed.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/cache/rotated_by.hpp>
#include <posenc/cache/rows.hpp>
#include <posenc/cache/slots.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/rotate/tokens.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct AppendOptions {
  /// Where the tokens stand; by default they follow the last token of the sequence.
  std::optional<Positions> positions{};
};

template <KeyState State, Element T = float>
class KeyValueCache {
 public:
  static constexpr KeyState state = State;
  using element = T;

  /// Throws Error for sizes that make no cache or do not fit in memory.
  [[nodiscard]] static KeyValueCache contiguous(const CacheShape& shape) {
    return KeyValueCache(shape, PagePool<T>{.page_tokens = shape.capacity}, shape.capacity, false);
  }
  [[nodiscard]] static KeyValueCache ring(const CacheShape& shape, Index sinks = 0) {
    check_sinks("ring", shape, sinks);
    return KeyValueCache(shape, PagePool<T>{.page_tokens = shape.capacity}, sinks, false);
  }
  /// Positions of tokens are their ranks, 0 to capacity - 1, for rotations and biases alike. Keys
  /// move nearer whenever a token is dropped, so they are kept raw.
  [[nodiscard]] static KeyValueCache streaming(const CacheShape& shape, Index sinks = 4) {
    static_assert(
        State == KeyState::raw,
        "posenc: a streaming cache needs raw keys (KeyState::raw): positions are places in "
        "the cache and change whenever a token is dropped, and rotated keys would not "
        "follow.");
    check_sinks("streaming", shape, sinks);
    return KeyValueCache(shape, PagePool<T>{.page_tokens = shape.capacity}, sinks, true);
  }
  /// The pool stays the caller's; set_pages() says which pages a sequence has.
  [[nodiscard]] static KeyValueCache paged(const CacheShape& shape, const PagePool<T>& pool) {
    Problems problems;
    problems.require(pool.pages > 0 && pool.page_tokens > 0,
                     "a pool needs pages of at least one token, got ", pool.pages, " pages of ",
                     pool.page_tokens, " tokens.");
    problems.require(pool.keys && pool.values, "the pool's keys or values are null.");
    problems.raise_if_any("posenc::KeyValueCache::paged");
    return KeyValueCache(shape, pool, shape.capacity, false);
  }

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
    const detail::Slots& s = slots("next_position", sequence);
    return by_rank_ ? std::min(s.tokens(), shape().capacity - 1) : s.next_position();
  }
  /// Index and position of the token of a rank, 0 to tokens() - 1.
  [[nodiscard]] Position index(Index sequence, Index rank) const {
    return slots_of_token("index", sequence, rank).index(rank);
  }
  [[nodiscard]] Position position(Index sequence, Index rank, int axis = 0) const {
    const detail::Slots& s = slots_of_token("position", sequence, rank);
    check_one_of("position", "positions have coordinates", axis, shape().axes);
    return by_rank_ ? rank : s.position(rank, axis);
  }
  /// Keys and values of a token as they are kept.
  [[nodiscard]] std::span<const T> key(Index sequence, Index rank, Index kv_head) const {
    const detail::Slots& s = slots_of_token("key", sequence, rank);
    check_one_of("key", "there are key heads", kv_head, shape().kv_heads);
    return {rows_.key(sequence, s.slot(rank), kv_head), size(shape().head_dim)};
  }
  [[nodiscard]] std::span<const T> value(Index sequence, Index rank, Index kv_head) const {
    const detail::Slots& s = slots_of_token("value", sequence, rank);
    check_one_of("value", "there are key heads", kv_head, shape().kv_heads);
    return {rows_.value(sequence, s.slot(rank), kv_head), size(shape().value_dim)};
  }

  /// Gives a sequence its pages, for at most its capacity; pages that it has already and keeps stay
  /// as they are. A page may stand in the tables of several sequences, and may then only be read.
  /// Throws Error for pages that are not in the pool, and when held tokens would lose theirs.
  void set_pages(Index sequence, std::span<const Index> pages);

  /// Appends tokens, k [tokens, kv_heads, head_dim] as it leaves its projection and v [tokens,
  /// kv_heads, value_dim], in the element of the cache or in what it is computed in.
  /// Throws Error when they do not fit, and when the cache is full (a ring never is).
  template <class X, class E>
  void append(Index sequence, TensorView<X> k, TensorView<X> v, const Bound<E>& bound,
              const AppendOptions& options = {});

  /// The same, for encodings that change neither keys nor values.
  template <class X>
  void append(Index sequence, TensorView<X> k, TensorView<X> v, const AppendOptions& options = {}) {
    static_assert(State == KeyState::raw,
                  "posenc: a cache of rotated keys has to know how to rotate them: call "
                  "append(sequence, k, v, bound).");
    append_rows<std::remove_const_t<X>>("append", sequence, k, v, options, nothing_to_rotate);
  }

  /// Drops the tokens whose index is at least this; the next token takes its place.
  /// Throws Error when the index lies beyond the sequence, and for a ring that has overwritten
  /// tokens which would have to come back.
  void truncate(Index sequence, Position index);

  /// Drops the tokens with index [first, last); positions and indices of the others stay. Rows move
  /// to close the gap.
  /// Throws Error when the range is not one, or lies beyond the sequence.
  void evict(Index sequence, Position first, Position last);

  /// Makes `to` a copy of the tokens of `from` whose index is below `end`. Pages that both have are
  /// shared and not copied: give `to` the full pages of a prefix and one of its own for the rest.
  /// Throws Error when `to` has no room.
  void fork(Index from, Index to, Position end);
  void fork(Index from, Index to) { fork(from, to, next_index(from)); }

  /// Drops all tokens of a sequence; the next one has index 0.
  void clear(Index sequence) { change("clear", sequence).clear(); }

  // --- For those who read or change keys in place ----------------------------------------------

  [[nodiscard]] const detail::Slots& slots(const char* what, Index sequence) const {
    check_sequence(what, sequence);
    return sequences_[size(sequence)].slots;
  }
  [[nodiscard]] detail::Slots& change(const char* what, Index sequence) {
    check_sequence(what, sequence);
    return sequences_[size(sequence)].slots;
  }
  [[nodiscard]] const detail::CacheRows<T>& rows() const { return rows_; }
  /// Reports keys of a sequence that another encoding than this has rotated.
  void check_rotated_by(Problems& problems, Index sequence, const detail::Answers& answers) const {
    const Sequence& s = sequences_[size(sequence)];
    problems.require(State == KeyState::raw || s.slots.tokens() == 0 ||
                         s.rotated_by.matches(answers),
                     "the keys of sequence ", sequence,
                     " were rotated by another encoding (other frequencies, layout or channels): "
                     "rebase() them to this one, or clear the sequence.");
  }
  void set_rotated_by(Index sequence, const detail::Answers& answers) {
    sequences_[size(sequence)].rotated_by = detail::RotatedBy(answers);
  }

 private:
  struct Sequence {
    detail::Slots slots;
    detail::RotatedBy rotated_by{};
  };

  KeyValueCache(const CacheShape& sizes, const PagePool<T>& pool, Index sinks, bool by_rank)
      : rows_(checked_rows(sizes, pool, by_rank)), sinks_(sinks), by_rank_(by_rank) {
    for (Index s = 0; s < sizes.sequences; ++s)
      sequences_.push_back(
          {detail::Slots(sizes.capacity, sinks_, rows_.page_tokens(), sizes.axes), {}});
  }
  static detail::CacheRows<T> checked_rows(CacheShape sizes, const PagePool<T>& pool,
                                           bool by_rank) {
    if (sizes.value_dim == 0) sizes.value_dim = sizes.head_dim;
    Problems problems;
    detail::CacheRows<T> rows(problems, sizes, pool);
    problems.require(
        !by_rank || sizes.axes == 1,
        "positions of a streaming cache are places in it and have one coordinate, got ", sizes.axes,
        ".");
    problems.raise_if_any("posenc::KeyValueCache");
    return rows;
  }

  static constexpr auto nothing_to_rotate = [](Index, const Positions&, auto, auto, auto, auto) {
    return false;
  };
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  /// Builds no name where nothing is wrong.
  static void raise(const Problems& problems, const char* what) {
    if (problems.empty()) return;
    std::string who = "posenc::KeyValueCache::";
    who += what;
    problems.raise_if_any(who);
  }
  static void check_sinks(const char* what, const CacheShape& shape, Index sinks) {
    Problems problems;
    problems.require(sinks >= 0 && sinks < shape.capacity,
                     "a ring keeps its sinks and at least one token more, got ", sinks,
                     " sinks for a capacity of ", shape.capacity, ".");
    raise(problems, what);
  }

  static void check_one_of(const char* what, const char* rule, Index value, Index count) {
    if (value >= 0 && value < count) return;
    Problems problems;
    problems.add(rule, " 0 to ", count - 1, ", got ", value, ".");
    raise(problems, what);
  }
  void check_sequence(const char* what, Index sequence) const {
    check_one_of(what, "there are sequences", sequence, shape().sequences);
  }
  [[nodiscard]] const detail::Slots& slots_of_token(const char* what, Index sequence,
                                                    Index rank) const {
    const detail::Slots& s = slots(what, sequence);
    Problems problems;
    problems.require(rank >= 0 && rank < s.tokens(), "sequence ", sequence, " holds ", s.tokens(),
                     " tokens, so there is none of rank ", rank, ".");
    raise(problems, what);
    return s;
  }

  template <class X, class Rotate>
  void append_rows(const char* what, Index sequence, const TensorView<const X>& k,
                   const TensorView<const X>& v, const AppendOptions& options,
                   const Rotate& rotate);
  template <class X>
  void check_appended(Problems& problems, Index sequence, const TensorView<const X>& k,
                      const TensorView<const X>& v, const Positions& positions) const;

  detail::CacheRows<T> rows_;
  Index sinks_;
  bool by_rank_;
  std::vector<Sequence> sequences_;
};

template <KeyState State, Element T>
void KeyValueCache<State, T>::set_pages(Index sequence, std::span<const Index> pages) {
  check_sequence("set_pages", sequence);
  Problems problems;
  rows_.check_pages(problems, sequence, pages, sequences_[size(sequence)].slots.tokens());
  raise(problems, "set_pages");
  rows_.set_pages(sequence, pages);
}

template <KeyState State, Element T>
template <class X>
void KeyValueCache<State, T>::check_appended(Problems& problems, Index sequence,
                                             const TensorView<const X>& k,
                                             const TensorView<const X>& v,
                                             const Positions& positions) const {
  static_assert(std::is_same_v<X, T> || std::is_same_v<X, arithmetic_t<T>>,
                "posenc: a cache takes keys and values in its own element or in what that is "
                "computed in (float; double for double).");
  detail::check_view(problems, "k", k);
  detail::check_view(problems, "v", v);
  const auto check = [&](const char* name, const auto& x, Index width) {
    problems.require(x.heads == shape().kv_heads && x.width == width, name, " is ",
                     detail::ShapeText(x), " but the cache has ", shape().kv_heads, " heads of ",
                     width, " channels.");
  };
  check("k", k, shape().head_dim);
  check("v", v, shape().value_dim);
  problems.require(k.tokens == v.tokens, "k is ", detail::ShapeText(k), " and v is ",
                   detail::ShapeText(v), ": they must have the same tokens.");
  const detail::Slots& slots = sequences_[size(sequence)].slots;
  const Index free = shape().capacity - slots.tokens();
  problems.require(is_ring() || k.tokens <= free, "sequence ", sequence, " holds ", slots.tokens(),
                   " of at most ", shape().capacity, " tokens, so ", k.tokens, " more do not fit.");
  problems.require(slots.next_index() <= greatest_position - k.tokens,
                   "indices must lie within 2^52, but sequence ", sequence, " is at ",
                   slots.next_index(), ".");
  positions.check(problems, "tokens", k.tokens);
  problems.require(!positions.is_real(), "tokens: a cache takes whole positions, got real ones.");
  problems.require(positions.axes() == 1 || positions.axes() == shape().axes,
                   "tokens: got positions of ", positions.axes(),
                   " coordinates, but the cache keeps ", shape().axes, ".");
  if (!problems.empty() || is_ring()) return;
  const Index room = rows_.room(sequence);
  if (slots.tokens() + k.tokens > room)
    return problems.add("sequence ", sequence, " has pages for ", room, " tokens, so ",
                        slots.tokens(), " and ", k.tokens,
                        " more do not fit: give it more with set_pages().");
  rows_.check_own(problems, sequence, slots.tokens(), slots.tokens() + k.tokens);
}

/// rotate(tokens, positions, k, key rows, v, value rows) stores some consecutive tokens, or returns
/// false to have them copied.
template <KeyState State, Element T>
template <class X, class Rotate>
void KeyValueCache<State, T>::append_rows(const char* what, Index sequence,
                                          const TensorView<const X>& k,
                                          const TensorView<const X>& v,
                                          const AppendOptions& options, const Rotate& rotate) {
  check_sequence(what, sequence);
  detail::Slots& slots = sequences_[size(sequence)].slots;
  Problems problems;
  problems.require(!by_rank_ || !options.positions,
                   "positions of a streaming cache are places in it and cannot be given.");
  const Positions positions = options.positions.value_or(Positions(slots.next_position()));
  check_appended(problems, sequence, k, v, positions);
  raise(problems, what);
  for (Index t = 0; t < k.tokens;) {
    // Tokens that lie one after another are stored together.
    const Index first = slots.add();
    slots.place(first, positions, t);
    Index n = 1;
    const Index page_end = (first / rows_.page_tokens() + 1) * rows_.page_tokens();
    for (; t + n < k.tokens && first + n < page_end && slots.next_slot() == first + n; ++n)
      slots.place(slots.add(), positions, t + n);
    const TensorView<T> key_rows = rows_.keys(sequence, first, n),
                        value_rows = rows_.values(sequence, first, n);
    const TensorView<const X> some_k = detail::tokens_of(k, t, n),
                              some_v = detail::tokens_of(v, t, n);
    if (!rotate(n, positions.subspan(size(t), size(n)), some_k, key_rows, some_v, value_rows)) {
      detail::store_rows(some_k, key_rows);
      detail::store_rows(some_v, value_rows);
    }
    t += n;
  }
}

template <KeyState State, Element T>
template <class X, class E>
void KeyValueCache<State, T>::append(Index sequence, TensorView<X> k, TensorView<X> v,
                                     const Bound<E>& bound, const AppendOptions& options) {
  using From = std::remove_const_t<X>;
  const detail::Answers& answers = bound.answers();
  detail::require_state<State, E>();
  check_sequence("append", sequence);
  Problems problems;
  detail::check_cache_fits(problems, shape(), State, answers);
  check_rotated_by(problems, sequence, answers);
  raise(problems, "append");
  const detail::Slots& slots = sequences_[size(sequence)].slots;
  const bool is_first = slots.tokens() == 0;
  using LayoutT = typename Bound<E>::layout;
  constexpr bool may_rotate = State != KeyState::raw && !std::is_same_v<LayoutT, detail::NoLayout>;
  if (!may_rotate || !answers.rotates()) {
    append_rows<From>("append", sequence, k, v, options, nothing_to_rotate);
  } else if constexpr (may_rotate) {
    const detail::KeyRotation<State, LayoutT> rotation(answers);
    rotation.template check<T>(
        problems, options.positions.value_or(Positions(slots.next_position())), k.tokens);
    raise(problems, "append");
    append_rows<From>("append", sequence, k, v, options, rotation);
  }
  if (State != KeyState::raw && is_first) set_rotated_by(sequence, answers);
}

template <KeyState State, Element T>
void KeyValueCache<State, T>::truncate(Index sequence, Position index) {
  detail::Slots& s = change("truncate", sequence);
  Problems problems;
  problems.require(index >= 0 && index <= s.next_index(), "sequence ", sequence,
                   " has tokens up to index ", s.next_index(), ", so it cannot end at ", index,
                   ".");
  raise(problems, "truncate");
  const Index kept = s.rank_of(index);
  // What a ring holds behind its sinks when it ends there.
  const Position wanted = std::max<Position>(sinks_, index - (shape().capacity - sinks_));
  problems.require(kept == s.tokens() || s.overwritten() <= wanted || index <= sinks_, "a ring of ",
                   sinks_, " sinks and ", shape().capacity - sinks_, " more that ends at ", index,
                   " holds the tokens from ", wanted, " on, but those before ", s.overwritten(),
                   " are overwritten.");
  raise(problems, "truncate");
  s.truncate(kept, index);
}

template <KeyState State, Element T>
void KeyValueCache<State, T>::evict(Index sequence, Position first, Position last) {
  detail::Slots& s = change("evict", sequence);
  Problems problems;
  problems.require(first >= 0 && first <= last && last <= s.next_index(), "sequence ", sequence,
                   " has tokens up to index ", s.next_index(), ", so [", first, ", ", last,
                   ") is no range of them.");
  raise(problems, "evict");
  const Index from = s.rank_of(first), to = s.rank_of(last);
  if (from == to) return;
  if (!is_ring() && to < s.tokens())
    rows_.check_own(problems, sequence, from, s.tokens() - (to - from));
  raise(problems, "evict");
  s.remove(from, to - from,
           [&](Index source, Index target) { rows_.copy(sequence, source, sequence, target); });
}

template <KeyState State, Element T>
void KeyValueCache<State, T>::fork(Index from, Index to, Position end) {
  const detail::Slots& source = slots("fork", from);
  detail::Slots& target = change("fork", to);
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
  source.for_runs(0, tokens, [&](const detail::SlotRun& run) {
    if (!rows_.share(from, to, run.slot))
      rows_.check_own(problems, to, run.slot, run.slot + run.tokens);
  });
  raise(problems, "fork");
  source.for_runs(0, tokens, [&](const detail::SlotRun& run) {
    if (rows_.share(from, to, run.slot)) return;
    for (Index i = 0; i < run.tokens; ++i) rows_.copy(from, run.slot + i, to, run.slot + i);
  });
  target.copy(source, tokens, end);
  sequences_[size(to)].rotated_by = sequences_[size(from)].rotated_by;
}

POSENC_NAMESPACE_END
