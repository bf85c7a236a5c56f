// SPDX-License-Identifier: MIT
//
// FocusedTransformer: keys of earlier windows look as if each were the first token of the query's own window.
//
//   Tworkowski et al., "Focused Transformer: Contrastive Training for Context Scaling", arXiv 2307.03170;
//   CStanKonrad/long_llama, src/modeling_longllama.py (LongLLaMA's memory layers).
//
//   g(n, m) = n - m      m in the window of n
//             p(n)       m in an earlier one                          p(n): the query's place in its window
//            -p(m)       m in a later one, so that g(m, n) = -g(n, m)
//
// Windows of `window` tokens begin at multiples of it. Keys of earlier windows are the memory: they are kept without a
// rotation, so all of them are equally far, and a query, which stands at its place in the window, tells them apart by
// content alone. One softmax goes over the window and the memory. No distance exceeds window - 1. Up to that length it is
// RoPE.
//
// The reference reads a long prompt in windows of its context length and ends with a shorter one, of which tokens that
// are generated become a part: `last` is the index where that one begins. From there on windows count anew.
//
// Errata. The paper's models find the best keys of the memory by a k-nearest-neighbour search; the released LongLLaMA has
// none and attends to the whole memory, as this does. To choose keys, take a selector for raw keys
// (docs/selection.md). Only some layers have a memory (6, 12 and 18 of the 3B model, 8, 16 and 24 of the 7B code model);
// the others see their own window alone, which is RoPE with ChunkedCausal{.chunk = window}. The configuration
// mem_positionals = false leaves out rotations in memory layers: that is an encoding without RoPE.
//
// Cache: raw keys (a key is seen at its place in its window, and unrotated).
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/distance/threshold.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

struct FocusedTransformer {
  static constexpr Position none = -1;

  Position window = 2048;  ///< tokens of a window: 2,048 of LongLLaMA-3B, 4,096 of its code model
  Position last = none;    ///< where the last window begins; none: at a multiple like the others

  enum Region : int { local, memory, future };
  static constexpr int num_regions = 3;

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const int r = region(query, key);
    return query_position(r, query) - static_cast<double>(key_position(r, key));
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    const Position q = begin_of(query), k = begin_of(key);
    return q == k ? local : q > k ? memory : future;
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    const Interval q{begin_of(tile.query.first), begin_of(tile.query.last)},
        k{begin_of(tile.key.first), begin_of(tile.key.last)};
    RegionSet set = 0;
    // Windows follow one another, so those of queries and of keys have one in common when they overlap.
    if (std::max(q.first, k.first) <= std::min(q.last, k.last)) set |= 1U << local;
    if (q.last > k.first) set |= 1U << memory;
    if (q.first < k.last) set |= 1U << future;
    return set;
  }
  [[nodiscard]] constexpr double step(int) const { return 1; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    return region == future ? 0.0 : static_cast<double>(query - begin_of(query));
  }
  [[nodiscard]] constexpr Position key_position(int region, Position key) const {
    return region == memory ? 0 : key - begin_of(key);
  }
  [[nodiscard]] constexpr int key_copy(int region) const {
    return region == memory ? memory : local;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(window >= 1 && window <= greatest_position,
                     "FocusedTransformer: window must lie within [1, 2^52], got ", window, ".");
    problems.require(
        last == none || (last >= 0 && last <= greatest_position),
        "FocusedTransformer: last is where a window begins, within [0, 2^52], or none, "
        "got ",
        last, ".");
  }

 private:
  /// The first token of a position's window.
  [[nodiscard]] constexpr Position begin_of(Position position) const {
    const Position from = last != none && position >= last ? last : 0;
    return position - detail::floor_modulo(position - from, window);
  }
};

POSENC_NAMESPACE_END
