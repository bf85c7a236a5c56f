// SPDX-License-Identifier: MIT
//
// DecodeBlock: keys that lie one after another and have consecutive indices, and what masks and distances say of
// them and a block of queries.
#pragma once

#include <posenc/attention/decode/call.hpp>
#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/score/tile.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
struct DecodeBlock {
  KeyRun run{};
  Tile where{};           ///< of all heads
  RegionSet regions = 1;  ///< that occur
  TileClass mask = TileClass::full;
  bool by_head = false;  ///< some heads may see nothing of it

  /// Masks that hide a part of it from some head make it partial. Where each head sees all of it or nothing,
  /// it is full, need not be divided, and is hidden from those that see nothing.
  DecodeBlock(const Answers& answers, const DecodeShape& shape, const DecodeBuffers<U>& buffers,
              const DecodeSequence<U>& sequence, Index queries, const KeyRun& of)
      : run(of), where{bounds(buffers.query, queries),
                       bounds(of.positions, 0, of.tokens),
                       bounds(buffers.query_index, queries),
                       {of.index, of.index + of.tokens - 1},
                       {0, shape.heads - 1},
                       sequence.sequence},
        regions(answers.map().occurring(where)), mask(answers.classify(where)),
        by_head(mask == TileClass::partial) {
    if (!by_head) return;
    mask = TileClass::full;
    for (Index h = 0; h < shape.kv_heads && mask == TileClass::full; ++h)
      if (of_heads(answers, h, shape.heads / shape.kv_heads) == TileClass::partial)
        mask = TileClass::partial;
  }

  [[nodiscard]] Index keys() const { return run.tokens; }
  [[nodiscard]] bool is_hidden_from(const Answers& answers, Index kv_head, Index group) const {
    return by_head && of_heads(answers, kv_head, group) == TileClass::none;
  }

  /// Query heads of a key head.
  static Interval heads_of(Index kv_head, Index group) {
    return {kv_head * group, (kv_head + 1) * group - 1};
  }

 private:
  [[nodiscard]] TileClass of_heads(const Answers& answers, Index kv_head, Index group) const {
    Tile tile = where;
    tile.heads = heads_of(kv_head, group);
    return answers.classify(tile);
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
