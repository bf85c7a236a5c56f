// SPDX-License-Identifier: MIT
//
// decode: attention of the newest tokens of each sequence over all that a cache holds.
//
//   append(sequence, k, v, bound), then decode(q, cache, out, bound)
//
// q [tokens, heads, head_dim] as it leaves its projection and out [tokens, heads, value_dim] hold
// the queries of one sequence after another, in any element that is computed in what the cache's is
// (float; double for double). A sequence may have one query, a draft of some, or a chunk of prompt: few
// are read past the cache by the decode kernel, more run through the tiles of prefill. What comes out for the last token of a sequence is the last row of
// attention() over the whole of it: masks, biases, vectors by distance, temperatures, sinks and
// distance maps mean what they mean there, and so do rows that see nothing and numbers that are not
// finite.
//
// An encoding whose frequencies depend on the length is evaluated for each sequence at its own (one
// more than the greatest position), unless it was bound with a length. What does not fit is
// refused: keys of another state by the compiler, keys that another encoding rotated by an Error.
#pragma once

#include <posenc/attention/call/checks.hpp>
#include <posenc/attention/call/distances.hpp>
#include <posenc/attention/decode/worker.hpp>
#include <posenc/attention/keys/cache_keys.hpp>
#include <posenc/attention/prefill/worker.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/core/ragged_batch.hpp>

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

/// A sequence of a call to decode: its queries, and the tokens that its cache holds.
template <class T>
struct CachedSequence {
  CacheKeys<T> keys;
  Index first = 0, queries = 0;  ///< rows of q
  bool has_positions = false;    ///< else queries are the last tokens of the cache
  Positions positions{};

  [[nodiscard]] Index rank(Index query) const { return keys.slots().tokens() - queries + query; }
  [[nodiscard]] Position index(Index query) const {
    const Index r = rank(query);
    return r >= 0 ? keys.slots().index(r) : r;
  }
  [[nodiscard]] Positions place(Index query) const {
    return has_positions ? positions.subspan(static_cast<std::size_t>(query), 1)
                         : keys.place(rank(query));
  }
  /// One more than the greatest position.
  [[nodiscard]] Position length(bool is_streaming) const {
    const Position held = is_streaming ? keys.slots().tokens() : keys.slots().length();
    return has_positions ? std::max(held, positions.length(queries)) : held;
  }
};

/// Which sequences a call has, and which of the queries are theirs.
template <class CacheT, class U>
struct DecodeBatch {
  const CacheT& cache;
  const DecodeOptions<U>& options;
  Index tokens = 0;  ///< of q

  [[nodiscard]] Index sequences() const {
    return options.sequences.empty() ? cache.shape().sequences : std::ssize(options.sequences);
  }
  [[nodiscard]] Index sequence(Index i) const {
    return options.sequences.empty() ? i : options.sequences[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Index start(Index i) const {
    return options.starts.empty() ? i * (tokens / std::max<Index>(sequences(), 1))
                                  : options.starts[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] auto operator[](Index i) const {
    using T = typename CacheT::element;
    CachedSequence<T> one{CacheKeys<T>(cache, sequence(i), level_index()), start(i),
                          start(i + 1) - start(i)};
    if (options.query_positions) {
      one.has_positions = true;
      one.positions = options.query_positions->subspan(static_cast<std::size_t>(one.first),
                                                       static_cast<std::size_t>(one.queries));
    }
    return one;
  }
};

template <class CacheT>
DecodeShape decode_shape(const CacheT& cache, const Answers& answers) {
  return {.heads = answers.shape().num_heads,
          .kv_heads = cache.shape().kv_heads,
          .head_dim = cache.shape().head_dim,
          .value_dim = cache.shape().value_dim,
          .pairs = answers.rotary().pairs(),
          .value_buckets = answers.value_buckets()};
}

template <class Q, class O, class CacheT, class U>
void check_decode(Problems& problems, const TensorView<Q>& q, const CacheT& cache,
                  const TensorView<O>& out, const Answers& answers,
                  const DecodeOptions<U>& options) {
  const CacheShape& shape = cache.shape();
  const auto dims = [](const auto& x) { return ShapeText(x); };
  check_view(problems, "q", q);
  check_view(problems, "out", out);
  if (problems.empty()) check_out(problems, q, out);
  check_cache_fits(problems, shape, CacheT::state, answers);
  check_relative_widths(problems, answers, shape.head_dim, shape.value_dim);
  problems.require(q.heads == answers.shape().num_heads && q.width == shape.head_dim, "q is ",
                   dims(q), " but must have ", answers.shape().num_heads, " heads of ",
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
    check_attended(problems, "queries", *options.query_positions, q.tokens, answers.rotary().state);
  check_lse(problems, options.lse, q);
}

/// Reports a ring that has overwritten keys which a query may see: those that were overwritten last
/// are the first to be missed, and those behind the sinks where the mask has more of these. A
/// streaming cache forgets on purpose.
inline void check_overwritten(Problems& problems, Index sequence, const Slots& slots, Index queries,
                              const Answers& answers) {
  const Position lost = slots.overwritten() - 1;
  if (lost < slots.sinks() || queries == 0) return;
  for (Index rank = slots.tokens() - queries; rank < slots.tokens(); ++rank) {
    const Position query = slots.index(rank);
    const auto is_missed = [&](Position key, Index head) {
      const Index at =
          slots.rank_of(key);  // those kept as sinks may follow others that were evicted
      return (at == slots.tokens() || slots.index(at) != key) &&
             answers.visible(Score{query, key, query, key, head});
    };
    Position missed = -1;
    constexpr Position some = 64;  // a mask may leave out every other one
    for (Position key = lost; missed < 0 && key >= std::max(slots.sinks(), lost - some); --key)
      if (is_missed(key, 0)) missed = key;
    for (Position key = slots.sinks(); missed < 0 && key <= std::min(lost, slots.sinks() + some);
         ++key)
      if (is_missed(key, 0)) missed = key;
    for (Index head = 1; missed < 0 && head < answers.shape().num_heads; ++head)
      if (is_missed(lost, head)) missed = lost;
    problems.require(
        missed < 0, "sequence ", sequence, " is a ring of ", slots.capacity(),
        " tokens that has overwritten token ", missed, ", which the mask lets query ", query,
        " see: use a mask of that reach (SlidingWindow, SinkWindow, StreamingLLM, ...), a "
        "longer ring, or KeyValueCache::streaming, which forgets on purpose.");
    if (missed >= 0) return;
  }
}

/// Reports what is wrong with the tokens of one sequence.
template <class CacheT, class T>
void check_sequence(Problems& problems, const CacheT& cache, Index sequence,
                    const CachedSequence<T>& one, const Answers& answers) {
  const RotaryState& rotary = answers.rotary().state;
  const Slots& slots = one.keys.slots();
  const Index tokens = slots.tokens();
  problems.require(one.queries <= tokens, "sequence ", sequence, " holds ", tokens,
                   " tokens but has ", one.queries,
                   " queries: append their keys and values before decode().");
  cache.check_rotated_by(problems, sequence, answers);
  if (one.queries > tokens) return;
  if (!cache.is_streaming()) check_overwritten(problems, sequence, slots, one.queries, answers);
  const auto source = one.keys.source();
  for (Index q = 0; answers.relative().limited && q < one.queries; ++q)
    source.for_runs(0, tokens, tokens, [&](const KeyRun& run) {
      const Coordinates at{one.index(q), run.index, one.place(q), run.positions};
      DistanceCheck(answers, at)(problems, 1, run.tokens);
    });
  if (rotary.growth.size() == 0) return;
  source.for_runs(0, tokens, tokens, [&](const KeyRun& run) {
    if (problems.empty()) check_attended(problems, "keys", run.positions, run.tokens, rotary);
  });
}

/// The sequences of a call, in its workspace.
template <class T>
struct CallSequences {
  using U = arithmetic_t<T>;
  CachedSequence<T>* cached = nullptr;
  DecodeSequence<U>* few = nullptr;  ///< those of few queries, which the decode kernel serves
  Position* index = nullptr;         ///< [query], of one sequence of many queries
  Position* place = nullptr;         ///< [axis][query]

  CallSequences(Index sequences, Index most_queries, Arena& arena)
      : cached(arena.take<CachedSequence<T>>(1, sequences)),
        few(arena.take<DecodeSequence<U>>(1, sequences)),
        index(arena.take<Position>(1, most_queries)),
        place(arena.take<Position>(Positions::most_axes, most_queries)) {}
};

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
DecodeMemory decode_memory(const Answers& answers, const DecodeShape& shape,
                           const AttentionShape& many, const PrefillLeaves<arithmetic_t<T>>& leaves,
                           Index concurrency) {
  using U = arithmetic_t<T>;
  Arena measure(nullptr);
  CallSequences<T>(shape.sequences, many.queries, measure);
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
void prefill_sequence(const CachedSequence<T>& one, const Rows<U>& q, const OutRows<U>& out,
                      std::span<U> lse, const Asked<U>& asked, const PrefillLeaves<U>& leaves,
                      const CallSequences<T>& memory, Index concurrency,
                      const AnyExecutor& executor, std::byte* workspace) {
  PrefillCall<U> call{q, one.keys.source(), out, lse, {}, {}, asked, leaves};
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
  if (!lse.empty()) call.lse = lse.subspan(size(one.first * q.heads), size(one.queries * q.heads));
  run_prefill(call, concurrency, executor, workspace);
}

/// All of a call: checks, memory, kernels. Nothing in it knows the type of the encoding.
template <class Q, KeyState State, class T, class O, class U>
void decode_cached(const TensorView<Q>& q, const KeyValueCache<State, T>& cache,
                   const TensorView<O>& out, Asked<U> asked, const PrefillLeaves<U>& leaves,
                   const DecodeLeaves<U>& decode_leaves, const DecodeOptions<U>& options) {
  const Answers& answers = *asked.answers;
  const std::size_t level = leaves.level;
  const DecodeBatch<KeyValueCache<State, T>, U> batch{cache, options, q.tokens};
  Problems problems;
  check_decode(problems, q, cache, out, answers, options);
  problems.raise_if_any("posenc::decode");
  DecodeShape shape = decode_shape(cache, answers);
  shape.sequences = batch.sequences();
  AttentionShape many{0, 0, shape.head_dim, shape.value_dim};
  for (Index i = 0; i < shape.sequences; ++i) {
    const CachedSequence<T> one = batch[i];
    check_sequence(problems, cache, batch.sequence(i), one, answers);
    const Index tokens = one.keys.slots().tokens();
    if (one.queries <= DecodePlan::few_queries) {
      shape.queries = std::max(shape.queries, one.queries);
      shape.tasks += DecodePlan::blocks_of(one.queries) * DecodePlan::parts_of(tokens);
    } else {
      many.queries = std::max(many.queries, one.queries);
      many.keys = std::max(many.keys, tokens);
    }
  }
  const Index concurrency = options.executor.concurrency();
  const DecodeMemory sizes = decode_memory<T>(answers, shape, many, leaves, concurrency);
  check_workspace(problems, options.workspace, sizes.bytes());
  problems.raise_if_any("posenc::decode");

  std::vector<RotaryAtLength> rotary;  // of each sequence, where its length matters
  for (Index i = 0; i < shape.sequences && follows_length(answers); ++i)
    rotary.emplace_back(answers, [&] {
      const CachedSequence<T> one = batch[i];
      return one.queries == 0 ? 0 : one.length(cache.is_streaming());
    });

  const Workspace workspace(options.workspace, sizes.bytes());
  Arena header(workspace.data());
  const CallSequences<T> memory(shape.sequences, many.queries, header);
  std::byte* const rest = workspace.data() + sizes.header;
  const auto rotary_of = [&](Index i) {
    return rotary.empty() ? &answers.rotary() : &*rotary[static_cast<std::size_t>(i)];
  };
  for (Index i = 0; i < shape.sequences; ++i) {
    const CachedSequence<T>* const one = new (&memory.cached[i]) CachedSequence<T>(batch[i]);
    const Index few = one->queries <= DecodePlan::few_queries ? one->queries : 0;
    new (&memory.few[i])
        DecodeSequence<U>{one->keys.source(),
                          rotary_of(i),
                          one->first,
                          few,
                          one,
                          [](const void* self, Index query) {
                            return static_cast<const CachedSequence<T>*>(self)->index(query);
                          },
                          [](const void* self, Index query) {
                            return static_cast<const CachedSequence<T>*>(self)->place(query);
                          }};
  }
  const Rows<U> q_rows(q, level);
  const OutRows<U> out_rows(out, level);
  if (shape.tasks > 0) {
    const DecodeCall<U> call{q_rows,        out_rows,
                             options.lse,   asked,
                             decode_leaves, {memory.few, static_cast<std::size_t>(shape.sequences)},
                             shape};
    run_decode(call, std::clamp<Index>(shape.tasks, 1, concurrency), options.executor, rest);
  }
  for (Index i = 0; i < shape.sequences; ++i) {
    if (memory.cached[i].queries <= DecodePlan::few_queries) continue;
    asked.rotary = rotary_of(i);
    prefill_sequence<T, U>(memory.cached[i], q_rows, out_rows, options.lse, asked, leaves, memory,
                           concurrency, options.executor, rest);
  }
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
  shape.queries = std::min(queries_per_sequence, Plan::few_queries);
  AttentionShape many{0, 0, shape.head_dim, shape.value_dim};
  // No sequence has more queries than tokens.
  const Index most_queries = std::min(queries_per_sequence, cache.shape().capacity);
  if (most_queries > Plan::few_queries)
    many.queries = most_queries, many.keys = cache.shape().capacity;
  Index blocks = 0;
  const bool fits = multiply(shape.sequences, Plan::blocks_of(shape.queries), blocks) &&
                    multiply(blocks, Plan::most_parts_of(cache.shape().capacity), shape.tasks);
  const auto leaves = detail::prefill_leaves<typename Bound<E>::layout, U>(detail::level_index());
  const Index bytes =
      fits ? detail::decode_memory<T>(answers, shape, many, leaves, executor.concurrency()).bytes()
           : -1;
  problems.require(bytes >= 0, "the workspace for ", shape.sequences, " sequences of ",
                   queries_per_sequence, " queries does not fit in memory.");
  problems.raise_if_any("posenc::decode_workspace");
  return static_cast<std::size_t>(bytes);
}

namespace detail {

#if defined(POSENC_DETAIL_FLOAT)
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
POSENC_DETAIL_BFLOAT16 void
decode_cached<const float, KeyState::raw, Eigen::bfloat16, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::raw, Eigen::bfloat16>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_BFLOAT16 void
decode_cached<const float, KeyState::rotated, Eigen::bfloat16, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::rotated, Eigen::bfloat16>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_FLOAT16 void decode_cached<const float, KeyState::raw, Eigen::half, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::raw, Eigen::half>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
POSENC_DETAIL_FLOAT16 void decode_cached<const float, KeyState::rotated, Eigen::half, float, float>(
    const TensorView<const float>&, const KeyValueCache<KeyState::rotated, Eigen::half>&,
    const TensorView<float>&, Asked<float>, const PrefillLeaves<float>&, const DecodeLeaves<float>&,
    const DecodeOptions<float>&);
#endif

template <class U, class Q, KeyState State, class T, class O, class E>
void decode_bound(const TensorView<Q>& q, const KeyValueCache<State, T>& cache,
                  const TensorView<O>& out, const Bound<E>& bound,
                  const DecodeOptions<U>& options) {
  require_elements<U, Q, O>();
  require_state<State, E>();
  const std::size_t level = level_index();
  if constexpr (ComputedIn<U, Q, O>)
    decode_cached(q, cache, out, bound.template asked<U>(),
                  prefill_leaves<typename Bound<E>::layout, U>(level),
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

POSENC_NAMESPACE_END
