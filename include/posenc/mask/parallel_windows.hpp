// SPDX-License-Identifier: MIT
//
// ParallelWindows: pieces of context side by side, blind to each other, and a task that sees all.
//
//   Ratner et al., Parallel Context Windows, arXiv 2212.10947; AI21Labs/Parallel-Context-Windows,
//   pcw_wrapper.py.
//
// The sequence is window after window, then the task (question, answer, what is generated).
// Positions start anew in every window, so that no window is nearer to the task than another, and
// no position is greater than that of the longest window and the task behind it:
//
//   window b, token t    position t           sees its own window, causally
//   task, token t        position L + t       sees every window, and the task causally
//
// with L the longest window; with align_right, windows end at L instead of beginning at 0. It is a
// mask, causal already, and positions(), which go to query_positions and key_positions. Masks go by
// the index, so what counts is the order of the tokens in the sequence.
//
// Errata: in the reference every window begins with a token of its own (BOS), and of these only the
// longest window's is kept, so that the others begin at position 1; here windows are as they are
// given.
//
// Cache: keys rotated at their own positions, or raw; append each window with window_positions(),
// the task with task_positions().
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/core/positions.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The mask of ParallelWindows, with the place where each window begins.
struct WindowMask {
  std::vector<Position> starts;  ///< index of the first token of each window, and of the task

  [[nodiscard]] bool visible(const Score& at) const {
    return at.key_index <= at.query_index && at.key_index >= first_visible(at.query_index);
  }

  /// From window to window a query's first key is a later one; the task's is the first of all.
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    const Interval query = tile.query_index, key = tile.key_index;
    const Position task = starts.back();
    const Position least = query.last >= task ? 0 : first_visible(query.first);
    const Position greatest =
        query.first >= task ? 0 : first_visible(std::min(query.last, task - 1));
    if (key.first > query.last || key.last < least) return TileClass::none;
    return key.last <= query.first && key.first >= greatest ? TileClass::full : TileClass::partial;
  }

 private:
  [[nodiscard]] Position first_visible(Position query) const {
    if (query < 0 || query >= starts.back()) return 0;
    return *(std::upper_bound(starts.begin(), starts.end(), query) - 1);
  }
};

}  // namespace detail

struct ParallelWindows {
  std::vector<Position> lengths;  ///< tokens of each window, in the order of the sequence
  bool align_right = false;       ///< windows end side by side instead of beginning so

  /// Tokens of all windows: index of the first task token. This and the following throw Error for
  /// lengths that bind() refuses.
  [[nodiscard]] Position context_tokens() const {
    Problems problems;
    check(problems, {});
    problems.raise_if_any("posenc::ParallelWindows::context_tokens");
    Position sum = 0;
    for (const Position length : lengths) sum += length;
    return sum;
  }
  /// Where the tokens of a window stand, for a call that has them alone.
  /// Throws Error when there is no such window.
  [[nodiscard]] Positions window_positions(Index window) const {
    Problems problems;
    check(problems, {});
    problems.require(window >= 0 && window < std::ssize(lengths), "there are ", lengths.size(),
                     " windows, so there is none of number ", window, ".");
    problems.raise_if_any("posenc::ParallelWindows::window_positions");
    return first_position(window);
  }
  /// Where the tokens of the task stand, from the first on.
  [[nodiscard]] Positions task_positions() const {
    Problems problems;
    check(problems, {});
    problems.raise_if_any("posenc::ParallelWindows::task_positions");
    return longest();
  }

  /// Positions of the first `tokens` tokens of the sequence, task included.
  [[nodiscard]] std::vector<Position> positions(Index tokens) const {
    Problems problems;
    check(problems, {});
    problems.require(tokens >= 0, "tokens must not be negative, got ", tokens, ".");
    problems.raise_if_any("posenc::ParallelWindows::positions");
    std::vector<Position> ids;
    ids.reserve(static_cast<std::size_t>(tokens));
    const auto add = [&](Position from, Position length) {
      for (Position t = 0; t < length && std::ssize(ids) < tokens; ++t) ids.push_back(from + t);
    };
    for (Index w = 0; w < std::ssize(lengths); ++w)
      add(first_position(w), lengths[static_cast<std::size_t>(w)]);
    add(longest(), tokens);
    return ids;
  }

  [[nodiscard]] detail::WindowMask prepare(const HeadShape&) const {
    detail::WindowMask mask{{0}};
    for (const Position length : lengths) mask.starts.push_back(mask.starts.back() + length);
    return mask;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(!lengths.empty(), "ParallelWindows: there must be at least one window.");
    Position room = greatest_position;
    for (std::size_t w = 0; w < lengths.size(); ++w) {
      if (lengths[w] < 1)
        return problems.add("ParallelWindows: a window has at least one token, got a length of ",
                            lengths[w], " for window ", w, ".");
      if (lengths[w] > room)
        return problems.add(
            "ParallelWindows: all windows together must have at most 2^52 tokens, "
            "but window ",
            w, " of ", lengths[w], " goes beyond.");
      room -= lengths[w];
    }
  }

 private:
  [[nodiscard]] Position longest() const {
    return *std::max_element(lengths.begin(), lengths.end());
  }
  [[nodiscard]] Position first_position(Index window) const {
    return align_right ? longest() - lengths[static_cast<std::size_t>(window)] : 0;
  }
};

POSENC_NAMESPACE_END
