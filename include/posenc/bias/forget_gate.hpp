// SPDX-License-Identifier: MIT
//
// ForgetGate: each head forgets by a gate of its own at each token.
//
//   Lin et al., Forgetting Transformer (FoX), arXiv 2503.02130; zhixuan-lin/forgetting-transformer and
//   fla/ops/forgetting_attn. Pruning: Lin et al., arXiv 2504.06949.
//
//   score(query, key) += log f(key + 1) + ... + log f(query) = S(query) - S(key)      S: GateSums
//
// The gates are data: f = sigmoid(w x + b) of each token x and query head, usually 0.9 to 1. The caller appends
// their logs to the sums before a call asks about these tokens, as keys and values are appended to a cache;
// the encoding stays bound. Which sequence of the sums a call is about: AttentionOptions::sequence, the number
// of the sequence in a ragged call, that in the cache in decode(). A key's own gate does not count, and the first
// token's never does. Stands beside RoPE or instead of it, and wants a causal mask.
//
// Gates that do not depend on tokens are ALiBi: f = exp(-slope). One gate near 0 begins a new document. An
// additive GRAPE whose step depends on a token alone is the same array.
//
// Pruning. A pair whose bias is below `least_bias` is hidden, and tiles of such pairs are not computed: sums
// never rise, so the ends of a tile tell. With scores (without the bias) of at most U on either side and T keys,
// what is hidden below pruning_bias(U, T) = -(2 U + ln T) - 10 has less than e^-10 of a row's weight. By
// default nothing is hidden.
//
// Errata. The reference kernels sum the logs in float32 along the sequence, where a difference of neighbours
// is off by 6e-8 of the whole sum. Pruned there is what shares a block of 128 by 64 with nothing above the
// threshold; here every pair below it, whatever the tiles.
//
// Learned: the logs of the gates, [sequence][head][capacity].
#pragma once

#include <posenc/bias/gate_sums.hpp>
#include <posenc/core/gradients.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

struct ForgetGate {
  GateSums sums{};  ///< of the logs of gates, of as many heads as queries have
  /// Pairs with a lower bias are hidden; adaptive_threshold of the reference, at most 0.
  double least_bias = -std::numeric_limits<double>::infinity();

  /// Below this bias less than exp(log_tolerance) of a row's weight is lost, where no score of `tokens` keys
  /// without its bias is beyond +-greatest_score: |q| |k| times the scale bounds it.
  [[nodiscard]] static double pruning_bias(double greatest_score, Position tokens,
                                           double log_tolerance = -10) {
    return -(2 * greatest_score + std::log(static_cast<double>(std::max<Position>(tokens, 1)))) +
           log_tolerance;
  }

  [[nodiscard]] double score_bias(const Score& at) const {
    const double* const s = sums.of(at.sequence, at.head);
    return s[at.query_index] - s[at.key_index];
  }
  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    // Lanes beyond the last query, of which a tile has fewer than the padding, read that.
    const double* const s = sums.of(tile.sequence, head);
    use([s](const Score& at) { return s[at.query_index] - s[at.key_index]; });
  }

  [[nodiscard]] bool visible(const Score& at) const { return !(score_bias(at) < least_bias); }
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    if (least_bias == -std::numeric_limits<double>::infinity()) return TileClass::full;
    bool none = true, all = true;
    for (Position head = tile.heads.first; head <= tile.heads.last; ++head) {
      const double* const s = sums.of(tile.sequence, head);
      none &= s[tile.query_index.first] - s[tile.key_index.last] < least_bias;
      all &= !(s[tile.query_index.last] - s[tile.key_index.first] < least_bias);
    }
    return none ? TileClass::none : all ? TileClass::full : TileClass::partial;
  }
  [[nodiscard]] Position known_tokens(Index sequence) const { return sums.tokens(sequence); }

  [[nodiscard]] Index num_parameters() const {
    return sums.sequences() * sums.heads() * sums.capacity();
  }
  void score_bias_gradient(const Score& at, double dx, std::span<double> gradient) const {
    double* const gates = of(gradient, at.sequence, at.head);
    for (Position t = at.key_index + 1; t <= at.query_index; ++t) gates[t] += dx;
    for (Position t = at.query_index + 1; t <= at.key_index; ++t) gates[t] -= dx;
  }
  /// A gate is in the sums of its own token and of all later ones.
  void token_bias_gradient(const TokenGradients& d, std::span<double> gradient) const {
    double* const gates = of(gradient, d.sequence, d.head);
    const Position queries = std::ssize(d.by_query), keys = std::ssize(d.by_key);
    double later = 0;
    for (Position t = std::max(d.query_index + queries, d.key_index + keys) - 1; t >= 0; --t) {
      const Position q = t - d.query_index, k = t - d.key_index;
      if (q >= 0 && q < queries) later += d.by_query[static_cast<std::size_t>(q)];
      if (k >= 0 && k < keys) later -= d.by_key[static_cast<std::size_t>(k)];
      gates[t] += later;
    }
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(sums.heads() == shape.num_heads, "ForgetGate: there are sums for ",
                     sums.heads(), " heads, but ", shape.num_heads,
                     " query heads: make GateSums(num_heads, capacity).");
    problems.require(least_bias <= 0, "ForgetGate: least_bias must be at most 0, got ", least_bias,
                     ".");
  }

 private:
  [[nodiscard]] double* of(std::span<double> gradient, Index sequence, Index head) const {
    return gradient.data() + (sequence * sums.heads() + head) * sums.capacity();
  }
};

POSENC_NAMESPACE_END
