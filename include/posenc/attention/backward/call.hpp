// SPDX-License-Identifier: MIT
//
// What a call for gradients is about; shared by its workers.
#pragma once

#include <posenc/attention/backward/relative.hpp>
#include <posenc/attention/prefill/buffers.hpp>
#include <posenc/attention/prefill/call.hpp>
#include <posenc/attention/score/relative.hpp>
#include <posenc/bind/derivatives.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
struct BackwardCall {
  PrefillCall<T> forward;  ///< queries, keys, values, positions and the encoding; no results
  TensorView<const T> q{}, k{}, v{}, out{};
  Positions key{};  ///< positions of the keys
  Rows<T> d_out{};
  std::span<const T> lse{};  ///< [query][head]
  TensorView<T> d_q{}, d_k{}, d_v{};
  const FindDerivative<T>* derivatives = nullptr;       ///< of each stage
  const BackwardRelativeLeaves<T>* relative = nullptr;  ///< null: no vectors by distance
  /// Of all stages, one behind another, and then of the frequencies; empty: not wanted.
  std::span<double> parameters{};
  bool learns_frequencies = false;
  /// [token learner][head][query, then key], see token_sums.hpp. Who gives memory for them learns from them, and
  /// then `parameters` are those of all other stages.
  double* tokens = nullptr;

  [[nodiscard]] const Answers& answers() const { return forward.answers(); }
};

/// All that a call needs of an encoding, and of the level that runs.
template <class T>
struct BackwardLeaves {
  PrefillLeaves<T> forward{};
  const FindDerivative<T>* derivatives = nullptr;
  const BackwardRelativeLeaves<T>* relative = nullptr;
};
template <class T, class E>
BackwardLeaves<T> backward_leaves(const Bound<E>& bound) {
  BackwardLeaves<T> leaves{prefill_leaves<E, T>(level_index()), bound.template derivatives<T>()};
  if constexpr (Bound<E>::encoding_facts.has_relative_vectors)
    leaves.relative = &backward_relative_leaves<T>();
  return leaves;
}

/// In how many numbers of each chunk of keys a stage is summed; those of tokens have sums of their own.
inline Index sums_of_chunk(const Stage& stage) {
  return stage.ask->token_bias_gradient ? 0 : num_sums(stage);
}

/// By how many parameters of a score map derivatives are needed.
template <class T>
Index slopes_by_parameter(const Stage& stage, const Derivative<T>& of, bool learns) {
  return learns && of.change_by ? sums_of_chunk(stage) : 0;
}

/// Calls f(stage, its sums) for each stage; `sums` are those of all of them, one behind another, or null
/// where none are wanted.
template <class F>
void for_each_learner(const Answers& answers, double* sums, const F& f) {
  for (const Stage& stage : answers.asked()) {
    const Index count = sums ? sums_of_chunk(stage) : 0;
    f(stage, std::span<double>(sums, static_cast<std::size_t>(count)));
    if (sums) sums += count;
  }
}

/// How gradients of rotated queries, keys and values are rotated back: the other way round, but grown as
/// before, which is what the other side of a score does in reverse.
inline Turn turn_of_query_gradient(const Rotary& rotary) {
  const double attention = rotary.state.attention_factor;
  return {.amplitude = attention * attention, .inverse = true, .side = Side::key};
}
inline Turn turn_of_key_gradient() { return {.inverse = true, .side = Side::query}; }
inline Turn turn_of_value_gradient() { return {.inverse = true}; }

/// Rows of channels: products compute with whole vectors of them, and the rows are an odd number of cache
/// lines apart, so that a strip of all rows is spread over the sets of the first-level cache instead of
/// pushing itself out of a few (64 rows of 512 bytes meet in eight sets).
struct PaddedRow {
  Index columns = 0, stride = 0;

  /// For channels that fill vectors of `step` numbers of so many bytes.
  static PaddedRow of(Index channels, Index step, Index bytes) {
    const Index columns = round_up(channels, step), line = std::max<Index>(64 / bytes, 1);
    return {columns, (((columns - 1) / line + 1) | 1) * line};
  }
};

/// How the work is divided: pairs of a block of queries and a chunk of keys, of a key head (pairs.hpp). Pairs
/// that run at the same time may share either; they take turns at adding what they found (turns.hpp). So every
/// sum has one order, whatever the number of threads, and the gradients of tensors need no memory beyond the
/// results.
///
/// Gradients of parameters are summed by chunk of keys, and these sums in their order. Where so many are
/// learned that this would take too much memory, the pairs of a key head are one task, or all pairs are.
struct BackwardPlan {
  static constexpr Index most_sums = 1 << 22;  ///< of all that run at the same time

  Plan tiles;
  Index kv_heads = 0;
  Index block = 0;                   ///< queries, some panels
  Index blocks = 0, chunks = 0;      ///< per key head
  Index together = 1;                ///< chunks that share sums
  PaddedRow width{}, value_width{};  ///< of queries and keys, of values
  Index sums = 0;                    ///< by which stages learn
  Index frequencies = 0;             ///< behind them
  Index slopes = 0;          ///< derivatives of score maps, by the score and by what they learn
  Index token_learners = 0;  ///< stages that learn with each token
  bool learns_temperatures = false;
  /// Results are sums of rotated rows, which are rotated back in the end: where nothing is added to them that is
  /// not rotated alike.
  bool turns_last = false;

  template <class T>
  POSENC_DETAIL_COLD BackwardPlan(const BackwardCall<T>& call, Index concurrency, bool learns)
      : tiles(*call.forward.leaves.tile, call.answers().shape(), call.forward.shape(), concurrency),
        kv_heads(call.answers().shape().num_kv_heads) {
    // A sum over 64 queries is worth a visit of the keys' gradients, and 512 rows one of packed keys and
    // queries. Few queries still make several blocks, and many no more than keep threads busy.
    constexpr Index panel = 64, rows = 512, least_blocks = 4, most_queries = 4096,
                    enough_pairs = 64;
    static_assert(panel <= TileBuckets::most_lanes && panel <= PrefillBuffers<T>::bias_step);
    const AttentionShape shape = call.forward.shape();
    const Index queries = std::max<Index>(shape.queries, 1), keys = std::max<Index>(shape.keys, 1);
    const Index step = call.forward.leaves.tile->panel_step;
    tiles.panel = tiles.block = std::min(panel, round_up(queries, step));
    tiles.chunk = round_up(std::min(keys, rows), tiles.tile);
    tiles.parts = 1;
    chunks = (shape.keys + tiles.chunk - 1) / tiles.chunk;
    const Index useful = (enough_pairs - 1) / std::max<Index>(kv_heads * chunks, 1) + 1;
    const Index least =
        std::min((queries - 1) / least_blocks + 1, std::max<Index>(rows / tiles.group, 1));
    block =
        round_up(std::max(least, std::min((queries - 1) / useful + 1, most_queries)), tiles.panel);
    blocks = (shape.queries + block - 1) / block;
    width = PaddedRow::of(shape.head_dim, step, sizeof(T));
    value_width = PaddedRow::of(shape.value_dim, step, sizeof(T));
    const std::size_t level = call.forward.leaves.level;
    for (std::size_t i = 0; i < call.answers().asked().size(); ++i) {
      const Stage& stage = call.answers().asked()[i];
      const auto of = call.derivatives[i] ? call.derivatives[i](level) : Derivative<T>{};
      slopes += of.change ? 1 + slopes_by_parameter(stage, of, learns) : 0;
      if (!learns) continue;
      sums += sums_of_chunk(stage);
      token_learners += stage.ask->token_bias_gradient != nullptr;
      learns_temperatures |= stage.ask->temperature_gradient != nullptr;
    }
    if (learns && call.learns_frequencies) frequencies = call.answers().rotary().pairs();
    const RelativeCounts& relative = call.answers().relative();
    turns_last = call.answers().rotates() && !call.answers().map() &&
                 relative.keys + relative.queries + relative.query_biases == 0;
    if (const Index all = all_sums(); all > 0 && most_sums / all < kv_heads * chunks)
      together = most_sums / all < kv_heads ? kv_heads * chunks : chunks;
  }

  [[nodiscard]] Index all_sums() const { return sums + frequencies; }

  [[nodiscard]] Index pairs() const { return kv_heads * blocks * chunks; }
  /// Of sums of parameters.
  [[nodiscard]] Index sets() const { return kv_heads * chunks / together; }
  [[nodiscard]] Index tasks() const { return together == 1 ? pairs() : sets(); }
  [[nodiscard]] Index workers() const {
    return std::max<Index>(std::min(tasks(), tiles.most_workers), 1);
  }
};

/// C += A B; rows of B and C are padded alike. Where B is not finite, a zero of A hides it.
template <class T>
void add_product(const TileLeaves<T>& leaves, bool is_finite, Index rows, Index inner,
                 const PaddedRow& width, const T* a, Index a_row, Index a_inner, const T* b, T* c) {
  const auto [columns, stride] = width;
  if (is_finite) {
    for (Index at = 0; at < columns; at += leaves.panel)
      leaves.values(rows, inner, std::min(leaves.panel, columns - at), a, a_row, a_inner, b + at,
                    c + at, stride);
    return;
  }
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < inner; ++i)
      if (const T left = a[r * a_row + i * a_inner]; left != 0)
        for (Index w = 0; w < columns; ++w) c[r * stride + w] += left * b[i * stride + w];
}

/// Memory for the gradients of vectors by distance; none where there are no such vectors.
template <class T>
struct RelativeGradientBuffers {
  T* sums = nullptr;       ///< [bucket][panel], or [key][bucket]
  T* vectors = nullptr;    ///< [bucket][width], as numbers of T
  T* gradients = nullptr;  ///< the same, of these vectors
  T* q = nullptr;          ///< [query][width], plain and scaled
  T* d_q = nullptr;        ///< the same, gradients
  T* k = nullptr;          ///< [key in tile][width], plain
  T* d_k = nullptr;        ///< [key in chunk][width]
  T* d_out = nullptr;      ///< [query][value width], not rotated
  T* d_panel = nullptr;    ///< [value_dim][panel], the same
  double* row = nullptr;   ///< [width]
  Index most = 0;          ///< buckets

  POSENC_DETAIL_COLD RelativeGradientBuffers(const Answers& answers, const Plan& tiles, Index width,
                                             Index value_width, Index value_dim, Arena& arena) {
    const RelativeCounts& counts = answers.relative();
    if (counts.buckets + counts.query_biases == 0) return;
    most = tiles.tile + tiles.panel;
    const Index widest = std::max(width, value_width);
    sums = arena.take<T>(most, std::max(tiles.panel, tiles.tile));
    vectors = arena.take<T>(most, widest);
    gradients = arena.take<T>(most, widest);
    q = arena.take<T>(tiles.panel, width);
    d_q = arena.take<T>(tiles.panel, width);
    k = arena.take<T>(tiles.tile, width);
    d_k = arena.take<T>(tiles.chunk, width);
    d_out = arena.take<T>(tiles.panel, value_width);
    d_panel = arena.take<T>(std::max<Index>(value_dim, 1), tiles.panel);
    row = arena.take<double>(1, widest);
  }
};

/// What a worker computes with, besides what attention does.
template <class T>
struct BackwardBuffers {
  T* q_rows = nullptr;         ///< [region][query in panel][width], rotated and scaled
  T* d_q = nullptr;            ///< [region][head_dim][panel], their gradients
  T* d_k = nullptr;            ///< [region][key in chunk][width], of rotated keys
  T* d_v = nullptr;            ///< [key in chunk][value_width]
  T* d_out = nullptr;          ///< [query in panel][value_width]
  T* d_panel = nullptr;        ///< [value_dim][panel]
  T* gradient = nullptr;       ///< [key in tile][panel], of scores
  T* masked = nullptr;         ///< the same, of one region
  T* slopes = nullptr;         ///< [slope][key in tile][panel], of score maps
  T* products = nullptr;       ///< [key in tile][panel], scores before all stages
  double* by_query = nullptr;  ///< [panel], gradients times products
  double* by_token = nullptr;  ///< [token learner][panel], gradients
  double* by_key = nullptr;    ///< [token learner][head in group][key in chunk], gradients
  T *lse = nullptr, *delta = nullptr, *ones = nullptr;  ///< [panel]
  T* factor = nullptr;                                  ///< [panel], scale and temperature
  double* by_distance = nullptr;                        ///< [distance in a tile]

  PrefillBuffers<T> tiles;
  RelativeGradientBuffers<T> relative;
  std::byte* made = nullptr;  ///< where BackwardRelative is

  POSENC_DETAIL_COLD BackwardBuffers(const BackwardCall<T>& call, const BackwardPlan& plan,
                                     Arena& arena)
      : tiles(call.answers(), plan.tiles, tiles_of(call, plan), arena),
        relative(call.answers(), plan.tiles, plan.width.stride, plan.value_width.stride,
                 call.forward.shape().value_dim, arena) {
    const AttentionShape shape = call.forward.shape();
    if (call.relative) {
      call.forward.leaves.relative->take(tiles, call.answers(), plan.tiles, tiles_of(call, plan),
                                         arena);
      made = arena.take<std::byte>(1, static_cast<Index>(call.relative->bytes));
    }
    const Index regions = call.answers().map().regions();
    const Plan& t = plan.tiles;
    q_rows = arena.take<T>(regions * t.panel, plan.width.stride);
    d_q = arena.take<T>(regions * t.panel, shape.head_dim);
    d_k = arena.take<T>(regions * t.chunk, plan.width.stride);
    d_v = arena.take<T>(t.chunk, plan.value_width.stride);
    d_out = arena.take<T>(t.panel, plan.value_width.stride);
    d_panel = arena.take<T>(std::max<Index>(shape.value_dim, 1), t.panel);
    gradient = arena.take<T>(t.tile, t.panel);
    if (regions > 1) masked = arena.take<T>(t.tile, t.panel);
    if (plan.slopes > 0) slopes = arena.take<T>(plan.slopes * t.tile, t.panel);
    if (plan.learns_temperatures) {
      products = arena.take<T>(t.tile, t.panel);
      by_query = arena.take<double>(1, t.panel);
    }
    if (plan.token_learners > 0) {
      by_token = arena.take<double>(plan.token_learners, t.panel);
      by_key = arena.take<double>(plan.token_learners * t.group, t.chunk);
    }
    lse = arena.take<T>(1, t.panel);
    delta = arena.take<T>(1, t.panel);
    ones = arena.take<T>(1, t.panel);
    factor = arena.take<T>(1, t.panel);
    by_distance = arena.take<double>(1, t.tile + t.panel);
  }

 private:
  /// What a worker of prefill would see: a block of queries and a chunk of keys.
  static AttentionShape tiles_of(const BackwardCall<T>& call, const BackwardPlan& plan) {
    const AttentionShape shape = call.forward.shape();
    return {plan.block, plan.tiles.chunk, shape.head_dim, shape.value_dim};
  }
};

}  // namespace detail

POSENC_NAMESPACE_END
