// SPDX-License-Identifier: MIT
//
// How much attention each key received, and the weights of one head:
//
//   key_weights      sums(b, h) = sum over queries n and keys m of block b of w(n, h, m)
//   head_weights     w(n, m) of one head, [query][key]
//
//   w(n, h, m) = exp(x(n, h, m) - lse(n, h)), x and lse those of attention
//
// for those who evict by attention mass (H2O, SnapKV), choose blocks by it (InfLLM) or look at heads. Weights
// are known when the log-sum-exp of a row is, so this is a pass of its own behind attention() or decode(), which
// returned the lse: half of the products and no values. Over the keys of tensors, or of a sequence of a
// cache, whose keys go by their rank.
#pragma once

#include <posenc/attention/attention.hpp>
#include <posenc/attention/decode.hpp>
#include <posenc/attention/prefill/weights.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline Index blocks_of(Index keys, Index block) { return keys == 0 ? 0 : (keys - 1) / block + 1; }

template <class Q, class U>
POSENC_DETAIL_COLD void check_weights(Problems& problems, const TensorView<Q>& q,
                                      const Answers& answers, std::span<const U> lse) {
  check_view(problems, "q", q);
  const HeadShape& shape = answers.shape();
  problems.require(q.heads == shape.num_heads && (shape.head_dim == 0 || q.width == shape.head_dim),
                   "q is ", ShapeText(q), " but the encoding is bound to ", shape.num_heads,
                   " query heads", shape.head_dim == 0 ? "." : " of its own width.");
  problems.require(!lse.empty() || q.tokens == 0,
                   "lse is empty: pass the one that attention or decode returned.");
  check_by_row(problems, "lse", std::ssize(lse), q);
  Index value_dim = 0;  // values have no part in weights, whatever vectors they have
  for (const auto& [self, ask] : answers.asked())
    if (ask->relative_values) value_dim = ask->relative_values(self).width;
  check_relative_widths(problems, answers, q.width, value_dim);
}

/// Where sums or a matrix go, and what there has to be room for.
template <class U>
struct WeightsResults {
  std::span<double> sums{};
  Index block = 1;
  std::span<U> matrix{};
  Index head = 0;
  bool is_matrix = false;  ///< of one head; otherwise sums of all heads

  /// Who was called.
  [[nodiscard]] const char* caller() const {
    return is_matrix ? "posenc::head_weights" : "posenc::key_weights";
  }

  void check(Problems& problems, Index queries, Index keys, Index heads) const {
    if (!is_matrix) {
      problems.require(block > 0, "block must be positive, got ", block, ".");
      Index needed = 0;
      problems.require(block <= 0 || (multiply(blocks_of(keys, block), heads, needed) &&
                                      std::ssize(sums) == needed),
                       "sums has ", sums.size(), " elements for ", keys, " keys in blocks of ",
                       block, " and ", heads, " heads.");
      return;
    }
    problems.require(head >= 0 && head < heads, "there are heads 0 to ", heads - 1, ", got ", head,
                     ".");
    Index needed = 0;
    problems.require(multiply(queries, keys, needed) && std::ssize(matrix) == needed,
                     "weights has ", matrix.size(), " elements for ", queries, " queries and ",
                     keys, " keys.");
  }
  /// Runs a call, whose results it fills in.
  void run(WeightsCall<U> call, const AnyExecutor& executor) const {
    const Index keys = call.keys(), heads = call.forward.q.heads;
    if (is_matrix) {
      std::fill(matrix.begin(), matrix.end(), U{0});
      call.matrix = matrix.data(), call.head = head;
      return run_weights(call, executor);
    }
    std::vector<double> by_key(static_cast<std::size_t>(keys * heads));
    call.by_key = by_key.data();
    run_weights(call, executor);
    std::fill(sums.begin(), sums.end(), 0.0);
    for (Index h = 0; h < heads; ++h)
      for (Index k = 0; k < keys; ++k)
        sums[static_cast<std::size_t>(k / block * heads + h)] +=
            by_key[static_cast<std::size_t>(h * keys + k)];
  }
};

template <class Q, class K, class U>
POSENC_DETAIL_COLD void weigh(const TensorView<Q>& q, const TensorView<K>& k,
                              std::span<const U> lse, const WeightsResults<U>& results,
                              const Asked<U>& asked, const PrefillLeaves<U>& leaves,
                              const AttentionOptions<U>& options) {
  const Answers& answers = *asked.answers;
  Problems problems;
  check_weights(problems, q, answers, lse);
  check_view(problems, "k", k);
  problems.require(k.heads == answers.shape().num_kv_heads && k.width == q.width, "k is ",
                   ShapeText(k), " but must have ", answers.shape().num_kv_heads, " heads of ",
                   q.width, " channels.");
  problems.require(
      options.lse.empty() && !options.rows.are_wanted() && options.workspace.empty(),
      "the options have an lse, statistics of rows or a workspace, which are not written "
      "here; lse is a parameter of its own.");
  const Coordinates at = coordinates(problems, q.tokens, k.tokens, options, answers.rotary().state);
  DistanceCheck(answers, at, options.sequence)(problems, q.tokens, k.tokens);
  results.check(problems, q.tokens, k.tokens, q.heads);
  problems.raise_if_any(results.caller());

  const RotaryAtLength rotary(answers, [&] { return context_length(at, q.tokens, k.tokens); });
  const Rows<U> keys(k, leaves.level);
  const TensorKeys<U> source(keys, keys, KeyState::raw, at);
  WeightsCall<U> call{{Rows<U>(q, leaves.level),
                       source.source(),
                       {},
                       {},
                       at.query,
                       Positions(at.query_offset),
                       asked,
                       leaves,
                       options.sequence},
                      lse};
  call.forward.asked.rotary = &*rotary;
  results.run(call, options.executor);
}

/// The last tokens of a sequence against all that its cache holds.
template <class Q, KeyState State, class T, class U>
POSENC_DETAIL_COLD void weigh_cached(const TensorView<Q>& q, const KeyValueCache<State, T>& cache,
                                     Index sequence, std::span<const U> lse,
                                     const WeightsResults<U>& results, const Asked<U>& asked,
                                     const PrefillLeaves<U>& leaves, const AnyExecutor& executor) {
  const Answers& answers = *asked.answers;
  Problems problems;
  check_weights(problems, q, answers, lse);
  check_cache_fits(problems, cache.shape(), State, answers);
  problems.require(sequence >= 0 && sequence < cache.shape().sequences,
                   "the cache has sequences 0 to ", cache.shape().sequences - 1, ", got ", sequence,
                   ".");
  problems.require(q.width == cache.shape().head_dim, "q is ", ShapeText(q),
                   " but keys of the cache have ", cache.shape().head_dim, " channels.");
  problems.raise_if_any(results.caller());
  const CachedSequence<T> one{CacheKeys<T>(cache, sequence, leaves.level), 0, q.tokens};
  check_sequence(problems, cache, sequence, one, answers, false);
  const KeySource<U> source = one.keys.source();
  results.check(problems, q.tokens, source.tokens, q.heads);
  problems.raise_if_any(results.caller());

  const RotaryAtLength rotary(answers, [&] { return one.length(cache.is_streaming()); });
  const int axes = q.tokens == 0 ? 1 : one.place(0).axes();
  std::vector<Position> index, place(static_cast<std::size_t>(axes * q.tokens));
  for (Index i = 0; i < q.tokens; ++i) {
    index.push_back(one.index(i));
    for (int axis = 0; axis < axes; ++axis)
      place[static_cast<std::size_t>(axis * q.tokens + i)] = one.place(i).at(axis, 0);
  }
  WeightsCall<U> call{{Rows<U>(q, leaves.level),
                       source,
                       {},
                       {},
                       Positions(place, axes),
                       Positions(index),
                       asked,
                       leaves,
                       sequence},
                      lse};
  call.forward.asked.rotary = &*rotary;
  results.run(call, executor);
}

template <class T>
using LseOf = std::span<const computed_in_t<std::remove_const_t<T>>>;

}  // namespace detail

/// Sums of the weights of each block of `block` keys, [blocks][query heads], over all queries; the last block may be
/// shorter. `lse` and `options` are those of attention().
/// Throws Error for shapes that do not fit together, with every problem at once.
template <class T, class E>
void key_weights(
    TensorView<T> q, std::type_identity_t<TensorView<const std::remove_const_t<T>>> k,
    std::type_identity_t<detail::LseOf<T>> lse, std::span<double> sums, Index block,
    const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<detail::computed_in_t<std::remove_const_t<T>>>>&
        options = {}) {
  using U = detail::computed_in_t<std::remove_const_t<T>>;
  detail::weigh<const std::remove_const_t<T>, const std::remove_const_t<T>, U>(
      q, k, lse, {.sums = sums, .block = block}, bound.template asked<U>(),
      detail::prefill_leaves<E, U>(detail::level_index()), options);
}

/// The weights of one query head, [query tokens][key tokens].
template <class T, class E>
void head_weights(
    TensorView<T> q, std::type_identity_t<TensorView<const std::remove_const_t<T>>> k,
    std::type_identity_t<detail::LseOf<T>> lse, Index head,
    std::span<detail::computed_in_t<std::remove_const_t<T>>> weights, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<detail::computed_in_t<std::remove_const_t<T>>>>&
        options = {}) {
  using U = detail::computed_in_t<std::remove_const_t<T>>;
  detail::weigh<const std::remove_const_t<T>, const std::remove_const_t<T>, U>(
      q, k, lse, {.matrix = weights, .head = head, .is_matrix = true}, bound.template asked<U>(),
      detail::prefill_leaves<E, U>(detail::level_index()), options);
}

/// The same of the last tokens of a sequence over a cache, as decode() attends to it: keys are those that the
/// cache holds, by rank.
template <class Q, KeyState State, class T, class E>
void key_weights(TensorView<Q> q, const KeyValueCache<State, T>& cache, Index sequence,
                 std::span<const arithmetic_t<T>> lse, std::span<double> sums, Index block,
                 const Bound<E>& bound, const AnyExecutor& executor = {}) {
  using U = arithmetic_t<T>;
  detail::require_state<State, E>();
  detail::weigh_cached<Q, State, T, U>(q, cache, sequence, lse, {.sums = sums, .block = block},
                                       bound.template asked<U>(),
                                       detail::prefill_leaves<E, U>(detail::level_index()),
                                       executor);
}
template <class Q, KeyState State, class T, class E>
void head_weights(TensorView<Q> q, const KeyValueCache<State, T>& cache, Index sequence,
                  std::span<const arithmetic_t<T>> lse, Index head,
                  std::span<arithmetic_t<T>> weights, const Bound<E>& bound,
                  const AnyExecutor& executor = {}) {
  using U = arithmetic_t<T>;
  detail::require_state<State, E>();
  detail::weigh_cached<Q, State, T, U>(
      q, cache, sequence, lse, {.matrix = weights, .head = head, .is_matrix = true},
      bound.template asked<U>(), detail::prefill_leaves<E, U>(detail::level_index()), executor);
}

POSENC_NAMESPACE_END
