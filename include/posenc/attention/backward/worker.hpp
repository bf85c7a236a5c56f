// SPDX-License-Identifier: MIT
//
// The gradients of one block of queries and one chunk of keys:
//
//   for each panel of queries, for each query head of the group, for each tile of keys:
//     x   scores, as attention computes them; what score maps were given is kept
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

#include <posenc/attention/backward/relative_gradients.hpp>
#include <posenc/attention/backward/results.hpp>
#include <posenc/attention/backward/stages.hpp>
#include <posenc/attention/prefill/relative_terms.hpp>
#include <posenc/attention/prefill/tile_scores.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class BackwardWorker {
 public:
  BackwardWorker(const BackwardCall<T>& call, const BackwardPlan& plan, const T* delta,
                 std::byte* workspace)
      : call_(call), forward_(call.forward), answers_(call.answers()), map_(answers_.map()),
        rotary_(*forward_.asked.rotary), tile_(*forward_.leaves.tile), plan_(plan),
        tiles_(plan.tiles), delta_(delta), arena_(workspace),
        buffers_(answers_, plan, forward_.shape(), arena_),
        packing_(forward_, tiles_, buffers_.tiles), visibility_(answers_, tiles_, buffers_.tiles),
        bias_tables_(forward_, tiles_, buffers_.tiles),
        scores_(forward_, buffers_.tiles, packing_, bias_tables_),
        relative_(forward_, tiles_, buffers_.tiles, packing_),
        relative_gradients_(call, plan, buffers_.relative), stages_(call, plan, buffers_),
        results_(call, plan, buffers_) {
    for (const auto& [self, ask] : answers_.asked())
      meets_keys_ |= ask->relative_queries && ask->relative_queries(self).data;
    // Channels that only fill vectors stay zero.
    std::fill_n(buffers_.q_rows, map_.regions() * tiles_.panel * plan_.width.stride, T{0});
    std::fill_n(buffers_.d_out, tiles_.panel * plan_.value_width.stride, T{0});
    if (relative_.in_scores || relative_.in_values) {
      std::fill_n(buffers_.relative.q, tiles_.panel * plan_.width.stride, T{0});
      std::fill_n(buffers_.relative.k, tiles_.tile * plan_.width.stride, T{0});
      std::fill_n(buffers_.relative.d_out, tiles_.panel * plan_.value_width.stride, T{0});
    }
    std::fill_n(buffers_.ones, tiles_.panel, T{1});
  }

  /// Adds the gradients of a pair to the results, and what parameters learn from it to `sums`.
  void operator()(Index kv_head, Index block, Index chunk, double* sums) noexcept {
    kv_head_ = kv_head;
    query_ = block * tiles_.block;
    key_ = chunk * tiles_.chunk;
    sums_ = sums;
    queries_ = std::min(tiles_.block, forward_.q.tokens - query_);
    keys_ = std::min(tiles_.chunk, forward_.keys.tokens - key_);
    packing_.begin_block(kv_head, query_, queries_);
    packing_.begin_chunk(key_, keys_);
    visibility_.begin_block(queries_);
    visibility_.begin_chunk(keys_);
    const Rectangle all{0, queries_, 0, keys_};
    if (visibility_.is_hidden(all)) return;
    const Tile where = visibility_.tile_of(all);
    bias_tables_.begin(kv_head, where.query, where.key, tiles_.block + tiles_.chunk);
    if (relative_.in_scores) {
      relative_.begin_head(kv_head);
      relative_.begin_block(visibility_.queries(queries_));
      relative_.begin_chunk();
      std::fill_n(buffers_.relative.d_k, keys_ * plan_.width.stride, T{0});
    }
    std::fill_n(buffers_.d_v, keys_ * plan_.value_width.stride, T{0});
    turned_keys_ = 0;
    checked_keys_ = finite_keys_ = {};
    for (Index first = 0; first < queries_; first += tiles_.panel) {
      const Panel p = packing_.panel(first);
      if (visibility_.is_hidden({first, p.queries, 0, keys_})) continue;
      for (Index g = 0; g < tiles_.group; ++g) panel(p, g);
    }
    results_.add_keys(kv_head, key_, keys_, turned_keys_, sums_);
  }

 private:
  [[nodiscard]] Index head(Index g) const { return kv_head_ * tiles_.group + g; }

  // --- Panels -----------------------------------------------------------------------------------

  void panel(const Panel& p, Index g) {
    turned_queries_ = 0;
    load_gradient(p, g);
    for (Index i = 0; i < p.width; ++i) {
      const Index row =
          (query_ + p.first + std::min(i, p.queries - 1)) * forward_.q.heads + head(g);
      // A row that sees nothing has no weights, whatever is subtracted.
      const T lse = call_.lse[size(row)];
      buffers_.lse[i] = lse == -std::numeric_limits<T>::infinity() ? T{0} : lse;
      buffers_.delta[i] = delta_[row];
      buffers_.factor[i] = static_cast<T>(packing_.scale() *
                                          answers_.temperature(buffers_.tiles.query[p.first + i]));
    }
    if (relative_.in_scores) {
      const Rectangle all{p.first, p.queries, 0, keys_};
      relative_.begin_panel(p, g, visibility_.tile_of(visibility_.seen(all)));
      tile_.from_panel(p.queries, forward_.q.width, p.width, packing_.plain_queries(p, g),
                       buffers_.ones, buffers_.relative.q, plan_.width.stride, 1);
      std::fill_n(buffers_.relative.d_q, p.queries * plan_.width.stride, T{0});
    }
    for (Index c = 0; c < keys_; c += tiles_.tile) tile(p, g, c, std::min(tiles_.tile, keys_ - c));
    results_.add_queries(p, query_, key_, head(g), turned_queries_, sums_);
  }

  /// Gradients of the outputs, in the frame of the values where these are rotated.
  void load_gradient(const Panel& p, Index g) {
    const Index width = call_.d_out.width, first = query_ + p.first;
    const TensorView<T> rows(buffers_.d_out, p.queries, 1, width, plan_.value_width.stride, 0);
    finite_d_out_ = true;
    for (Index i = 0; i < p.queries; ++i)
      finite_d_out_ = call_.d_out.load(first + i, head(g), rows.row(i, 0)) && finite_d_out_;
    if (relative_.in_values) {
      std::copy_n(buffers_.d_out, p.queries * plan_.value_width.stride, buffers_.relative.d_out);
      tile_.to_panel(p.queries, width, p.width, buffers_.d_out, plan_.value_width.stride,
                     buffers_.ones, buffers_.relative.d_panel);
    }
    if (answers_.facts().rotates_values) {
      forward_.leaves.rotate(rotary_, rotary_.angles, {},
                             forward_.query.subspan(size(first), size(p.queries)), rows, rows);
      finite_d_out_ =
          tile_.copy_finite(p.queries * plan_.value_width.stride, buffers_.d_out, buffers_.d_out);
    }
    tile_.to_panel(p.queries, width, p.width, buffers_.d_out, plan_.value_width.stride,
                   buffers_.ones, buffers_.d_panel);
  }

  /// Rotated and scaled queries of the panel as rows, when a region first needs them.
  [[nodiscard]] const T* queries(const Panel& p, int region, Index g) {
    T* const rows = buffers_.q_rows + region * tiles_.panel * plan_.width.stride;
    if ((turned_queries_ >> region & 1U) == 0) {
      turned_queries_ |= RegionSet{1} << region;
      tile_.from_panel(p.queries, forward_.q.width, p.width, packing_.queries(p, region, g),
                       buffers_.ones, rows, plan_.width.stride, 1);
      finite_queries_ = tile_.copy_finite(p.queries * plan_.width.stride, rows, rows);
      std::fill_n(buffers_.d_q + region * tiles_.panel * plan_.width.stride,
                  p.queries * plan_.width.stride, T{0});
    }
    return rows;
  }
  [[nodiscard]] T* key_gradient(int region, Index c) {
    T* const rows = buffers_.d_k + region * tiles_.chunk * plan_.width.stride;
    if ((turned_keys_ >> region & 1U) == 0) {
      turned_keys_ |= RegionSet{1} << region;
      std::fill_n(rows, keys_ * plan_.width.stride, T{0});
    }
    return rows + c * plan_.width.stride;
  }
  /// Rotated keys as padded rows, when a tile first needs them.
  [[nodiscard]] const T* keys(int region, Index c, Index count) {
    const T* const packed = packing_.keys(region, c, count);
    const Index width = forward_.q.width;
    const auto [columns, stride] = plan_.width;
    T* const rows = buffers_.k_rows ? buffers_.k_rows + (region * tiles_.chunk + c) * stride
                                    : buffers_.tiles.keys + (packed - buffers_.tiles.keys);
    const std::uint64_t bit = std::uint64_t{1} << c / tiles_.tile;
    if ((checked_keys_[size(region)] & bit) != 0) return rows;
    checked_keys_[size(region)] |= bit;
    bool is_finite = true;
    for (Index k = 0; k < count; ++k) {
      is_finite = tile_.copy_finite(width, packed + k * width, rows + k * stride) && is_finite;
      std::fill(rows + k * stride + width, rows + k * stride + columns, T{0});
    }
    if (is_finite) finite_keys_[size(region)] |= bit;
    return rows;
  }

  // --- Tiles ------------------------------------------------------------------------------------

  void tile(const Panel& p, Index g, Index c, Index count) {
    const Rectangle rows{p.first, p.queries, c, count};
    const Tile where = visibility_.tile_of(rows);
    const TileClass mask = answers_.classify(where);
    if (mask == TileClass::none) return;
    const ScoreTile scores = buffers_.tiles.score_tile(p, head(g), c, count, where);
    scores_.products(p, g, c, scores, {{{p.width, 0, count}}});
    if (relative_.in_scores) relative_.add_to_scores(p, g, c, scores, buffers_.tiles.scores);
    stages_.begin_tile(scores);
    scores_.change(scores, g, [&](std::size_t stage) { stages_.save(stage, scores); });
    if (mask == TileClass::partial) scores_.hide(scores);

    const auto values = packing_.values(c, count);
    const Index value_dim = call_.d_out.width;
    for (Index lane = 0; lane < p.width; lane += tile_.panel)
      tile_.scores(count, value_dim, std::min(tile_.panel, p.width - lane), values.rows, value_dim,
                   1, buffers_.d_panel + lane, buffers_.gradient + lane, p.width);
    if (relative_.in_values) relative_gradients_.add_to_weights(scores, buffers_.gradient);
    gradient_leaves<T>(forward_.leaves.level)
        .softmax_backward(count, p.width, buffers_.tiles.scores, buffers_.gradient, buffers_.lse,
                          buffers_.delta);
    add_product(tile_, finite_d_out_, count, p.queries, plan_.value_width, buffers_.tiles.scores,
                p.width, 1, buffers_.d_out, buffers_.d_v + c * plan_.value_width.stride);
    if (relative_.in_values) relative_gradients_.add_weights(scores, buffers_.tiles.scores, sums_);
    stages_.go_back(scores, sums_);
    add_products(p, g, c, scores);
    if (!relative_.in_scores) return;
    if (meets_keys_) {
      const T* const plain = packing_.plain_keys(c, count);
      for (Index k = 0; k < count; ++k)
        std::copy_n(plain + k * forward_.q.width, forward_.q.width,
                    buffers_.relative.k + k * plan_.width.stride);
    }
    relative_gradients_.add_scores(scores, c, buffers_.gradient, buffers_.factor, sums_);
  }

  void add_products(const Panel& p, Index g, Index c, const ScoreTile& tile) {
    const RegionSet set = map_.occurring(tile.where);
    const bool is_mixed = (set & (set - 1)) != 0;
    for (RegionSet rest = set; rest != 0; rest &= rest - 1) {
      const int region = std::countr_zero(rest);
      const T* gradient = buffers_.gradient;
      if (is_mixed) {
        std::fill_n(buffers_.masked, tile.keys * tile.width, T{0});
        scores_.for_region(tile, region, [&](Index at, bool is_here) {
          if (is_here) buffers_.masked[at] = buffers_.gradient[at];
        });
        gradient = buffers_.masked;
      }
      const T* const q = queries(p, region, g);
      const T* const k = keys(region, c, tile.keys);
      const bool finite_keys =
          (finite_keys_[size(region)] >> c / tiles_.tile & std::uint64_t{1}) != 0;
      add_product(tile_, finite_queries_, tile.keys, p.queries, plan_.width, gradient, p.width, 1,
                  q, key_gradient(region, c));
      add_product(tile_, finite_keys, p.queries, tile.keys, plan_.width, gradient, 1, p.width, k,
                  buffers_.d_q + region * tiles_.panel * plan_.width.stride);
    }
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static constexpr std::size_t most_regions = std::numeric_limits<RegionSet>::digits;

  const BackwardCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const Rotary& rotary_;
  const TileLeaves<T>& tile_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const T* delta_;  ///< [query][head]
  Arena arena_;
  BackwardBuffers<T> buffers_;
  Packing<T> packing_;
  Visibility<T> visibility_;
  BiasTables<T> bias_tables_;
  TileScores<T> scores_;
  RelativeTerms<T> relative_;
  RelativeGradients<T> relative_gradients_;
  BackwardStages<T> stages_;
  BackwardResults<T> results_;

  Index kv_head_ = 0, query_ = 0, queries_ = 0, key_ = 0, keys_ = 0;  ///< the pair
  bool meets_keys_ = false;                         ///< some vectors by distance meet keys
  double* sums_ = nullptr;                          ///< of parameters
  RegionSet turned_queries_ = 0, turned_keys_ = 0;  ///< regions with gradients
  std::array<std::uint64_t, most_regions> checked_keys_{}, finite_keys_{};  ///< tiles, by region
  bool finite_queries_ = true, finite_d_out_ = true;
};

}  // namespace detail

POSENC_NAMESPACE_END
