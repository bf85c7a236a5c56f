// SPDX-License-Identifier: MIT
//
// RaggedBatch: sequences of different lengths, one after another along the token axis, each at its
// own position and, where frequencies depend on the length, with its own frequencies.
//
//   tokens      | sequence 0       | sequence 1 | sequence 2         |
//   starts      0                  7            9                   14
//
// "Dynamic" then means what it says: a short sequence is not hurt by a long neighbour.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <span>

POSENC_NAMESPACE_BEGIN

struct RaggedBatch {
  /// Tokens [starts[i], starts[i + 1]) are sequence i: [sequences + 1], from 0 to the number of
  /// tokens, never descending (FlashAttention's cu_seqlens).
  std::span<const Index> starts{};
  /// Position of the first token of each sequence, [sequences]; empty: all begin at 0.
  std::span<const Position> offsets{};

  [[nodiscard]] Index sequences() const { return std::max<Index>(0, std::ssize(starts) - 1); }
  [[nodiscard]] Index start(Index sequence) const {
    return starts[static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] Index tokens_of(Index sequence) const {
    return start(sequence + 1) - start(sequence);
  }
  [[nodiscard]] Position offset(Index sequence) const {
    return offsets.empty() ? 0 : offsets[static_cast<std::size_t>(sequence)];
  }

  /// Reports what is not a division of `tokens` tokens into sequences.
  void check(Problems& problems, Index tokens) const {
    if (starts.empty())
      return problems.require(tokens == 0, "a ragged batch needs starts, got none for ", tokens,
                              " tokens.");
    problems.require(starts.front() == 0 && starts.back() == tokens,
                     "starts must go from 0 to the ", tokens, " tokens, but go from ",
                     starts.front(), " to ", starts.back(), ".");
    for (Index i = 0; i < sequences(); ++i)
      if (tokens_of(i) < 0)
        return problems.add("starts must not descend, but sequence ", i, " goes from ", start(i),
                            " to ", start(i + 1), ".");
    problems.require(offsets.empty() || std::ssize(offsets) == sequences(), "got ", offsets.size(),
                     " offsets for ", sequences(), " sequences.");
  }
};

POSENC_NAMESPACE_END
