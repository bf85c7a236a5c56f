// SPDX-License-Identifier: MIT
//
// TileScores: the scores of a tile, from the products of queries and keys to what the softmax reads.
// Attention and its gradient compute them here.
#pragma once

#include <posenc/attention/prefill/bias_tables.hpp>
#include <posenc/attention/prefill/pack.hpp>
#include <posenc/attention/prefill/visibility.hpp>

#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class TileScores {
 public:
  TileScores(const PrefillCall<T>& call, const PrefillBuffers<T>& buffers, Packing<T>& packing,
             const BiasTables<T>& bias_tables)
      : call_(call), map_(call.answers().map()), stages_(call.answers().asked()), buffers_(buffers),
        packing_(packing), bias_tables_(bias_tables) {}

  /// Keys [c, c + tile.keys) of the chunk times a panel of one head of the group: the product of each
  /// region that occurs, each pair taking its own region's.
  void products(const Panel& p, Index g, Index c, const ScoreTile& tile, const TileHalves& halves) {
    RegionSet set = map_.occurring(tile.where);
    if ((set & (set - 1)) != 0) find_regions(tile);
    product(std::countr_zero(set), p, g, c, tile, halves, buffers_.scores);
    for (set &= set - 1; set != 0; set &= set - 1) {
      const int region = std::countr_zero(set);
      product(region, p, g, c, tile, halves, buffers_.blend);
      take_region(tile, region, buffers_.blend, buffers_.scores);
    }
  }
  /// to = from for the pairs of the tile that are in a region, where several occur. Of the tile whose products were
  /// the last.
  void take_region(const ScoreTile& tile, int region, const T* from, T* to) const {
    call_.leaves.tile->choose(tile.keys * tile.width, buffers_.region_of, region, from, to);
  }

  /// Biases and score maps in the order written. instead(i) may be what stage i does besides adding a relative bias, and
  /// says whether it was.
  template <class Instead>
  void change(const ScoreTile& tile, Index g, const Instead& instead) const {
    Index relative_biases = 0;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      if (stages_[i].ask->relative_bias)
        bias_tables_.add(stages_[i], relative_biases++, g, tile, buffers_.scores);
      if (instead(i)) continue;
      if (const auto change = loops(i).change) change(stages_[i].self, tile, buffers_.scores);
    }
  }
  void change(const ScoreTile& tile, Index g) const {
    change(tile, g, [](std::size_t) { return false; });
  }

  /// Masks, where they hide a part of the tile.
  void hide(const ScoreTile& tile) const {
    for (std::size_t i = 0; i < stages_.size(); ++i)
      if (const auto hide = loops(i).hide) hide(stages_[i].self, tile, buffers_.scores);
  }

  [[nodiscard]] const ScoreLoops<T>& loops(std::size_t stage) const {
    return call_.asked.loops[stage](call_.leaves.level);
  }

 private:
  /// The region of each pair.
  void find_regions(const ScoreTile& tile) const {
    for (Index r = 0; r < tile.keys; ++r)
      map_.ask->region(map_.self, tile.width, tile.query, 1, tile.key + r, 0,
                       buffers_.region_of + r * tile.width);
  }

  void product(int region, const Panel& p, Index g, Index c, const ScoreTile& tile,
               const TileHalves& halves, T* scores) {
    const T* const queries = packing_.queries(p, region, g);
    const T* const keys = packing_.keys(region, c, tile.keys);
    const TileLeaves<T>& leaves = *call_.leaves.tile;
    const Index width = call_.q.width;
    Index lane = 0;
    for (const auto& [lanes, first, last] : halves)
      for (const Index end = lane + lanes; lane < end;) {
        const Index some = std::min(leaves.panel, end - lane);
        if (first < last)
          leaves.scores(last - first, width, some, keys + first * width, width, 1, queries + lane,
                        scores + first * p.width + lane, p.width);
        lane += some;
      }
  }

  const PrefillCall<T>& call_;
  const MapOfDistances& map_;
  std::span<const Stage> stages_;
  const PrefillBuffers<T>& buffers_;
  Packing<T>& packing_;
  const BiasTables<T>& bias_tables_;
};

}  // namespace detail

POSENC_NAMESPACE_END
