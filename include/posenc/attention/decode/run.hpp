// SPDX-License-Identifier: MIT
//
// A call to decode: checks, memory, and which kernel serves which sequence. Nothing here knows the type of
// an encoding.
#pragma once

#include <posenc/attention/decode/relative_terms.hpp>
#include <posenc/attention/decode/selected.hpp>
#include <posenc/attention/decode/worker.hpp>
#include <posenc/attention/prefill/run.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Runs a call in memory of decode_bytes().
template <class U>
void run_decode(const DecodeCall<U>& call, Index workers, const AnyExecutor& executor,
                std::byte* workspace) {
  const DecodeShape& shape = call.shape;
  const Index each = decode_worker_bytes<U>(*call.asked.answers, shape);
  Arena rest(workspace + workers * each);
  const SharedDecode<U> shared(shape, rest);
  shared.first_task[0] = 0;
  for (Index i = 0; i < shape.sequences; ++i) {
    const DecodeSequence<U>& sequence = call.sequences[static_cast<std::size_t>(i)];
    shared.first_task[i + 1] =
        shared.first_task[i] +
        DecodePlan::blocks_of(sequence.queries) * DecodePlan::parts_of(sequence.keys.tokens);
  }
  for (Index task = 0; task < shape.tasks; ++task) new (&shared.arrived[task]) std::atomic_flag;
  run_tasks(executor, workers, shape.tasks,
            [&](Index w) { return DecodeWorker<U>(call, shared, workspace + w * each); });
}

/// What a call has how much of.
struct CallCounts {
  Index sequences = 0;
  Index choices = 0;       ///< of a selection
  Index readers = 0;       ///< rows and groups of heads that have a choice each
  Index most_queries = 0;  ///< of a sequence of many queries
};

/// The sequences of a call, in its workspace.
template <class T>
struct CallSequences {
  using U = arithmetic_t<T>;
  CachedSequence<T>* cached = nullptr;
  ChosenKeys<T>* chosen = nullptr;
  DecodeSequence<U>* few = nullptr;  ///< what the decode kernel serves
  std::uint8_t* seen = nullptr;      ///< [reader]
  Position* index = nullptr;         ///< [query], of one sequence of many queries
  Position* place = nullptr;         ///< [axis][query]

  CallSequences(const CallCounts& counts, Arena& arena)
      : cached(arena.take<CachedSequence<T>>(1, counts.sequences)),
        chosen(arena.take<ChosenKeys<T>>(1, counts.choices)),
        few(arena.take<DecodeSequence<U>>(1, std::max(counts.sequences, counts.choices))),
        seen(arena.take<std::uint8_t>(1, counts.readers)),
        index(arena.take<Position>(1, counts.most_queries)),
        place(arena.take<Position>(Positions::most_axes, counts.most_queries)) {}
};

/// What a selection makes of a call: each choice takes the place of a sequence, and tasks serve its heads.
inline void count_selected(CallCounts& counts, DecodeShape& shape, const Selection& selection,
                           Index rows) {
  const Index group = shape.heads / shape.kv_heads, all = shape.heads;
  counts.choices = selection.size();
  if (selection.size() > 0) shape.heads = selection[0].readers.heads;
  counts.readers = rows * (all / shape.heads);
  shape.kv_heads = std::max<Index>(1, shape.heads / group);
  shape.sequences = counts.choices;
  for (Index i = 0; i < counts.choices; ++i) {
    const Selection::Choice choice = selection[i];
    shape.queries = std::max(shape.queries, choice.readers.queries);
    shape.tasks +=
        DecodePlan::blocks_of(choice.readers.queries) * DecodePlan::parts_of(choice.tokens);
  }
}

/// How much memory a call needs of which kind.
struct DecodeMemory {
  Index header = 0;  ///< of the sequences
  Index kernels = 0;
  [[nodiscard]] Index bytes() const {
    return header < 0 || kernels < 0 || kernels > std::numeric_limits<Index>::max() - header
               ? -1
               : header + kernels;
  }
};

/// `shape` is that of the decode kernel's call, `many` the queries of the longest sequence of more than
/// these and the keys of the longest.
template <class T>
POSENC_DETAIL_COLD DecodeMemory decode_memory(const Answers& answers, const CallCounts& counts,
                                              const DecodeShape& shape, const AttentionShape& many,
                                              const PrefillLeaves<arithmetic_t<T>>& leaves,
                                              Index concurrency) {
  using U = arithmetic_t<T>;
  Arena measure(nullptr);
  CallSequences<T>(counts, measure);
  DecodeMemory memory{.header = measure.used()};
  if (shape.tasks > 0)
    memory.kernels =
        decode_bytes<U>(answers, shape, std::clamp<Index>(shape.tasks, 1, concurrency));
  if (many.queries > 0 && memory.kernels >= 0) {
    const Index tiles = prefill_bytes(answers, leaves, many, concurrency);
    memory.kernels = tiles < 0 ? -1 : std::max(memory.kernels, tiles);
  }
  return memory;
}

/// One sequence of many queries, through the tiles of prefill.
template <class T, class U>
void prefill_sequence(const CachedSequence<T>& one, Index sequence, const Rows<U>& q,
                      const OutRows<U>& out, std::span<U> lse, const RowStatistics<U>& rows,
                      const Asked<U>& asked, const PrefillLeaves<U>& leaves,
                      const CallSequences<T>& memory, Index concurrency,
                      const AnyExecutor& executor, std::byte* workspace) {
  PrefillCall<U> call{q, one.keys.source(), out, lse, {}, {}, asked, leaves, sequence};
  call.q.data = q.row(one.first, 0);
  call.out.data = out.row(one.first, 0);
  call.q.tokens = call.out.tokens = one.queries;
  const int axes = one.place(0).axes();
  for (Index i = 0; i < one.queries; ++i) {
    memory.index[i] = one.index(i);
    const Positions place = one.place(i);
    for (int axis = 0; axis < axes; ++axis)
      memory.place[axis * one.queries + i] = place.at(axis, 0);
  }
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  call.query_index = std::span<const Position>(memory.index, size(one.queries));
  call.query = Positions(std::span<const Position>(memory.place, size(axes * one.queries)), axes);
  call.rows = rows.of(size(one.first * q.heads), size(one.queries * q.heads));
  if (!lse.empty()) call.lse = lse.subspan(size(one.first * q.heads), size(one.queries * q.heads));
  run_prefill(call, concurrency, executor, workspace);
}

/// All of a call: checks, memory, kernels.
template <class Q, KeyState State, class T, class O, class U>
POSENC_DETAIL_COLD void decode_cached(const TensorView<Q>& q, const KeyValueCache<State, T>& cache,
                                      const TensorView<O>& out, Asked<U> asked,
                                      const PrefillLeaves<U>& leaves,
                                      const DecodeLeaves<U>& decode_leaves,
                                      const DecodeOptions<U>& options) {
  const Answers& answers = *asked.answers;
  const std::size_t level = leaves.level;
  const DecodeBatch<KeyValueCache<State, T>, U> batch{cache, options, q.tokens};
  Problems problems;
  check_decode(problems, q, cache.shape(), State, out, answers, options);
  problems.raise_if_any("posenc::decode");
  const Selection* const selection = options.selection;
  const Index few_queries = DecodePlan::few_queries(answers);
  DecodeShape shape = decode_shape(cache, answers);
  CallCounts counts{.sequences = batch.sequences()};
  shape.sequences = counts.sequences;
  AttentionShape many{0, 0, shape.head_dim, shape.value_dim};
  for (Index i = 0; i < counts.sequences; ++i) {
    const CachedSequence<T> one = batch[i];
    check_sequence(problems, cache, batch.sequence(i), one, answers, selection != nullptr);
    const Index tokens = one.keys.slots().tokens();
    if (selection) continue;
    if (one.queries <= few_queries) {
      shape.queries = std::max(shape.queries, one.queries);
      shape.tasks += DecodePlan::blocks_of(one.queries) * DecodePlan::parts_of(tokens);
    } else {
      many.queries = std::max(many.queries, one.queries);
      many.keys = std::max(many.keys, tokens);
    }
  }
  counts.most_queries = many.queries;
  if (selection && problems.empty()) check_selection(problems, *selection, batch, answers);
  if (selection && problems.empty()) count_selected(counts, shape, *selection, q.tokens);
  const Index concurrency = options.executor.concurrency();
  const DecodeMemory sizes = decode_memory<T>(answers, counts, shape, many, leaves, concurrency);
  check_workspace(problems, options.workspace, sizes.bytes());
  problems.raise_if_any("posenc::decode");

  const RotaryAtLengths rotary(answers, counts.sequences, [&](Index i) {
    const CachedSequence<T> one = batch[i];
    return one.queries == 0 ? 0 : one.length(cache.is_streaming());
  });

  const Workspace workspace(options.workspace, sizes.bytes());
  Arena header(workspace.data());
  const CallSequences<T> memory(counts, header);
  std::byte* const rest = workspace.data() + sizes.header;
  for (Index i = 0; i < counts.sequences; ++i) {
    const CachedSequence<T>* const one = new (&memory.cached[i]) CachedSequence<T>(batch[i]);
    const Index few = one->queries <= few_queries ? one->queries : 0;
    if (!selection)
      new (&memory.few[i])
          DecodeSequence<U>(decode_sequence(one, &rotary[i], batch.sequence(i), one->first, few));
  }
  if (selection) {
    check_covers(problems, *selection, q.tokens, q.heads / shape.heads, memory.seen);
    problems.raise_if_any("posenc::decode");
  }
  for (Index c = 0; c < counts.choices; ++c) {
    const Selection::Choice choice = (*selection)[c];
    const auto& [query, queries, head, heads] = choice.readers;
    const Index i = batch.sequence_of(query);
    const bool moved_together = selection->placement == Placement::contiguous;
    const auto* const one =
        new (&memory.chosen[c]) ChosenKeys<T>{&memory.cached[i], choice, moved_together};
    new (&memory.few[c])
        DecodeSequence<U>(decode_sequence(one, &rotary[i], batch.sequence(i), query, queries, head,
                                          head / (q.heads / cache.shape().kv_heads)));
  }
  const Rows<U> q_rows(q, level);
  const OutRows<U> out_rows(out, level);
  if (shape.tasks > 0) {
    const DecodeCall<U> call{q_rows,        out_rows,
                             options.lse,   asked,
                             decode_leaves, {memory.few, static_cast<std::size_t>(shape.sequences)},
                             shape,         options.rows};
    run_decode(call, std::clamp<Index>(shape.tasks, 1, concurrency), options.executor, rest);
  }
  for (Index i = 0; i < counts.sequences && !selection; ++i) {
    if (memory.cached[i].queries <= few_queries) continue;
    asked.rotary = &rotary[i];
    prefill_sequence<T, U>(memory.cached[i], batch.sequence(i), q_rows, out_rows, options.lse,
                           options.rows, asked, leaves, memory, concurrency, options.executor,
                           rest);
  }
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_decode<float>(const DecodeCall<float>&, Index, const AnyExecutor&,
                                           std::byte*);
POSENC_DETAIL_DOUBLE void run_decode<double>(const DecodeCall<double>&, Index, const AnyExecutor&,
                                             std::byte*);
POSENC_DETAIL_FLOAT void decode_cached<const float, KeyState::raw, float, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::raw, float>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_FLOAT void decode_cached<const float, KeyState::rotated, float, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::rotated, float>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_DOUBLE void decode_cached<const double, KeyState::raw, double, double, double>(
    const TensorView<const double>&, const KeyValueCache<KeyState::raw, double>&,
    const TensorView<double>&, Asked<double>, const PrefillLeaves<double>&,
    const DecodeLeaves<double>&, const DecodeOptions<double>&);
POSENC_DETAIL_DOUBLE void decode_cached<const double, KeyState::rotated, double, double, double>(
    const TensorView<const double>&, const KeyValueCache<KeyState::rotated, double>&,
    const TensorView<double>&, Asked<double>, const PrefillLeaves<double>&,
    const DecodeLeaves<double>&, const DecodeOptions<double>&);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
