// SPDX-License-Identifier: MIT
//
// decode: attention of the newest tokens of each sequence over all that a cache holds.
//
//   append(sequence, k, v, bound), then decode(q, cache, out, bound)
//
// q [tokens, heads, head_dim] as it leaves its projection and out [tokens, heads, value_dim] hold
// the queries of one sequence after another, in what the cache's element is computed in (float;
// double for double). What comes out for the last token of a sequence is the last row of
// attention() over the whole of it: masks, biases, vectors by distance, temperatures, sinks and
// distance maps mean what they mean there, and so do rows that see nothing and numbers that are not
// finite.
//
// An encoding whose frequencies depend on the length is evaluated for each sequence at its own (one
// more than the greatest position), unless it was bound with a length. What does not fit is
// refused: keys of another state by the compiler, keys that another encoding rotated by an Error.
#pragma once

#include <posenc/attention/attention.hpp>
#include <posenc/attention/decode/worker.hpp>
#include <posenc/rotate/ragged.hpp>

#include <functional>

POSENC_NAMESPACE_BEGIN

/// What a call to decode takes besides tensors; U is the element of q and out.
template <class U>
struct DecodeOptions {
  /// Sequences of the cache, in the order of their queries; empty: all of them.
  std::span<const Index> sequences{};
  /// Tokens [starts[i], starts[i + 1]) of q are those of the i-th sequence, [sequences + 1]; empty:
  /// all sequences have equally many.
  std::span<const Index> starts{};
  /// Positions of the queries in place of those of the last tokens that the cache holds. Masks go
  /// by the indices of these tokens all the same.
  std::optional<Positions> query_positions{};
  /// Receives the natural log-sum-exp of each row, [tokens][heads].
  std::span<U> lse{};
  AnyExecutor executor{};
  /// At least decode_workspace(...) bytes, aligned to 64; empty: the call allocates them.
  std::span<std::byte> workspace{};
};

namespace detail {

template <class CacheT, class BoundT>
DecodeShape decode_shape(const CacheT& cache, const BoundT& bound) {
  DecodeShape shape{.heads = bound.shape().num_heads,
                    .kv_heads = cache.shape().kv_heads,
                    .head_dim = cache.shape().head_dim,
                    .value_dim = cache.shape().value_dim,
                    .value_buckets = value_buckets(bound)};
  if constexpr (BoundT::has_rotary) shape.pairs = bound.rotary().pairs();
  return shape;
}

/// Bytes that one worker needs, and all of them; -1 when that does not fit in memory.
template <class U, class BoundT>
Index decode_worker_bytes(const DecodeShape& shape) {
  Arena measure(nullptr);
  DecodeBuffers<U, BoundT>(shape, measure);
  RowSums<U>(shape, measure);
  return measure.used();
}
template <class U, class BoundT>
Index decode_bytes(const DecodeShape& shape, Index workers) {
  const Index each = decode_worker_bytes<U, BoundT>(shape);
  Arena measure(nullptr);
  SharedDecode<U>(shape, measure);
  Index bytes = 0;
  const bool fits = each >= 0 && measure.used() >= 0 && multiply(each, workers, bytes) &&
                    bytes <= std::numeric_limits<Index>::max() - measure.used();
  return fits ? bytes + measure.used() : -1;
}

template <class CacheT, class BoundT>
void check_decode(Problems& problems,
                  const TensorView<const arithmetic_t<typename CacheT::element>>& q,
                  const CacheT& cache,
                  const TensorView<arithmetic_t<typename CacheT::element>>& out,
                  const BoundT& bound,
                  const DecodeOptions<arithmetic_t<typename CacheT::element>>& options) {
  const CacheShape& shape = cache.shape();
  const auto dims = [](const auto& x) { return ShapeText(x); };
  check_view(problems, "q", q);
  check_view(problems, "out", out);
  if (problems.empty()) {
    problems.require(!overlap(out, q) || same_elements(out, q),
                     "out must be the same view as q or must not overlap it.");
    check_result(problems, "out", out);
  }
  check_cache_fits(problems, shape, bound);
  check_relative_widths(problems, bound, shape.head_dim, shape.value_dim);
  problems.require(q.heads == bound.shape().num_heads && q.width == shape.head_dim, "q is ",
                   dims(q), " but must have ", bound.shape().num_heads, " heads of ",
                   shape.head_dim, " channels.");
  problems.require(out.tokens == q.tokens && out.heads == q.heads && out.width == shape.value_dim,
                   "out is ", dims(out), " but must be [", q.tokens, ", ", q.heads, ", ",
                   shape.value_dim, "].");
  const Index sequences =
      options.sequences.empty() ? shape.sequences : std::ssize(options.sequences);
  for (const Index s : options.sequences)
    if (s < 0 || s >= shape.sequences) {
      problems.add("the cache has sequences 0 to ", shape.sequences - 1, ", got ", s, ".");
      break;
    }
  if (options.starts.empty()) {
    problems.require(
        q.tokens % sequences == 0, "q has ", q.tokens, " tokens for ", sequences,
        " sequences: give each equally many, or say with starts which belong to which.");
  } else {
    RaggedBatch{.starts = options.starts}.check(problems, q.tokens);
    problems.require(std::ssize(options.starts) == sequences + 1, "got ", options.starts.size(),
                     " starts for ", sequences,
                     " sequences; there must be one more than sequences.");
  }
  if (options.query_positions)
    check_attended(problems, "queries", *options.query_positions, q.tokens, rotary_state(bound));
  check_lse(problems, options.lse, q);
}

/// Reports a ring that has overwritten keys which a query may see: those that were overwritten last
/// are the first to be missed, and those behind the sinks where the mask has more of these. A
/// streaming cache forgets on purpose.
template <class CacheT, class BoundT>
void check_overwritten(Problems& problems, const CacheT& cache, Index sequence, const Slots& slots,
                       Index queries, const BoundT& bound) {
  const Position lost = slots.overwritten() - 1;
  if (lost < slots.sinks() || cache.is_streaming() || queries == 0) return;
  for (Index rank = slots.tokens() - queries; rank < slots.tokens(); ++rank) {
    const Position query = slots.index(rank);
    const auto is_missed = [&](Position key, Index head) {
      const Index at =
          slots.rank_of(key);  // those kept as sinks may follow others that were evicted
      return (at == slots.tokens() || slots.index(at) != key) &&
             detail::visible(bound.stages(), Score{query, key, query, key, head});
    };
    Position missed = -1;
    constexpr Position some = 64;  // a mask may leave out every other one
    for (Position key = lost; missed < 0 && key >= std::max(slots.sinks(), lost - some); --key)
      if (is_missed(key, 0)) missed = key;
    for (Position key = slots.sinks(); missed < 0 && key <= std::min(lost, slots.sinks() + some);
         ++key)
      if (is_missed(key, 0)) missed = key;
    for (Index head = 1; missed < 0 && head < bound.shape().num_heads; ++head)
      if (is_missed(lost, head)) missed = lost;
    problems.require(
        missed < 0, "sequence ", sequence, " is a ring of ", slots.capacity(),
        " tokens that has overwritten token ", missed, ", which the mask lets query ", query,
        " see: use a mask of that reach (SlidingWindow, SinkWindow, StreamingLLM, ...), a "
        "longer ring, or KeyValueCache::streaming, which forgets on purpose.");
    if (missed >= 0) return;
  }
}

/// Reports a key of one sequence that a query sees at a distance without a vector.
template <class ProblemT>
void check_distances(Problems& problems, const ProblemT& call, Index i, const Slots& slots) {
  const Index queries = call.queries(i), tokens = slots.tokens();
  for (Index q = 0; q < queries; ++q)
    slots.for_runs(
        0, tokens,
        [&](const SlotRun& run) {
          const Coordinates at{slots.index(tokens - queries + q), slots.index(run.rank),
                               call.place_of_query(i, slots, q), call.places_of_keys(slots, run)};
          check_distances(problems, call.bound(0), at, 1, run.tokens);
        },
        true);
}

/// Reports what is wrong with the tokens of one sequence.
template <class ProblemT>
void check_sequence(Problems& problems, const ProblemT& call, Index i) {
  const RotaryState& rotary = rotary_state(call.bound(0));
  const Slots& slots = call.cache.slots("decode", call.sequence(i));
  const Index queries = call.queries(i), tokens = slots.tokens();
  problems.require(queries <= tokens, "sequence ", call.sequence(i), " holds ", tokens,
                   " tokens but has ", queries,
                   " queries: append their keys and values before decode().");
  call.cache.check_rotated_by(problems, call.sequence(i), call.bound(0));
  if (queries <= tokens)
    check_overwritten(problems, call.cache, call.sequence(i), slots, queries, call.bound(0));
  if (queries > tokens) return;
  if constexpr (ProblemT::Counts::limited) check_distances(problems, call, i, slots);
  if (rotary.growth.size() == 0) return;
  slots.for_runs(0, tokens, [&](const SlotRun& run) {
    if (problems.empty())
      check_attended(problems, "keys", call.places_of_keys(slots, run), run.tokens, rotary);
  });
}

/// `at_length` makes the answers at a length; it is empty where the length does not matter.
template <class CacheT, class BoundT>
void decode_checked(DecodeProblem<CacheT, BoundT>& call, DecodeShape& shape,
                    const std::function<BoundT(Position)>& at_length,
                    const DecodeOptions<arithmetic_t<typename CacheT::element>>& options) {
  using U = arithmetic_t<typename CacheT::element>;
  Problems problems;
  for (Index i = 0; i < shape.sequences; ++i) {
    check_sequence(problems, call, i);
    const Index tokens = call.cache.tokens(call.sequence(i));
    shape.queries = std::max(shape.queries, call.queries(i));
    shape.tasks += DecodePlan::blocks_of(call.queries(i)) * DecodePlan::parts_of(tokens);
  }
  const Index workers = std::clamp<Index>(shape.tasks, 1, options.executor.concurrency());
  const Index bytes = decode_bytes<U, BoundT>(shape, workers);
  check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::decode");
  if (shape.tasks == 0) return;

  std::vector<BoundT> bounds;
  if (at_length) {
    bounds.reserve(static_cast<std::size_t>(shape.sequences));
    for (Index i = 0; i < shape.sequences; ++i) {
      if (call.queries(i) == 0) {
        bounds.push_back(call.bound(0));  // nobody asks it
        continue;
      }
      const Slots& slots = call.cache.slots("decode", call.sequence(i));
      Position length = call.cache.is_streaming() ? slots.tokens() : slots.length();
      if (options.query_positions)
        length = std::max(length, options.query_positions
                                      ->subspan(static_cast<std::size_t>(call.start(i)),
                                                static_cast<std::size_t>(call.queries(i)))
                                      .length(call.queries(i)));
      bounds.push_back(length == 0 ? call.bound(0) : at_length(length));
    }
    call.bounds = bounds.data();
    call.bound_each = true;
  }

  const Workspace workspace(options.workspace, bytes);
  const Index each = decode_worker_bytes<U, BoundT>(shape);
  Arena rest(workspace.data() + workers * each);
  const SharedDecode<U> shared(shape, rest);
  shared.first_task[0] = 0;
  for (Index i = 0; i < shape.sequences; ++i) {
    const Index blocks = DecodePlan::blocks_of(call.queries(i));
    const Index parts = DecodePlan::parts_of(call.cache.tokens(call.sequence(i)));
    shared.first_task[i + 1] = shared.first_task[i] + blocks * parts;
  }
  for (Index task = 0; task < shape.tasks; ++task) new (&shared.arrived[task]) std::atomic_flag;
  std::atomic<Index> next{0};
  const auto work = [&](Index w) {
    DecodeWorker<CacheT, BoundT> worker(call, shared, workspace.data() + w * each);
    for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < shape.tasks;)
      worker.run(task);
  };
  if (workers == 1)
    work(0);
  else
    options.executor(workers, work);
}

}  // namespace detail

/// Bytes of workspace for calls with up to so many queries of each sequence of this cache, filled
/// to its capacity or less.
/// Throws Error when the size does not fit in memory.
template <KeyState State, class T, class E>
[[nodiscard]] std::size_t decode_workspace(const Bound<E>& bound,
                                           const KeyValueCache<State, T>& cache,
                                           Index queries_per_sequence = 1,
                                           const AnyExecutor& executor = {}) {
  Problems problems;
  detail::check_cache_fits(problems, cache.shape(), bound.answers());
  problems.require(queries_per_sequence > 0 && queries_per_sequence <= Index{1} << 40,
                   "queries_per_sequence must be positive and at most 2^40, got ",
                   queries_per_sequence, ".");
  problems.raise_if_any("posenc::decode_workspace");
  detail::DecodeShape shape = detail::decode_shape(cache, bound.answers());
  shape.sequences = cache.shape().sequences;
  shape.queries = queries_per_sequence;
  const Index parts = detail::DecodePlan::most_parts_of(cache.shape().capacity);
  Index blocks = 0;
  const bool fits =
      multiply(shape.sequences, detail::DecodePlan::blocks_of(shape.queries), blocks) &&
      multiply(blocks, parts, shape.tasks);
  const Index bytes = fits ? detail::decode_bytes<arithmetic_t<T>, typename Bound<E>::answers_type>(
                                 shape, std::clamp<Index>(shape.tasks, 1, executor.concurrency()))
                           : -1;
  problems.require(bytes >= 0, "the workspace for ", shape.sequences, " sequences of ",
                   queries_per_sequence, " queries does not fit in memory.");
  problems.raise_if_any("posenc::decode_workspace");
  return static_cast<std::size_t>(bytes);
}

/// Attention of the last tokens of each sequence over a cache. See the head of this file.
/// Throws Error for shapes that do not fit together, with every problem at once.
template <KeyState State, class T, class E>
void decode(std::type_identity_t<TensorView<const arithmetic_t<T>>> q,
            const KeyValueCache<State, T>& cache,
            std::type_identity_t<TensorView<arithmetic_t<T>>> out, const Bound<E>& bound,
            const std::type_identity_t<DecodeOptions<arithmetic_t<T>>>& options = {}) {
  using CacheT = KeyValueCache<State, T>;
  using Answers = typename Bound<E>::answers_type;
  detail::require_state<State, Bound<E>>();
  Problems problems;
  detail::check_decode(problems, q, cache, out, bound.answers(), options);
  problems.raise_if_any("posenc::decode");
  detail::DecodeShape shape = detail::decode_shape(cache, bound.answers());
  shape.sequences =
      options.sequences.empty() ? cache.shape().sequences : std::ssize(options.sequences);
  const auto leaves = detail::decode_leaves<T, Answers>();
  detail::DecodeProblem<CacheT, Answers> call{q,
                                              out,
                                              cache,
                                              &bound.answers(),
                                              false,
                                              options.sequences,
                                              options.starts,
                                              options.query_positions,
                                              options.lse,
                                              leaves,
                                              shape};
  std::function<Answers(Position)> at_length;
  if constexpr (Bound<E>::depends_on_length)
    if (bound.options().length == 0)
      at_length = [&bound](Position length) { return bound.at_length(length).answers(); };
  detail::decode_checked(call, shape, at_length, options);
}

POSENC_NAMESPACE_END
