// SPDX-License-Identifier: MIT
//
// Masks: classify(tile) against visible(at). `full` and `none` are promises about every pair of a tile, for
// every head; `partial` is never wrong.
#pragma once

#include <posenc/validate/samples.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <TiledMask M>
void validate_tiles(Problems& problems, const M& mask, const ValidateOptions& options) {
  Samples samples(options);
  samples.find_edges(0, [&](Position query, Position key) {
    return static_cast<int>(mask.visible(Score{query, key, query, key, 0}));
  });
  Finding hidden, seen;
  for (Index i = 0; i < options.tiles; ++i) {
    const SampledTile s = samples.tile(0);
    const TileClass says = mask.classify(s.tile);
    if (says == TileClass::partial) continue;
    samples.for_pairs(s, [&](Index q, Index k) {
      const Score at =
          s.score(q, k, std::clamp<Index>(samples.head(), s.tile.heads.first, s.tile.heads.last));
      const bool visible = mask.visible(at);
      hidden.require(says != TileClass::full || visible, "classify says full of the tile of ",
                     TileText{s.tile}, ", but visible hides ", ScoreText{at}, ".");
      seen.require(says != TileClass::none || !visible, "classify says none of the tile of ",
                   TileText{s.tile}, ", but visible shows ", ScoreText{at}, ".");
    });
  }
  hidden.report(problems);
  seen.report(problems);
}

}  // namespace detail

POSENC_NAMESPACE_END
