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

#include <posenc/bias/fire/input.hpp>
#include <posenc/bias/fire/lines.hpp>
#include <posenc/bias/fire/tile_gradient.hpp>
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
  static constexpr bool differentiable = true;  ///< by tiles

  PreparedFire(const Fire& fire, Index num_heads);

  [[nodiscard]] double score_bias(const Score& at) const {
    const double u = input_(at.distance(), at.query);
    return lines_.lines(at.head)[lines_.piece(u)](u);
  }
  /// Most tiles lie on one piece, nearly all others on few: no score of theirs needs a search.
  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    if (!input_.is_cached(tile)) return use([this](const Score& at) { return score_bias(at); });
    const double* const psi = input_.psi_table();
    const double* const share = input_.share_table();
    const auto at_u = [&](const auto& pieces) {
      use([=](const Score& at) { return pieces(psi[at.distance()] * share[at.query]); });
    };
    const auto [least, greatest] = input_.bounds(tile);
    const std::size_t first = lines_.piece(least), count = lines_.piece(greatest) - first;
    const double* const breaks = lines_.breaks() + first;
    const detail::Line* const line = lines_.lines(head) + first;
    if (count == 0) return at_u(*line);
    if (count <= 2) return at_u(Pieces<2>(breaks, line, count));
    if (count <= 16) return at_u(Pieces<16>(breaks, line, count));
    use([this](const Score& at) { return score_bias(at); });
  }

  [[nodiscard]] Index num_parameters() const {
    return static_cast<Index>(lines_.num_parameters()) + 2;
  }
  /// Those of lines, then of |c| and the threshold.
  [[nodiscard]] Index num_sums() const { return static_cast<Index>(lines_.num_sums()) + 2; }
  void score_bias_gradient(const Score& at, double dx, std::span<double> sums) const {
    const auto distance = static_cast<double>(std::abs(at.distance()));
    const double psi = input_.psi(std::abs(at.distance())), share = input_.share(at.query);
    const std::size_t piece = lines_.piece(psi * share);
    double* const line = lines_.sums(sums, at.head, piece);
    line[0] += dx * (psi * share);
    line[1] += dx;
    dx *= lines_.lines(at.head)[piece].slope;
    const auto of = input_.gradient(static_cast<double>(at.query), share, dx * psi,
                                    dx * input_.psi_by_c(distance));
    sums[sums.size() - 2] += of.c;
    sums[sums.size() - 1] += of.threshold;
  }
  template <class T>
  void tile_bias_gradient(const Tile& tile, Index head, std::span<const Position> keys, const T* dx,
                          Index stride, std::span<double> sums) const {
    using Gradient = detail::FireTileGradient<T>;
    if (Gradient::takes(input_, tile))
      return Gradient(input_, lines_, tile, head, keys, dx, stride, sums).add();
    const Index queries = tile.query.last - tile.query.first + 1;
    for (std::size_t k = 0; k < keys.size(); ++k, dx += stride)
      for (Index j = 0; j < queries; ++j)
        if (dx[j] != 0)
          score_bias_gradient({tile.query.first + j, keys[k], 0, 0, head},
                              static_cast<double>(dx[j]), sums);
  }
  void gradient_of_sums(std::span<const double> sums, std::span<double> gradient) const {
    lines_.gradient_of_sums(sums, gradient);
    gradient[gradient.size() - 2] += sign_ * sums[sums.size() - 2];
    gradient.back() += sums.back();
  }

 private:
  /// Adjoining pieces with up to `most` breakpoints between them, told apart without a branch.
  template <std::size_t most>
  struct Pieces {
    double breaks[most];
    detail::Line lines[most + 1];

    Pieces(const double* first_break, const detail::Line* first_line, std::size_t count) {
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
      detail::Line line = lines[0];
      (take(line, lines[k + 1], breaks[k] <= u), ...);
      return line(u);
    }
    static void take(detail::Line& line, const detail::Line next, bool past) {
      line.slope = past ? next.slope : line.slope;
      line.intercept = past ? next.intercept : line.intercept;
    }
  };

  double sign_;
  detail::FireInput input_;
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
    : sign_(fire.c < 0 ? -1 : 1), input_(std::abs(static_cast<double>(fire.c)), fire.threshold,
                                         fire.epsilon, fire.cached_distances),
      lines_(fire.hidden_weight, fire.hidden_bias, fire.output_weight, fire.output_bias,
             num_heads) {}

POSENC_NAMESPACE_END
