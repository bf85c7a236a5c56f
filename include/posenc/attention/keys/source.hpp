// SPDX-License-Identifier: MIT
//
// KeySource: where the keys and values of a sequence come from, tensors or a cache. Both kernels, of
// prefill and of decode, ask it for runs: tokens that lie one after another, in memory and in the
// sequence.
#pragma once

#include <posenc/attention/call/coordinates.hpp>
#include <posenc/attention/keys/storage.hpp>
#include <posenc/core/key_state.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Tokens of ranks [rank, rank + tokens); the next index is one more, the next row a stride further.
struct KeyRun {
  Index rank = 0, tokens = 0;
  const std::byte* keys = nullptr;  ///< of the first token and the first head
  const std::byte* values = nullptr;
  Position index = 0;
  Positions positions{};  ///< by token of the run
};

template <class U>
struct KeySource {
  Index tokens = 0;
  Rows<U> keys, values;             ///< widths, strides and storage; the memory is that of a run
  KeyState state = KeyState::raw;   ///< not raw: keys are not rotated any more
  bool values_are_rotated = false;  ///< under RotateValues, as caches of rotated keys keep them

  const void* self = nullptr;
  /// The run of at most so many tokens that begins with this rank.
  KeyRun (*find)(const void* self, Index rank, Index most) = nullptr;

  /// Calls f(run) for the ranks [first, last), at most so many at a time.
  template <class F>
  void for_runs(Index first, Index last, Index most, const F& f) const {
    while (first < last) {
      const KeyRun run = find(self, first, std::min(most, last - first));
      f(run);
      first += run.tokens;
    }
  }
  /// Some tokens of a run.
  [[nodiscard]] KeyRun some_of(const KeyRun& run, Index first, Index count) const {
    const auto bytes = [&](const Rows<U>& rows) {
      return first * rows.token_stride * rows.storage->bytes;
    };
    return {run.rank + first,
            count,
            run.keys + bytes(keys),
            run.values + bytes(values),
            run.index + first,
            run.positions.subspan(static_cast<std::size_t>(first),
                                  static_cast<std::size_t>(count))};
  }
};

/// Keys and values of tensors.
template <class U>
class TensorKeys {
 public:
  TensorKeys(const Rows<U>& keys, const Rows<U>& values, KeyState state, const Coordinates& at)
      : keys_(keys), values_(values), state_(state), at_(at) {}

  /// To be read as long as this is.
  [[nodiscard]] KeySource<U> source() const {
    return {keys_.tokens,
            keys_,
            values_,
            state_,
            false,
            this,
            [](const void* self, Index rank, Index most) {
              return static_cast<const TensorKeys*>(self)->find(rank, most);
            }};
  }

 private:
  [[nodiscard]] KeyRun find(Index rank, Index most) const {
    const Index tokens = std::min(most, keys_.tokens - rank);
    return {rank,
            tokens,
            keys_.row(rank, 0),
            values_.row(rank, 0),
            at_.key_offset + rank,
            at_.key.subspan(static_cast<std::size_t>(rank), static_cast<std::size_t>(tokens))};
  }

  Rows<U> keys_, values_;
  KeyState state_;
  Coordinates at_;
};

}  // namespace detail

POSENC_NAMESPACE_END
