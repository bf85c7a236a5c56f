// SPDX-License-Identifier: MIT
//
// Quest: pages of 16 keys, and of each page and channel the greatest and the least key.
//
//   U(page) = sum over channels d of max(q_d max_d, q_d min_d)  >=  <q, k> of every key k of the page
//
// max(q_d max_d, q_d min_d) is max(q_d, 0) max_d + min(q_d, 0) min_d, so U is one product of [max(q, 0), min(q, 0)] with
// [max, min]. The pages with the greatest bounds are read, `budget` tokens in all but never fewer than three pages, and
// among them always the page of the query's own token.
//
// Tang et al., "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference" (arXiv 2406.10774), section 3.2;
// github.com/mit-han-lab/Quest, evaluation/quest_attention.py (budget) and quest/utils/controller.py (last page). As
// published every query head chooses for itself; the layers 0 and 1 of a model and its prompt are left dense.
// Where the two disagree this follows the kernels: the script does not force the last page, and lowers the budget to
// the number of tokens, which loses a page of a sequence within its budget that does not end with a page.
//
// ChoicePer::key_head reads the keys of a group once. Bounds are added there, and not their greatest taken: a softmax
// does not change when all scores of a head grow by the same amount, and neither does the order of the sums.
//
// In 16-bit elements maxima are rounded up and minima down, so U stays a bound. Numbers that are not finite: a NaN
// among keys makes their page's bound NaN, which counts as the greatest (select/select.hpp).
#pragma once

#include <posenc/select/key_selector.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

struct Quest {
  static constexpr std::string_view name = "Quest";
  static constexpr bool rotated = true;

  Index block = 16;
  Index budget = 2'048;  ///< tokens
  ChoicePer per = ChoicePer::query_head;

  void check(Problems& problems) const {
    problems.require(block > 0, "Quest: a page has at least one key, got block = ", block, ".");
    problems.require(budget > 0, "Quest: budget must be positive, got ", budget, ".");
  }
  /// That are read, the last one among them.
  [[nodiscard]] Index pages() const { return std::max<Index>(3, budget / block); }

  [[nodiscard]] Index summary_width(Index n) const { return 2 * n; }
  void summarize(const KeyBlock& keys, float* to) const {
    const Index n = keys.width;
    std::copy_n(keys.keys, n, to);
    std::copy_n(keys.keys, n, to + n);
    for (Index t = 1; t < keys.tokens; ++t)
      for (Index c = 0; c < n; ++c) {
        // What is NaN replaces, and is not replaced.
        const float x = keys.keys[t * n + c], most = to[c], least = to[n + c];
        to[c] = x <= most || most != most ? most : x;
        to[n + c] = x >= least || least != least ? least : x;
      }
  }
  [[nodiscard]] Rounding rounding(Index i, Index n) const {
    return i < n ? Rounding::up : Rounding::down;
  }
  void meet(const float* query, Index n, float* to) const {
    for (Index c = 0; c < n; ++c) {
      const float x = query[c];
      to[c] = x < 0 ? 0 : x;
      to[n + c] = x > 0 ? 0 : x;
    }
  }
  [[nodiscard]] ForcedBlocks forced(Index) const { return {.first = 0, .last = 1}; }
  [[nodiscard]] Index top() const { return pages() - 1; }
};

POSENC_NAMESPACE_END
