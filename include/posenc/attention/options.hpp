// SPDX-License-Identifier: MIT
//
// What a call to attention takes besides tensors.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/core/view.hpp>
#include <posenc/executor/any_executor.hpp>

#include <cstddef>
#include <optional>
#include <span>

POSENC_NAMESPACE_BEGIN

/// How a row of weights is spread, on request; where a span is empty nothing is computed. A SinkLogit is one more
/// weight of its row. A row that sees nothing has 0 of both; one that sees NaN, or a score of plus
/// infinity, has NaN.
template <class T>
struct RowStatistics {
  std::span<T> entropy{};   ///< -sum w ln w of the weights, nats, [query tokens][query heads]
  std::span<T> greatest{};  ///< greatest weight of a key, [query tokens][query heads]

  [[nodiscard]] bool are_wanted() const { return !entropy.empty() || !greatest.empty(); }
  /// Those of some rows.
  [[nodiscard]] RowStatistics of(std::size_t first, std::size_t rows) const {
    const auto some = [&](std::span<T> x) { return x.empty() ? x : x.subspan(first, rows); };
    return {some(entropy), some(greatest)};
  }
};

/// T is what the elements of the tensors are computed in: float (also for 16-bit elements) or double.
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

  /// Which sequence this is, for components that hold something of each (ForgetGate).
  Index sequence = 0;

  /// Receives the natural log-sum-exp of each row, [query tokens][query heads]; with a SinkLogit it
  /// includes the sink, and a row that sees nothing gets minus infinity.
  std::span<T> lse{};
  RowStatistics<T> rows{};

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

POSENC_NAMESPACE_END
