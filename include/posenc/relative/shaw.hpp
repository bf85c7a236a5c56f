// SPDX-License-Identifier: MIT
//
// ShawKeys and ShawValues: a learned vector per clipped distance, added to keys and to values.
//
//   Shaw, Uszkoreit and Vaswani, arXiv 1803.02155; tensor2tensor, layers/common_attention.py
//   (dot_product_attention_relative).
//
//   c       = min(max(key - query, -clip), clip)
//   score_ij = <q_i, k_j + keys[c + clip]> / sqrt(head_dim)
//   out_i    = sum_j p_ij (v_j + values[c + clip])
//
// The paper uses both; either may stand alone. Tables have 2 clip + 1 rows, for keys from `clip`
// behind the query to `clip` ahead of it, and are shared by the heads of a layer.
//
// Nothing is added to a key or a value: queries meet the rows of the table, and weights are summed
// by row.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

inline Index shaw_row(Position clip, Position distance) {
  return static_cast<Index>(clip - std::clamp(distance, -clip, clip));
}

inline RelativeTable shaw_table(const std::vector<float>& table, Position clip) {
  const Index rows = static_cast<Index>(2 * clip + 1), width = std::ssize(table) / rows;
  return {.data = table.data(), .buckets = rows, .width = width, .bucket_stride = width};
}

/// Adds the gradient of a row.
inline void add_to_row(Index row, std::span<const double> vector, std::span<double> gradient) {
  const std::size_t first = static_cast<std::size_t>(row) * vector.size();
  for (std::size_t c = 0; c < vector.size(); ++c) gradient[first + c] += vector[c];
}

inline void check_shaw(Problems& problems, const char* who, const std::vector<float>& table,
                       Position clip, Index needed) {
  constexpr Position most = Position{1} << 30;
  if (clip < 0 || clip > most)
    return problems.add(who, ": clip must lie within [0, 2^30], got ", clip, ".");
  const Index rows = static_cast<Index>(2 * clip + 1), width = std::ssize(table) / rows;
  const bool is_whole = width > 0 && width * rows == std::ssize(table);
  problems.require(is_whole, who, ": the table must have ", rows,
                   " rows (2 clip + 1) of one width, got ", table.size(), " values.");
  problems.require(!is_whole || needed <= 0 || width == needed, who, ": the table has rows of ",
                   width, " channels, but heads have ", needed, ".");
  check_finite(problems, who, "the table", table);
}

}  // namespace detail

/// Vectors that queries meet beside keys.
struct ShawKeys {
  std::vector<float>
      table{};         ///< [2 clip + 1][head_dim], row c + clip for c = key - query, clipped
  Position clip = 16;  ///< tokens; farther ones count as this far

  [[nodiscard]] Index bucket(Position distance) const { return detail::shaw_row(clip, distance); }
  [[nodiscard]] RelativeTable relative_keys() const { return detail::shaw_table(table, clip); }
  /// Of the table.
  [[nodiscard]] Index num_parameters() const { return std::ssize(table); }
  void relative_keys_gradient(Index, Index bucket, std::span<const double> vector, double,
                              std::span<double> gradient) const {
    detail::add_to_row(bucket, vector, gradient);
  }
  void check(Problems& problems, const HeadShape& shape) const {
    detail::check_shaw(problems, "ShawKeys", table, clip, shape.head_dim);
  }
};

/// Vectors that are summed beside values.
struct ShawValues {
  std::vector<float> table{};  ///< [2 clip + 1][width of values], in the same order
  Position clip = 16;          ///< tokens; farther ones count as this far

  [[nodiscard]] Index bucket(Position distance) const { return detail::shaw_row(clip, distance); }
  [[nodiscard]] RelativeTable relative_values() const { return detail::shaw_table(table, clip); }
  /// Of the table.
  [[nodiscard]] Index num_parameters() const { return std::ssize(table); }
  void relative_values_gradient(Index, Index bucket, std::span<const double> vector,
                                std::span<double> gradient) const {
    detail::add_to_row(bucket, vector, gradient);
  }
  void check(Problems& problems, const HeadShape&) const {
    detail::check_shaw(problems, "ShawValues", table, clip, 0);
  }
};

POSENC_NAMESPACE_END
