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
#include <posenc/rotate/ragged.hpp>

#include <atomic>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What a call over a ragged batch takes besides tensors; see AttentionOptions.
template <class T>
struct RaggedAttentionOptions {
  std::span<T> lse{};  ///< [query tokens][query heads]
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

/// Bytes for one sequence at a time, each with so many threads; -1 when that does not fit in memory.
template <class T, class BoundT>
Index largest_workspace(const BoundT& bound, const RaggedPairs& pairs, Index head_dim,
                        Index value_dim, Index concurrency) {
  Index largest = 0;
  for (Index i = 0; i < pairs.sequences() && largest >= 0; ++i) {
    const Index one = workspace_bytes<T>(bound, pairs.shape(i, head_dim, value_dim), concurrency);
    largest = one < 0 ? -1 : std::max(largest, one);
  }
  return largest < 0 ? -1 : round_up(largest, workspace_alignment);
}

template <class T, class BoundT>
Index ragged_workspace_bytes(const BoundT& bound, const RaggedPairs& pairs, Index head_dim,
                             Index value_dim, Index concurrency) {
  const bool many = pairs.are_many(concurrency);
  const Index one = largest_workspace<T>(bound, pairs, head_dim, value_dim, many ? 1 : concurrency);
  Index bytes = 0;
  return one >= 0 && multiply(one, many ? concurrency : 1, bytes) ? bytes : -1;
}

inline void check_pairs(Problems& problems, const RaggedPairs& pairs, Index queries, Index keys) {
  pairs.queries.check(problems, queries);
  pairs.keys.check(problems, keys);
  problems.require(pairs.queries.sequences() == pairs.keys.sequences(), "there are ",
                   pairs.queries.sequences(), " sequences of queries and ", pairs.keys.sequences(),
                   " of keys: each needs its own.");
}

/// Calls f(bound of sequence i) with what a length-dependent scheme is at the sequence's length.
template <class BoundT, class Lengths>
std::vector<BoundT> bounds_by_length(const BoundT& bound, Index sequences, const Lengths& length) {
  std::vector<BoundT> bounds;
  if constexpr (BoundT::depends_on_length)
    if (bound.options().length == 0)
      for (Index i = 0; i < sequences; ++i)
        bounds.push_back(length(i) == 0 ? bound : bound.at_length(length(i)));
  return bounds;
}

template <class T, class BoundT>
void attend_ragged(TensorView<const T> q, TensorView<const T> k, TensorView<const T> v,
                   TensorView<T> out, const RaggedPairs& pairs, const BoundT& bound,
                   const RaggedAttentionOptions<T>& options) {
  Problems problems;
  check_shapes(problems, q, k, v, out, bound.answers(), AttentionOptions<T>{.lse = options.lse});
  check_pairs(problems, pairs, q.tokens, k.tokens);
  problems.raise_if_any("posenc::attention");

  const auto options_of = [&](Index i) {
    AttentionOptions<T> one{.key_offset = pairs.keys.offset(i), .executor = Serial{}};
    if (!pairs.queries.offsets.empty() || &pairs.queries == &pairs.keys)
      one.query_offset = pairs.queries.offset(i);
    return one;
  };
  std::vector<Position> lengths;
  for (Index i = 0; i < pairs.sequences(); ++i) {
    const Index queries = pairs.queries.tokens_of(i), keys = pairs.keys.tokens_of(i);
    Problems own;
    const Coordinates at = coordinates(own, queries, keys, options_of(i), bound.answers());
    check_distances(own, bound.answers(), at, queries, keys);
    for (const std::string& sentence : own.sentences())
      problems.add("sequence ", i, ": ", sentence);
    lengths.push_back(own.empty() ? context_length(at, queries, keys) : 0);
  }
  const Index concurrency = options.executor.concurrency();
  const Index bytes =
      ragged_workspace_bytes<T>(bound.answers(), pairs, q.width, v.width, concurrency);
  check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::attention");

  const std::vector<BoundT> bounds = bounds_by_length(bound, pairs.sequences(), [&](Index i) {
    return lengths[static_cast<std::size_t>(i)];
  });
  const Workspace workspace(options.workspace, bytes);
  const bool many = pairs.are_many(concurrency);
  const Index each = many ? bytes / concurrency : bytes;
  const auto attend_one = [&](Index i, Index worker, const AnyExecutor& executor) {
    const auto some = [&](const auto& x, const RaggedBatch& batch) {
      return x.slice(batch.start(i), batch.tokens_of(i));
    };
    AttentionOptions<T> one = options_of(i);
    one.executor = executor;
    one.workspace = {workspace.data() + worker * each, static_cast<std::size_t>(each)};
    const auto rows = static_cast<std::size_t>(pairs.queries.tokens_of(i) * q.heads);
    if (!options.lse.empty())
      one.lse =
          options.lse.subspan(static_cast<std::size_t>(pairs.queries.start(i) * q.heads), rows);
    if (rows == 0) return;
    attend<false, T>(some(q, pairs.queries), some(k, pairs.keys), some(v, pairs.keys),
                     some(out, pairs.queries),
                     bounds.empty() ? bound : bounds[static_cast<std::size_t>(i)], one);
  };
  if (!many) {
    for (Index i = 0; i < pairs.sequences(); ++i) attend_one(i, 0, options.executor);
    return;
  }
  std::atomic<Index> next{0};
  options.executor(concurrency, [&](Index worker) {
    for (Index i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pairs.sequences();)
      attend_one(i, worker, Serial{});
  });
}

}  // namespace detail

/// Bytes of workspace for a call over these sequences with this executor.
/// Throws Error when the size does not fit in memory or the batches do not fit each other.
template <class T, class E>
[[nodiscard]] std::size_t attention_workspace(const Bound<E>& bound, const RaggedBatch& queries,
                                              const RaggedBatch& keys, Index head_dim,
                                              Index value_dim, const AnyExecutor& executor = {}) {
  const auto tokens = [](const RaggedBatch& batch) {
    return batch.starts.empty() ? 0 : batch.starts.back();
  };
  const detail::RaggedPairs pairs{queries, keys};
  Problems problems;
  detail::check_pairs(problems, pairs, tokens(queries), tokens(keys));
  problems.raise_if_any("posenc::attention_workspace");
  const Index bytes = detail::ragged_workspace_bytes<T>(bound.answers(), pairs, head_dim, value_dim,
                                                        executor.concurrency());
  problems.require(bytes >= 0, "sizes must not be negative and must fit in memory, got widths ",
                   head_dim, " and ", value_dim, ".");
  problems.raise_if_any("posenc::attention_workspace");
  return static_cast<std::size_t>(bytes);
}

/// Attention of the queries of each sequence over its keys: q and out [query tokens, ...] are divided
/// by `queries`, k and v by `keys`. Offsets are the index and position of the first query and the
/// first key in their sequence; without offsets queries are the last tokens of their sequence, and
/// keys begin at 0.
/// Throws Error for shapes and starts that do not fit together, with every problem at once.
template <class T, class E>
void attention(std::type_identity_t<TensorView<const T>> q,
               std::type_identity_t<TensorView<const T>> k,
               std::type_identity_t<TensorView<const T>> v, TensorView<T> out,
               const RaggedBatch& queries, const RaggedBatch& keys, const Bound<E>& bound,
               const std::type_identity_t<RaggedAttentionOptions<T>>& options = {}) {
  detail::attend_ragged<T>(q, k, v, out, {queries, keys}, bound, options);
}

/// Attention of whole sequences over themselves.
template <class T, class E>
void attention(std::type_identity_t<TensorView<const T>> q,
               std::type_identity_t<TensorView<const T>> k,
               std::type_identity_t<TensorView<const T>> v, TensorView<T> out,
               const RaggedBatch& batch, const Bound<E>& bound,
               const std::type_identity_t<RaggedAttentionOptions<T>>& options = {}) {
  detail::attend_ragged<T>(q, k, v, out, {batch, batch}, bound, options);
}

POSENC_NAMESPACE_END
