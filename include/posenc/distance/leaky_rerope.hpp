// SPDX-License-Identifier: MIT
//
// LeakyReRoPE: beyond a window, distances grow more slowly.
//
//   Su, kexue.fm/archives/9708 and, for the inverse use, 9728; bojone/rerope, rerope_patch.py.
//
//   g(D) = D                             |D| < window
//   g(D) = sign(D) (window + (|D| - window) / factor)      otherwise
//
// factor is k of the article: 1 is RoPE, infinity is ReRoPE. Keep the greatest distance,
// window + (length - 1 - window) / factor, below about half of the trained length.
//
// InvLeaky ReRoPE turns it round: train with distances that grow faster beyond the window
// (`inverse`, a step above 1), then infer with plain RoPE. The length that inference reaches is
// bounded by window + step (trained_length - 1 - window).
//
// Beyond the window both copies are rotated in steps of 1/factor, so that keys stay at integers:
//
//   g = (query + window (factor - 1)) / factor  -  key / factor
//
// Errata: write-ups end the map at the trained length, one more than the last distance trained
// (`to_length`). The reference has no far future, since a causal mask follows; here g is odd.
//
// Cache: raw keys (a key is seen at its own position and at position / factor).
#pragma once

#include <posenc/distance/threshold.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

struct LeakyReRoPE {
  Position window = 512;  ///< first distance that is shortened
  double factor = 16;     ///< k: so many tokens beyond the window count as one

  using enum detail::Threshold::Region;
  static constexpr int num_regions = detail::Threshold::num_regions;

  /// The map whose greatest distance at target_length is the greatest of trained_length.
  /// Throws Error unless window + 1 < trained_length <= target_length.
  [[nodiscard]] static constexpr LeakyReRoPE to_length(Position window, Position trained_length,
                                                       Position target_length) {
    if (window <= 0 || window >= trained_length - 1 || trained_length > target_length)
      refuse_lengths(window, trained_length, target_length);
    return {window, static_cast<double>(target_length - 1 - window) /
                        static_cast<double>(trained_length - 1 - window)};
  }

  /// For training with InvLeaky ReRoPE: each token beyond the window counts as `step` tokens.
  [[nodiscard]] static constexpr LeakyReRoPE inverse(Position window, double step) {
    return {window, 1 / step};
  }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    const Position d = query - key;
    const auto shorten = [&](Position far) {
      return static_cast<double>(window) + static_cast<double>(far - window) / factor;
    };
    return d >= window ? shorten(d) : d <= -window ? -shorten(-d) : static_cast<double>(d);
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return detail::Threshold{window}.region(query, key);
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const {
    return detail::Threshold{window}.regions(tile);
  }
  [[nodiscard]] constexpr double step(int region) const { return region == near ? 1 : 1 / factor; }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    const double shift = static_cast<double>(window) * (factor - 1);
    const auto position = static_cast<double>(query);
    return region == near ? position : region == far_past ? position + shift : position - shift;
  }
  [[nodiscard]] constexpr Position key_position(int, Position key) const { return key; }
  [[nodiscard]] constexpr int key_copy(int region) const {
    return region == near || factor == 1 ? near : far_past;
  }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(window > 0, "LeakyReRoPE: window must be positive, got ", window, ".");
    problems.require(std::isfinite(factor) && factor > 0,
                     "LeakyReRoPE: factor must be positive and finite, got ", factor,
                     " (a step beyond the window of ", 1 / factor, ").");
  }

 private:
  static void refuse_lengths(Position window, Position trained_length, Position target_length) {
    Problems problems;
    problems.add(
        "the lengths must satisfy 0 < window < trained_length - 1 and trained_length <= "
        "target_length, got window ",
        window, ", trained_length ", trained_length, " and target_length ", target_length, ".");
    problems.raise_if_any("posenc::LeakyReRoPE::to_length");
  }
};

POSENC_NAMESPACE_END
