// SPDX-License-Identifier: MIT
//
// MoBA: mixture of block attention. A query reads the chunk of its own token and the topk - 1 others whose mean key it meets
// with the greatest score:
//
//   score(chunk) = <q, mean of its keys>,   of rotated keys and queries, per query head
//
// Lu et al., "MoBA: Mixture of Block Attention for Long-Context LLMs" (arXiv 2502.13189), section 2.2;
// github.com/MoonshotAI/MoBA, moba/moba_naive.py, whose topk counts the own chunk too. With topk = 1 nothing but that chunk
// is read; with topk >= the number of chunks it is plain attention.
#pragma once

#include <posenc/select/block_mean.hpp>

POSENC_NAMESPACE_BEGIN

struct MoBA {
  static constexpr std::string_view name = "MoBA";
  static constexpr bool rotated = true;

  Index block = 0;  ///< moba_chunk_size
  Index topk = 0;   ///< moba_topk: chunks that are read, the own one among them
  ChoicePer per = ChoicePer::query_head;

  void check(Problems& problems) const {
    problems.require(block > 0, "MoBA: a chunk has at least one key, got block = ", block, ".");
    problems.require(topk > 0, "MoBA: topk counts the own chunk and is at least 1, got ", topk,
                     ".");
  }
  [[nodiscard]] Index summary_width(Index n) const { return n; }
  void summarize(const KeyBlock& keys, float* to) const { detail::block_mean(keys, to); }
  void meet(const float* query, Index n, float* to) const { std::copy_n(query, n, to); }
  [[nodiscard]] ForcedBlocks forced(Index) const { return {.first = 0, .last = 1}; }
  [[nodiscard]] Index top() const { return topk - 1; }
};

POSENC_NAMESPACE_END
