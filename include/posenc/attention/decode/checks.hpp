// SPDX-License-Identifier: MIT
//
// What a call to decode has to fulfil, beside what every call has to (call/checks.hpp).
#pragma once

#include <posenc/attention/call/checks.hpp>
#include <posenc/attention/call/distances.hpp>
#include <posenc/attention/decode/call.hpp>
#include <posenc/attention/decode/sequences.hpp>
#include <posenc/core/ragged_batch.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Which sequences of a cache a call names, which of its `tokens` queries are theirs, and where these stand. Options
/// are those of decode() or of select().
template <class Options>
POSENC_DETAIL_COLD void check_queries(Problems& problems, const Options& options,
                                      const CacheShape& shape, Index tokens,
                                      const Answers& answers) {
  const Index sequences =
      options.sequences.empty() ? shape.sequences : std::ssize(options.sequences);
  for (const Index s : options.sequences)
    if (s < 0 || s >= shape.sequences) {
      problems.add("the cache has sequences 0 to ", shape.sequences - 1, ", got ", s, ".");
      break;
    }
  if (options.starts.empty()) {
    problems.require(
        tokens % sequences == 0, "q has ", tokens, " tokens for ", sequences,
        " sequences: give each equally many, or say with starts which belong to which.");
  } else {
    RaggedBatch{.starts = options.starts}.check(problems, tokens);
    problems.require(std::ssize(options.starts) == sequences + 1, "got ", options.starts.size(),
                     " starts for ", sequences,
                     " sequences; there must be one more than sequences.");
  }
  if (options.query_positions)
    check_attended(problems, "queries", *options.query_positions, tokens, answers.rotary().state);
}

template <class U>
POSENC_DETAIL_COLD void check_decode(Problems& problems, const Extent& q, const CacheShape& shape,
                                     KeyState state, const Extent& out, const Answers& answers,
                                     const DecodeOptions<U>& options) {
  const auto dims = [](const Extent& x) { return ShapeText(x); };
  check_view(problems, "q", q);
  check_view(problems, "out", out);
  if (problems.empty()) check_out(problems, q, out);
  check_cache_fits(problems, shape, state, answers);
  check_relative_widths(problems, answers, shape.head_dim, shape.value_dim);
  problems.require(q.heads == answers.shape().num_heads && q.width == shape.head_dim, "q is ",
                   dims(q), " but must have ", answers.shape().num_heads, " heads of ",
                   shape.head_dim, " channels.",
                   swap_hint(q.tokens == answers.shape().num_heads && q.width == shape.head_dim));
  problems.require(
      out.tokens == q.tokens && out.heads == q.heads && out.width == shape.value_dim, "out is ",
      dims(out), " but must be [", q.tokens, ", ", q.heads, ", ", shape.value_dim, "].",
      swap_hint(out.tokens == q.heads && out.heads == q.tokens && out.width == shape.value_dim));
  check_queries(problems, options, shape, q.tokens, answers);
  check_by_row(problems, "lse", std::ssize(options.lse), q);
  check_statistics(problems, options.rows, q);
}

/// Reports a ring that has overwritten keys which a query may see: those that were overwritten last
/// are the first to be missed, and those that were overwritten first where the mask has more sinks. A
/// streaming cache forgets on purpose.
POSENC_DETAIL_COLD inline void check_overwritten(Problems& problems, Index sequence,
                                                 const Slots& slots, Index queries,
                                                 const Answers& answers) {
  const Position first = slots.first_overwritten(), last = slots.overwritten() - 1;
  if (last < first || queries == 0) return;
  for (Index rank = slots.tokens() - queries; rank < slots.tokens(); ++rank) {
    const Position query = slots.index(rank);
    const auto is_missed = [&](Position key, Index head) {
      return !slots.holds(key) && answers.visible(Score{query, key, query, key, head, sequence});
    };
    Position missed = -1;
    constexpr Position some = 64;  // a mask may leave out every other one
    for (Position key = last; missed < 0 && key >= std::max(first, last - some); --key)
      if (is_missed(key, 0)) missed = key;
    for (Position key = first; missed < 0 && key <= std::min(last, first + some); ++key)
      if (is_missed(key, 0)) missed = key;
    for (Index head = 1; missed < 0 && head < answers.shape().num_heads; ++head)
      if (is_missed(last, head)) missed = last;
    problems.require(
        missed < 0, "sequence ", sequence, " is a ring of ", slots.capacity(),
        " tokens that has overwritten token ", missed, ", which the mask lets query ", query,
        " see: use a mask of that reach (SlidingWindow, SinkWindow, StreamingLLM, ...), a "
        "longer ring, or KeyValueCache::streaming, which forgets on purpose.");
    if (missed >= 0) return;
  }
}

/// Reports keys that queries cannot meet, where they stand: too far for vectors by distance, or for the magnitudes of
/// xPos.
template <class U>
POSENC_DETAIL_COLD void check_keys(Problems& problems, const DecodeSequence<U>& of,
                                   const Answers& answers) {
  const RotaryState& rotary = answers.rotary().state;
  const KeySource<U>& keys = of.keys;
  for (Index q = 0; answers.relative().limited && q < of.queries; ++q)
    keys.for_runs(0, keys.tokens, keys.tokens, [&](const KeyRun& run) {
      const Coordinates at{of.index(of.self, q), run.index, of.place(of.self, q), run.positions};
      DistanceCheck(answers, at, of.sequence)(problems, 1, run.tokens);
    });
  if (rotary.growth.size() == 0) return;
  keys.for_runs(0, keys.tokens, keys.tokens, [&](const KeyRun& run) {
    if (problems.empty()) check_attended(problems, "keys", run.positions, run.tokens, rotary);
  });
  for (Index q = 0; q < of.queries && problems.empty(); ++q)
    check_attended(problems, "queries", of.place(of.self, q), 1, rotary);
}

/// Reports what is wrong with the tokens of one sequence. `are_chosen`: only some keys are read, which are checked for
/// themselves, and those that a mask shows need not be there.
template <class CacheT, class T>
POSENC_DETAIL_COLD void check_sequence(Problems& problems, const CacheT& cache, Index sequence,
                                       const CachedSequence<T>& one, const Answers& answers,
                                       bool are_chosen) {
  const Slots& slots = one.keys.slots();
  const Index tokens = slots.tokens();
  problems.require(one.queries <= tokens, "sequence ", sequence, " holds ", tokens,
                   " tokens but has ", one.queries,
                   " queries: append their keys and values before decode().");
  cache.check_rotated_by(problems, sequence, answers);
  if (one.queries > tokens) return;
  const std::size_t before = problems.sentences().size();
  if (one.queries > 0)
    check_known_tokens(problems, answers, sequence, {slots.index(0), slots.index(tokens - 1)});
  if (problems.sentences().size() > before || are_chosen) return;
  if (!cache.is_streaming()) check_overwritten(problems, sequence, slots, one.queries, answers);
  check_keys(problems, decode_sequence(&one, nullptr, sequence, one.first, one.queries), answers);
}

}  // namespace detail

POSENC_NAMESPACE_END
