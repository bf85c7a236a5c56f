// SPDX-License-Identifier: MIT
//
// Angles of the decode kernel: cosines and sines of a block of keys, computed once for all heads, for
// each region of distances that needs its own, and for values that turn. Where key heads turn at rates of
// their own they are computed for each of them in turn.
#pragma once

#include <posenc/attention/decode/block.hpp>

#include <algorithm>
#include <optional>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeAngles {
 public:
  DecodeAngles(const DecodeCall<U>& call, const DecodeBuffers<U>& buffers)
      : map_(call.asked.answers->map()), shape_(call.shape), leaves_(call.leaves),
        buffers_(buffers) {}

  void begin_sequence(const Rotary& rotary) { rotary_ = &rotary; }
  /// The rotation of a key head, with the angles of all others where that is another.
  void begin_head(const Rotary& rotary) {
    if (&rotary == rotary_) return;
    rotary_ = &rotary;
    filled_ = 0;
  }
  void begin_block(const DecodeBlock<U>& block) {
    block_ = &block;
    filled_ = 0;
  }

  /// Rows of a copy of the keys; see the two functions that fill them.
  [[nodiscard]] AngleRows<U> rows(int copy) const {
    const Index at = first_of(copy);
    return {buffers_.cos + at, buffers_.sin + at, shape_.angle_row()};
  }
  /// Of keys; false when all of them stand at zero and need not turn.
  bool fill_keys(int copy) {
    if ((filled_ >> copy & 1U) != 0) return true;
    const AngleTable& table = rotary_->region_angles(copy);
    if (!map_) {
      fill_own(copy, table);
      return true;
    }
    Position* const at = buffers_.key_copy;
    map_.ask->key_positions(map_.self, copy, block_->keys, buffers_.key, at);
    if (std::all_of(at, at + block_->keys, [](Position p) { return p == 0; })) return false;
    fill(copy, table, std::span<const Position>(at, static_cast<std::size_t>(block_->keys)), 0,
         block_->keys);
    filled_ |= RegionSet{1} << copy;
    return true;
  }
  /// Of values, which stand where they are; returns the copy. Without growth they are those of keys.
  int fill_values() {
    const int copy = rotary_->state.growth.size() == 0 ? 0 : copy_of_values();
    if ((filled_ >> copy & 1U) == 0) fill_own(copy, rotary_->angles);
    return copy;
  }

 private:
  /// Angles of values stand behind those of all regions.
  [[nodiscard]] int copy_of_values() const { return map_.regions(); }
  [[nodiscard]] Index first_of(int copy) const {
    return copy * DecodePlan::block_keys * shape_.angle_row();
  }
  /// Where the keys of the block stand.
  void fill_own(int copy, const AngleTable& table) {
    block_->for_runs([&](const KeyRun& run, Index at, const KeyRun*) {
      fill(copy, table, run.positions, at, run.tokens);
    });
    filled_ |= RegionSet{1} << copy;
  }
  void fill(int copy, const AngleTable& table, const Positions& positions, Index first,
            Index keys) const {
    const Turn turn{.side = copy == copy_of_values() ? std::optional<Side>{} : Side::key};
    const Index at = first_of(copy) + first * shape_.angle_row();
    leaves_.sums->angles(*rotary_, table, turn, positions, keys, buffers_.cos + at,
                         buffers_.sin + at, shape_.angle_row());
  }

  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;
  const Rotary* rotary_ = nullptr;
  const DecodeBlock<U>* block_ = nullptr;
  RegionSet filled_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
