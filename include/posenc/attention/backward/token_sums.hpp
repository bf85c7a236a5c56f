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

/// Calls f(number, stage) for the stages that learn so.
template <class F>
void for_each_token_learner(const Answers& answers, const F& f) {
  Index n = 0;
  for (const Stage& stage : answers.asked())
    if (stage.ask->token_bias_gradient) f(n++, stage);
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

  /// From the sums of all queries and keys to the parameters of the nth learner.
  static void learn(const BackwardCall<T>& call, Index n, const Stage& stage,
                    std::span<double> parameters) {
    const auto size = [](Index count) { return static_cast<std::size_t>(count); };
    const Index queries = call.forward.q.tokens, keys = call.forward.keys.tokens;
    if (queries == 0 || keys == 0) return;
    Position first_key = 0;
    call.forward.keys.for_runs(0, 1, 1, [&](const KeyRun& run) { first_key = run.index; });
    for (Index head = 0; head < call.forward.q.heads; ++head) {
      const double* const sums = of(call, n, head);
      stage.ask->token_bias_gradient(stage.self,
                                     {.sequence = call.forward.sequence,
                                      .head = head,
                                      .query_index = call.forward.query_index[0],
                                      .key_index = first_key,
                                      .by_query = {sums, size(queries)},
                                      .by_key = {sums + queries, size(keys)}},
                                     parameters);
    }
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
