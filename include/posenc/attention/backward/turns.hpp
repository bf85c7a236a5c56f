// SPDX-License-Identifier: MIT
//
// Turns: who adds to a gradient first. Pairs of a block of queries and a chunk of keys add to the gradients of
// the same queries chunk by chunk, and to those of the same keys from the last block to the first. Both are
// waited for when there is something to add, so every sum has one order, whoever works on what.
#pragma once

#include <posenc/core/types.hpp>

#include <atomic>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Those of one pair. Workers take pairs in their order from one list (executor/tasks.hpp), and a pair waits for
/// earlier ones only: whoever has these is at work, so the first that is not done waits for nobody.
class Turns {
 public:
  using Done = std::atomic<Index>;

  /// `done` of all pairs of a head, [block][chunk]: queries from there on are done, and keys where it is
  /// negative.
  Turns(Done* done, Index blocks, Index chunks, Index block, Index chunk)
      : done_(done), blocks_(blocks), chunks_(chunks), block_(block), chunk_(chunk) {}

  /// Until all chunks before this one are done with the queries of the block from `first` on.
  void wait_for_queries(Index first) const {
    for (Index c = 0; c < chunk_; ++c) wait(done_[block_ * chunks_ + c], first);
  }
  /// Until all blocks behind this one are done with the keys of the chunk.
  void wait_for_keys() const {
    for (Index b = block_ + 1; b < blocks_; ++b) wait(done_[b * chunks_ + chunk_], keys_done);
  }

  void pass_queries(Index first) const { pass(first); }
  void pass_keys() const { pass(keys_done); }

 private:
  static constexpr Index keys_done = -1;

  static void wait(const Done& done, Index most) {
    for (Index at; (at = done.load(std::memory_order_acquire)) > most;)
      done.wait(at, std::memory_order_acquire);
  }
  void pass(Index now) const {
    Done& own = done_[block_ * chunks_ + chunk_];
    own.store(now, std::memory_order_release);
    own.notify_all();
  }

  Done* done_;
  Index blocks_, chunks_, block_, chunk_;
};

}  // namespace detail

POSENC_NAMESPACE_END
