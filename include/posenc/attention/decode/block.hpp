// SPDX-License-Identifier: MIT
//
// DecodeBlock: keys that a block of queries meets together, and what masks and distances say of them. They
// follow one another in the sequence, or leave some tokens out, and lie in one place of memory or in several.
#pragma once

#include <posenc/attention/decode/call.hpp>
#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/score/tile.hpp>

#include <algorithm>
#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Where the keys of a block lie.
struct KeyRuns {
  std::array<KeyRun, static_cast<std::size_t>(DecodePlan::most_runs)> run;
  Index count = 0, tokens = 0;

  [[nodiscard]] bool is_full() const {
    return tokens == DecodePlan::block_keys || count == DecodePlan::most_runs;
  }
  void add(const KeyRun& next) {
    run[static_cast<std::size_t>(count++)] = next;
    tokens += next.tokens;
  }
  void clear() { count = tokens = 0; }
};

template <class U>
struct DecodeBlock {
  const DecodeSequence<U>& sequence;
  const KeyRuns& runs;
  Index first = 0, keys = 0;  ///< of all keys of the runs, these
  Tile where{};               ///< of all heads
  RegionSet regions = 1;      ///< that may occur
  TileClass mask = TileClass::full;
  bool by_head = false;  ///< some heads may see nothing of it

  /// Masks that hide a part of it from some head make it partial. Where each head sees all of it or nothing,
  /// it is full, need not be divided, and is hidden from those that see nothing.
  DecodeBlock(const Answers& answers, const DecodeShape& shape, const DecodeBuffers<U>& buffers,
              const DecodeSequence<U>& of, Index queries, const KeyRuns& in, Index from,
              Index count)
      : sequence(of), runs(in), first(from), keys(count),
        where{bounds(buffers.query, queries),       {},
              bounds(buffers.query_index, queries), {},
              {of.head, of.head + shape.heads - 1}, of.sequence} {
    for_runs([&](const KeyRun& run, Index at, const KeyRun*) {
      const Interval places = bounds(run.positions, 0, run.tokens);
      const Interval index{run.index, run.index + run.tokens - 1};
      where.key = at == 0 ? places : hull(where.key, places);
      where.key_index = at == 0 ? index : hull(where.key_index, index);
    });
    regions = answers.map().occurring(where);
    mask = answers.classify(where);
    by_head = mask == TileClass::partial;
    if (!by_head) return;
    mask = TileClass::full;
    for (Index h = 0; h < shape.kv_heads && mask == TileClass::full; ++h)
      if (of_heads(answers, h, shape.heads / shape.kv_heads) == TileClass::partial)
        mask = TileClass::partial;
  }

  /// Calls f(run, place of its first key in the block, the run behind it or null) for each place in memory.
  template <class F>
  void for_runs(const F& f) const {
    Index at = 0;  // of the runs
    for (Index i = 0; at < first + keys; ++i) {
      const KeyRun& run = runs.run[static_cast<std::size_t>(i)];
      const Index begin = std::max(first, at), end = std::min(first + keys, at + run.tokens);
      if (begin < end) {
        if (end - begin == run.tokens)
          f(run, begin - first, end < first + keys ? &run + 1 : nullptr);
        else
          f(sequence.keys.some_of(run, begin - at, end - begin), begin - first,
            end < first + keys ? &run + 1 : nullptr);
      }
      at += run.tokens;
    }
  }

  [[nodiscard]] bool is_hidden_from(const Answers& answers, Index kv_head, Index group) const {
    return by_head && of_heads(answers, kv_head, group) == TileClass::none;
  }
  /// Query heads of a key head, of those that the task serves.
  [[nodiscard]] Interval heads_of(Index kv_head, Index group) const {
    return {sequence.head + kv_head * group, sequence.head + (kv_head + 1) * group - 1};
  }

 private:
  [[nodiscard]] static Interval hull(const Interval& a, const Interval& b) {
    return {std::min(a.first, b.first), std::max(a.last, b.last)};
  }
  [[nodiscard]] TileClass of_heads(const Answers& answers, Index kv_head, Index group) const {
    Tile tile = where;
    tile.heads = heads_of(kv_head, group);
    return answers.classify(tile);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
