// SPDX-License-Identifier: MIT
//
// shift and rebase: stored keys move to other positions, or to another encoding.
//
// Rotations form a group, so a key that was rotated at m and is rotated by `by` more is the key at
// m + by; and a key rotated by angles m w_i becomes one rotated by m w'_i when it is rotated by
// m (w'_i - w_i). Either is one pass over the keys, unitary: the attention factor is no part of a
// stored key, so nothing is applied twice. In float the passes add one rounding each; 16-bit keys
// are rounded to their element each time.
//
//   shift(cache, sequence, first, last, by, bound)     after evict(), to close the gap; by < 0
//   rebase(cache, sequence, from, to)                  LongRoPEShort to LongRoPELong, another base
//
// Raw keys have no angles: shift only says where they stand.
#pragma once

#include <posenc/cache/key_value_cache.hpp>
#include <posenc/executor/chunks.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class E>
inline constexpr bool embeds_positions = false;
template <class... Ts>
inline constexpr bool embeds_positions<Encoding<Ts...>> = (false || ... || InputEmbedding<Ts>);

inline constexpr const char* embedded_positions =
    "shift cannot move keys of an encoding that adds positions to embeddings (Sinusoidal, "
    "LearnedAbsolute): position has gone into them before the projection. Compute these keys anew.";

/// Calls f(slot, tokens, head) for the rows of ranks [first, last) of all heads, in parallel where
/// that is worth a thread's start.
template <class CacheT, class F>
void for_rows(const AnyExecutor& executor, const CacheT& cache, const Slots& slots, Index first,
              Index last, const F& f) {
  const Index tokens = last - first;
  constexpr Index worth_a_thread = Index{1} << 17;  // bytes
  const Index row = cache.shape().head_dim * static_cast<Index>(sizeof(typename CacheT::element));
  for_chunks(executor, tokens * cache.shape().kv_heads, worth_a_thread / row + 1,
             [&](Index begin, Index end) {
               for (Index at = begin; at < end;) {
                 const Index head = at / tokens, rank = at % tokens;
                 const Index n = std::min(end - at, tokens - rank);
                 slots.for_runs(first + rank, first + rank + n,
                                [&](const SlotRun& run) { f(run.slot, run.tokens, head); });
                 at += n;
               }
             });
}

/// Reports a range of tokens that may not be changed.
template <class CacheT>
POSENC_DETAIL_COLD void check_change(Problems& problems, const CacheT& cache, Index sequence,
                                     Position first, Position last, const Slots& slots) {
  problems.require(first >= 0 && first <= last && last <= slots.next_index(), "sequence ", sequence,
                   " has tokens up to index ", slots.next_index(), ", so [", first, ", ", last,
                   ") is no range of them.");
  problems.require(!cache.is_streaming(),
                   "positions of a streaming cache are places in it and cannot be changed.");
  if (!problems.empty() || CacheT::state == KeyState::raw) return;
  slots.for_runs(slots.rank_of(first), slots.rank_of(last), [&](const SlotRun& run) {
    if (problems.empty())
      cache.rows().check_own(problems, sequence, run.slot, run.slot + run.tokens);
  });
}

template <class CacheT>
POSENC_DETAIL_COLD void check_shift(Problems& problems, const CacheT& cache, Index sequence,
                                    Position first, Position last, Position by,
                                    const Slots& slots) {
  check_change(problems, cache, sequence, first, last, slots);
  problems.require(by >= -2 * greatest_position && by <= 2 * greatest_position,
                   "positions must lie within +-2^52, so they cannot be shifted by ", by, ".");
  if (!problems.empty()) return;
  const auto check = [&](Position p) {
    if (problems.empty() && (p + by < -greatest_position || p + by > greatest_position))
      problems.add("positions must lie within +-2^52, but ", p, " would be shifted by ", by, ".");
  };
  for (Index rank = slots.rank_of(first); rank < slots.rank_of(last); ++rank)
    for (int axis = 0; axis < cache.shape().axes; ++axis) check(slots.position(rank, axis));
  // Tokens to come move with the last one, also where a ring has overwritten that.
  if (first < last && last == slots.next_index()) check(slots.next_position() - 1);
}

POSENC_DETAIL_COLD inline void check_exact(Problems& problems, Angles angles) {
  problems.require(angles == Angles::exact,
                   "only exact angles add up (Angles::exact): those of a peer round differently at "
                   "every position, so keys have to be rotated anew.");
}

}  // namespace detail

/// Adds `by` to the positions, all coordinates of them, of the tokens with index [first, last), and
/// rotates their keys along (values too under RotateValues).
/// Throws Error for a range beyond the sequence, positions beyond +-2^52, shared pages.
template <KeyState State, class T, class E>
void shift(KeyValueCache<State, T>& cache, Index sequence, Position first, Position last,
           Position by, const Bound<E>& bound, const AnyExecutor& executor = {}) {
  const detail::Answers& answers = bound.answers();
  detail::require_state<State, E>();
  static_assert(State != KeyState::reduced,
                "posenc: shift cannot move reduced keys (KeyState::reduced): their place within a "
                "chunk is no rotation of the one they have. Keep raw keys.");
  static_assert(!detail::embeds_positions<E>,
                "posenc: shift cannot move keys of an encoding that adds positions to embeddings "
                "(Sinusoidal, LearnedAbsolute): position has gone into them before the projection. "
                "Compute these keys anew.");
  detail::Slots& slots = cache.change("shift", sequence);
  Problems problems;
  problems.require(!answers.facts().embeds_positions, detail::embedded_positions);
  detail::check_cache_fits(problems, cache.shape(), State, answers);
  cache.check_rotated_by(problems, sequence, answers);
  detail::check_shift(problems, cache, sequence, first, last, by, slots);
  problems.raise_if_any("posenc::shift");
  using LayoutT = typename Bound<E>::layout;
  constexpr bool may_rotate =
      State == KeyState::rotated && !std::is_same_v<LayoutT, detail::NoLayout>;
  if constexpr (may_rotate)
    if (answers.rotates()) {
      const Index from = slots.rank_of(first), to = slots.rank_of(last);
      detail::check_exact(problems, answers.angles());
      const RotaryState& state = answers.rotary().state;
      for (Index rank = from; rank < to && state.growth.size() != 0 && problems.empty(); ++rank)
        detail::check_growth<T>(problems, state, Positions(slots.position(rank) + by), 1);
      problems.raise_if_any("posenc::shift");
      // All rows turn by one angle: to the leaf they are the heads of one token. Magnitudes of xPos
      // may need two steps: from one end of their reach to the other no float has the factor.
      const double reach = detail::growth_reach(state);
      const auto step = [&](Position left) {
        if (std::abs(static_cast<double>(left)) <= reach) return left;
        return left < 0 ? -static_cast<Position>(reach) : static_cast<Position>(reach);
      };
      Rotary rotary{state, answers.rotary().offset, answers.rotary().layout};
      rotary.state.centre = 0;  // growth by the same distance wherever they stand
      {
        detail::for_rows(executor, cache, slots, from, to, [&](Index slot, Index n, Index head) {
          const AngleTable& angles = answers.rotary().of(head).angles;
          const auto turn = [&](T* rows, Index width, const Turn& how) {
            const TensorView<T> x(rows, 1, n, width, 0, width);
            for (Position left = by; left != 0; left -= step(left))
              detail::rotate_rows_at_level<LayoutT, T, T>(rotary, angles, how,
                                                          Positions(step(left)), x, x);
          };
          turn(cache.rows().key(sequence, slot, head), cache.shape().head_dim, {.side = Side::key});
          if (answers.facts().rotates_values)
            turn(cache.rows().value(sequence, slot, head), cache.shape().value_dim, {});
        });
      }
    }
  slots.shift(first, last, by);
}

/// The same for raw keys of any encoding.
template <class T>
void shift(KeyValueCache<KeyState::raw, T>& cache, Index sequence, Position first, Position last,
           Position by) {
  detail::Slots& slots = cache.change("shift", sequence);
  Problems problems;
  detail::check_shift(problems, cache, sequence, first, last, by, slots);
  problems.raise_if_any("posenc::shift");
  slots.shift(first, last, by);
}

/// Rotates the keys of a sequence from one encoding to another; their positions stay.
/// Throws Error when `from` is not what rotated them, or the two rotate other channels.
template <class T, class E, class F>
void rebase(KeyValueCache<KeyState::rotated, T>& cache, Index sequence, const Bound<E>& from,
            const Bound<F>& to, const AnyExecutor& executor = {}) {
  using LayoutT = typename Bound<E>::layout;
  detail::require_state<KeyState::rotated, E>();
  detail::require_state<KeyState::rotated, F>();
  if constexpr (detail::is_static<E> && detail::is_static<F>) {
    static_assert(Bound<E>::has_rotary && Bound<F>::has_rotary,
                  "posenc: rebase rotates keys from one rotary encoding to another, so both need a "
                  "rotary base.");
    static_assert(std::is_same_v<LayoutT, typename Bound<F>::layout>,
                  "posenc: rebase cannot change the layout of keys (HalfSplit, Interleaved).");
    static_assert(Bound<E>::rotates_values == Bound<F>::rotates_values,
                  "posenc: rebase cannot begin or end to rotate values (RotateValues).");
  }
  const Rotary &own = from.answers().rotary(), &next = to.answers().rotary();
  const RotaryState &a = own.state, &b = next.state;
  detail::Slots& slots = cache.change("rebase", sequence);
  Problems problems;
  problems.require(from.answers().rotates() && to.answers().rotates(),
                   "rebase rotates keys from one rotary encoding to another, so both need a rotary "
                   "base.");
  problems.require(own.layout == next.layout,
                   "rebase cannot change the layout of keys (HalfSplit, Interleaved).");
  const bool rotates_values = from.answers().facts().rotates_values;
  problems.require(rotates_values == to.answers().facts().rotates_values,
                   "rebase cannot begin or end to rotate values (RotateValues).");
  problems.raise_if_any("posenc::rebase");
  detail::check_cache_fits(problems, cache.shape(), KeyState::rotated, from.answers());
  detail::check_cache_fits(problems, cache.shape(), KeyState::rotated, to.answers());
  cache.check_rotated_by(problems, sequence, from.answers());
  detail::check_change(problems, cache, sequence, 0, slots.next_index(), slots);
  detail::check_exact(problems, from.answers().angles());
  detail::check_exact(problems, to.answers().angles());
  problems.require(own.offset == next.offset && a.rotary_dim == b.rotary_dim && a.axis == b.axis,
                   "both encodings must rotate the same channels by the same coordinates, but one "
                   "rotates ",
                   a.rotary_dim, " from channel ", own.offset, " and the other ", b.rotary_dim,
                   " from ", next.offset, ".");
  const bool same_growth = a.growth.size() == b.growth.size() && (a.growth == b.growth).all() &&
                           (a.growth.size() == 0 || a.centre == b.centre);
  problems.require(same_growth,
                   "rebase changes angles, but the two encodings have other magnitudes (XPos).");
  problems.raise_if_any("posenc::rebase");

  const auto between = [&](const RotaryState& before, const RotaryState& after) {
    Rotary rotary{before, own.offset, own.layout};
    rotary.state.inv_freq = after.inv_freq - before.inv_freq;
    rotary.state.growth.resize(0);
    rotary.angles = AngleTable(rotary.state);
    return rotary;
  };
  Rotary rotary = between(a, b);
  const bool turn_alike = a.head_scale.size() + b.head_scale.size() == 0;
  for (Index h = 0; !turn_alike && h < cache.shape().kv_heads; ++h)
    rotary.heads.push_back(between(a.of_head(h), b.of_head(h)));
  {
    const auto turn = [&](const TensorView<T>& x, const Positions& positions) {
      detail::for_rates(rotary, [&](const Rotary& some, const detail::HeadShare& share) {
        const TensorView<T> heads = detail::heads_of(x, share);
        detail::rotate_rows_at_level<LayoutT, T, T>(some, some.angles, {}, positions, heads, heads);
      });
    };
    // All heads of a token that turn alike share its angles.
    constexpr Index worth_a_thread = Index{1} << 17;  // bytes
    const Index token = cache.shape().kv_heads * cache.shape().head_dim * Index{sizeof(T)};
    for_chunks(executor, slots.tokens(), worth_a_thread / token + 1, [&](Index first, Index last) {
      slots.for_runs(first, last, [&](const detail::SlotRun& run) {
        const Positions positions = slots.positions(run.slot, run.tokens);
        turn(cache.rows().keys(sequence, run.slot, run.tokens), positions);
        if (rotates_values) turn(cache.rows().values(sequence, run.slot, run.tokens), positions);
      });
    });
  }
  slots.rewrite();
  cache.set_rotated_by(sequence, to.answers());
}

POSENC_NAMESPACE_END
