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
// A ReLU network of one number is piecewise linear. Binding finds its breakpoints, at most width of
// them, and each head's line between any two, in double; a score then costs one line, not the
// network, and the result is the network's. Which line is settled for a tile of scores at a time:
// u hardly changes within one. Positions beyond the tables take a search and logarithms per score.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <bit>
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
    return lines(at.head)[piece(u)](u);
  }

  /// Most tiles lie on one piece, nearly all others on few: no score of theirs needs a search.
  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    const Position nearest = tile.least_distance(), farthest = tile.greatest_distance();
    if (tile.query.first < 0 || tile.query.last >= cached_ || nearest <= -cached_ ||
        farthest >= cached_)
      return use([this](const Score& at) { return score_bias(at); });
    const double* const psi = psi_.data() + cached_ - 1;
    const double* const share = share_.data();
    const auto at_u = [&](const auto& pieces) {
      use([=](const Score& at) { return pieces(psi[at.distance()] * share[at.query]); });
    };
    // u rises with |D| and falls with the query.
    const Position least = std::max({nearest, -farthest, Position{0}});
    const Position greatest = std::max(farthest, -nearest);
    const std::size_t first = piece(psi[least] * share[tile.query.last]);
    const std::size_t count = piece(psi[greatest] * share[tile.query.first]) - first;
    const double* const breaks = breaks_.data() + first;
    const Line* const line = lines(head) + first;
    if (count == 0) return at_u(*line);
    if (count <= 8) return at_u(Pieces<8>(breaks, line, count));
    if (count <= 32) return at_u(Pieces<32>(breaks, line, count));
    use([this](const Score& at) { return score_bias(at); });
  }

 private:
  struct Line {
    double slope = 0, intercept = 0;
    double operator()(double u) const { return slope * u + intercept; }
  };

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
  /// How many breakpoints are at most u, by halving.
  [[nodiscard]] std::size_t piece(double u) const {
    std::size_t piece = 0;
    for (std::size_t step = (breaks_.size() + 1) / 2; step != 0; step /= 2)
      piece += step * std::size_t{breaks_[piece + step - 1] <= u};
    return piece;
  }
  [[nodiscard]] const Line* lines(Index head) const {
    return lines_.data() + static_cast<std::size_t>(head) * (breaks_.size() + 1);
  }
  void find_breaks(const Fire& fire);
  [[nodiscard]] Line line_from(const Fire& fire, std::size_t head, double left) const;

  double c_, psi_threshold_, epsilon_;
  Position cached_;            ///< distances and queries below this are tabulated
  std::vector<double> psi_;    ///< of |D|, -cached < D < cached: consecutive D lie so on both sides
  std::vector<double> share_;  ///< by query
  std::vector<double> breaks_;  ///< rising; padded with infinity to one less than a power of two
  std::vector<Line> lines_;     ///< [head][piece]; piece 0 begins at u = 0
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
      epsilon_(fire.epsilon), cached_(fire.cached_distances) {
  psi_.resize(static_cast<std::size_t>(std::max<Position>(0, 2 * cached_ - 1)));
  for (Position n = 0; n < cached_; ++n) {
    const double value = std::log1p(c_ * static_cast<double>(n));
    psi_[static_cast<std::size_t>(cached_ - 1 - n)] = value;
    psi_[static_cast<std::size_t>(cached_ - 1 + n)] = value;
    share_.push_back(share_of(value));
  }
  find_breaks(fire);
  for (Index head = 0; head < num_heads; ++head) {
    lines_.push_back(line_from(fire, static_cast<std::size_t>(head), 0));
    for (const double left : breaks_)
      lines_.push_back(line_from(fire, static_cast<std::size_t>(head), left));
  }
}

/// Where hidden units turn on or off, for u > 0.
inline void PreparedFire::find_breaks(const Fire& fire) {
  for (std::size_t k = 0; k < fire.hidden_weight.size(); ++k) {
    const double at =
        -static_cast<double>(fire.hidden_bias[k]) / static_cast<double>(fire.hidden_weight[k]);
    if (at > 0 && std::isfinite(at)) breaks_.push_back(at);
  }
  std::sort(breaks_.begin(), breaks_.end());
  breaks_.resize(std::bit_ceil(breaks_.size() + 1) - 1, std::numeric_limits<double>::infinity());
}

/// A head's line on the piece that begins at `left`: the sum over the units that are on there.
inline PreparedFire::Line PreparedFire::line_from(const Fire& fire, std::size_t head,
                                                  double left) const {
  Line line{.slope = 0, .intercept = static_cast<double>(fire.output_bias[head])};
  const std::size_t width = fire.hidden_weight.size();
  for (std::size_t k = 0; k < width; ++k) {
    const auto w = static_cast<double>(fire.hidden_weight[k]);
    const auto b = static_cast<double>(fire.hidden_bias[k]);
    const bool on = w > 0 ? -b / w <= left : w < 0 ? -b / w > left : b > 0;
    if (!on) continue;
    const auto output = static_cast<double>(fire.output_weight[head * width + k]);
    line.slope += output * w;
    line.intercept += output * b;
  }
  return line;
}

POSENC_NAMESPACE_END
