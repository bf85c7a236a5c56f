// SPDX-License-Identifier: MIT
//
// What a call to attention takes besides tensors, and the rules that these have to keep.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/rotate/rows.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/executor/any_executor.hpp>

#include <cmath>
#include <cstddef>
#include <optional>
#include <span>

POSENC_NAMESPACE_BEGIN

/// T is the element type of the tensors.
template <class T>
struct AttentionOptions {
  /// Index of the first query in the sequence. By default queries are the last tokens of the
  /// sequence that ends with the last key (bottom-right alignment): key_offset + key tokens - query
  /// tokens. It has to be said where there are more queries than keys.
  std::optional<Position> query_offset{};
  /// Index of the first key in the sequence.
  Position key_offset = 0;

  /// Positions that rotations, distances and biases use in place of the index: integer ids, one per
  /// token, or an offset. Masks go by the index all the same. Where the encoding's positions have
  /// several coordinates (MRoPE, Axial2D), Positions(ids, axes) gives them all; biases, distances
  /// and temperatures then take the first. Ids are borrowed for the call.
  std::optional<Positions> query_positions{};
  std::optional<Positions> key_positions{};

  /// Receives the natural log-sum-exp of each row, [query tokens][query heads]; with a SinkLogit it
  /// includes the sink, and a row that sees nothing gets minus infinity.
  std::span<T> lse{};

  /// Who runs the parts of a call that has work for several threads.
  AnyExecutor executor{};

  /// Scratch memory of at least attention_workspace(...) bytes; empty: the call allocates it.
  std::span<std::byte> workspace{};
};

/// Keys that were rotated at their own positions already, without the attention factor:
/// rotate(keys, positions, bound, {.attention_factor = false}).
template <class T>
struct RotatedKeys {
  TensorView<const T> keys;
};
template <class T>
RotatedKeys(TensorView<T>) -> RotatedKeys<std::remove_const_t<T>>;

namespace detail {

/// Indices and positions of the tokens of one call.
struct Coordinates {
  Position query_offset = 0;
  Position key_offset = 0;
  Positions query;  ///< positions by query row
  Positions key;    ///< positions by key row

  [[nodiscard]] Score score(Index query_row, Index key_row, Index head) const {
    return {query[query_row], key[key_row], query_offset + query_row, key_offset + key_row, head};
  }
};

/// Reports log-sum-exps that are not one for each row of the queries.
template <class T>
void check_lse(Problems& problems, std::span<T> lse, const TensorView<const T>& q) {
  Index rows = 0;
  problems.require(lse.empty() || (multiply(q.tokens, q.heads, rows) && std::ssize(lse) == rows),
                   "lse has ", lse.size(), " elements for ", q.tokens, " queries of ", q.heads,
                   " heads.");
}

/// Reports positions by which the encoding's queries or keys cannot be rotated.
inline void check_attended(Problems& problems, const char* what, const Positions& positions,
                           Index tokens, const RotaryState& rotary) {
  if (positions.is_real())
    return problems.add(what,
                        ": attention takes whole positions, got real ones: rotate() takes them, "
                        "for an attention without a rotary base.");
  const std::size_t before = problems.sentences().size();
  positions.check(problems, what, tokens);
  problems.require(positions.axes() == 1 || positions.axes() == rotary.axes, what,
                   ": got positions of ", positions.axes(),
                   " coordinates, but the encoding turns by ", rotary.axes, ".");
  if (rotary.growth.size() == 0 || problems.sentences().size() != before) return;
  const double reach = growth_reach(rotary);
  for (Index t = 0; t < tokens; ++t)
    if (std::abs(static_cast<double>(positions[t] - rotary.centre)) > reach)
      return problems.add(what, ": position ", positions[t], " is more than ", reach,
                          " tokens from the centre ", rotary.centre,
                          ", where the magnitudes of this encoding (XPos) overflow: choose a "
                          "nearer centre.");
}

/// The state of the rotary base; that of nothing for an encoding without one.
template <class BoundT>
const RotaryState& rotary_state(const BoundT& bound) {
  if constexpr (BoundT::has_rotary) return bound.rotary().state;
  static const RotaryState none{};
  return none;
}

/// Reports vectors that are not as wide as what they meet.
template <class BoundT>
void check_relative_widths(Problems& problems, const BoundT& bound, Index width, Index value_dim) {
  [[maybe_unused]] const auto check = [&](const char* what, const char* with, Index own,
                                          Index needed) {
    problems.require(own == needed, "the encoding has ", what, " of ", own, " channels, but ", with,
                     " have ", needed, ".");
  };
  [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
    if constexpr (RelativeKeys<S>)
      if (const RelativeTable table = stage.relative_keys(); table.data)
        check("relative keys", "queries", table.width, width);
    if constexpr (RelativeQueries<S>)
      if (const RelativeTable table = stage.relative_queries(); table.data)
        check("relative queries", "keys", table.width, width);
    if constexpr (RelativeValues<S>)
      if (const RelativeTable table = stage.relative_values(); table.data)
        check("relative values", "values", table.width, value_dim);
    if constexpr (QueryBias<S>)
      for (Index head = 0; head < bound.shape().num_heads; ++head)
        if (const std::span<const float> bias = stage.query_bias(head); !bias.empty())
          check("a query bias", "queries", std::ssize(bias), width);
  };
  std::apply([&](const auto&... stage) { (ask(stage), ...); }, bound.stages());
}

/// Resolves offsets and ids; reports what is out of range.
template <class T, class BoundT>
Coordinates coordinates(Problems& problems, Index queries, Index keys,
                        const AttentionOptions<T>& options, const BoundT& bound) {
  Coordinates at;
  const Positions key_indices(options.key_offset);
  key_indices.check(problems, "keys", keys);
  if (!problems.empty()) return at;
  at.key_offset = options.key_offset;
  at.query_offset = options.query_offset.value_or(options.key_offset + keys - queries);
  problems.require(options.query_offset || queries <= keys, "there are ", queries,
                   " queries but only ", keys,
                   " keys, so queries are not the last tokens of the sequence: set query_offset.");
  Positions(at.query_offset).check(problems, "queries", queries);
  at.query = options.query_positions ? *options.query_positions : Positions(at.query_offset);
  at.key = options.key_positions ? *options.key_positions : key_indices;
  check_attended(problems, "queries", at.query, queries, rotary_state(bound));
  check_attended(problems, "keys", at.key, keys, rotary_state(bound));
  return at;
}

/// The length of the context that these tokens make: one more than the greatest position.
inline Position context_length(const Coordinates& at, Index queries, Index keys) {
  return std::max<Position>({0, at.query.length(queries), at.key.length(keys)});
}

}  // namespace detail

POSENC_NAMESPACE_END
