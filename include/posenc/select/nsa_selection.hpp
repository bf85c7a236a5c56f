// SPDX-License-Identifier: MIT
//
// NSASelection: the choice of the selected branch of native sparse attention.
//
// A query attends to the mean keys of all blocks that end with or before its own token; the probabilities of a block are
// added over the query heads of a key head, which share the choice:
//
//   p_h = softmax over blocks of scale <q_h, mean of keys>,   score(block) = sum over h of p_h(block)
//
// `blocks` are read in all: the first one, that of the own token and the one before it always, and those with the greatest
// scores. Yuan et al., "Native Sparse Attention" (arXiv 2502.11089), equations 8 to 12; the mean in place of the paper's
// learned compression, and compression by the blocks that are selected, are those of flash-linear-attention, fla/ops/nsa/
// naive.py (naive_nsa_topk). The other two branches, attention to the means and a window, are calls of their own.
#pragma once

#include <posenc/select/block_mean.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct NSASelection {
  static constexpr std::string_view name = "NSASelection";
  static constexpr bool rotated = true;

  Index block = 64;
  Index blocks = 16;  ///< that are read, forced ones among them
  ChoicePer per = ChoicePer::key_head;

  void check(Problems& problems) const {
    problems.require(block > 0, "NSASelection: a block has at least one key, got block = ", block,
                     ".");
    problems.require(
        blocks >= 3,
        "NSASelection: the first block, the own one and the one before it are always read, "
        "so blocks must be at least 3, got ",
        blocks, ".");
  }
  [[nodiscard]] Index summary_width(Index n) const { return n; }
  void summarize(const KeyBlock& keys, float* to) const { detail::block_mean(keys, to); }
  void meet(const float* query, Index n, float* to) const { std::copy_n(query, n, to); }
  /// Scores become probabilities. A row with a NaN is NaN.
  void weigh(std::span<float> scores, double scale) const {
    if (scores.empty()) return;
    const auto factor = static_cast<float>(scale);
    float most = -std::numeric_limits<float>::infinity();
    for (float& x : scores) x *= factor, most = x > most ? x : most;
    double sum = 0;
    for (float& x : scores) sum += x = std::exp(x - most);
    const auto share = static_cast<float>(1 / sum);
    for (float& x : scores) x *= share;
  }
  [[nodiscard]] ForcedBlocks forced(Index) const { return {.first = 1, .last = 2}; }
  [[nodiscard]] Index top() const { return blocks - 3; }
};

POSENC_NAMESPACE_END
