// SPDX-License-Identifier: MIT
//
// TransformerXL: keys of content and keys of distance, each with a query bias of its own.
//
//   Dai et al., arXiv 1901.02860; kimiyoung/transformer-xl, pytorch/mem_transformer.py.
//
//   score_ij = (<q_i + u_h, k_j> + <q_i + v_h, (W_R r_D)_h>) / sqrt(head_dim),   D = i - j
//
//   r_D[t] = sin(D w_t), r_D[d_model/2 + t] = cos(D w_t),   w_t = 10000^(-2t/d_model)
//
// The halves of r are concatenated, not interleaved. W_R is a weight of the layer, so it is applied
// by the caller, once: `rows` are W_R r_D. u and v (r_w_bias and r_r_bias of the reference) are
// shared by its layers. With clamp_len a distance beyond it counts as it.
//
// The reference leaves rubbish for keys in the future and relies on its causal mask; here a query
// that sees a key at a distance without a row is an error. The first row may belong to a negative
// distance, as XLNet has it.
//
// <v_h, (W_R r_D)_h> is a number per head and distance: it is computed at bind, in double.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/embedding/sinusoidal.hpp>

#include <algorithm>
#include <optional>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// The sinusoids r_D of `count` distances from `first` on, [distance][d_model]; apply W_R to them.
/// Throws Error for a negative count and an odd or negative d_model.
[[nodiscard]] inline std::vector<float> transformer_xl_sinusoids(Position first, Index count,
                                                                 Index d_model) {
  Problems problems;
  Index size = 0;
  problems.require(d_model > 0 && d_model % 2 == 0, "d_model must be even and positive, got ",
                   d_model, ".");
  problems.require(count >= 0 && (d_model <= 0 || multiply(count, d_model, size)),
                   "the number of distances must not be negative and must fit in memory, got ",
                   count, ".");
  problems.raise_if_any("posenc::transformer_xl_sinusoids");
  const Sinusoidal sinusoid{.width = d_model, .layout = SinusoidalLayout::sin_cos};
  std::vector<double> row(static_cast<std::size_t>(d_model));
  std::vector<float> rows;
  rows.reserve(static_cast<std::size_t>(size));
  for (Index i = 0; i < count; ++i) {
    sinusoid.embed(static_cast<double>(first + i), row);
    for (const double x : row) rows.push_back(static_cast<float>(x));
  }
  return rows;
}

struct TransformerXL;

/// TransformerXL for a number of heads.
class PreparedTransformerXL {
 public:
  PreparedTransformerXL(const TransformerXL& xl, Index num_heads);

  [[nodiscard]] Index bucket(Position distance) const {
    return static_cast<Index>(std::clamp(distance, least_, greatest_) - first_);
  }
  [[nodiscard]] Interval distances() const { return distances_; }
  [[nodiscard]] RelativeTable relative_keys() const {
    return {.data = rows_.data(),
            .buckets = std::ssize(rows_) / (num_heads_ * head_dim_),
            .width = head_dim_,
            .bucket_stride = num_heads_ * head_dim_,
            .head_stride = head_dim_,
            .constants = constants_.empty() ? nullptr : constants_.data()};
  }
  [[nodiscard]] std::span<const float> query_bias(Index head) const {
    if (u_.empty()) return {};
    return std::span(u_).subspan(static_cast<std::size_t>(head * head_dim_),
                                 static_cast<std::size_t>(head_dim_));
  }

  /// Of rows, then of u, then of v.
  [[nodiscard]] Index num_parameters() const {
    return std::ssize(rows_) + std::ssize(u_) + std::ssize(v_);
  }
  void relative_keys_gradient(Index head, Index bucket, std::span<const double> vector,
                              double constant, std::span<double> gradient) const {
    const std::size_t row = place(bucket * num_heads_ + head);
    for (std::size_t c = 0; c < vector.size(); ++c) gradient[row + c] += vector[c];
    if (v_.empty()) return;
    const std::size_t v = place(head), of_v = rows_.size() + u_.size() + v;
    for (std::size_t c = 0; c < vector.size(); ++c) {
      gradient[row + c] += constant * static_cast<double>(v_[v + c]);
      gradient[of_v + c] += constant * static_cast<double>(rows_[row + c]);
    }
  }
  void query_bias_gradient(Index head, std::span<const double> vector,
                           std::span<double> gradient) const {
    for (std::size_t c = 0; c < vector.size() && !u_.empty(); ++c)
      gradient[rows_.size() + place(head) + c] += vector[c];
  }

 private:
  [[nodiscard]] std::size_t place(Index row) const {
    return static_cast<std::size_t>(row * head_dim_);
  }

  Index num_heads_, head_dim_;
  std::vector<float> rows_, u_, v_;
  std::vector<double> constants_;  ///< [head][distance], products of v with the rows
  Position first_;
  Position least_, greatest_;  ///< others count as these
  Interval distances_;
};

struct TransformerXL {
  Index head_dim = 0;
  std::vector<float> rows{};    ///< [distance][heads][head_dim], W_R r_D from first_distance on
  std::vector<float> u{};       ///< [heads][head_dim], with keys (r_w_bias); empty: none
  std::vector<float> v{};       ///< [heads][head_dim], with rows (r_r_bias); empty: none
  Position first_distance = 0;  ///< of the rows; 0 where all keys are in the past
  std::optional<Position> clamp_len{};  ///< distances beyond +-clamp_len count as it

  [[nodiscard]] PreparedTransformerXL prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    Index row = 0;
    if (head_dim <= 0 || shape.num_heads <= 0 || !multiply(shape.num_heads, head_dim, row))
      return problems.add("TransformerXL: head_dim must be positive, got ", head_dim, ".");
    problems.require(shape.head_dim <= 0 || shape.head_dim == head_dim,
                     "TransformerXL: head_dim is ", head_dim, ", but heads have ", shape.head_dim,
                     " channels.");
    const Index count = std::ssize(rows) / row;
    problems.require(count > 0 && count * row == std::ssize(rows), "TransformerXL: rows must have ",
                     shape.num_heads, " heads of ", head_dim, " channels for each distance, got ",
                     rows.size(), " values.");
    for (const auto& [name, values] : {std::pair{"u", &u}, {"v", &v}})
      problems.require(values->empty() || std::ssize(*values) == row, "TransformerXL: ", name,
                       " must have ", shape.num_heads, " heads of ", head_dim,
                       " channels, or nothing, got ", values->size(), " values.");
    for (const auto& [name, values] : {std::pair{"rows", &rows}, {"u", &u}, {"v", &v}})
      detail::check_finite(problems, "TransformerXL", name, *values);
    constexpr Position most = Position{1} << 52;
    problems.require(first_distance >= -most && first_distance <= most,
                     "TransformerXL: first_distance must lie within +-2^52, got ", first_distance,
                     ".");
    if (!clamp_len) return;
    problems.require(
        *clamp_len >= 0 && first_distance <= *clamp_len && *clamp_len - first_distance < count,
        "TransformerXL: clamp_len must not be negative and must have a row, got ", *clamp_len,
        " for rows of distances ", first_distance, " to ", first_distance + count - 1, ".");
  }
};

inline PreparedTransformerXL::PreparedTransformerXL(const TransformerXL& xl, Index num_heads)
    : num_heads_(num_heads), head_dim_(xl.head_dim), rows_(xl.rows), u_(xl.u), v_(xl.v),
      first_(xl.first_distance) {
  const Index count = std::ssize(rows_) / (num_heads_ * head_dim_);
  constexpr Position any = std::numeric_limits<Position>::max();
  const Position last = first_ + count - 1, clamp = xl.clamp_len.value_or(any);
  least_ = std::max(first_, -clamp);
  greatest_ = std::min(last, clamp);
  distances_ = {least_ == -clamp ? -any : first_, greatest_ == clamp ? any : last};
  for (Index h = 0; !xl.v.empty() && h < num_heads_; ++h)
    for (Index d = 0; d < count; ++d) {
      double product = 0;
      for (Index c = 0; c < head_dim_; ++c)
        product += static_cast<double>(xl.v[static_cast<std::size_t>(h * head_dim_ + c)]) *
                   static_cast<double>(
                       rows_[static_cast<std::size_t>((d * num_heads_ + h) * head_dim_ + c)]);
      constants_.push_back(product);
    }
}

POSENC_NAMESPACE_END
