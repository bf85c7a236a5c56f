// SPDX-License-Identifier: MIT
//
// Angles of the decode kernel: cosines and sines of a block of keys, computed once for all heads, for
// each region of distances that needs its own, and for values that turn.
#pragma once

#include <posenc/attention/decode/call.hpp>

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
  void begin_block(const KeyRun& run) {
    run_ = &run;
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
    Positions positions = run_->positions;
    if (map_) {
      Position* const at = buffers_.key_copy;
      map_.ask->key_positions(map_.self, copy, run_->tokens, buffers_.key, at);
      if (std::all_of(at, at + run_->tokens, [](Position p) { return p == 0; })) return false;
      positions = std::span<const Position>(at, static_cast<std::size_t>(run_->tokens));
    }
    fill(copy, rotary_->region_angles(copy), positions);
    return true;
  }
  /// Of values, which stand where they are; returns the copy. Without growth they are those of keys.
  int fill_values() {
    const int copy = rotary_->state.growth.size() == 0 ? 0 : copy_of_values();
    fill(copy, rotary_->angles, run_->positions);
    return copy;
  }

 private:
  /// Angles of values stand behind those of all regions.
  [[nodiscard]] int copy_of_values() const { return map_.regions(); }
  [[nodiscard]] Index first_of(int copy) const {
    return copy * DecodePlan::block_keys * shape_.angle_row();
  }
  void fill(int copy, const AngleTable& table, const Positions& positions) {
    if ((filled_ >> copy & 1U) != 0) return;
    filled_ |= RegionSet{1} << copy;
    const Turn turn{.side = copy == copy_of_values() ? std::optional<Side>{} : Side::key};
    const Index at = first_of(copy);
    leaves_.sums->angles(*rotary_, table, turn, positions, run_->tokens, buffers_.cos + at,
                         buffers_.sin + at, shape_.angle_row());
  }

  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;
  const Rotary* rotary_ = nullptr;
  const KeyRun* run_ = nullptr;
  RegionSet filled_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
