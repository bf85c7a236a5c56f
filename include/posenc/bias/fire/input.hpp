// SPDX-License-Identifier: MIT
//
// What the network of FIRE is given:
//
//   u = psi(D) share(query),   psi(x) = ln(|c| |x| + 1),   share(n) = 1 / (psi(max(threshold, n)) + epsilon)
//
// Both factors are tabulated for the first distances and queries; beyond they take logarithms. With dx the
// gradient of u, those of its parameters are
//
//   d |c|       = dx share D / (|c| D + 1) - d n / (|c| n + 1),   d = dx u share,  n = max(threshold, query)
//   d threshold = -d |c| / (|c| n + 1)                            where the threshold is the greater one
#pragma once

#include <posenc/core/score.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

class FireInput {
 public:
  /// c is positive; what is below `cached` is tabulated.
  FireInput(double c, double threshold, double epsilon, Position cached)
      : c_(c), threshold_(threshold), psi_threshold_(std::log1p(c * threshold)), epsilon_(epsilon),
        cached_(cached) {
    psi_.resize(static_cast<std::size_t>(std::max<Position>(0, 2 * cached - 1)));
    for (Position n = 0; n < cached; ++n) {
      const double value = std::log1p(c * static_cast<double>(n));
      psi_[static_cast<std::size_t>(cached - 1 - n)] = value;
      psi_[static_cast<std::size_t>(cached - 1 + n)] = value;
      share_.push_back(share_of(value));
    }
  }

  [[nodiscard]] double operator()(Position distance, Position query) const {
    return psi(std::abs(distance)) * share(query);
  }
  /// Of n >= 0.
  [[nodiscard]] double psi(Position n) const {
    return n < cached_ ? psi_[static_cast<std::size_t>(cached_ - 1 + n)]
                       : std::log1p(c_ * static_cast<double>(n));
  }
  [[nodiscard]] double share(Position query) const {
    const Position n = std::max<Position>(query, 0);
    return n < cached_ ? share_[static_cast<std::size_t>(n)] : share_of(psi(n));
  }

  /// Do the tables have all of a tile?
  [[nodiscard]] bool is_cached(const Tile& tile) const {
    return tile.query.first >= 0 && tile.query.last < cached_ && tile.least_distance() > -cached_ &&
           tile.greatest_distance() < cached_;
  }
  /// psi of |D| by D and the shares by query, of tiles within the tables.
  [[nodiscard]] const double* psi_table() const { return psi_.data() + cached_ - 1; }
  [[nodiscard]] const double* share_table() const { return share_.data(); }
  struct Bounds {
    double least = 0, greatest = 0;
  };
  /// Of u in such a tile: it rises with |D| and falls with the query.
  [[nodiscard]] Bounds bounds(const Tile& tile) const {
    const Position nearest = tile.least_distance(), farthest = tile.greatest_distance();
    const Position least = std::max({nearest, -farthest, Position{0}});
    const Position greatest = std::max(farthest, -nearest);
    return {psi(least) * share(tile.query.last), psi(greatest) * share(tile.query.first)};
  }

  /// d psi(D) / d |c|
  [[nodiscard]] double psi_by_c(double distance) const { return distance / (c_ * distance + 1); }
  /// Gradients of parameters.
  struct Sums {
    double c = 0, threshold = 0;
  };
  /// From the sums of dx psi(D) and of dx d psi(D) / d |c| over scores of a query.
  [[nodiscard]] Sums gradient(double query, double share, double dx_psi, double dx_psi_by_c) const {
    const double n = std::max(query, threshold_), d = dx_psi * share * share;
    return {share * dx_psi_by_c - d * psi_by_c(n), n == threshold_ ? -d * c_ / (c_ * n + 1) : 0};
  }

 private:
  [[nodiscard]] double share_of(double psi_of_query) const {
    return 1 / (std::max(psi_of_query, psi_threshold_) + epsilon_);
  }

  double c_, threshold_, psi_threshold_, epsilon_;
  Position cached_;
  std::vector<double> psi_;    ///< of |D|, -cached < D < cached: consecutive D lie so on both sides
  std::vector<double> share_;  ///< by query
};

}  // namespace detail

POSENC_NAMESPACE_END
