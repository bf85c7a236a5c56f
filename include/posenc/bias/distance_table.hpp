// SPDX-License-Identifier: MIT
//
// DistanceTable: a relative bias by head and distance, evaluated once and kept for all calls.
//
// A call of many queries tabulates in its own memory (attention/prefill/bias_tables.hpp), since each
// distance serves as many scores as there are queries. A step of decode asks for each distance once,
// and the next step asks for all of them again: what saves it anything is a table that outlives it.
//
// Room for the first `distances` of every head is set aside at bind, and pieces of 256 are filled when
// a call first comes to them, so the table grows with the sequence and no step allocates: memory that
// nobody has written yet costs a system with virtual memory nothing. Threads fill different pieces at
// a time; who comes to one that another is filling evaluates for itself. That gives the same bits, since
// every value, in a table or not, is made by the one function value_at.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/score.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// f(distance). Never inlined: compilers turn x + a * d in the loop over the scores into one operation
/// that rounds once, and a bias would differ from what a table says of it.
template <class Value, class F>
[[gnu::noinline]] Value value_at(const F& f, Position distance) {
  return f(distance);
}

template <class Value>
class DistanceTable {
 public:
  /// Distances [0, distances), rounded up to whole pieces.
  DistanceTable(Index heads, Index distances)
      : pieces_((distances + piece - 1) / piece), states_(new std::atomic<State>[size(heads)]()),
        values_(new Value[size(heads) * piece]) {}

  /// Calls use(g) with a function g of Score that is f(distance) at all scores of a tile of a head:
  /// one that reads the table, where that reaches so far.
  template <class F, class Use>
  void tile_bias(const Tile& tile, Index head, const F& f, const Use& use) const {
    const Position least = tile.least_distance(), greatest = tile.greatest_distance();
    bool is_filled = least >= 0 && greatest < pieces_ * piece;
    for (Index p = least / piece; is_filled && p <= greatest / piece; ++p)
      is_filled = fill(head * pieces_ + p, p * piece, f);
    if (!is_filled) return use([&](const Score& at) { return value_at<Value>(f, at.distance()); });
    use([of_head = values_.get() + head * pieces_ * piece](const Score& at) {
      return of_head[at.distance()];
    });
  }

 private:
  static constexpr Index piece = 256;  ///< distances that are evaluated at a time
  enum class State : std::uint8_t { empty, filling, filled };

  [[nodiscard]] std::size_t size(Index heads) const {
    return static_cast<std::size_t>(heads * pieces_);
  }
  /// True when a piece holds f at the distances from `first` on.
  template <class F>
  bool fill(Index at, Position first, const F& f) const {
    std::atomic<State>& state = states_.get()[at];
    State seen = state.load(std::memory_order_acquire);
    if (seen == State::empty &&
        state.compare_exchange_strong(seen, State::filling, std::memory_order_acquire)) {
      Value* const values = values_.get() + at * piece;
      for (Index i = 0; i < piece; ++i) values[i] = value_at<Value>(f, first + i);
      state.store(State::filled, std::memory_order_release);
      return true;
    }
    return seen == State::filled;
  }

  Index pieces_;                                  ///< of a head
  std::unique_ptr<std::atomic<State>[]> states_;  ///< [head][piece]
  std::unique_ptr<Value[]> values_;               ///< [head][distance]
};

/// Reports a number of distances that makes no table.
inline void check_cached_distances(Problems& problems, const char* who, Index cached_distances) {
  constexpr Index most = Index{1} << 26;
  problems.require(cached_distances >= 0 && cached_distances <= most, who,
                   ": cached_distances must be between 0 and ", most, ", got ", cached_distances,
                   ".");
}

}  // namespace detail

POSENC_NAMESPACE_END
