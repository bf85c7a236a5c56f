// SPDX-License-Identifier: MIT
//
// CacheKeys: the keys and values that a cache holds of one sequence, as a source of runs.
#pragma once

#include <posenc/attention/keys/source.hpp>
#include <posenc/cache/key_value_cache.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class CacheKeys {
 public:
  using U = arithmetic_t<T>;

  template <KeyState State>
  CacheKeys(const KeyValueCache<State, T>& cache, Index sequence, std::size_t level)
      : slots_(&cache.slots("decode", sequence)), rows_(&cache.rows()), sequence_(sequence),
        by_rank_(cache.is_streaming()), state_(State),
        keys_(row_of(cache, cache.shape().head_dim), level),
        values_(row_of(cache, cache.shape().value_dim), level) {}

  [[nodiscard]] const Slots& slots() const { return *slots_; }

  /// To be read as long as this is.
  [[nodiscard]] KeySource<U> source() const {
    return {slots_->tokens(),
            keys_,
            values_,
            state_,
            state_ != KeyState::raw,
            this,
            [](const void* self, Index rank, Index most) {
              return static_cast<const CacheKeys*>(self)->find(rank, most);
            }};
  }
  /// Where the token of a rank stands: a streaming cache counts places.
  [[nodiscard]] Positions place(Index rank) const {
    return by_rank_ ? Positions(rank) : slots_->positions(slots_->slot(rank), 1);
  }
  [[nodiscard]] KeyRun find(Index rank, Index most) const {
    const SlotRun run = slots_->run(rank, rank + most, true);
    return {rank,
            run.tokens,
            reinterpret_cast<const std::byte*>(rows_->key(sequence_, run.slot, 0)),
            reinterpret_cast<const std::byte*>(rows_->value(sequence_, run.slot, 0)),
            slots_->index_of_slot(run.slot),
            by_rank_ ? Positions(rank) : slots_->positions(run.slot, run.tokens)};
  }

 private:
  /// A row of all heads without memory: heads lie a page apart.
  template <KeyState State>
  static TensorView<const T> row_of(const KeyValueCache<State, T>& cache, Index width) {
    return {nullptr, 0, cache.shape().kv_heads, width, width, cache.rows().page_tokens() * width};
  }

  const Slots* slots_;
  const CacheRows<T>* rows_;
  Index sequence_;
  bool by_rank_;
  KeyState state_;
  Rows<U> keys_, values_;
};

}  // namespace detail

POSENC_NAMESPACE_END
