// SPDX-License-Identifier: MIT
//
// What a tile of scores adds to the gradients that FIRE learns by.
//
// Queries are taken a few at a time, side by side, with a sum each that runs over the keys: of dx, of dx psi(D)
// and of dx d psi(D) / d |c|. These are sums of at most a tile's keys, and of numbers of T, so they are numbers of T
// too. Where the scores lie on several pieces of the network, keys are taken a few at a time, which leaves most of
// these blocks on one piece, and the others add to each piece by itself, as doubles, which pieces are told apart by:
// no score needs a search. Loops of a fixed length become vectors.
#pragma once

#include <posenc/bias/fire/input.hpp>
#include <posenc/bias/fire/lines.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// The gradient of the jth query's score with the kth key is dx[k * stride + j]. Sums are those of lines, then
/// of |c| and the threshold.
template <class T>
class FireTileGradient {
 public:
  /// Tiles within the tables of `input`, of not too many distances.
  static bool takes(const FireInput& input, const Tile& tile) {
    return input.is_cached(tile) &&
           tile.greatest_distance() - tile.least_distance() < most_distances;
  }

  FireTileGradient(const FireInput& input, const NetworkLines& lines, const Tile& tile, Index head,
                   std::span<const Position> keys, const T* dx, Index stride,
                   std::span<double> sums)
      : input_(input), lines_(lines), tile_(tile), head_(head), keys_(keys), dx_(dx),
        stride_(stride), sums_(sums), least_(tile.least_distance()) {
    const Position distances = tile.greatest_distance() - least_ + 1;
    for (Position d = 0; d < distances; d += step) {
      const auto first = static_cast<double>(least_ + d);
      for (Index i = 0; i < step; ++i)
        psi_by_c_[static_cast<std::size_t>(d + i)] =
            input_.psi_by_c(std::abs(first + static_cast<double>(i)));
    }
    const double* const psi = input_.psi_table() + least_;
    for (Position d = 0; d < distances; ++d) {
      psi_as_t_[static_cast<std::size_t>(d)] = static_cast<T>(psi[d]);
      psi_by_c_as_t_[static_cast<std::size_t>(d)] =
          static_cast<T>(psi_by_c_[static_cast<std::size_t>(d)]);
    }
  }

  void add() const {
    const Index queries = tile_.query.last - tile_.query.first + 1;
    Index j = 0;
    for (; j + step <= queries; j += step) add_queries<true>(j, step);
    if (j < queries) add_queries<false>(j, queries - j);
  }

 private:
  static constexpr Index step = 16, most_distances = 128;  ///< queries at a time; of a tile
  using Lanes = std::array<double, step>;

  /// By query.
  struct Terms {
    Lanes share{}, psi{}, psi_by_c{};  ///< the latter two times slopes, summed over all pieces
  };

  /// `count` queries from the jth on; `whole` if these are all of a step.
  template <bool whole>
  void add_queries(Index j, Index count) const {
    Terms terms;
    const Position query = tile_.query.first + j;
    std::copy_n(input_.share_table() + query, count, terms.share.data());
    const Interval queries{query, query + count - 1};
    const auto [first, last] = pieces({queries, tile_.key, {}, {}});
    if (first == last) {
      add_one_piece<whole>(j, count, 0, std::ssize(keys_), first, terms);
    } else {
      constexpr Index some = 8;
      for (Index k = 0; k < std::ssize(keys_); k += some)
        add_block<whole>(j, count, k, std::min(some, std::ssize(keys_) - k), queries, terms);
    }
    const auto at = static_cast<double>(query);
    Lanes of_c, of_threshold;
    for (std::size_t i = 0; i < step; ++i) {
      const FireInput::Sums sums = input_.gradient(at + static_cast<double>(i), terms.share[i],
                                                   terms.psi[i], terms.psi_by_c[i]);
      of_c[i] = sums.c;
      of_threshold[i] = sums.threshold;
    }
    sums_[sums_.size() - 2] += sum(of_c);
    sums_[sums_.size() - 1] += sum(of_threshold);
  }

  /// Scores of `count` queries with some keys, all on one piece.
  template <bool whole>
  void add_one_piece(Index j, Index count, Index first_key, Index keys, std::size_t piece,
                     Terms& terms) const {
    std::array<T, step> of_one{}, of_psi{}, of_c{};
    const auto add = [&](Index n, const T* dx, const T* psi, const T* by_c) {
      for (Index i = 0; i < n; ++i) {
        const auto to = static_cast<std::size_t>(i);
        of_one[to] += dx[i];
        of_psi[to] += dx[i] * psi[i];
        of_c[to] += dx[i] * by_c[i];
      }
    };
    for (Index k = first_key; k < first_key + keys; ++k) {
      const Position at = tile_.query.first + j - keys_[static_cast<std::size_t>(k)] - least_;
      add(whole ? step : count, dx_ + k * stride_ + j, psi_as_t_.data() + at,
          psi_by_c_as_t_.data() + at);
    }
    add_sums(piece, of_one, of_psi, of_c, terms);
  }

  template <bool whole>
  void add_block(Index j, Index count, Index k, Index keys, const Interval& queries,
                 Terms& terms) const {
    const auto [least, greatest] = std::minmax_element(keys_.data() + k, keys_.data() + k + keys);
    const auto [first, last] = pieces({queries, {*least, *greatest}, {}, {}});
    if (first == last) return add_one_piece<whole>(j, count, k, keys, first, terms);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    for (std::size_t piece = first; piece <= last; ++piece) {
      // No search: the first and the last take the rest.
      const double from = piece == first ? -infinity : lines_.breaks()[piece - 1];
      const double to = piece == last ? infinity : lines_.breaks()[piece];
      add_piece<whole>(j, count, k, keys, piece, terms, [=](double u, double d) {
        return static_cast<int>(from <= u) & static_cast<int>(u < to) ? d : 0;
      });
    }
  }

  /// Scores of `count` queries with some keys that lie on a piece: on_piece(u, dx) is dx where u does, otherwise 0.
  template <bool whole, class F>
  void add_piece(Index j, Index count, Index first_key, Index keys, std::size_t piece, Terms& terms,
                 const F& on_piece) const {
    Lanes of_one{}, of_psi{}, of_c{};
    const Lanes share = terms.share;
    const auto add = [&](const T* dx, const double* psi, const double* by_c) {
      Lanes d;
      for (std::size_t i = 0; i < step; ++i) d[i] = static_cast<double>(dx[i]);
      for (std::size_t i = 0; i < step; ++i) d[i] = on_piece(psi[i] * share[i], d[i]);
      for (std::size_t i = 0; i < step; ++i) of_one[i] += d[i];
      for (std::size_t i = 0; i < step; ++i) of_psi[i] += d[i] * psi[i];
      for (std::size_t i = 0; i < step; ++i) of_c[i] += d[i] * by_c[i];
    };
    for (Index k = first_key; k < first_key + keys; ++k) {
      const Position distance = tile_.query.first + j - keys_[static_cast<std::size_t>(k)];
      const T* const dx = dx_ + k * stride_ + j;
      const double* const psi = input_.psi_table() + distance;
      const double* const by_c = psi_by_c_.data() + (distance - least_);
      if constexpr (whole) {
        add(dx, psi, by_c);
      } else {
        std::array<T, step> some_dx{};
        Lanes some_psi{}, some_by_c{};
        std::copy_n(dx, count, some_dx.data());
        std::copy_n(psi, count, some_psi.data());
        std::copy_n(by_c, count, some_by_c.data());
        add(some_dx.data(), some_psi.data(), some_by_c.data());
      }
    }
    add_sums(piece, of_one, of_psi, of_c, terms);
  }
  /// What the scores of some queries on a piece sum to.
  template <class U>
  void add_sums(std::size_t piece, const std::array<U, step>& of_one,
                const std::array<U, step>& of_psi, const std::array<U, step>& of_c,
                Terms& terms) const {
    const double slope = lines_.lines(head_)[piece].slope;
    Lanes of_u, of_all;
    for (std::size_t i = 0; i < step; ++i) {
      const auto psi = static_cast<double>(of_psi[i]);
      terms.psi[i] += slope * psi;
      terms.psi_by_c[i] += slope * static_cast<double>(of_c[i]);
      of_u[i] = psi * terms.share[i];
      of_all[i] = static_cast<double>(of_one[i]);
    }
    double* const line = lines_.sums(sums_, head_, piece);
    line[0] += sum(of_u);
    line[1] += sum(of_all);
  }

  [[nodiscard]] std::pair<std::size_t, std::size_t> pieces(const Tile& tile) const {
    const auto [least, greatest] = input_.bounds(tile);
    return {lines_.piece(least), lines_.piece(greatest)};
  }
  static double sum(Lanes x) {
    for (std::size_t n = step / 2; n > 0; n /= 2)
      for (std::size_t i = 0; i < n; ++i) x[i] += x[i + n];
    return x[0];
  }

  const FireInput& input_;
  const NetworkLines& lines_;
  const Tile& tile_;
  Index head_;
  std::span<const Position> keys_;
  const T* dx_;
  Index stride_;
  std::span<double> sums_;
  Position least_;
  // By distance from the least on.
  std::array<double, most_distances + step> psi_by_c_;
  std::array<T, most_distances + step> psi_as_t_{}, psi_by_c_as_t_{};
};

}  // namespace detail

POSENC_NAMESPACE_END
