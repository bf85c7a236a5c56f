// SPDX-License-Identifier: MIT
//
// MsPoE: multi-scale positional encoding. Every key head sees positions at a scale of its own.
//
//   Zhang et al., "Found in the Middle", arXiv 2403.04797, section 4.
//   Reference: VITA-Group/Ms-PoE, utils/modify_arch/llama.py (ratios, outliers), src/ms_poe.sh (1.2 to 1.8).
//
//   w'_(h,i) = w_i / r_h          the same as dividing the positions of key head h by r_h
//   r_h      = least + (greatest - least) place_h / heads
//
// place_h is where the head stands in `order`, and heads is how many key heads there are; as in the reference file
// no head quite reaches `greatest`. Heads whose attention singles out few tokens by much, those with the largest
// share of outliers, come first and are changed least. The shares are measured once per prompt, before anything
// is rotated: the weights of the last query over all keys, from queries and keys without positions
// (docs/encodings/frequencies.md shows it with key_weights).
//
// Keys are rotated once for all query heads of their group, so ratios belong to key heads and queries turn
// with their group. The reference gives each query head a ratio of its own and keys that of the first of the
// group: the same for heads without groups, and with groups not a function of distances. It also indexes its
// ratios by the sorted list of heads, head h taking the place of the head that comes h-th; here the head that
// comes h-th takes the place h. The reference leaves layers 0 and 1 as they are.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct MsPoE {
  double least = 1.2;     ///< ratio of the first head in order, at least 1
  double greatest = 1.8;  ///< what the ratios of later heads approach, at least `least`
  std::vector<Index>
      order{};  ///< all key heads, first the one to be changed least; empty: 0, 1, 2, ...

  /// Of the head in this place.
  [[nodiscard]] double ratio(Index place, Index heads) const {
    return least + (greatest - least) * static_cast<double>(place) / static_cast<double>(heads);
  }

  void transform(RotaryState& state) const {
    for (Index place = 0; place < state.kv_heads; ++place) {
      const Index head = order.empty() ? place : order[static_cast<std::size_t>(place)];
      state.scale_head(head, 1 / ratio(place, state.kv_heads));
    }
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(std::isfinite(least) && least >= 1, "MsPoE: least must be at least 1, got ",
                     least, ".");
    problems.require(std::isfinite(greatest) && !(greatest < least),
                     "MsPoE: greatest must be at least the least ratio, ", least, ", got ",
                     greatest, ".");
    if (order.empty()) return;
    std::vector<Index> sorted = order, heads(static_cast<std::size_t>(state.kv_heads));
    std::sort(sorted.begin(), sorted.end());
    std::iota(heads.begin(), heads.end(), Index{0});
    problems.require(sorted == heads, "MsPoE: order must name each of the ", state.kv_heads,
                     " key heads once (0 to ", state.kv_heads - 1, "), got ", order.size(),
                     " numbers.");
  }

  /// Of each key head, the share of keys whose weight is more than `threshold` times the mean, averaged over
  /// the query heads of its group: of the weights of one query, [key][query head], as key_weights() adds them
  /// up in blocks of one key. Throws Error where these are no heads of such a table, or weights are not finite.
  [[nodiscard]] static std::vector<double> outliers(std::span<const double> weights,
                                                    Index num_heads, Index num_kv_heads,
                                                    double threshold = 3) {
    Problems problems;
    const bool are_heads = num_kv_heads > 0 && num_heads > 0 && num_heads % num_kv_heads == 0;
    problems.require(are_heads, "num_kv_heads must divide num_heads, got ", num_kv_heads,
                     " key heads for ", num_heads, " query heads.");
    problems.require(!are_heads || (!weights.empty() && std::ssize(weights) % num_heads == 0),
                     "weights must be [key][query head] of at least one key, got ", weights.size(),
                     " numbers for ", num_heads, " heads.");
    problems.require(std::isfinite(threshold) && threshold > 0, "threshold must be positive, got ",
                     threshold, ".");
    for (const double weight : weights)
      if (!std::isfinite(weight)) {
        problems.add("weights must be finite, got ", weight, ".");
        break;  // one example is enough
      }
    problems.raise_if_any("posenc::MsPoE::outliers");
    const Index keys = std::ssize(weights) / num_heads, group = num_heads / num_kv_heads;
    const auto weight = [&](Index key, Index head) {
      return weights[static_cast<std::size_t>(key * num_heads + head)];
    };
    std::vector<double> shares(static_cast<std::size_t>(num_kv_heads));
    for (Index h = 0; h < num_heads; ++h) {
      double mean = 0;
      for (Index k = 0; k < keys; ++k) mean += weight(k, h) / static_cast<double>(keys);
      Index count = 0;
      for (Index k = 0; k < keys; ++k) count += weight(k, h) > threshold * mean ? 1 : 0;
      shares[static_cast<std::size_t>(h / group)] +=
          static_cast<double>(count) / static_cast<double>(keys * group);
    }
    return shares;
  }

  /// The order of heads with these shares of outliers: the most first, equals by their number.
  [[nodiscard]] static std::vector<Index> order_of(std::span<const double> outliers) {
    std::vector<Index> order(outliers.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return outliers[static_cast<std::size_t>(a)] > outliers[static_cast<std::size_t>(b)];
    });
    return order;
  }
};

POSENC_NAMESPACE_END
