// SPDX-License-Identifier: MIT
//
// select: which blocks of a cache the queries of a call to decode() read.
//
//   Summaries summaries(Quest{.budget = 2'048}, cache, bound);   once
//   Selection chosen;
//   ...
//   cache.append(sequence, k, v, bound);
//   summaries.update(cache, sequence, bound);
//   select(q, cache, summaries, bound, chosen);
//   decode(q, cache, out, bound, {.selection = &chosen});
//
// q [tokens, heads, head_dim] are the queries as decode() takes them, with the same options. Each meets the summaries of its
// key head in one product: rotated as in attention where the selector's summaries are of rotated keys, and otherwise as
// passed. Scores are these products, or what the selector makes of them (weigh); rows that share a choice are
// added. Then a query reads the blocks that are forced, the `top` others of greatest score, and those that have no summary
// yet. Of equal scores the earlier block is taken; NaN is above all numbers.
//
// A query reads no token behind its own, so the queries of a draft may choose differently: its own token is the
// one of its rank, as for decode(). Masks and biases do not take part in choosing; masks hold for what is chosen.
//
// Results are the same whatever the executor. With a workspace, and a Selection that has had as many ranges before,
// nothing is allocated.
#pragma once

#include <posenc/attention/call/coordinates.hpp>
#include <posenc/attention/decode/checks.hpp>
#include <posenc/attention/decode/selected.hpp>
#include <posenc/core/ragged_batch.hpp>
#include <posenc/select/select_worker.hpp>

POSENC_NAMESPACE_BEGIN

/// As DecodeOptions.
struct SelectOptions {
  /// Sequences of the cache, in the order of their queries; empty: all of them.
  std::span<const Index> sequences{};
  /// Tokens [starts[i], starts[i + 1]) of q are those of the i-th sequence; empty: all have equally many.
  std::span<const Index> starts{};
  /// Positions of the queries in place of those of the last tokens that the cache holds.
  std::optional<Positions> query_positions{};
  AnyExecutor executor{};
  /// At least select_workspace(...) bytes, aligned to 64; empty: the call allocates them.
  std::span<std::byte> workspace{};
};

namespace detail {

template <KeyState State, class C, class S, Element T>
SelectShape select_shape(const KeyValueCache<State, C>& cache, const Summaries<S, T>& summaries,
                         const Answers& answers) {
  const S& selector = summaries.selector();
  return {.heads = answers.shape().num_heads,
          .kv_heads = cache.shape().kv_heads,
          .head_dim = cache.shape().head_dim,
          .summary_heads = summaries.heads(),
          .summary_width = summaries.width(),
          .block = selector.block,
          .top = selector.top(),
          .per = selector.per};
}

/// Memory of a call; in bytes where there is none.
template <class C>
struct SelectMemory {
  SelectSequence<C>* sequences = nullptr;
  SelectResults results;
  std::byte* rooms = nullptr;
  Index each = 0;  ///< bytes of a worker

  SelectMemory(const SelectShape& shape, Index sequences_of_call, Index rows, Index workers,
               Arena& arena)
      : sequences(arena.take<SelectSequence<C>>(1, sequences_of_call)),
        results(shape, rows, arena) {
    Arena measure(nullptr);
    SelectRoom(shape, measure);
    each = measure.used();
    rooms = arena.take<std::byte>(workers, each < 0 ? std::numeric_limits<Index>::max() : each);
  }
  static Index bytes(const SelectShape& shape, Index sequences, Index rows, Index workers) {
    Arena arena(nullptr);
    SelectMemory(shape, sequences, rows, workers, arena);
    return arena.used();
  }
};

template <class Q, class CacheT>
POSENC_DETAIL_COLD void check_select(Problems& problems, const TensorView<Q>& q,
                                     const CacheT& cache, const Answers& answers,
                                     const SelectOptions& options) {
  const CacheShape& shape = cache.shape();
  check_view(problems, "q", q);
  problems.require(q.heads == answers.shape().num_heads && q.width == shape.head_dim, "q is ",
                   ShapeText(q), " but must have ", answers.shape().num_heads, " heads of ",
                   shape.head_dim, " channels.");
  check_queries(problems, options, shape, q.tokens, answers);
}

}  // namespace detail

/// Bytes of workspace for calls with up to so many queries of each sequence of a cache, filled to its capacity or less.
/// Throws Error when the size does not fit in memory.
template <KeyState State, class C, KeySelector S, Element T, class E>
[[nodiscard]] std::size_t select_workspace(const KeyValueCache<State, C>& cache,
                                           const Summaries<S, T>& summaries, const Bound<E>& bound,
                                           Index queries_per_sequence = 1,
                                           const AnyExecutor& executor = {}) {
  detail::SelectShape shape = detail::select_shape(cache, summaries, bound.answers());
  Problems problems;
  summaries.check(problems, cache, bound.answers());
  problems.require(queries_per_sequence > 0 && queries_per_sequence <= Index{1} << 40,
                   "queries_per_sequence must be positive and at most 2^40, got ",
                   queries_per_sequence, ".");
  problems.raise_if_any("posenc::select_workspace");
  shape.queries = std::min(queries_per_sequence, cache.shape().capacity);
  shape.blocks = (cache.shape().capacity - 1) / shape.block + 1;
  const Index sequences = cache.shape().sequences;
  Index rows = 0;
  const bool fits =
      multiply(sequences, shape.queries, rows) && multiply(rows, shape.choices(), rows);
  const Index bytes =
      fits ? detail::SelectMemory<C>::bytes(shape, sequences, sequences * shape.queries,
                                            executor.concurrency())
           : -1;
  problems.require(bytes >= 0, "the workspace for ", sequences, " sequences of ",
                   queries_per_sequence, " queries does not fit in memory.");
  problems.raise_if_any("posenc::select_workspace");
  return static_cast<std::size_t>(bytes);
}

namespace detail {

template <class Q, KeyState State, class C, class S, Element T, class E>
void select_cached(const TensorView<Q>& q, const KeyValueCache<State, C>& cache,
                   const Summaries<S, T>& summaries, const Bound<E>& bound, Selection& out,
                   const SelectOptions& options) {
  using A = arithmetic_t<std::remove_const_t<Q>>;
  using U = arithmetic_t<C>;
  using LayoutT = typename Bound<E>::layout;
  const Answers& answers = bound.answers();
  const std::size_t level = level_index();
  Problems problems;
  summaries.check(problems, cache, answers);
  problems.raise_if_any("posenc::select");
  check_select(problems, q, cache, answers, options);
  check_choosable(problems, answers);
  check_placement(problems, placement_of<S>, State, options.query_positions.has_value(),
                  cache.shape(), answers);
  problems.raise_if_any("posenc::select");

  const DecodeOptions<U> as_decoded{.sequences = options.sequences,
                                    .starts = options.starts,
                                    .query_positions = options.query_positions};
  const DecodeBatch<KeyValueCache<State, C>, U> batch{cache, as_decoded, q.tokens};
  const Index sequences = batch.sequences();
  SelectShape shape = select_shape(cache, summaries, answers);
  Index tasks = 0;
  const auto tasks_of = [&](Index queries) {
    return (queries + SelectShape::most_queries - 1) / SelectShape::most_queries *
           (shape.kv_heads / shape.heads_together());
  };
  for (Index i = 0; i < sequences; ++i) {
    const auto one = batch[i];
    const Slots& slots = one.keys.slots();
    problems.require(one.queries <= slots.tokens(), "sequence ", batch.sequence(i), " holds ",
                     slots.tokens(), " tokens but has ", one.queries,
                     " queries: append their keys and values before select().");
    cache.check_rotated_by(problems, batch.sequence(i), answers);
    summaries.check_current(problems, cache, batch.sequence(i), answers);
    shape.queries = std::max(shape.queries, one.queries);
    shape.blocks = std::max(shape.blocks, BlockGrid(slots, shape.block).blocks(slots.tokens()));
    tasks += tasks_of(one.queries);
  }
  const Index workers = std::clamp<Index>(tasks, 1, options.executor.concurrency());
  const Index bytes = SelectMemory<C>::bytes(shape, sequences, q.tokens, workers);
  check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::select");

  const RotaryAtLengths rotary(answers, sequences,
                               [&](Index i) { return batch[i].length(cache.is_streaming()); });
  const Workspace workspace(options.workspace, bytes);
  Arena arena(workspace.data());
  const SelectMemory<C> memory(shape, sequences, q.tokens, workers, arena);
  for (Index i = 0, first_task = 0; i < sequences; ++i) {
    const auto* const one = new (&memory.sequences[i])
        SelectSequence<C>{batch[i], &rotary[i], BlockGrid(batch[i].keys.slots(), shape.block),
                          batch.sequence(i), first_task};
    first_task += tasks_of(one->cached.queries);
  }
  SelectCall<S, T, C, A> call{summaries,
                              answers,
                              Rows<A>(q, level),
                              nullptr,
                              dots_leaves<T>()[level],
                              shape,
                              {memory.sequences, static_cast<std::size_t>(sequences)},
                              memory.results};
  if constexpr (S::rotated || TurnsQueriesAlike<S>)
    if (answers.rotates()) call.rotate = rotation_leaves<LayoutT, float>()[level];
  run_tasks(options.executor, workers, tasks, [&](Index w) {
    return SelectWorker<S, T, C, A>(call, memory.rooms + w * memory.each);
  });

  out.clear();
  out.placement = placement_of<S>;
  const Index heads = shape.heads / shape.choices();
  for (Index row = 0; row < q.tokens; ++row)
    for (Index c = 0; c < shape.choices(); ++c) {
      const Index at = row * shape.choices() + c;
      out.add({.query = row, .queries = 1, .head = c * heads, .heads = heads},
              {memory.results.ranges + at * shape.ranges(),
               static_cast<std::size_t>(memory.results.count[at])});
    }
}

}  // namespace detail

/// Fills `out` with the choice of every query; what it held before is gone. See the head of this file.
/// Throws Error for shapes that do not fit together, and for summaries that are not of what the cache holds.
template <KeyState State, class C, KeySelector S, Element T, class E>
void select(std::type_identity_t<TensorView<const arithmetic_t<C>>> q,
            const KeyValueCache<State, C>& cache, const Summaries<S, T>& summaries,
            const Bound<E>& bound, Selection& out, const SelectOptions& options = {}) {
  detail::select_cached(q, cache, summaries, bound, out, options);
}
/// The same for queries of another element.
template <class Q, KeyState State, class C, KeySelector S, Element T, class E>
  requires(!std::same_as<std::remove_const_t<Q>, arithmetic_t<C>>)
void select(TensorView<Q> q, const KeyValueCache<State, C>& cache, const Summaries<S, T>& summaries,
            const Bound<E>& bound, Selection& out, const SelectOptions& options = {}) {
  detail::select_cached(q, cache, summaries, bound, out, options);
}

POSENC_NAMESPACE_END
