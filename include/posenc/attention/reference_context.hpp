// SPDX-License-Identifier: MIT
//
// Positions by context (CoPE) as the formulas say them, for one query row of the reference attention.
//
// x_j are the scaled products of the query with the keys that it sees, in the order of their places:
//
//   g_j  = sigmoid(x_j),   P_m = sum over j >= m of g_j,   p_m = min(P_m, positions - 1)
//   z_m  = (1 - l) t_f + l t_c        f = floor p_m, c = ceil p_m, l = p_m - f, t_i = <q, e_i>
//
// and factor * z_m is added to the score of key m; the factor is the softmax scale times the temperature, or 1.
// Backward, from d z_m = factor * d score_m:
//
//   d t_f += (1 - l) d z_m,   d t_c += l d z_m,   d P_m = d z_m (t_c - t_f), nothing where P_m was cut
//   d x_j  = g_j (1 - g_j) sum over m <= j of d P_m
#pragma once

#include <posenc/bind/answers.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail::reference {

using Vector = Frequencies;

inline Vector row_vector(const RelativeTable& table, Index head, Index bucket) {
  Vector values(table.width);
  for (Index d = 0; d < table.width; ++d)
    values[d] = static_cast<double>(table.row(head, bucket)[d]);
  return values;
}

class ContextRow {
 public:
  /// Nothing is added where no component positions keys by context.
  ContextRow(const Answers& answers, const Vector& query, Index head, double scale,
             const std::vector<double>& products)
      : head_(head) {
    for (const auto& [self, ask] : answers.asked())
      if (ask->context_positions) table_ = ask->context_positions(self);
    if (positions() == 0) return;
    factor_ = table_.scaled ? scale : 1;
    for (Index i = 0; i < positions(); ++i)
      products_.push_back((query * row_vector(table_.vectors, head, i)).sum());
    d_products_.resize(products_.size());
    for (const double x : products) gates_.push_back(1 / (1 + std::exp(-x)));
    sums_ = gates_;
    for (std::size_t m = sums_.size(); m-- > 1;) sums_[m - 1] += sums_[m];
  }
  explicit operator bool() const { return positions() > 0; }
  [[nodiscard]] Index positions() const { return table_.vectors.buckets; }
  /// Are products scaled as those of keys are?
  [[nodiscard]] bool scaled() const { return table_.scaled; }

  /// What the score of visible key m gets.
  [[nodiscard]] double added(std::size_t m) const {
    if (!*this) return 0;
    const Place at = place(m);
    return factor_ * ((1 - at.share) * products_[at.floor] + at.share * products_[at.ceil]);
  }

  /// Takes the gradients of scores, of one visible key after another, and returns that of the key's scaled product
  /// by its gate.
  double add_gradient(std::size_t m, double d_score) {
    if (!*this) return 0;
    const Place at = place(m);
    const double d = factor_ * d_score;
    d_products_[at.floor] += (1 - at.share) * d;
    d_products_[at.ceil] += at.share * d;
    d_sums_ += d * (products_[at.ceil] - products_[at.floor]);
    return gates_[m] * (1 - gates_[m]) * d_sums_;
  }
  /// Of <q, e_i>, and what that is to the query.
  [[nodiscard]] double product_gradient(Index i) const {
    return d_products_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Vector query_gradient(Index i) const {
    return product_gradient(i) * row_vector(table_.vectors, head_, i);
  }

 private:
  struct Place {
    std::size_t floor = 0, ceil = 0;
    double share = 0;  ///< of the upper one
  };
  /// Cut positions lie on the last vector, whose two sides are one: no gradient passes there. NaN stays.
  [[nodiscard]] Place place(std::size_t m) const {
    const auto last = static_cast<double>(positions() - 1);
    const double p = sums_[m] > last ? last : sums_[m];
    if (std::isnan(p)) return {0, 0, p};
    return {static_cast<std::size_t>(std::floor(p)), static_cast<std::size_t>(std::ceil(p)),
            p - std::floor(p)};
  }

  ContextTable table_{};
  Index head_;
  double factor_ = 1;
  std::vector<double> products_, d_products_;  ///< by position
  std::vector<double> gates_, sums_;           ///< by visible key
  double d_sums_ = 0;  ///< of all positions that the gates so far are part of
};

}  // namespace detail::reference

POSENC_NAMESPACE_END
