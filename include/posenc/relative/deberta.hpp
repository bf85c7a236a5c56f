// SPDX-License-Identifier: MIT
//
// DeBERTa: disentangled attention; queries meet the distance of the key, keys that of the query.
//
//   He et al., arXiv 2006.03654 and 2111.09543; microsoft/DeBERTa, disentangled_attention.py and
//   da_utils.py; transformers, models/deberta_v2/modeling_deberta_v2.py.
//
//   score_ij = (<q_i, k_j> + <q_i, keys[e]> + <k_j, queries[e]>) / sqrt(t head_dim)
//   e        = min(max(bucket(i - j) + span, 0), 2 span - 1)
//
// t counts the terms: content, content to position ("c2p", if there are keys) and position to content
// ("p2c", if there are queries). span is position_buckets, or max_position without buckets. keys and
// queries are the first 2 span relative embeddings of the model through the projections of keys and
// of queries. With buckets, and mid = position_buckets/2, distances share them logarithmically:
//
//   bucket(r) = r                                                                  |r| <= mid
//   bucket(r) = sign(r) (mid + ceil(ln(|r|/mid) / ln((max_position-1)/mid) (mid-1)))   otherwise
//
// Errata. The paper indexes the p2c term with the distance from j to i; both programs use that from i
// to j, as here. Beyond max_position on the future side, transformers ends at row 0, as here, and
// Microsoft's program, which clips r first, at row 1.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct DeBERTa;

/// DeBERTa for a number of heads, with its rows by distance at hand.
class PreparedDeBERTa {
 public:
  PreparedDeBERTa(const DeBERTa& deberta, Index num_heads);

  [[nodiscard]] Index bucket(Position distance) const {
    const auto reach = static_cast<Position>(row_.size() / 2);
    return row_[static_cast<std::size_t>(std::clamp(distance, -reach, reach) + reach)];
  }
  [[nodiscard]] RelativeTable relative_keys() const { return table(keys_); }
  [[nodiscard]] RelativeTable relative_queries() const { return table(queries_); }

  /// Of keys, then of queries.
  [[nodiscard]] Index num_parameters() const { return std::ssize(keys_) + std::ssize(queries_); }
  void relative_keys_gradient(Index head, Index bucket, std::span<const double> vector, double,
                              std::span<double> gradient) const {
    add(head, bucket, vector, gradient);
  }
  void relative_queries_gradient(Index head, Index bucket, std::span<const double> vector, double,
                                 std::span<double> gradient) const {
    add(head, bucket, vector, gradient.subspan(keys_.size()));
  }

 private:
  [[nodiscard]] RelativeTable table(const std::vector<float>& values) const {
    if (values.empty()) return {};
    const Index width = std::ssize(values) / (buckets_ * num_heads_);
    return {.data = values.data(),
            .buckets = buckets_,
            .width = width,
            .bucket_stride = num_heads_ * width,
            .head_stride = width};
  }

  void add(Index head, Index bucket, std::span<const double> vector,
           std::span<double> gradient) const {
    const std::size_t first = static_cast<std::size_t>(bucket * num_heads_ + head) * vector.size();
    for (std::size_t c = 0; c < vector.size(); ++c) gradient[first + c] += vector[c];
  }

  Index num_heads_, buckets_;
  std::vector<float> keys_, queries_;
  std::vector<std::int32_t> row_;  ///< of distances from -max_position to max_position
};

struct DeBERTa {
  std::vector<float> keys{};     ///< [2 span][heads][head_dim], for c2p; empty: none
  std::vector<float> queries{};  ///< [2 span][heads][head_dim], for p2c; empty: none
  Index position_buckets = 256;  ///< config: position_buckets, even; 0: a row for each distance
  Position max_position = 512;   ///< config: max_relative_positions, or max_position_embeddings

  [[nodiscard]] Index span() const {
    return position_buckets > 0 ? position_buckets : static_cast<Index>(max_position);
  }

  /// The row of the tables for a distance query - key.
  [[nodiscard]] Index row(Position distance) const {
    const Position size = std::min(distance < 0 ? -distance : distance, max_position);
    const Position mid = position_buckets / 2;
    Position bucket = size;
    if (position_buckets > 0 && size > mid) {
      const auto m = static_cast<double>(mid);
      bucket = mid + static_cast<Position>(
                         std::ceil(std::log(static_cast<double>(size) / m) /
                                   std::log(static_cast<double>(max_position - 1) / m) * (m - 1)));
    }
    return std::clamp<Index>((distance < 0 ? -bucket : bucket) + span(), 0, 2 * span() - 1);
  }

  [[nodiscard]] double score_scale(Index head_dim) const {
    const int terms = 1 + (keys.empty() ? 0 : 1) + (queries.empty() ? 0 : 1);
    return 1 / std::sqrt(static_cast<double>(terms) * static_cast<double>(head_dim));
  }
  [[nodiscard]] PreparedDeBERTa prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    constexpr Position most = Position{1} << 24;
    if (max_position < 1 || max_position > most)
      return problems.add("DeBERTa: max_position must lie within [1, 2^24], got ", max_position,
                          ".");
    if (position_buckets != 0 && (position_buckets < 4 || position_buckets % 2 != 0 ||
                                  position_buckets / 2 >= max_position - 1))
      return problems.add(
          "DeBERTa: position_buckets must be 0, or even, at least 4 and less than "
          "twice max_position - 1, got ",
          position_buckets, " for a max_position of ", max_position, ".");
    if (shape.num_heads <= 0) return;
    const Index vectors = 2 * span() * shape.num_heads;
    for (const auto& [name, values] : {std::pair{"keys", &keys}, {"queries", &queries}}) {
      const Index width = std::ssize(*values) / vectors;
      const bool is_whole = width * vectors == std::ssize(*values);
      problems.require(is_whole, "DeBERTa: ", name, " must have ", 2 * span(), " rows of ",
                       shape.num_heads, " heads of one width, or nothing, got ", values->size(),
                       " values.");
      problems.require(!is_whole || width == 0 || shape.head_dim <= 0 || width == shape.head_dim,
                       "DeBERTa: ", name, " has vectors of ", width, " channels, but heads have ",
                       shape.head_dim, ".");
      detail::check_finite(problems, "DeBERTa", name, *values);
    }
  }
};

inline PreparedDeBERTa::PreparedDeBERTa(const DeBERTa& deberta, Index num_heads)
    : num_heads_(num_heads), buckets_(2 * deberta.span()), keys_(deberta.keys),
      queries_(deberta.queries) {
  for (Position r = -deberta.max_position; r <= deberta.max_position; ++r)
    row_.push_back(static_cast<std::int32_t>(deberta.row(r)));
}

POSENC_NAMESPACE_END
