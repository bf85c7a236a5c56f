// SPDX-License-Identifier: MIT
//
// What a call to attention takes besides tensors, and the rules that these have to keep.
#pragma once

#include <posenc/attention/bind.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/core/positions.hpp>

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

  /// Positions that rotations, distances and biases use in place of the index, one per token. Masks
  /// go by the index all the same.
  std::optional<std::span<const Position>> query_positions{};
  std::optional<std::span<const Position>> key_positions{};

  /// Receives the natural log-sum-exp of each row, [query tokens][query heads]; with a SinkLogit it
  /// includes the sink, and a row that sees nothing gets minus infinity.
  std::span<T> lse{};

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

/// Resolves offsets and ids; reports what is out of range.
template <class T>
Coordinates coordinates(Problems& problems, Index queries, Index keys,
                        const AttentionOptions<T>& options) {
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
  at.query =
      options.query_positions ? Positions(*options.query_positions) : Positions(at.query_offset);
  at.key = options.key_positions ? Positions(*options.key_positions) : key_indices;
  at.query.check(problems, "queries", queries);
  at.key.check(problems, "keys", keys);
  return at;
}

/// The length of the context that these tokens make: one more than the greatest position.
inline Position context_length(const Coordinates& at, Index queries, Index keys) {
  return std::max<Position>({0, at.query.length(queries), at.key.length(keys)});
}

}  // namespace detail

POSENC_NAMESPACE_END
