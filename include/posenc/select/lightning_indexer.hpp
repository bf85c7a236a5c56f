// SPDX-License-Identifier: MIT
//
// LightningIndexer: tokens by a second, small attention that was learned for choosing.
//
//   I(n, m) = sum over indexer heads j of w_j(n) ReLU(<q_j(n), k(m)>)
//
// Every query attends to the `top` tokens up to its own with the greatest I, all heads to the same. Queries, weights and keys
// of the indexer come from projections of their own and are the caller's, rotated as the model says: there is one
// key per token for all indexer heads, which the caller keeps beside the cache. Positive factors that all scores of a query
// share (1/sqrt(d), 1/sqrt(heads)) do not change the choice.
//
//   choose_tokens(LightningIndexer{}, {q, w, k}, heads, chosen);      then decode(..., {.selection = &chosen})
//   const ChosenBlocks seen = choose_token_mask(LightningIndexer{}, {q, w, k});      for a prompt, with Causal
//
// DeepSeek-AI, DeepSeek-V3.2-Exp (report in github.com/deepseek-ai/DeepSeek-V3.2-Exp), equation 1;
// fla-org/flash-linear-attention, fla/ops/dsa/naive.py. DeepSeek-V3.2 has 64 indexer heads of 128 channels.
//
// Errata. The indexer rotates its channels as two halves, the model's attention interleaved ones: the
// first official code took one for the other.
//
// A mask has a bit and a half for each pair of tokens: 200 MB for 32,768 of them. Tiles are left out where none of their queries
// has chosen any of their keys, which single tokens rarely allow, so a prompt gains little before it is much longer than `top`.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/decode/plan.hpp>
#include <posenc/attention/keys/storage.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/executor/tasks.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/select/scored_choice.hpp>

#include <optional>

POSENC_NAMESPACE_BEGIN

struct LightningIndexer {
  static constexpr std::string_view name = "LightningIndexer";

  Index top = 2'048;  ///< index_topk

  void check(Problems& problems) const {
    problems.require(top > 0, "LightningIndexer: top must be positive, got ", top, ".");
  }
};

/// What an indexer has of some queries and of all tokens of a sequence.
struct IndexerInputs {
  TensorView<const float> queries;   ///< [tokens, indexer heads, width]
  std::span<const float> weights{};  ///< [tokens][indexer heads]
  TensorView<const float> keys;      ///< [tokens, 1, width]
  /// Index of the first query; by default queries are the last tokens of the keys.
  std::optional<Index> query_offset{};
};

namespace detail {

template <class U>
class IndexerWorker {
 public:
  IndexerWorker(const LightningIndexer& indexer, const IndexerInputs& in, Index first)
      : indexer_(indexer), in_(in), first_(first), level_(level_index()),
        row_(round_up(in.queries.width, DecodePlan::pad)) {
    const auto floats = [](Index n) { return std::vector<U>(static_cast<std::size_t>(n)); };
    queries_ = floats(in.queries.heads * row_);
    keys_ = floats(most_keys * in.queries.width);
    products_ = floats(in.queries.heads * most_keys);
    scores_ = floats(in.keys.tokens);
  }
  std::span<const KeyRange> operator()(Index row) {
    const Index tokens = std::min(first_ + row + 1, in_.keys.tokens), heads = in_.queries.heads,
                width = in_.queries.width;
    if (tokens <= indexer_.top) return choice_(scores_.data(), 1, tokens, {}, indexer_.top);
    const Rows<U> q(in_.queries, level_), k(in_.keys, level_);
    for (Index j = 0; j < heads; ++j) q.load(row, j, queries_.data() + j * row_);
    for (Index m = 0; m < tokens; m += most_keys) {
      const Index n = std::min(most_keys, tokens - m);
      for (Index i = 0; i < n; ++i) k.load(m + i, 0, keys_.data() + i * width);
      dots_leaves<U>()[level_](heads, n, width, queries_.data(), row_, keys_.data(), width,
                               products_.data(), most_keys, {});
      float* const scores = scores_.data() + m;
      std::fill_n(scores, n, 0.0F);
      for (Index j = 0; j < heads; ++j) {
        const float w = in_.weights[static_cast<std::size_t>(row * heads + j)];
        const float* const x = products_.data() + j * most_keys;
        // A product that is no number is none after ReLU either.
        for (Index i = 0; i < n; ++i) scores[i] += w * (x[i] < 0 ? 0 : x[i]);
      }
    }
    return choice_(scores_.data(), 1, tokens, {}, indexer_.top);
  }

 private:
  static constexpr Index most_keys = 512;
  const LightningIndexer& indexer_;
  const IndexerInputs& in_;
  Index first_;
  std::size_t level_;
  Index row_;
  std::vector<U> queries_, keys_, products_, scores_;
  ScoredChoice choice_;
};

/// Calls take(row, ranges) for every query, from several threads.
template <class U, class Take>
void index_rows(const LightningIndexer& indexer, const IndexerInputs& in, const char* who,
                const AnyExecutor& executor, const Take& make_take) {
  Problems problems;
  indexer.check(problems);
  check_view(problems, "queries", in.queries);
  check_view(problems, "keys", in.keys);
  problems.require(in.keys.heads == 1 && in.keys.width == in.queries.width, "queries are ",
                   ShapeText(in.queries), " and keys ", ShapeText(in.keys),
                   ": an indexer has one key per token, as wide as its queries.");
  problems.require(std::ssize(in.weights) == in.queries.tokens * in.queries.heads,
                   "weights are [tokens][indexer heads], ", in.queries.tokens, " times ",
                   in.queries.heads, " numbers, got ", in.weights.size(), ".");
  const Index first = in.query_offset.value_or(in.keys.tokens - in.queries.tokens);
  problems.require(first >= 0, "the first query is token ", first,
                   " of the sequence, which has no such token: set query_offset.");
  problems.raise_if_any(who);
  const auto take = make_take(first);
  const Index rows = in.queries.tokens,
              workers = std::clamp<Index>(rows, 1, executor.concurrency());
  std::vector<IndexerWorker<U>> all;
  for (Index w = 0; w < workers; ++w) all.emplace_back(indexer, in, first);
  run_tasks(executor, workers, rows, [&](Index w) {
    return
        [&, worker = &all[static_cast<std::size_t>(w)]](Index row) { take(row, (*worker)(row)); };
  });
}

}  // namespace detail

/// Fills `out` with the choice of every query, for `heads` query heads of attention. Of equal scores the earlier token
/// is chosen; NaN is above all numbers. Throws Error for shapes that do not fit together.
template <class U = float>
void choose_tokens(const LightningIndexer& indexer, const IndexerInputs& in, Index heads,
                   Selection& out, const AnyExecutor& executor = {}) {
  std::vector<std::vector<KeyRange>> chosen(static_cast<std::size_t>(in.queries.tokens));
  detail::index_rows<U>(indexer, in, "posenc::choose_tokens", executor, [&](Index) {
    return [&](Index row, std::span<const KeyRange> ranges) {
      chosen[static_cast<std::size_t>(row)].assign(ranges.begin(), ranges.end());
    };
  });
  out.clear();
  out.placement = Placement::own;
  for (Index row = 0; row < in.queries.tokens; ++row)
    out.add({.query = row, .queries = 1, .head = 0, .heads = heads},
            chosen[static_cast<std::size_t>(row)]);
}

/// The same as a mask of single keys. Throws Error for shapes that do not fit together.
template <class U = float>
[[nodiscard]] ChosenBlocks choose_token_mask(const LightningIndexer& indexer,
                                             const IndexerInputs& in, Index sequence = 0,
                                             const AnyExecutor& executor = {}) {
  BlockSets sets;
  detail::index_rows<U>(indexer, in, "posenc::choose_token_mask", executor, [&](Index first) {
    sets = BlockSets({.queries = in.queries.tokens,
                      .first = first,
                      .block = 1,
                      .blocks = in.keys.tokens,
                      .sequence = sequence});
    return [&](Index row, std::span<const KeyRange> ranges) {
      for (const KeyRange& range : ranges)
        sets.add(0, row, range.first, range.first + range.tokens);
    };
  });
  return ChosenBlocks(std::move(sets));
}

POSENC_NAMESPACE_END
