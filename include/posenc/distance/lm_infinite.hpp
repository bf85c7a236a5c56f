// SPDX-License-Identifier: MIT
//
// LMInfinite: the first tokens and the recent ones, none farther away than a ceiling.
//
//   Han et al., arXiv 2308.16137; Glaciohound/LM-Infinite, models/lambda_attention.py.
//
//   visible: D >= 0 and (D < window or key_index < sinks)      the paper's lambda-shaped mask
//   g(D) = min(D, window)                                      the paper's distance ceiling
//
// which is ReRoPE{window} | SinkWindow{.sinks = sinks, .window = window} as one component, number
// for number. Beyond the window all sinks look equally far: the query stands at `window` and the
// key is not rotated. The window is the trained length, so that no angle is new, however long the
// text. The paper calls the window the local branch and the sinks the global one (10 to 100).
//
// Biases see the true distance; the paper's variant for ALiBi, which stops it at the ceiling, is a
// bias of one's own. Not here: its optional top-k of the tokens in between.
//
// Errata: the reference lowers the window to min(window, T - 1) where there are T keys. There no
// distance is greater than that, and the only pair that is as far, the last query and the first
// key, has a sink, so that nothing changes; without sinks it would lose that pair. Here the window
// stays as it is.
//
// Cache: a ring of `capacity()` tokens with `sinks` sinks, keys raw: sinks are seen both rotated
// and unrotated.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/mask/sink_window.hpp>

POSENC_NAMESPACE_BEGIN

struct LMInfinite {
  Position window = 4096;  ///< recent tokens, the query's own included, and greatest distance
  Position sinks = 100;    ///< tokens at the start of the sequence that everybody sees

  using enum detail::Threshold::Region;
  static constexpr int num_regions = ReRoPE::num_regions;

  /// Tokens of the cache that suffices.
  [[nodiscard]] constexpr Position capacity() const { return sinks + window; }

  [[nodiscard]] constexpr bool visible(const Score& at) const { return mask().visible(at); }
  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const {
    return mask().classify(tile);
  }

  [[nodiscard]] constexpr double distance(Position query, Position key) const {
    return map().distance(query, key);
  }
  [[nodiscard]] constexpr int region(Position query, Position key) const {
    return map().region(query, key);
  }
  [[nodiscard]] constexpr RegionSet regions(const Tile& tile) const { return map().regions(tile); }
  [[nodiscard]] constexpr double step(int region) const { return map().step(region); }
  [[nodiscard]] constexpr double query_position(int region, Position query) const {
    return map().query_position(region, query);
  }
  [[nodiscard]] constexpr Position key_position(int region, Position key) const {
    return map().key_position(region, key);
  }
  [[nodiscard]] constexpr int key_copy(int region) const { return map().key_copy(region); }

  void check(Problems& problems, const HeadShape&) const {
    problems.require(window >= 1 && window <= greatest_position,
                     "LMInfinite: window counts tokens, the query's own included, and must lie "
                     "within [1, 2^52], got ",
                     window, ".");
    problems.require(sinks >= 0 && sinks <= greatest_position,
                     "LMInfinite: sinks must lie within [0, 2^52], got ", sinks, ".");
  }

 private:
  [[nodiscard]] constexpr ReRoPE map() const { return {.window = window}; }
  [[nodiscard]] constexpr SinkWindow mask() const { return {.sinks = sinks, .window = window}; }
};

POSENC_NAMESPACE_END
