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
// index of a token is the number of tokens of the sequence before it, which is less when some of
// these are evicted). They check first: a call that throws has changed nothing. Different sequences may
// be changed by different threads, unless they share pages; nothing may be read while it is changed.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/cache/held_tokens.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/rotate/tokens.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

struct AppendOptions {
  /// Where the tokens stand; by default they follow the last token of the sequence.
  std::optional<Positions> positions{};
};

template <KeyState State, Element T = float>
class KeyValueCache : public detail::HeldTokens<T> {
  using Base = detail::HeldTokens<T>;

 public:
  static constexpr KeyState state = State;
  using element = T;
  // Beside these: tokens, next_index, next_position, index, position, key, value, set_pages, truncate,
  // evict, keep_path, fork, clear (cache/held_tokens.hpp).
  using Base::shape, Base::is_ring;

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

  // --- For those who read or change keys in place ----------------------------------------------

  /// Reports keys of a sequence that another encoding than this has rotated.
  POSENC_DETAIL_COLD void check_rotated_by(Problems& problems, Index sequence,
                                           const detail::Answers& answers) const {
    const auto& s = sequences_[size(sequence)];
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
  using Base::by_rank_, Base::check_sequence, Base::raise, Base::rows_, Base::sequences_,
      Base::size;

  KeyValueCache(const CacheShape& sizes, const PagePool<T>& pool, Index sinks, bool by_rank)
      : Base(sizes, pool, sinks, by_rank) {}

  static constexpr auto nothing_to_rotate = [](Index, const Positions&, auto, auto, auto, auto) {
    return false;
  };
  POSENC_DETAIL_COLD static void check_sinks(const char* what, const CacheShape& shape,
                                             Index sinks) {
    Problems problems;
    problems.require(sinks >= 0 && sinks < shape.capacity,
                     "a ring keeps its sinks and at least one token more, got ", sinks,
                     " sinks for a capacity of ", shape.capacity, ".");
    raise(problems, what);
  }

  template <class X, class Rotate>
  void append_rows(const char* what, Index sequence, const TensorView<const X>& k,
                   const TensorView<const X>& v, const AppendOptions& options,
                   const Rotate& rotate);
  template <class X>
  POSENC_DETAIL_COLD void check_appended(Problems& problems, Index sequence,
                                         const TensorView<const X>& k, const TensorView<const X>& v,
                                         const Positions& positions) const;
};

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

POSENC_NAMESPACE_END
