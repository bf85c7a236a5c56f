// SPDX-License-Identifier: MIT
//
// DistanceTable: a relative bias by head and distance, evaluated once and kept for all calls.
//
// A call of many queries tabulates in its own memory (attention/prefill/bias_tables.hpp), since each
// distance serves as many scores as there are queries. A step of decode asks for each distance once,
// and the next step asks for all of them again: what saves it anything is a table that outlives it.
//
// Room for the first `distances` of every head is set aside at bind, and pieces of 256 distances are
// filled, for all heads, when a call first comes to them, so the table grows with the sequence and no step
// allocates: memory that nobody has written yet costs a system with virtual memory nothing, and bind
// writes but a byte per piece. Threads fill different pieces at a time; who comes to one that another is
// filling evaluates for itself. That gives the same bits, since every value, in a table or not, is made by
// the one function value_at.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/memory.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/score.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Never inlined: compilers turn x + a * d in the loop over the scores into one operation that rounds once,
/// and a bias would differ from what a table says of it.
template <class Value, class Bias>
[[gnu::noinline]] Value value_at(const Bias& bias, Index head, Position distance) {
  return bias.relative_bias(head, distance);
}

template <class Value>
  requires std::is_arithmetic_v<Value>
class DistanceTable {
 public:
  /// Distances [0, distances), rounded up to whole pieces.
  DistanceTable(Index heads, Index distances)
      : heads_(heads), pieces_((distances + piece - 1) / piece),
        states_(static_cast<std::size_t>(pieces_) * sizeof(std::atomic<State>)),
        values_(static_cast<std::size_t>(heads * pieces_ * piece) * sizeof(Value)) {
    for (Index p = 0; p < pieces_; ++p) new (&state_of(p)) std::atomic<State>(State::empty);
  }

  /// Calls use(g) with a function g of Score that is the relative bias at all scores of a tile of a head:
  /// one that reads the table, where that reaches so far.
  template <class Bias, class Use>
  void tile_bias(const Tile& tile, Index head, const Bias& bias, const Use& use) const {
    const Position least = tile.least_distance(), greatest = tile.greatest_distance();
    bool is_filled = least >= 0 && greatest < pieces_ * piece;
    for (Index p = least / piece; is_filled && p <= greatest / piece; ++p)
      is_filled = fill(p, bias);
    if (!is_filled)
      return use([&](const Score& at) { return value_at<Value>(bias, head, at.distance()); });
    use([of_head = this->of_head(head)](const Score& at) { return of_head[at.distance()]; });
  }

 private:
  static constexpr Index piece = 256;  ///< distances that are evaluated at a time
  enum class State : std::uint8_t { empty, filling, filled };

  [[nodiscard]] Value* of_head(Index head) const {
    return reinterpret_cast<Value*>(values_.data()) + head * pieces_ * piece;
  }
  [[nodiscard]] std::atomic<State>& state_of(Index n) const {
    return reinterpret_cast<std::atomic<State>*>(states_.data())[n];
  }

  /// True when the nth piece holds the bias at its distances.
  template <class Bias>
  bool fill(Index n, const Bias& bias) const {
    std::atomic<State>& state = state_of(n);
    State seen = state.load(std::memory_order_acquire);
    if (seen == State::empty &&
        state.compare_exchange_strong(seen, State::filling, std::memory_order_acquire)) {
      for (Index head = 0; head < heads_; ++head)
        for (Position d = n * piece; d < (n + 1) * piece; ++d)
          of_head(head)[d] = value_at<Value>(bias, head, d);
      state.store(State::filled, std::memory_order_release);
      return true;
    }
    return seen == State::filled;
  }

  Index heads_, pieces_;
  Memory states_;  ///< [piece], of all heads
  Memory values_;  ///< [head][distance]
};

/// Reports a number of distances that makes no table of so many heads.
inline void check_cached_distances(Problems& problems, const char* who, const HeadShape& shape,
                                   Index cached_distances) {
  constexpr Index most = Index{1} << 30;
  const Index heads = std::max<Index>(shape.num_heads, 1);
  problems.require(
      cached_distances >= 0 && cached_distances <= most / heads, who,
      ": cached_distances must be at least 0, and query heads x cached_distances at most ", most,
      ", got ", shape.num_heads, " heads x ", cached_distances, " distances.");
}

}  // namespace detail

POSENC_NAMESPACE_END
