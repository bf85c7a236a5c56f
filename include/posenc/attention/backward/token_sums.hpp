// SPDX-License-Identifier: MIT
//
// Sums of the gradients of scores by query and by key, for biases that learn with each token (TokenBiasGradient).
// They are as many numbers as there are tokens, so they are added to one array when it is a pair's turn, as
// the gradients of queries and keys are, and not to sums of each chunk.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/backward/leaves.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Those of a call, and where its tokens stand.
struct SumsByToken {
  const double* sums = nullptr;  ///< [learner][head][query, then key]
  Index heads = 0, queries = 0, keys = 0;
  Index sequence = 0;
  Position query_index = 0, key_index = 0;  ///< of the first

  /// How many numbers these are.
  static Index count(Index learners, Index heads, Index queries, Index keys) {
    return learners * heads * (queries + keys);
  }

  /// To the parameters of the nth learner.
  void learn(Index n, const Stage& stage, std::span<double> parameters) const {
    if (queries == 0 || keys == 0) return;
    for (Index head = 0; head < heads; ++head) {
      const double* const of = sums + count(1, n * heads + head, queries, keys);
      stage.ask->token_bias_gradient(stage.self,
                                     {.sequence = sequence,
                                      .head = head,
                                      .query_index = query_index,
                                      .key_index = key_index,
                                      .by_query = {of, static_cast<std::size_t>(queries)},
                                      .by_key = {of + queries, static_cast<std::size_t>(keys)}},
                                     parameters);
    }
  }
};

/// What a call has summed, or will have.
template <class T>
SumsByToken sums_by_token(const BackwardCall<T>& call) {
  const PrefillCall<T>& forward = call.forward;
  SumsByToken sums{
      call.tokens, forward.q.heads, forward.q.tokens, forward.keys.tokens, forward.sequence, 0, 0};
  if (sums.queries == 0 || sums.keys == 0) return sums;
  sums.query_index = forward.query_index[0];
  forward.keys.for_runs(0, 1, 1, [&](const KeyRun& run) { sums.key_index = run.index; });
  return sums;
}

template <class T>
class TokenSums {
 public:
  TokenSums(const BackwardCall<T>& call, const BackwardPlan& plan,
            const BackwardBuffers<T>& buffers)
      : call_(call), plan_(plan), tiles_(plan.tiles), buffers_(buffers) {}

  void begin_pair() {
    const Index most = plan_.token_learners * tiles_.group * tiles_.chunk;
    if (most > 0) std::fill_n(buffers_.by_key, most, 0.0);
  }
  void begin_panel() {
    const Index most = plan_.token_learners * tiles_.panel;
    if (most > 0) std::fill_n(buffers_.by_token, most, 0.0);
  }
  /// The gradients of a tile, as the nth learner left its scores.
  void add(Index n, const ScoreTile& tile) {
    const GradientLeaves<T>& leaves = gradient_leaves<T>(call_.forward.leaves.level);
    T sums[TileBuckets::most_lanes] = {};
    leaves.add_rows(tile.keys, tile.width, buffers_.gradient, sums);
    double* const by_query = buffers_.by_token + n * tiles_.panel;
    for (Index j = 0; j < tile.queries; ++j) by_query[j] += static_cast<double>(sums[j]);
    double* const by_key = buffers_.by_key +
                           (n * tiles_.group + tile.head % tiles_.group) * tiles_.chunk +
                           (tile.key - buffers_.tiles.key);
    for (Index k = 0; k < tile.keys; ++k)
      by_key[k] += static_cast<double>(
          leaves.dot(tile.queries, buffers_.gradient + k * tile.width, buffers_.ones));
  }

  /// Of the queries from `first` on, whose turn it is.
  void end_panel(Index first, Index queries, Index head) const {
    for (Index n = 0; n < plan_.token_learners; ++n)
      for (Index j = 0; j < queries; ++j)
        of(call_, n, head)[first + j] += buffers_.by_token[n * tiles_.panel + j];
  }
  /// Of the keys from `first` on, whose turn it is.
  void end_pair(Index first, Index keys, Index kv_head) const {
    for (Index n = 0; n < plan_.token_learners; ++n)
      for (Index g = 0; g < tiles_.group; ++g)
        for (Index k = 0; k < keys; ++k)
          of(call_, n, kv_head * tiles_.group + g)[call_.forward.q.tokens + first + k] +=
              buffers_.by_key[(n * tiles_.group + g) * tiles_.chunk + k];
  }

 private:
  /// Sums of a learner and a head, of queries, then of keys.
  [[nodiscard]] static double* of(const BackwardCall<T>& call, Index n, Index head) {
    const PrefillCall<T>& forward = call.forward;
    return call.tokens + (n * forward.q.heads + head) * (forward.q.tokens + forward.keys.tokens);
  }

  const BackwardCall<T>& call_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const BackwardBuffers<T>& buffers_;
};

}  // namespace detail

POSENC_NAMESPACE_END
