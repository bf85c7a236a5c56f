// SPDX-License-Identifier: MIT
//
// attention_backward within the sequences of a ragged batch (attention/ragged.hpp).
//
// The gradients of each sequence are what a call of its own would give, to the last bit; those of
// parameters are added up in the order of the sequences. Threads share the sequences if there are many,
// and the work within each if there are few.
#pragma once

#include <posenc/attention/backward.hpp>
#include <posenc/attention/ragged.hpp>

#include <algorithm>
#include <cassert>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// How a call over a ragged batch is divided, and its memory: sums of parameters of the sequences that
/// run at the same time, sums by token of all of them, then the workspace of each thread. What is learned with each
/// token is as much as all sequences have, so it is learned from the sums by token in the end.
struct RaggedBackwardPlan {
  Index parameters = 0;  ///< learned, but for those of tokens
  Index each_token = 0;  ///< sums of each query and each key
  bool many = false;     ///< sequences at a time
  Index sums = 0;        ///< bytes
  Index bytes = -1;      ///< of all; -1: it does not fit in memory

  template <class T>
  RaggedBackwardPlan(const RaggedPairs& pairs, const Asked<T>& asked,
                     const BackwardLeaves<T>& leaves, Index head_dim, Index value_dim,
                     Index concurrency, bool learns, bool frequencies) {
    for (const Stage& stage : asked.answers->asked()) {
      if (!learns) continue;
      if (stage.ask->token_bias_gradient)
        each_token += asked.answers->shape().num_heads;
      else
        parameters += num_parameters(stage);
    }
    if (frequencies) parameters += asked.answers->rotary().pairs();
    const auto bytes_of_workers = [&](bool at_the_same_time) {
      return ragged_workspace_bytes(pairs, at_the_same_time, head_dim, value_dim, concurrency,
                                    [&](const AttentionShape& shape, Index threads) {
                                      return BackwardWork(call_of_shape<T>(asked, leaves, shape,
                                                                           frequencies),
                                                          threads, learns)
                                          .bytes;
                                    });
    };
    many = pairs.are_many(concurrency);
    Index workers = bytes_of_workers(many);
    constexpr Index most_bytes = Index{1} << 30;
    if (many && parameters > 0 &&  // whose sums may need too much memory for that
        (pairs.sequences() > BackwardPlan::most_sums / parameters || workers < 0 ||
         workers > most_bytes)) {
      many = false;
      workers = bytes_of_workers(many);
    }
    const Index own = (many ? pairs.sequences() : 1) * parameters;
    Index by_token = 0;
    if (workers < 0 || !multiply(each_token, first_token(pairs, pairs.sequences()), by_token) ||
        by_token > most_bytes_of_any / static_cast<Index>(sizeof(double)) - own)
      return;
    sums = round_up((own + by_token) * static_cast<Index>(sizeof(double)), workspace_alignment);
    bytes = sums + workers;
  }

  /// Where the sums by token of a sequence begin.
  [[nodiscard]] double* tokens(double* all, const RaggedPairs& pairs, Index i) const {
    if (each_token == 0) return nullptr;
    return all + (many ? pairs.sequences() : 1) * parameters + each_token * first_token(pairs, i);
  }
  /// Adds what a sequence learned to the parameters of all.
  void add(const Answers& answers, const double* own, const SumsByToken* tokens,
           std::span<double> to) const {
    Index token_learner = 0;
    for (const Stage& stage : answers.asked()) {
      const auto count = static_cast<std::size_t>(num_parameters(stage));
      if (stage.ask->token_bias_gradient)
        tokens->learn(token_learner++, stage, to.first(count));
      else
        for (double& x : to.first(count)) x += *own++;
      to = to.subspan(count);
    }
    for (double& frequency : to) frequency += *own++;
  }

 private:
  static constexpr Index most_bytes_of_any = Index{1} << 60;
  /// Queries and keys before a sequence.
  static Index first_token(const RaggedPairs& pairs, Index i) {
    return i == 0 ? 0 : pairs.queries.start(i) + pairs.keys.start(i);
  }
};

template <class T>
void differentiate_ragged(const AttentionForward<T>& f, const TensorView<const T>& d_out,
                          const AttentionGradients<T>& d, const RaggedPairs& pairs,
                          const Asked<T>& asked, const BackwardLeaves<T>& leaves,
                          const RaggedAttentionOptions<T>& options) {
  const Answers& answers = *asked.answers;
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  Problems problems;
  check_backward(problems, f, d_out, d, options.lse, options.rows, answers);
  check_pairs(problems, pairs, f.q.tokens, f.k.tokens);
  problems.raise_if_any("posenc::attention_backward");
  const std::vector<Coordinates> at = coordinates_of<T>(problems, pairs, answers);
  for (Index i = 0; d.parameters && problems.empty() && i < pairs.sequences(); ++i) {
    Problems own;
    check_temperatures(own, answers, at[size(i)].query, pairs.queries.tokens_of(i));
    add_of_sequence(problems, i, own);
  }
  const std::span<double> parameters = d.parameters ? d.parameters->values() : std::span<double>{};
  const bool learns = !parameters.empty();
  const Index concurrency = options.executor.concurrency();
  const RaggedBackwardPlan plan(pairs, asked, leaves, f.q.width, f.v.width, concurrency, learns,
                                d.parameters && !d.parameters->frequencies().empty());
  check_workspace(problems, options.workspace, plan.bytes);
  problems.raise_if_any("posenc::attention_backward");

  const RotaryAtLengths rotary = rotary_of(pairs, answers, at);
  const Workspace workspace(options.workspace, plan.bytes);
  double* const sums = reinterpret_cast<double*>(workspace.data());
  const Index each = (plan.bytes - plan.sums) / (plan.many ? concurrency : 1);
  // Of the sequences that run at the same time, as their own sums of parameters are.
  const auto place = [&](Index i) { return plan.many ? i : 0; };
  std::vector<SumsByToken> by_token(
      size(plan.each_token == 0 ? 0 : place(pairs.sequences() - 1) + 1));
  const auto sums_of = [&](Index i) { return sums + place(i) * plan.parameters; };
  const auto add = [&](Index i) {
    if (learns) plan.add(answers, sums_of(i), by_token.data() + place(i), parameters);
  };
  run_sequences(pairs, plan.many, concurrency, options.executor,
                [&](Index i, Index worker, Index threads, const AnyExecutor& executor) {
                  const Index first = pairs.queries.start(i), queries = pairs.queries.tokens_of(i);
                  const auto of_queries = [&](const auto& x) {
                    return tokens_of(x, first, queries);
                  };
                  const auto of_keys = [&](const auto& x) {
                    return tokens_of(x, pairs.keys.start(i), pairs.keys.tokens_of(i));
                  };
                  const AttentionForward<T> own{
                      of_queries(f.q), of_keys(f.k), of_keys(f.v), of_queries(f.out),
                      f.lse.subspan(size(first * f.q.heads), size(queries * f.q.heads))};
                  const TensorKeys<T> source(Rows<T>(own.k, leaves.forward.level),
                                             Rows<T>(own.v, leaves.forward.level), KeyState::raw,
                                             at[size(i)]);
                  BackwardCall<T> call =
                      backward_call(own, of_queries(d_out),
                                    {of_queries(d.q), of_keys(d.k), of_keys(d.v), d.parameters},
                                    source, at[size(i)], i, &rotary[i], asked, leaves);
                  if (learns) {
                    call.parameters = {sums_of(i), size(plan.parameters)};
                    std::fill(call.parameters.begin(), call.parameters.end(), 0.0);
                    call.tokens = plan.tokens(sums, pairs, i);
                    if (call.tokens) by_token[size(place(i))] = sums_by_token(call);
                  }
                  const BackwardWork work(call, threads, learns);
                  assert(work.bytes <= each);
                  run_backward(call, work, workspace.data() + plan.sums + worker * each, executor);
                  if (!plan.many) add(i);
                });
  for (Index i = 0; plan.many && i < pairs.sequences(); ++i) add(i);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void differentiate_ragged<float>(const AttentionForward<float>&,
                                                     const TensorView<const float>&,
                                                     const AttentionGradients<float>&,
                                                     const RaggedPairs&, const Asked<float>&,
                                                     const BackwardLeaves<float>&,
                                                     const RaggedAttentionOptions<float>&);
#endif

template <class T, class E>
void differentiate_ragged_bound(const AttentionForward<T>& forward,
                                const TensorView<const T>& d_out,
                                const AttentionGradients<T>& gradients, const RaggedPairs& pairs,
                                const Bound<E>& bound, const RaggedAttentionOptions<T>& options) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "posenc: attention_backward takes float or double.");
  differentiate_ragged<T>(forward, d_out, gradients, pairs, bound.template asked<T>(),
                          backward_leaves<T>(bound), options);
}

}  // namespace detail

/// Bytes of workspace for gradients over these sequences with this executor, whatever they learn. With it a
/// call allocates lists of sequences only.
/// Throws Error when the size does not fit in memory or the batches do not fit each other.
template <class T, class E>
[[nodiscard]] std::size_t attention_backward_workspace(const Bound<E>& bound,
                                                       const RaggedBatch& queries,
                                                       const RaggedBatch& keys, Index head_dim,
                                                       Index value_dim,
                                                       const AnyExecutor& executor = {}) {
  const detail::RaggedPairs pairs{queries, keys};
  Problems problems;
  detail::check_pairs(problems, pairs);
  problems.raise_if_any("posenc::attention_backward_workspace");
  const auto leaves = detail::backward_leaves<T>(bound);
  const Index bytes = detail::most_backward_bytes([&](bool learns, bool frequencies) {
    return detail::RaggedBackwardPlan(pairs, bound.template asked<T>(), leaves, head_dim, value_dim,
                                      executor.concurrency(), learns, frequencies)
        .bytes;
  });
  return detail::usable_ragged_bytes(bytes, head_dim, value_dim,
                                     "posenc::attention_backward_workspace");
}

/// The gradients of attention(q, k, v, out, queries, keys, bound, options).
/// Throws Error for shapes and starts that do not fit together, with every problem at once, and for
/// encodings with a component that has no gradient.
template <class T, class E>
void attention_backward(const AttentionForward<T>& forward,
                        std::type_identity_t<TensorView<const T>> d_out,
                        const std::type_identity_t<AttentionGradients<T>>& gradients,
                        const RaggedBatch& queries, const RaggedBatch& keys, const Bound<E>& bound,
                        const RaggedAttentionOptions<T>& options = {}) {
  detail::differentiate_ragged_bound<T>(forward, d_out, gradients, {queries, keys}, bound, options);
}

/// Those of whole sequences over themselves.
template <class T, class E>
void attention_backward(const AttentionForward<T>& forward,
                        std::type_identity_t<TensorView<const T>> d_out,
                        const std::type_identity_t<AttentionGradients<T>>& gradients,
                        const RaggedBatch& batch, const Bound<E>& bound,
                        const RaggedAttentionOptions<T>& options = {}) {
  detail::differentiate_ragged_bound<T>(forward, d_out, gradients, {batch, batch}, bound, options);
}

POSENC_NAMESPACE_END
