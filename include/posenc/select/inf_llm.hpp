// SPDX-License-Identifier: MIT
//
// InfLLM: first tokens, a local window, and the blocks in between whose most attended keys a query meets best.
//
//   r(h, m)            attention that key m received from queries of head h while it was in their local window
//   summary(h, block)  mean of the repr_topk raw keys of the block with the greatest r(h, m)
//   score(block)       sum over heads and queries that share a choice of <R(n_local - 1) q, summary(h, block)>
//
// All heads, and 512 queries of a prompt (choose_blocks with query_block = 512), share one choice of `topk` blocks. A query
// stands at its own place towards its local window, and at n_local - 1 towards all other keys, which are not rotated.
// With keys that are read at these distances it is attention under
//
//   RoPE | ReRoPE{.window = n_local - 1} | Causal                        min(n - m, n_local - 1)
//
// and that is what a selection of this method is used with (distances()). So with a topk of all blocks it is ReRoPE, up
// to n_local tokens RoPE, and with a topk of 0 sinks and a window.
//
// Xiao et al., "InfLLM: Training-Free Long-Context Extrapolation for LLMs with an Efficient Context Memory" (arXiv
// 2402.04617); github.com/thunlp/InfLLM, inf_llm/attention/{inf_llm,context_manager,rope}.py, config/. Defaults are those of
// its Llama 3 configuration.
//
// Errata. Early queries of a piece of a prompt read up to a piece of keys twice in the reference, as of the window and
// as behind it, since it counts their distance from the end of the text; here once. The paper puts far keys at the
// window's length; the code takes row n_local - 1 of its table, as here. The paper scores a token by products, the code
// by probabilities of the whole softmax (AttentionMass), as here. Blocks are cut from the first token on here, in the
// reference behind the n_init first ones, which is the same where n_init is a multiple of the block. Keys between the
// last whole block and the window are read, as in the reference; where n_local is not a multiple of the block, one
// block more is read there while it leaves the window. Blocks that it keeps at hand on the GPU (max_cached_block) have
// no effect on results.
//
// Mass: an AttentionMass to which every step is added as its local window has received it,
//
//   mass.add(q, cache, sequence, lse, bind(rope | method.distances() | method.window(), heads))
//
// with the lse of all that was read. A block is summarised when the window has left it.
#pragma once

#include <posenc/distance/rerope.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/select/choose.hpp>
#include <posenc/select/key_selector.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct InfLLM {
  static constexpr std::string_view name = "InfLLM";
  static constexpr bool rotated = false;
  static constexpr bool needs_mass = true;

  Index block = 128;      ///< block_size
  Index n_init = 128;     ///< first tokens that are always read, a multiple of the block
  Index n_local = 4'096;  ///< tokens of the local window, the query's own included
  Index topk = 16;        ///< blocks that are chosen
  Index repr_topk = 4;    ///< keys that represent a block
  ChoicePer per = ChoicePer::sequence;  ///< query_head: the reference's perhead

  /// Distances of the encoding.
  [[nodiscard]] ReRoPE distances() const { return {.window = n_local - 1}; }
  /// Keys whose mass counts.
  [[nodiscard]] SlidingWindow window() const { return SlidingWindow::from_token_count(n_local); }

  void check(Problems& problems) const {
    problems.require(
        block > 0 && repr_topk > 0 && repr_topk <= block,
        "InfLLM: a block has at least one key and is represented by 1 to all of them, got block = ",
        block, " and repr_topk = ", repr_topk, ".");
    problems.require(topk >= 0, "InfLLM: topk must not be negative, got ", topk, ".");
    problems.require(n_local >= 2, "InfLLM: n_local must be at least 2, got ", n_local, ".");
    problems.require(block <= 0 || (n_init >= 0 && n_init % block == 0),
                     "InfLLM: n_init must be a multiple of the block of ", block,
                     " tokens or 0, got ", n_init, ".");
  }
  [[nodiscard]] Index summary_width(Index n) const { return n; }
  void summarize(const KeyBlock& keys, float* to) const {
    const Index count = std::min(repr_topk, keys.tokens);
    std::vector<std::uint64_t> order(static_cast<std::size_t>(keys.tokens));
    for (Index t = 0; t < keys.tokens; ++t)
      order[static_cast<std::size_t>(t)] =
          detail::rank_block(static_cast<float>(keys.mass[static_cast<std::size_t>(t)]), t);
    std::partial_sort(order.begin(), order.begin() + count, order.end(), detail::IsChosenBefore{});
    std::fill_n(to, keys.width, 0.0F);
    for (Index i = 0; i < count; ++i) {
      const float* const key =
          keys.keys + detail::block_of(order[static_cast<std::size_t>(i)]) * keys.width;
      for (Index c = 0; c < keys.width; ++c) to[c] += key[c] / static_cast<float>(count);
    }
  }
  void meet(const float* query, Index n, float* to) const { std::copy_n(query, n, to); }
  /// Where queries stand when they meet summaries, which are not rotated.
  [[nodiscard]] Position query_position() const { return n_local - 1; }
  /// A window may begin within a block.
  [[nodiscard]] ForcedBlocks forced(Index) const {
    return {.first = n_init / block, .last = (n_local - 1) / block + 2};
  }
  [[nodiscard]] Index top() const { return topk; }
};

POSENC_NAMESPACE_END
