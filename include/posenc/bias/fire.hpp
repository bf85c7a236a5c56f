// SPDX-License-Identifier: MIT
//
// FIRE: functional interpolation for relative positional encoding, a bias learned as a function.
//
//   Li et al., arXiv 2310.04418; mcleish7/arithmetic, embeddings.py.
//
//   score += f(u)[head],   u = psi(D) / (psi(max(threshold, query)) + epsilon),
//                          psi(x) = ln(|c x| + 1)
//
// f is a small network of one number, Linear(1, width), ReLU, Linear(width, num_heads). Dividing by
// the query's position maps every causal distance into [0, 1), so the function interpolates however
// long the input; below the threshold, in tokens, the normaliser stays put, and there the bias
// depends on D alone. Positions count from 0; a query at a negative one is below the threshold.
// Keys in the future count by |D|, as in the reference: u exceeds 1 for those that are further
// ahead than the query, and the threshold, are from the start.
//
// The network is piecewise linear (bias/fire/lines.hpp): a score costs one line, not the network, and
// the result is the network's. Which line is settled for a tile of scores at a time: u hardly changes
// within one. Positions beyond the tables take a search and logarithms per score.
//
// Parameters: hidden_weight, hidden_bias, output_weight, output_bias, c, threshold.
#pragma once

#include <posenc/bias/fire/lines.hpp>
#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct Fire;

/// FIRE with its lines and logarithms at hand.
class PreparedFire {
 public:
  PreparedFire(const Fire& fire, Index num_heads);

  [[nodiscard]] double score_bias(const Score& at) const {
    const double u = psi(std::abs(at.distance())) * share(at.query);
    return lines_.lines(at.head)[lines_.piece(u)](u);
  }

  [[nodiscard]] Index num_parameters() const {
    return static_cast<Index>(lines_.num_parameters()) + 2;
  }
  /// Those of lines, then of |c| and the threshold.
  [[nodiscard]] Index num_sums() const { return static_cast<Index>(lines_.num_sums()) + 2; }
  void score_bias_gradient(const Score& at, double dx, std::span<double> sums) const {
    const double distance = std::abs(static_cast<double>(at.distance()));
    const double from_query = share(at.query), u = psi(std::abs(at.distance())) * from_query;
    const std::size_t piece = lines_.piece(u);
    add_to_line(at.head, piece, dx * u, dx, sums);
    add_to_inputs(at.query, lines_.lines(at.head)[piece].slope, dx * u,
                  dx * from_query * distance / (c_ * distance + 1), sums);
  }
  /// Sums by query of each of the few pieces of a tile: no score needs a search.
  void tile_bias_gradient(const Tile& tile, Index head, std::span<const Position> keys,
                          const double* dx, Index stride, std::span<double> sums) const {
    const Index queries = tile.query.last - tile.query.first + 1;
    constexpr std::size_t most_pieces = 4;
    const bool cached = is_cached(tile);
    const auto [first, last] = cached ? pieces_of(tile) : std::pair<std::size_t, std::size_t>{};
    if (!cached || last - first >= most_pieces || queries > most_side ||
        tile.greatest_distance() - tile.least_distance() >= most_distances) {
      for (std::size_t k = 0; k < keys.size(); ++k, dx += stride)
        for (Index j = 0; j < queries; ++j)
          if (dx[j] != 0)
            score_bias_gradient({tile.query.first + j, keys[k], 0, 0, head}, dx[j], sums);
      return;
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    for (std::size_t piece = first; piece <= last; ++piece) {
      double from = -infinity, to = infinity;  // no search: the first and the last take the rest
      if (piece != first) from = lines_.breaks()[piece - 1];
      if (piece != last) to = lines_.breaks()[piece];
      const auto gradient = [=](double u, double x) {
        return static_cast<int>(from <= u) & static_cast<int>(u < to) ? x : 0;
      };
      if (first == last)
        add_piece(tile, head, piece, [](double, double x) { return x; }, keys, dx, stride, sums);
      else
        add_piece(tile, head, piece, gradient, keys, dx, stride, sums);
    }
  }
  void gradient_of_sums(std::span<const double> sums, std::span<double> gradient) const {
    lines_.gradient_of_sums(sums, gradient);
    gradient[gradient.size() - 2] += sign_ * sums[sums.size() - 2];
    gradient.back() += sums.back();
  }

  /// Most tiles lie on one piece, nearly all others on few: no score of theirs needs a search.
  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    if (!is_cached(tile)) return use([this](const Score& at) { return score_bias(at); });
    const double* const psi = psi_.data() + cached_ - 1;
    const double* const share = share_.data();
    const auto at_u = [&](const auto& pieces) {
      use([=](const Score& at) { return pieces(psi[at.distance()] * share[at.query]); });
    };
    const auto [first, last] = pieces_of(tile);
    const std::size_t count = last - first;
    const double* const breaks = lines_.breaks() + first;
    const detail::Line* const line = lines_.lines(head) + first;
    if (count == 0) return at_u(*line);
    if (count <= 8) return at_u(Pieces<8>(breaks, line, count));
    if (count <= 32) return at_u(Pieces<32>(breaks, line, count));
    use([this](const Score& at) { return score_bias(at); });
  }

 private:
  using Line = detail::Line;

  /// Adjoining pieces with up to `most` breakpoints between them, told apart without a branch.
  template <std::size_t most>
  struct Pieces {
    double breaks[most];
    Line lines[most + 1];

    Pieces(const double* first_break, const Line* first_line, std::size_t count) {
      std::fill_n(breaks, most, std::numeric_limits<double>::infinity());
      std::copy_n(first_break, count, breaks);
      std::copy_n(first_line, count + 1, lines);
    }
    double operator()(double u) const { return on(u, std::make_index_sequence<most>{}); }

   private:
    // Written out, and with lines passed by value: compilers make no vectors of an inner loop, nor
    // of loads that a condition might skip.
    template <std::size_t... k>
    double on(double u, std::index_sequence<k...>) const {
      Line line = lines[0];
      (take(line, lines[k + 1], breaks[k] <= u), ...);
      return line(u);
    }
    static void take(Line& line, const Line next, bool past) {
      line.slope = past ? next.slope : line.slope;
      line.intercept = past ? next.intercept : line.intercept;
    }
  };

  static constexpr Index most_side = 64, most_distances = 2 * most_side;  ///< of a tile

  void add_to_line(Index head, std::size_t piece, double dx_u, double dx,
                   std::span<double> sums) const {
    double* const line = lines_.sums(sums, head, piece);
    line[0] += dx_u;
    line[1] += dx;
  }
  /// Gradients of |c|, through psi of the distance and of the query, and of the threshold. `dx_psi` is
  /// dx times the share of the query times d psi(D) / d |c|.
  void add_to_inputs(Position query, double slope, double dx_u, double dx_psi,
                     std::span<double> sums) const {
    const double n = std::max(static_cast<double>(query), threshold_);
    const double from_query = dx_u * share(query);
    sums[sums.size() - 2] += slope * (dx_psi - from_query * n / (c_ * n + 1));
    if (n == threshold_) sums.back() -= slope * from_query * c_ / (c_ * n + 1);
  }
  /// What a tile adds to the gradients of the scores on one piece: gradient(u, dx) is dx where u lies on it,
  /// otherwise 0.
  template <class F>
  void add_piece(const Tile& tile, Index head, std::size_t piece, const F& gradient,
                 std::span<const Position> keys, const double* dx, Index stride,
                 std::span<double> sums) const {
    constexpr Index step = 8;  // loops of a fixed length become vectors
    const Position query = tile.query.first, least = tile.least_distance();
    const Index queries = tile.query.last - query + 1;
    double share[most_side] = {}, of_psi[most_side] = {}, of_one[most_side] = {},
           of_c[most_side] = {};
    std::copy_n(share_.data() + query, queries, share);
    double psi_by_c[most_distances + step] = {};  // d psi(D) / d |c|
    for (Index i = 0; i <= tile.greatest_distance() - least; ++i) {
      const auto d = static_cast<double>(std::abs(least + i));
      psi_by_c[i] = d / (c_ * d + 1);
    }
    for (std::size_t k = 0; k < keys.size(); ++k, dx += stride) {
      const Position distance = query - keys[k];
      const double* const psi_of_key = psi_.data() + cached_ - 1 + distance;
      const double* const by_c = psi_by_c + (distance - least);
      for (Index j = 0; j < queries; j += step) {
        double psi[step] = {}, g[step] = {}, slope[step];
        if (const Index n = queries - j; n >= step) {
          for (Index i = 0; i < step; ++i) psi[i] = psi_of_key[j + i];
          for (Index i = 0; i < step; ++i) g[i] = dx[j + i];
        } else {
          std::copy_n(psi_of_key + j, n, psi);
          std::copy_n(dx + j, n, g);
        }
        for (Index i = 0; i < step; ++i) slope[i] = by_c[j + i];
        for (Index i = 0; i < step; ++i) g[i] = gradient(psi[i] * share[j + i], g[i]);
        for (Index i = 0; i < step; ++i) of_psi[j + i] += g[i] * psi[i];
        for (Index i = 0; i < step; ++i) of_one[j + i] += g[i];
        for (Index i = 0; i < step; ++i) of_c[j + i] += g[i] * slope[i];
      }
    }
    const double slope = lines_.lines(head)[piece].slope;
    for (Index j = 0; j < queries; ++j) {
      add_to_line(head, piece, of_psi[j] * share[j], of_one[j], sums);
      add_to_inputs(query + j, slope, of_psi[j] * share[j], of_c[j] * share[j], sums);
    }
  }
  [[nodiscard]] bool is_cached(const Tile& tile) const {
    return tile.query.first >= 0 && tile.query.last < cached_ && tile.least_distance() > -cached_ &&
           tile.greatest_distance() < cached_;
  }
  /// The pieces of a tile within the tables. u rises with |D| and falls with the query.
  [[nodiscard]] std::pair<std::size_t, std::size_t> pieces_of(const Tile& tile) const {
    const Position nearest = tile.least_distance(), farthest = tile.greatest_distance();
    const Position least = std::max({nearest, -farthest, Position{0}});
    const Position greatest = std::max(farthest, -nearest);
    return {lines_.piece(psi(least) * share(tile.query.last)),
            lines_.piece(psi(greatest) * share(tile.query.first))};
  }
  [[nodiscard]] double psi(Position n) const {
    return n < cached_ ? psi_[static_cast<std::size_t>(cached_ - 1 + n)]
                       : std::log1p(c_ * static_cast<double>(n));
  }
  /// What psi(D) is multiplied by.
  [[nodiscard]] double share(Position query) const {
    const Position n = std::max<Position>(query, 0);
    return n < cached_ ? share_[static_cast<std::size_t>(n)] : share_of(psi(n));
  }
  [[nodiscard]] double share_of(double psi_of_query) const {
    return 1 / (std::max(psi_of_query, psi_threshold_) + epsilon_);
  }
  double c_, psi_threshold_, epsilon_, sign_, threshold_;
  Position cached_;            ///< distances and queries below this are tabulated
  std::vector<double> psi_;    ///< of |D|, -cached < D < cached: consecutive D lie so on both sides
  std::vector<double> share_;  ///< by query
  detail::NetworkLines lines_;
};

struct Fire {
  std::vector<float> hidden_weight{};  ///< mlp.0.weight, [width] (PyTorch: [width][1])
  std::vector<float> hidden_bias{};    ///< mlp.0.bias, [width]
  std::vector<float> output_weight{};  ///< mlp.2.weight, [num_heads][width]
  std::vector<float> output_bias{};    ///< mlp.2.bias, [num_heads]
  float c = 0.1F;                      ///< inverse of the distance where psi starts to flatten
  double threshold = 512;              ///< tokens; |L_multiplier init_L| of the reference
  double epsilon = 1e-6;
  Index cached_distances =
      65'536;  ///< below this, psi and the normaliser are tabulated at bind (24
               ///< bytes each); attention slows down much beyond it

  [[nodiscard]] PreparedFire prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    const Index width = std::ssize(hidden_weight);
    constexpr Index most_cached = Index{1} << 24;
    problems.require(width > 0, "Fire: hidden_weight must have a value per hidden unit, got none.");
    problems.require(std::ssize(hidden_bias) == width, "Fire: hidden_bias must have ", width,
                     " values, as many as hidden_weight, got ", hidden_bias.size(), ".");
    Index weights = 0;
    problems.require(shape.num_heads < 0 || (multiply(width, shape.num_heads, weights) &&
                                             std::ssize(output_weight) == weights),
                     "Fire: output_weight must have ", shape.num_heads, " query heads x ", width,
                     " hidden units, got ", output_weight.size(), " values.");
    problems.require(std::ssize(output_bias) == shape.num_heads,
                     "Fire: output_bias must have one value for each of the ", shape.num_heads,
                     " query heads, got ", output_bias.size(), ".");
    for (const auto& [name, values] : {std::pair{"hidden_weight", &hidden_weight},
                                       {"hidden_bias", &hidden_bias},
                                       {"output_weight", &output_weight},
                                       {"output_bias", &output_bias}})
      problems.require(std::all_of(values->begin(), values->end(),
                                   [](float w) { return std::isfinite(w); }),
                       "Fire: every value of ", name, " must be finite.");
    problems.require(std::isfinite(c) && c != 0, "Fire: c must be finite and not zero, got ", c,
                     ".");
    problems.require(std::isfinite(threshold) && threshold > 0,
                     "Fire: threshold must be positive and finite, got ", threshold, ".");
    problems.require(std::isfinite(epsilon) && epsilon > 0,
                     "Fire: epsilon must be positive and finite, got ", epsilon, ".");
    problems.require(cached_distances >= 0 && cached_distances <= most_cached,
                     "Fire: cached_distances must lie within [0, ", most_cached, "], got ",
                     cached_distances, ".");
  }
};

inline PreparedFire::PreparedFire(const Fire& fire, Index num_heads)
    : c_(std::abs(static_cast<double>(fire.c))), psi_threshold_(std::log1p(c_ * fire.threshold)),
      epsilon_(fire.epsilon), sign_(fire.c < 0 ? -1 : 1), threshold_(fire.threshold),
      cached_(fire.cached_distances), lines_(fire.hidden_weight, fire.hidden_bias,
                                             fire.output_weight, fire.output_bias, num_heads) {
  psi_.resize(static_cast<std::size_t>(std::max<Position>(0, 2 * cached_ - 1)));
  for (Position n = 0; n < cached_; ++n) {
    const double value = std::log1p(c_ * static_cast<double>(n));
    psi_[static_cast<std::size_t>(cached_ - 1 - n)] = value;
    psi_[static_cast<std::size_t>(cached_ - 1 + n)] = value;
    share_.push_back(share_of(value));
  }
}

POSENC_NAMESPACE_END
