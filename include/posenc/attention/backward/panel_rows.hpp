// SPDX-License-Identifier: MIT
//
// PanelRows: what a panel of queries of one head brings to the five products: its queries and the gradients of
// its outputs, as panels for scores and as rows for sums over queries, its log-sum-exps and its deltas.
#pragma once

#include <posenc/attention/backward/call.hpp>
#include <posenc/attention/prefill/pack.hpp>
#include <posenc/simd/panels.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class PanelRows {
 public:
  PanelRows(const BackwardCall<T>& call, const BackwardPlan& plan, const T* delta,
            const BackwardBuffers<T>& buffers, Packing<T>& packing)
      : call_(call), forward_(call.forward), rotary_(*forward_.asked.rotary),
        tile_(*forward_.leaves.tile), plan_(plan), tiles_(plan.tiles), delta_(delta),
        buffers_(buffers), packing_(packing) {
    // Channels that only fill vectors stay zero.
    std::fill_n(buffers_.q_rows, call.answers().map().regions() * tiles_.panel * plan_.width.stride,
                T{0});
    std::fill_n(buffers_.d_out, tiles_.panel * plan_.value_width.stride, T{0});
    std::fill_n(buffers_.ones, tiles_.panel, T{1});
  }

  /// The panel at `query`, of one head.
  void begin(const Panel& p, Index query, Index head) {
    regions_ = 0;
    load_d_out(p, query, head);
    for (Index i = 0; i < p.width; ++i) {
      const Index row = (query + std::min(i, p.queries - 1)) * forward_.q.heads + head;
      // A row that sees nothing has no weights, whatever is subtracted.
      const T lse = call_.lse[size(row)];
      buffers_.lse[i] = lse == -std::numeric_limits<T>::infinity() ? T{0} : lse;
      buffers_.delta[i] = delta_[row];
      buffers_.factor[i] = packing_.factor(p.first + i);
    }
  }

  /// A share, by tile, of the rows that this panel and the next one of the block will ask memory for.
  void fetch_ahead(Index query, Index block, Index head, Index c) const {
    const Index some = tiles_.panel * tiles_.tile / tiles_.chunk;
    const Index row = query + c / tiles_.tile * some, next = row - tiles_.panel;
    prefetch_rows<true>(OutRows<T>(call_.d_q, forward_.leaves.level), row, some, head);
    if (next < block) return;
    prefetch_rows(forward_.q, next, some, head);
    prefetch_rows(call_.d_out, next, some, head);
  }

  struct Rows {
    const T* data = nullptr;
    bool are_finite = true;
  };
  /// Rotated and scaled queries, [query][width]. Where a region is first asked for, its gradients are zeros.
  [[nodiscard]] Rows queries(const Panel& p, int region, Index g) {
    T* const rows = buffers_.q_rows + region * tiles_.panel * plan_.width.stride;
    if ((regions_ >> region & 1U) == 0) {
      regions_ |= RegionSet{1} << region;
      simd::from_panel(p.queries, forward_.q.width, p.width, packing_.queries(p, region, g),
                       buffers_.ones, rows, plan_.width.stride, 1);
      finite_queries_ = tile_.copy_finite(p.queries * plan_.width.stride, rows, rows);
      std::fill_n(d_q(region), forward_.q.width * p.width, T{0});
    }
    return {rows, finite_queries_};
  }
  /// Gradients of the outputs, [query][value_width].
  [[nodiscard]] Rows d_out() const { return {buffers_.d_out, finite_d_out_}; }

  /// Gradients of rotated and scaled queries, [head_dim][panel width].
  [[nodiscard]] T* d_q(int region) const {
    return buffers_.d_q + region * tiles_.panel * forward_.q.width;
  }
  /// Regions that have gradients.
  [[nodiscard]] RegionSet regions() const { return regions_; }

 private:
  /// In the frame of the values, where these are rotated.
  void load_d_out(const Panel& p, Index query, Index head) {
    const Index width = call_.d_out.width, stride = plan_.value_width.stride;
    const TensorView<T> rows(buffers_.d_out, p.queries, 1, width, stride, 0);
    finite_d_out_ = true;
    for (Index i = 0; i < p.queries; ++i)
      finite_d_out_ = call_.d_out.load(query + i, head, rows.row(i, 0)) && finite_d_out_;
    const auto to_panel = [&](T* panel) {
      simd::to_panel(p.queries, width, p.width, buffers_.d_out, stride, buffers_.ones, panel);
    };
    if (call_.answers().relative().values > 0) {
      std::copy_n(buffers_.d_out, p.queries * stride, buffers_.relative.d_out);
      to_panel(buffers_.relative.d_panel);
    }
    if (call_.answers().facts().rotates_values) {
      const Rotary& own = rotary_.of(head / tiles_.group);
      forward_.leaves.rotate(own, own.angles, {},
                             forward_.query.subspan(size(query), size(p.queries)), rows, rows);
      finite_d_out_ = tile_.copy_finite(p.queries * stride, buffers_.d_out, buffers_.d_out);
    }
    to_panel(buffers_.d_panel);
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const BackwardCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Rotary& rotary_;
  const TileLeaves<T>& tile_;
  const BackwardPlan& plan_;
  const Plan& tiles_;
  const T* delta_;  ///< [query][head]
  const BackwardBuffers<T>& buffers_;
  Packing<T>& packing_;
  RegionSet regions_ = 0;
  bool finite_queries_ = true, finite_d_out_ = true;
};

}  // namespace detail

POSENC_NAMESPACE_END
