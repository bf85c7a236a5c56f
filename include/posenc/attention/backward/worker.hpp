// SPDX-License-Identifier: MIT
//
// The gradients of one block of queries and one chunk of keys:
//
//   for each panel of queries, from the last to the first, for each query head of the group, for each tile of keys:
//     x   scores, as attention computes them; slopes of score maps are kept
//     P   = exp(x - lse)                    weights
//     dP  = d_out v                         of the weights
//     dx  = P (dP - delta), delta = <d_out, out>
//     dv += P d_out
//     through score maps and biases, last to first; sums of dx by distance give those of parameters
//     dq += dx k, dk += dx q                of each region by itself where distances are rewritten
//   rotated back and added to the results
//
// Five products: the scores once more, dP, and the sums for dv, dk and dq. Queries are scaled when they
// are packed, so dk needs no scale, and dq gets it in the end.
#pragma once

#include <posenc/attention/backward/panel_rows.hpp>
#include <posenc/attention/backward/results.hpp>
#include <posenc/attention/backward/stages.hpp>
#include <posenc/attention/backward/turns.hpp>
#include <posenc/attention/prefill/tile_scores.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardWorker {
 public:
  BackwardWorker(const BackwardCall<T>& call, const BackwardPlan& plan, const T* delta,
                 std::byte* workspace)
      : call_(call), forward_(call.forward), answers_(call.answers()), map_(answers_.map()),
        tile_(*forward_.leaves.tile), plan_(plan), tiles_(plan.tiles), arena_(workspace),
        buffers_(call, plan, arena_), packing_(forward_, tiles_, buffers_.tiles),
        rows_(call, plan, delta, buffers_, packing_),
        visibility_(answers_, tiles_, buffers_.tiles, forward_.sequence),
        bias_tables_(forward_, tiles_, buffers_.tiles),
        scores_(forward_, buffers_.tiles, packing_, bias_tables_),
        relative_(call.relative ? call.relative->make(buffers_.made, call, plan, buffers_, packing_)
                                : nullptr),
        in_scores_(relative_ && relative_->in_scores),
        in_values_(relative_ && relative_->in_values), stages_(call, plan, buffers_),
        results_(call, plan, buffers_) {}

  /// Adds the gradients of a pair to the results, and what parameters learn from it to `sums`, to which other
  /// blocks add when it is their turn at these keys.
  void operator()(Index kv_head, Index block, Index chunk, const Turns& turns,
                  double* sums) noexcept {
    kv_head_ = kv_head;
    first_ = block * plan_.block;
    end_ = std::min(first_ + plan_.block, forward_.q.tokens);
    key_ = chunk * tiles_.chunk;
    keys_ = std::min(tiles_.chunk, forward_.keys.tokens - key_);
    sums_ = sums;
    packing_.begin_chunk(key_, keys_);
    visibility_.begin_chunk(keys_);
    const Tile where{bounds(forward_.query, first_, end_ - first_),
                     bounds(buffers_.tiles.key, keys_),
                     bounds(forward_.query_index, first_, end_ - first_),
                     bounds(buffers_.tiles.key_index, keys_),
                     {head(0), head(tiles_.group - 1)},
                     forward_.sequence};
    if (answers_.classify(where) != TileClass::none) {
      if (sums) turns.wait_for_keys();
      begin(where);
      for (Index at = (end_ - 1 - first_) / tiles_.panel; at >= 0; --at)
        queries(first_ + at * tiles_.panel, turns);
      turns.wait_for_keys();
      results_.add_keys(kv_head, key_, keys_, turned_keys_, sums_);
      stages_.add_to_keys(kv_head, key_, keys_);
    }
    turns.pass_keys();
  }

 private:
  void begin(const Tile& where) {
    bias_tables_.begin(kv_head_, where.query, where.key, plan_.block + tiles_.chunk);
    if (in_scores_) relative_->begin(kv_head_, where.query, keys_);
    std::fill_n(buffers_.d_v, keys_ * plan_.value_width.stride, T{0});
    stages_.begin_pair();
    turned_keys_ = 0;
    checked_keys_ = finite_keys_ = {};
  }
  [[nodiscard]] Index head(Index g) const { return kv_head_ * tiles_.group + g; }

  // --- Panels -----------------------------------------------------------------------------------

  /// A panel of queries, of all heads of the group.
  void queries(Index query, const Turns& turns) {
    query_ = query;
    const Index queries = std::min(tiles_.panel, end_ - query);
    packing_.begin_block(kv_head_, query, queries);
    visibility_.begin_block(queries);
    visibility_.of_group(kv_head_);
    if (!visibility_.is_hidden({0, queries, 0, keys_}))
      for (Index g = 0; g < tiles_.group; ++g) panel(packing_.panel(0), g, turns);
    turns.pass_queries(query);
  }

  void panel(const Panel& p, Index g, const Turns& turns) {
    rows_.begin(p, query_, head(g));
    visibility_.of_head(head(g));
    if (in_scores_)
      relative_->begin_panel(p, g, visibility_.tile_of(visibility_.seen({0, p.queries, 0, keys_})));
    stages_.begin_panel();
    for (Index c = 0; c < keys_; c += tiles_.tile) {
      rows_.fetch_ahead(query_, first_, head(g), c);
      tile(p, g, c, std::min(tiles_.tile, keys_ - c));
    }
    stages_.end_panel(p, sums_);
    turns.wait_for_queries(query_);
    results_.add_queries(p, query_, key_, head(g), rows_.regions(), sums_);
    stages_.add_to_queries(p, query_, head(g));
  }

  // --- Keys -------------------------------------------------------------------------------------

  [[nodiscard]] T* key_gradient(int region, Index c) {
    T* const rows = buffers_.d_k + region * tiles_.chunk * plan_.width.stride;
    if ((turned_keys_ >> region & 1U) == 0) {
      turned_keys_ |= RegionSet{1} << region;
      std::fill_n(rows, keys_ * plan_.width.stride, T{0});
    }
    return rows + c * plan_.width.stride;
  }
  struct Keys {
    const T* rows = nullptr;  ///< [key][head_dim]
    bool are_finite = true;
  };
  /// Rotated keys of a tile.
  [[nodiscard]] Keys keys(int region, Index c, Index count) {
    const T* const packed = packing_.keys(region, c, count);
    const std::uint64_t bit = std::uint64_t{1} << c / tiles_.tile;
    if ((checked_keys_[size(region)] & bit) == 0) {
      checked_keys_[size(region)] |= bit;
      T* const rows = buffers_.tiles.keys + (packed - buffers_.tiles.keys);
      if (tile_.copy_finite(count * forward_.q.width, rows, rows))
        finite_keys_[size(region)] |= bit;
    }
    return {packed, (finite_keys_[size(region)] & bit) != 0};
  }

  // --- Tiles ------------------------------------------------------------------------------------

  void tile(const Panel& p, Index g, Index c, Index count) {
    const Rectangle rows{p.first, p.queries, c, count};
    const Tile where = visibility_.tile_of(rows);
    const TileClass mask = answers_.classify(where);
    if (mask == TileClass::none) return;
    const ScoreTile scores = buffers_.tiles.score_tile(p, head(g), c, count, where);
    halves_ = mask == TileClass::partial ? visibility_.halves(rows, p.width, tile_.panel_step)
                                         : TileHalves{{{p.width, 0, count}}};
    scores_.products(p, g, c, scores, halves_);
    if (in_scores_) relative_->add_to_scores(p, g, c, scores, buffers_.tiles.scores);
    stages_.begin_tile(scores);
    scores_.change(scores, g, [&](std::size_t stage) { return stages_.change(stage, scores); });
    if (mask == TileClass::partial) scores_.hide(scores);

    const auto values = packing_.values(c, count);
    const Index value_dim = call_.d_out.width;
    for_lanes([&](Index lane, Index some, Index first, Index keys) {
      tile_.scores(keys, value_dim, some, values.rows + first * value_dim, value_dim, 1,
                   buffers_.d_panel + lane, buffers_.gradient + first * p.width + lane, p.width);
    });
    if (in_values_) relative_->add_to_weights(scores, buffers_.gradient);
    gradient_leaves<T>(forward_.leaves.level)
        .softmax_backward(count, p.width, buffers_.tiles.scores, buffers_.gradient, buffers_.lse,
                          buffers_.delta);
    add_to_keys(p, rows_.d_out(), plan_.value_width, buffers_.tiles.scores,
                buffers_.d_v + c * plan_.value_width.stride);
    if (in_values_) relative_->add_weights(scores, buffers_.tiles.scores, sums_);
    stages_.go_back(scores, sums_);
    add_products(p, g, c, scores);
    if (in_scores_) relative_->add_scores(scores, c, buffers_.gradient, buffers_.factor, sums_);
  }

  void add_products(const Panel& p, Index g, Index c, const ScoreTile& tile) {
    const RegionSet set = map_.occurring(tile.where);
    const bool is_mixed = (set & (set - 1)) != 0;
    for (RegionSet rest = set; rest != 0; rest &= rest - 1) {
      const int region = std::countr_zero(rest);
      const T* gradient = buffers_.gradient;
      if (is_mixed) {
        std::fill_n(buffers_.masked, tile.keys * tile.width, T{0});
        scores_.take_region(tile, region, buffers_.gradient, buffers_.masked);
        gradient = buffers_.masked;
      }
      add_to_keys(p, rows_.queries(p, region, g), plan_.width, gradient, key_gradient(region, c));
      const Keys k = keys(region, c, tile.keys);
      const auto add = k.are_finite ? tile_.values : tile_.values_skipping_zeros;
      const Index width = forward_.q.width;
      for_lanes([&](Index lane, Index some, Index first, Index keys) {
        add(width, keys, some, k.rows + first * width, 1, width, gradient + first * p.width + lane,
            rows_.d_q(region) + lane, p.width);
      });
    }
  }

  /// to += x times rows of queries, of a tile of weights or gradients x.
  void add_to_keys(const Panel& p, const typename PanelRows<T>::Rows& rows, const PaddedRow& width,
                   const T* x, T* to) const {
    for_halves([&](Index lane, Index lanes, Index first, Index keys) {
      add_product(tile_, rows.are_finite, keys, std::min(lanes, p.queries - lane), width,
                  x + first * p.width + lane, p.width, 1, rows.data + lane * width.stride,
                  to + first * width.stride);
    });
  }

  /// Calls f(first lane, lanes, first key, keys) for what some query of the tile sees.
  template <class F>
  void for_halves(const F& f) const {
    Index lane = 0;
    for (const auto& [lanes, first, last] : halves_) {
      if (first < last) f(lane, lanes, first, last - first);
      lane += lanes;
    }
  }
  /// The same, at most as many lanes as a product takes.
  template <class F>
  void for_lanes(const F& f) const {
    for_halves([&](Index lane, Index lanes, Index first, Index keys) {
      for (const Index end = lane + lanes; lane < end; lane += tile_.panel)
        f(lane, std::min(tile_.panel, end - lane), first, keys);
    });
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static constexpr std::size_t most_regions = std::numeric_limits<RegionSet>::digits;

  const BackwardCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const TileLeaves<T>& tile_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  Arena arena_;
  BackwardBuffers<T> buffers_;
  Packing<T> packing_;
  PanelRows<T> rows_;
  Visibility<T> visibility_;
  BiasTables<T> bias_tables_;
  TileScores<T> scores_;
  BackwardRelative<T>* relative_;  ///< null where no component has vectors by distance
  bool in_scores_, in_values_;     ///< where it has them
  BackwardStages<T> stages_;
  BackwardResults<T> results_;

  Index kv_head_ = 0, first_ = 0, end_ = 0, key_ = 0, keys_ = 0;  ///< the pair
  Index query_ = 0;                                               ///< first of the panel
  TileHalves halves_{};                                           ///< of the tile
  double* sums_ = nullptr;                                        ///< of parameters
  RegionSet turned_keys_ = 0;                                     ///< regions with gradients
  std::array<std::uint64_t, most_regions> checked_keys_{}, finite_keys_{};  ///< tiles, by region
};

}  // namespace detail

POSENC_NAMESPACE_END
