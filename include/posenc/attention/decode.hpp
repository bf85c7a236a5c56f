// SPDX-License-Identifier: MIT
//
// decode: attention of the newest tokens of each sequence over all that a cache holds.
//
//   append(sequence, k, v, bound), then decode(q, cache, out, bound)
//
// q [tokens, heads, head_dim] as it leaves its projection and out [tokens, heads, value_dim] hold
// the queries of one sequence after another, in any element that is computed in what the cache's is
// (float; double for double). A sequence may have one query, a draft of some, or a chunk of prompt: a
// few read the cache by the decode kernel, more run through the tiles of prefill. What comes out for
// the last token of a sequence is the last row of attention() over the whole of it: masks, biases,
// vectors by distance, temperatures, sinks and distance maps mean what they mean there, and so do
// rows that see nothing and numbers that are not finite.
//
// An encoding whose frequencies depend on the length is evaluated for each sequence at its own (one
// more than the greatest position), unless it was bound with a length. What does not fit is
// refused: keys of another state by the compiler, keys that another encoding rotated by an Error.
//
// With DecodeOptions::selection queries read chosen keys only (select/selection.hpp), any number of queries by the
// decode kernel. Whoever chooses may leave out what a mask shows, so a ring may have overwritten it, too.
#pragma once

#include <posenc/attention/decode/run.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/bind/wrong_call.hpp>

POSENC_NAMESPACE_BEGIN

/// Bytes of workspace for calls with up to so many queries of each sequence of this cache, filled
/// to its capacity or less.
/// Throws Error when the size does not fit in memory.
template <KeyState State, class T, class E>
[[nodiscard]] std::size_t decode_workspace(const Bound<E>& bound,
                                           const KeyValueCache<State, T>& cache,
                                           Index queries_per_sequence = 1,
                                           const AnyExecutor& executor = {}) {
  using U = arithmetic_t<T>;
  using Plan = detail::DecodePlan;
  const detail::Answers& answers = bound.answers();
  Problems problems;
  detail::check_cache_fits(problems, cache.shape(), State, answers);
  problems.require(queries_per_sequence > 0 && queries_per_sequence <= Index{1} << 40,
                   "queries_per_sequence must be positive and at most 2^40, got ",
                   queries_per_sequence, ".");
  problems.raise_if_any("posenc::decode_workspace");
  detail::DecodeShape shape = detail::decode_shape(cache, answers);
  shape.sequences = cache.shape().sequences;
  const Index few_queries = Plan::few_queries(answers);
  shape.queries = std::min(queries_per_sequence, few_queries);
  AttentionShape many{0, 0, shape.head_dim, shape.value_dim};
  // No sequence has more queries than tokens.
  const Index most_queries = std::min(queries_per_sequence, cache.shape().capacity);
  if (most_queries > few_queries) many.queries = most_queries, many.keys = cache.shape().capacity;
  Index blocks = 0;
  const bool fits = multiply(shape.sequences, Plan::blocks_of(shape.queries), blocks) &&
                    multiply(blocks, Plan::most_parts_of(cache.shape().capacity), shape.tasks);
  const auto leaves = detail::prefill_leaves<E, U>(detail::level_index());
  const Index bytes =
      fits ? detail::decode_memory<T>(answers,
                                      {.sequences = shape.sequences, .most_queries = many.queries},
                                      shape, many, leaves, executor.concurrency())
                 .bytes()
           : -1;
  problems.require(bytes >= 0, "the workspace for ", shape.sequences, " sequences of ",
                   queries_per_sequence, " queries does not fit in memory.");
  problems.raise_if_any("posenc::decode_workspace");
  return static_cast<std::size_t>(bytes);
}

/// Bytes of workspace for a call with this selection and so many rows of q, of any sequences of this cache.
/// Throws Error when the size does not fit in memory.
template <KeyState State, class T, class E>
[[nodiscard]] std::size_t decode_workspace(const Bound<E>& bound,
                                           const KeyValueCache<State, T>& cache,
                                           const Selection& selection, Index rows,
                                           const AnyExecutor& executor = {}) {
  using U = arithmetic_t<T>;
  const detail::Answers& answers = bound.answers();
  Problems problems;
  detail::check_cache_fits(problems, cache.shape(), State, answers);
  problems.require(rows >= 0 && rows <= Index{1} << 40,
                   "rows of q must not be negative and at most 2^40, got ", rows, ".");
  for (Index i = 0; i < selection.size() && problems.empty(); ++i)
    detail::check_readers(problems, selection, i, rows, answers.shape());
  problems.raise_if_any("posenc::decode_workspace");
  detail::DecodeShape shape = detail::decode_shape(cache, answers);
  // A sequence may be named several times, but each of its rows has a choice.
  detail::CallCounts counts{.sequences = cache.shape().sequences + selection.size()};
  detail::count_selected(counts, shape, selection, rows);
  const auto leaves = detail::prefill_leaves<E, U>(detail::level_index());
  const Index bytes =
      detail::decode_memory<T>(answers, counts, shape, {0, 0, shape.head_dim, shape.value_dim},
                               leaves, executor.concurrency())
          .bytes();
  problems.require(bytes >= 0, "the workspace for ", selection.size(),
                   " choices does not fit in memory.");
  problems.raise_if_any("posenc::decode_workspace");
  return static_cast<std::size_t>(bytes);
}

namespace detail {

template <class Q, class O, class U>
concept DecodeTensors = (AnyView<Q> || std::convertible_to<Q&, TensorView<const U>>) &&
                        (AnyView<O> || std::convertible_to<O&, TensorView<U>>);
/// What some overload of decode() takes, as far as its options are right.
template <class Q, class O, class E, class U>
concept DecodeArguments = DecodeTensors<Q, O, U> && AnyBinding<E>;

template <class U, class Q, KeyState State, class T, class O, class E>
void decode_bound(const TensorView<Q>& q, const KeyValueCache<State, T>& cache,
                  const TensorView<O>& out, const Bound<E>& bound,
                  const DecodeOptions<U>& options) {
  require_writable<O>();
  require_elements<U, Q, O>();
  require_state<State, E>();
  const std::size_t level = level_index();
  if constexpr (ComputedIn<U, Q, O>)
    decode_cached(q, cache, out, bound.template asked_from_behind<U>(), prefill_leaves<E, U>(level),
                  decode_leaves<E, State, T>(bound.answers().rotary(), level), options);
}

}  // namespace detail

/// Attention of the last tokens of each sequence over a cache. See the head of this file.
/// Throws Error for shapes that do not fit together, with every problem at once.
template <KeyState State, class T, class E>
void decode(std::type_identity_t<TensorView<const arithmetic_t<T>>> q,
            const KeyValueCache<State, T>& cache,
            std::type_identity_t<TensorView<arithmetic_t<T>>> out, const Bound<E>& bound,
            const std::type_identity_t<DecodeOptions<arithmetic_t<T>>>& options = {}) {
  detail::decode_bound<arithmetic_t<T>>(q, cache, out, bound, options);
}

/// The same for queries and outputs of other elements.
template <class Q, KeyState State, class T, class O, class E>
  requires(!std::same_as<std::remove_const_t<Q>, arithmetic_t<T>> ||
           !std::same_as<O, arithmetic_t<T>>)
void decode(TensorView<Q> q, const KeyValueCache<State, T>& cache, TensorView<O> out,
            const Bound<E>& bound,
            const std::type_identity_t<DecodeOptions<arithmetic_t<T>>>& options = {}) {
  detail::decode_bound<arithmetic_t<T>>(q, cache, out, bound, options);
}

/// What none of the others takes is told what to write.
template <class Q, KeyState State, class T, class O, class E>
  requires(!detail::DecodeArguments<Q, O, E, arithmetic_t<T>>)
void decode(const Q&, const KeyValueCache<State, T>&, const O&, const E&,
            const std::type_identity_t<DecodeOptions<arithmetic_t<T>>>& = {}) {
  static_assert(
      detail::DecodeTensors<Q, O, arithmetic_t<T>>,
      "posenc: decode takes views of q and out: write TensorView(q.data(), tokens, heads, "
      "width).");
  static_assert(detail::AnyBinding<E>,
                "posenc: decode takes what bind() returns: write bind(encoding, {.num_heads = ..., "
                ".num_kv_heads = ...}), once for all calls.");
}

POSENC_NAMESPACE_END
