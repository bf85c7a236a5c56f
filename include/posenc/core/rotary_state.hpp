// SPDX-License-Identifier: MIT
//
// RotaryState: what a frequency transform sees and changes.
//
// Every frequency scheme of the literature ends as one table of angular frequencies and one
// amplitude. Whatever is data stays data: a dozen schemes are a dozen small functions on this
// struct, and the attention kernel never hears of them. The same goes for positions with several
// coordinates (a coordinate per pair), for xPos (an exponent per pair) and for heads that turn at rates of
// their own (a factor per key head and pair).
#pragma once

#include <posenc/core/frequencies.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Pair indices 0, 1, ..., pairs - 1.
[[nodiscard]] inline Frequencies pair_indices(Index pairs) {
  Frequencies indices(pairs);
  for (Index i = 0; i < pairs; ++i) indices[i] = static_cast<double>(i);
  return indices;
}

/// The geometric ladder base^(-2i/rotary_dim), i = 0 .. rotary_dim/2 - 1, in radians per token
/// (RoFormer, arXiv 2104.09864, section 3.2.2).
[[nodiscard]] inline Frequencies geometric_frequencies(double base, Index rotary_dim) {
  Frequencies inv_freq(std::max<Index>(0, rotary_dim / 2));
  for (Index i = 0; i < inv_freq.size(); ++i)
    inv_freq[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
  return inv_freq;
}

struct RotaryState {
  Frequencies inv_freq{};       ///< angular frequency per pair, radians per token [rotary_dim / 2]
  double base = 10000;          ///< base in force ("rope_theta"), after the transforms so far
  Index head_dim = 0;           ///< channels of a head
  Index rotary_dim = 0;         ///< rotated channels of a head, even, at most head_dim
  Position length = 0;          ///< current length: greatest position + 1 (0: not known yet)
  double attention_factor = 1;  ///< amplitude of cos and sin, of q and k: scores grow by A^2
  double score_factor = 1;      ///< multiplies the softmax scale, on all channels

  int axes = 1;             ///< coordinates of a position, at most Positions::most_axes
  std::vector<int> axis{};  ///< the coordinate that turns each pair, [pairs]; empty: the only one
  /// Where pairs were dealt out anew (Axial2D): the pair of the base's ladder that each pair's frequency
  /// was taken from, [pairs]. Empty: its own. Only the peers' float32 arithmetic (Angles) asks.
  std::vector<Index> ladder{};
  /// xPos: log-magnitude per token of each pair, [pairs]. Queries at n are scaled by
  /// exp(growth (n - centre)), keys at m by exp(-growth (m - centre)). Empty: none.
  Frequencies growth{};
  Position centre = 0;  ///< where growth scales by one

  Index kv_heads = 1;  ///< key heads that the encoding is bound to
  /// Where heads turn at rates of their own (MsPoE): what the frequencies of each key head are multiplied by
  /// behind all transforms, [kv_heads][pairs]. Queries turn with the key head that they meet. Empty: all alike.
  Frequencies head_scale{};

  [[nodiscard]] Index pairs() const { return rotary_dim / 2; }
  /// Pair i of a key head turns `factor` times as fast as it did.
  void scale_head(Index kv_head, Index pair, double factor) {
    if (head_scale.size() == 0) head_scale = Frequencies::Ones(kv_heads * pairs());
    head_scale[kv_head * pairs() + pair] *= factor;
  }
  /// All pairs of a key head do.
  void scale_head(Index kv_head, double factor) {
    for (Index i = 0; i < pairs(); ++i) scale_head(kv_head, i, factor);
  }
  /// What holds for one key head: its frequencies, and in head_scale what they were multiplied by, [pairs].
  [[nodiscard]] RotaryState of_head(Index kv_head) const {
    RotaryState own = *this;
    if (head_scale.size() == 0) return own;
    own.kv_heads = 1;
    own.head_scale = Frequencies(pairs());
    for (Index i = 0; i < pairs(); ++i) own.head_scale[i] = head_scale[kv_head * pairs() + i];
    own.inv_freq *= own.head_scale;
    return own;
  }
};

POSENC_NAMESPACE_END
