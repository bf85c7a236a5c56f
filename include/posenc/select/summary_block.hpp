// SPDX-License-Identifier: MIT
//
// A block of keys on its way from a cache to a summary: read, widened to float and rotated where the cache
// keeps raw keys and the summary is of rotated ones.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/keys/storage.hpp>
#include <posenc/cache/rows.hpp>
#include <posenc/cache/slots.hpp>
#include <posenc/core/arena.hpp>
#include <posenc/rotate/tokens.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Memory of one worker.
struct BlockRoom {
  float* keys = nullptr;     ///< [token][channel], of one head
  float* summary = nullptr;  ///< [width]
  double* mass = nullptr;    ///< [token]
  Index angle_row = 0;
  float *cos = nullptr, *sin = nullptr;  ///< [token][angle_row], for all heads that turn alike

  BlockRoom(Index tokens, Index head_dim, Index summary_width, Index pairs, Arena& arena)
      : keys(arena.take<float>(tokens, head_dim)), summary(arena.take<float>(1, summary_width)),
        mass(arena.take<double>(1, tokens)), angle_row(round_up(pairs, AngleTable::pair_block)),
        cos(arena.take<float>(tokens, angle_row)), sin(arena.take<float>(tokens, angle_row)) {}
};

/// Rotates rows of one head by angles at hand; null where keys stay as they are.
template <bool Turns, class E>
TurnRows<float> block_turn([[maybe_unused]] const Answers& answers) {
  if constexpr (Turns && !std::is_same_v<typename Bound<E>::layout, NoLayout>)
    return answers.rotates() ? turn_leaves<typename Bound<E>::layout, float>()[level_index()]
                             : nullptr;
  else
    return nullptr;
}

template <Element C>
class BlockReader {
 public:
  BlockReader(const CacheRows<C>& rows, const Slots& slots, Index sequence, const Answers& answers,
              TurnRows<float> turn)
      : rows_(rows), slots_(slots), sequence_(sequence), rotary_(answers.rotary()), turn_(turn) {}

  /// Reports keys that xPos would scale beyond float.
  void check_growth(Problems& problems, Index first, Index last) const {
    if (!turn_ || rotary_.state.growth.size() == 0) return;
    slots_.for_runs(first, last, [&](const SlotRun& run) {
      if (problems.empty())
        detail::check_growth<float>(problems, rotary_.state, slots_.positions(run.slot, run.tokens),
                                    run.tokens);
    });
  }
  /// Angles of the tokens of a block, where all heads share them.
  void begin(Index first, Index tokens, const BlockRoom& room) const {
    if (rotary_.rates() == 1) fill_angles(rotary_.of(0), first, tokens, room);
  }
  /// Keys of one head of the block.
  void load(Index first, Index tokens, Index kv_head, const BlockRoom& room) const {
    const Index width = rows_.shape().head_dim;
    slots_.for_runs(first, first + tokens, [&](const SlotRun& run) {
      const C* const from = rows_.key(sequence_, run.slot, kv_head);
      float* const to = room.keys + (run.rank - first) * width;
      if constexpr (std::is_same_v<arithmetic_t<C>, float>)
        storage<C>()[level_index()].load(run.tokens * width, from, to);
      else
        std::transform(from, from + run.tokens * width, to,
                       [](double x) { return static_cast<float>(x); });
    });
    if (rotary_.rates() > 1) fill_angles(rotary_.of(kv_head), first, tokens, room);
    if (turn_)
      turn_(rotary_, TensorView<float>(room.keys, tokens, 1, width),
            AngleRows<float>{room.cos, room.sin, room.angle_row});
  }

 private:
  void fill_angles(const Rotary& rotary, Index first, Index tokens, const BlockRoom& room) const {
    if (!turn_) return;
    slots_.for_runs(first, first + tokens, [&](const SlotRun& run) {
      const Index at = (run.rank - first) * room.angle_row;
      fill_angles_at_level<float>(rotary, rotary.angles, {.side = Side::key},
                                  slots_.positions(run.slot, run.tokens), run.tokens, room.cos + at,
                                  room.sin + at, room.angle_row);
    });
  }

  const CacheRows<C>& rows_;
  const Slots& slots_;
  Index sequence_;
  const Rotary& rotary_;
  TurnRows<float> turn_;
};

}  // namespace detail

POSENC_NAMESPACE_END
