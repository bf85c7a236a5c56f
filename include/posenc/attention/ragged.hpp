// SPDX-License-Identifier: MIT
//
// Attention within the sequences of a ragged batch: sequences of different lengths, one after another
// along the token axis of one tensor, as FlashAttention's "varlen" takes them.
//
//   q, k, v     | sequence 0       | sequence 1 | sequence 2         |
//   starts      0                  7            9                   14
//
// Each sequence is what a call of its own would be, to the last bit: it has its own indices and
// positions, its own masks and, where frequencies depend on the length, its own frequencies. Threads
// share the sequences if there are many, and the work within each if there are few. (Documents is a
// mask instead: one sequence whose documents do not see each other.)
#pragma once

#include <posenc/attention/attention.hpp>
#include <posenc/core/ragged_batch.hpp>

#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What a call over a ragged batch takes besides tensors; see AttentionOptions.
template <class T>
struct RaggedAttentionOptions {
  std::span<T> lse{};  ///< [query tokens][query heads]
  RowStatistics<T> rows{};
  AnyExecutor executor{};
  std::span<std::byte> workspace{};  ///< attention_workspace(...) bytes; empty: allocated
};

namespace detail {

/// Sequences of queries and their keys.
struct RaggedPairs {
  const RaggedBatch& queries;
  const RaggedBatch& keys;

  [[nodiscard]] Index sequences() const { return queries.sequences(); }
  /// Many sequences are shared among threads, few are divided.
  [[nodiscard]] bool are_many(Index concurrency) const {
    return concurrency > 1 && sequences() >= 2 * concurrency;
  }
  [[nodiscard]] AttentionShape shape(Index i, Index head_dim, Index value_dim) const {
    return {queries.tokens_of(i), keys.tokens_of(i), head_dim, value_dim};
  }
};

/// Bytes for one sequence at a time, each with so many threads, where a call of a shape with so many
/// threads needs bytes_of(shape, threads); -1 when that does not fit in memory.
template <class BytesOf>
Index largest_workspace(const RaggedPairs& pairs, Index head_dim, Index value_dim,
                        Index concurrency, const BytesOf& bytes_of) {
  Index largest = 0;
  for (Index i = 0; i < pairs.sequences() && largest >= 0; ++i) {
    const Index one = bytes_of(pairs.shape(i, head_dim, value_dim), concurrency);
    largest = one < 0 ? -1 : std::max(largest, one);
  }
  return largest < 0 ? -1 : round_up(largest, workspace_alignment);
}

/// Bytes for as many sequences at a time as there are threads, or for one.
template <class BytesOf>
Index ragged_workspace_bytes(const RaggedPairs& pairs, bool many, Index head_dim, Index value_dim,
                             Index concurrency, const BytesOf& bytes_of) {
  const Index one = largest_workspace(pairs, head_dim, value_dim, many ? 1 : concurrency, bytes_of);
  Index bytes = 0;
  return one >= 0 && multiply(one, many ? concurrency : 1, bytes) ? bytes : -1;
}

template <class U>
Index ragged_workspace_bytes(const Answers& answers, const PrefillLeaves<U>& leaves,
                             const RaggedPairs& pairs, Index head_dim, Index value_dim,
                             Index concurrency) {
  return ragged_workspace_bytes(pairs, pairs.are_many(concurrency), head_dim, value_dim,
                                concurrency, [&](const AttentionShape& shape, Index threads) {
                                  return prefill_bytes(answers, leaves, shape, threads);
                                });
}

inline void check_pairs(Problems& problems, const RaggedPairs& pairs, Index queries, Index keys) {
  pairs.queries.check(problems, queries);
  pairs.keys.check(problems, keys);
  problems.require(pairs.queries.sequences() == pairs.keys.sequences(), "there are ",
                   pairs.queries.sequences(), " sequences of queries and ", pairs.keys.sequences(),
                   " of keys: each needs its own.");
}

/// The same where there are no tensors: the starts say how many tokens there are.
inline void check_pairs(Problems& problems, const RaggedPairs& pairs) {
  const auto tokens = [](const RaggedBatch& batch) {
    return batch.starts.empty() ? 0 : batch.starts.back();
  };
  check_pairs(problems, pairs, tokens(pairs.queries), tokens(pairs.keys));
}

/// Bytes as a size; throws Error where they do not fit in memory.
inline std::size_t usable_ragged_bytes(Index bytes, Index head_dim, Index value_dim,
                                       const char* who) {
  Problems problems;
  problems.require(bytes >= 0, "sizes must not be negative and must fit in memory, got widths ",
                   head_dim, " and ", value_dim, ".");
  problems.raise_if_any(who);
  return static_cast<std::size_t>(bytes);
}

/// What is wrong with one sequence.
inline void add_of_sequence(Problems& problems, Index sequence, const Problems& own) {
  for (const std::string& sentence : own.sentences())
    problems.add("sequence ", sequence, ": ", sentence);
}

/// Where the tokens of each sequence stand; reports what is out of range.
template <class U>
std::vector<Coordinates> coordinates_of(Problems& problems, const RaggedPairs& pairs,
                                        const Answers& answers) {
  std::vector<Coordinates> at;
  at.reserve(static_cast<std::size_t>(pairs.sequences()));
  for (Index i = 0; i < pairs.sequences(); ++i) {
    const Index queries = pairs.queries.tokens_of(i), keys = pairs.keys.tokens_of(i);
    AttentionOptions<U> one{.key_offset = pairs.keys.offset(i), .executor = Serial{}};
    if (!pairs.queries.offsets.empty() || &pairs.queries == &pairs.keys)
      one.query_offset = pairs.queries.offset(i);
    Problems own;
    at.push_back(coordinates(own, queries, keys, one, answers.rotary().state));
    DistanceCheck(answers, at.back(), i)(own, queries, keys);
    add_of_sequence(problems, i, own);
  }
  return at;
}

/// The frequencies of each sequence.
inline RotaryAtLengths rotary_of(const RaggedPairs& pairs, const Answers& answers,
                                 const std::vector<Coordinates>& at) {
  return {answers, pairs.sequences(), [&](Index i) {
            return context_length(at[static_cast<std::size_t>(i)], pairs.queries.tokens_of(i),
                                  pairs.keys.tokens_of(i));
          }};
}

/// Calls run(sequence, worker, threads, executor): sequence after sequence, or, where they are many, as
/// many at a time as there are threads.
template <class Run>
void run_sequences(const RaggedPairs& pairs, bool many, Index concurrency,
                   const AnyExecutor& executor, const Run& run) {
  if (!many) {
    for (Index i = 0; i < pairs.sequences(); ++i) run(i, 0, concurrency, executor);
    return;
  }
  run_tasks(executor, concurrency, pairs.sequences(),
            [&](Index worker) { return [&run, worker](Index i) { run(i, worker, 1, Serial{}); }; });
}

template <class Q, class K, class V, class O, class U>
void attend_ragged(const TensorView<Q>& q, const TensorView<K>& k, const TensorView<V>& v,
                   const TensorView<O>& out, const RaggedPairs& pairs, const Asked<U>& asked,
                   const PrefillLeaves<U>& leaves, const RaggedAttentionOptions<U>& options) {
  const Answers& answers = *asked.answers;
  const std::size_t level = leaves.level;
  Problems problems;
  check_shapes(problems, q, k, v, out, answers, std::ssize(options.lse));
  check_statistics(problems, options.rows, q);
  check_pairs(problems, pairs, q.tokens, k.tokens);
  problems.raise_if_any("posenc::attention");

  const std::vector<Coordinates> at = coordinates_of<U>(problems, pairs, answers);
  const Index concurrency = options.executor.concurrency();
  const Index bytes = ragged_workspace_bytes(answers, leaves, pairs, q.width, v.width, concurrency);
  check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::attention");

  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  const RotaryAtLengths rotary = rotary_of(pairs, answers, at);
  const Workspace workspace(options.workspace, bytes);
  const bool many = pairs.are_many(concurrency);
  const Index each = many ? bytes / concurrency : bytes;
  const auto attend_one = [&](Index i, Index worker, Index threads, const AnyExecutor& executor) {
    const Index first = pairs.queries.start(i), queries = pairs.queries.tokens_of(i);
    if (queries == 0) return;
    const auto some = [&](const auto& x, const RaggedBatch& batch) {
      return tokens_of(x, batch.start(i), batch.tokens_of(i));
    };
    const TensorKeys<U> source(Rows<U>(some(k, pairs.keys), level),
                               Rows<U>(some(v, pairs.keys), level), KeyState::raw, at[size(i)]);
    PrefillCall<U> call{Rows<U>(some(q, pairs.queries), level),
                        source.source(),
                        OutRows<U>(some(out, pairs.queries), level),
                        {},
                        at[size(i)].query,
                        Positions(at[size(i)].query_offset),
                        asked,
                        leaves,
                        i,
                        options.rows.of(size(first * q.heads), size(queries * q.heads))};
    if (!options.lse.empty())
      call.lse = options.lse.subspan(size(first * q.heads), size(queries * q.heads));
    call.asked.rotary = &rotary[i];
    run_prefill(call, threads, executor, workspace.data() + worker * each);
  };
  run_sequences(pairs, many, concurrency, options.executor, attend_one);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void attend_ragged<const float, const float, const float, float, float>(
    const TensorView<const float>&, const TensorView<const float>&, const TensorView<const float>&,
    const TensorView<float>&, const RaggedPairs&, const Asked<float>&, const PrefillLeaves<float>&,
    const RaggedAttentionOptions<float>&);
#endif

template <class U, class... Ts, class E>
void attend_ragged_bound(const TensorView<Ts>&... tensors, const RaggedPairs& pairs,
                         const Bound<E>& bound, const RaggedAttentionOptions<U>& options) {
  require_elements<U, Ts...>();
  if constexpr (ComputedIn<U, Ts...>)
    attend_ragged(tensors..., pairs, bound.template asked_from_behind<U>(),
                  prefill_leaves<E, U>(level_index()), options);
}

}  // namespace detail

/// Bytes of workspace for a call over these sequences with this executor.
/// Throws Error when the size does not fit in memory or the batches do not fit each other.
template <class T, class E>
[[nodiscard]] std::size_t attention_workspace(const Bound<E>& bound, const RaggedBatch& queries,
                                              const RaggedBatch& keys, Index head_dim,
                                              Index value_dim, const AnyExecutor& executor = {}) {
  const detail::RaggedPairs pairs{queries, keys};
  Problems problems;
  detail::check_pairs(problems, pairs);
  problems.raise_if_any("posenc::attention_workspace");
  using U = arithmetic_t<T>;
  const auto leaves = detail::prefill_leaves<E, U>(detail::level_index());
  const Index bytes = detail::ragged_workspace_bytes<U>(bound.answers(), leaves, pairs, head_dim,
                                                        value_dim, executor.concurrency());
  return detail::usable_ragged_bytes(bytes, head_dim, value_dim, "posenc::attention_workspace");
}

/// Attention of the queries of each sequence over its keys: q and out [query tokens, ...] are divided
/// by `queries`, k and v by `keys`. Offsets are the index and position of the first query and the
/// first key in their sequence; without offsets queries are the last tokens of their sequence, and
/// keys begin at 0.
/// Throws Error for shapes and starts that do not fit together, with every problem at once.
template <class T, class E>
void attention(
    std::type_identity_t<TensorView<const T>> q, std::type_identity_t<TensorView<const T>> k,
    std::type_identity_t<TensorView<const T>> v, TensorView<T> out, const RaggedBatch& queries,
    const RaggedBatch& keys, const Bound<E>& bound,
    const std::type_identity_t<RaggedAttentionOptions<detail::computed_in_t<T>>>& options = {}) {
  detail::attend_ragged_bound<detail::computed_in_t<T>, const T, const T, const T, T>(
      q, k, v, out, detail::RaggedPairs{queries, keys}, bound, options);
}

/// Attention of whole sequences over themselves.
template <class T, class E>
void attention(
    std::type_identity_t<TensorView<const T>> q, std::type_identity_t<TensorView<const T>> k,
    std::type_identity_t<TensorView<const T>> v, TensorView<T> out, const RaggedBatch& batch,
    const Bound<E>& bound,
    const std::type_identity_t<RaggedAttentionOptions<detail::computed_in_t<T>>>& options = {}) {
  detail::attend_ragged_bound<detail::computed_in_t<T>, const T, const T, const T, T>(
      q, k, v, out, detail::RaggedPairs{batch, batch}, bound, options);
}

/// Both for tensors of different elements.
template <class Q, class K, class V, class O, class E>
  requires detail::MixedElements<Q, K, V, O>
void attention(TensorView<Q> q, TensorView<K> k, TensorView<V> v, TensorView<O> out,
               const RaggedBatch& queries, const RaggedBatch& keys, const Bound<E>& bound,
               const std::type_identity_t<RaggedAttentionOptions<arithmetic_t<O>>>& options = {}) {
  detail::attend_ragged_bound<arithmetic_t<O>, const Q, const K, const V, O>(
      q, k, v, out, detail::RaggedPairs{queries, keys}, bound, options);
}
template <class Q, class K, class V, class O, class E>
  requires detail::MixedElements<Q, K, V, O>
void attention(TensorView<Q> q, TensorView<K> k, TensorView<V> v, TensorView<O> out,
               const RaggedBatch& batch, const Bound<E>& bound,
               const std::type_identity_t<RaggedAttentionOptions<arithmetic_t<O>>>& options = {}) {
  detail::attend_ragged_bound<arithmetic_t<O>, const Q, const K, const V, O>(
      q, k, v, out, detail::RaggedPairs{batch, batch}, bound, options);
}

POSENC_NAMESPACE_END
