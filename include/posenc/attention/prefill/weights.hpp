// SPDX-License-Identifier: MIT
//
// WeightsWorker: the weights of attention once more, from scores and log-sum-exps, a tile at a time: summed by key,
// or written down for one head.
//
//   for each key head and chunk of keys, in parallel:
//     for each block of queries, panel, query head of the group and tile of keys:
//       scores, as attention computes them; w = exp(x - lse); sums of w by key
//
// A chunk's sums belong to one task, so they have one order whatever the number of threads.
#pragma once

#include <posenc/attention/backward/leaves.hpp>
#include <posenc/attention/prefill/relative_terms.hpp>
#include <posenc/attention/prefill/tile_scores.hpp>
#include <posenc/executor/tasks.hpp>

#include <limits>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
struct WeightsCall {
  PrefillCall<T> forward;    ///< queries, keys, positions and the encoding; no values, no results
  std::span<const T> lse{};  ///< [query][head]
  double* by_key = nullptr;  ///< [head][key]
  T* matrix = nullptr;       ///< [query][key] of `head`, zero before
  Index head = -1;           ///< the only one; -1: all

  [[nodiscard]] const Answers& answers() const { return forward.answers(); }
  [[nodiscard]] Index keys() const { return forward.keys.tokens; }
};

/// As attention divides its work, with longer chunks: queries are packed anew for each.
template <class T>
Plan weights_plan(const WeightsCall<T>& call, Index concurrency) {
  const PrefillCall<T>& forward = call.forward;
  Plan plan(*forward.leaves.tile, call.answers().shape(), forward.shape(), concurrency);
  constexpr Index most_keys = 512;
  plan.parts = 1;
  plan.chunk = round_up(std::min(std::max<Index>(call.keys(), 1), most_keys), plan.tile);
  plan.tasks = (call.keys() - 1) / plan.chunk + 1;
  if (call.head < 0) plan.tasks *= call.answers().shape().num_kv_heads;
  return plan;
}

template <class T>
struct WeightsBuffers {
  PrefillBuffers<T> tiles;
  T *lse = nullptr, *ones = nullptr;  ///< [panel]

  WeightsBuffers(const WeightsCall<T>& call, const Plan& plan, Arena& arena)
      : tiles(prefill_buffers(call.answers(), call.forward.leaves, plan,
                              {plan.block, plan.chunk, call.forward.q.width, call.forward.q.width},
                              arena)),
        lse(arena.take<T>(1, plan.panel)), ones(arena.take<T>(1, plan.panel)) {}
};

template <class T>
class WeightsWorker {
 public:
  WeightsWorker(const WeightsCall<T>& call, const Plan& plan, std::byte* workspace)
      : call_(call), forward_(call.forward), answers_(call.answers()), plan_(plan),
        arena_(workspace), buffers_(call, plan, arena_), packing_(forward_, plan, buffers_.tiles),
        visibility_(answers_, plan, buffers_.tiles, forward_.sequence),
        bias_tables_(forward_, plan, buffers_.tiles),
        scores_(forward_, buffers_.tiles, packing_, bias_tables_) {
    std::fill_n(buffers_.ones, plan.panel, T{1});
    if (!forward_.leaves.relative) return;
    relative_ = forward_.leaves.relative->make(forward_, plan, buffers_.tiles, packing_);
    if (relative_ && !relative_->in_scores) relative_ = nullptr;
  }

  /// A chunk of keys of a key head.
  void operator()(Index task) noexcept {
    const Index chunks = (call_.keys() - 1) / plan_.chunk + 1;
    kv_head_ = call_.head < 0 ? task / chunks : call_.head / plan_.group;
    key_ = task % chunks * plan_.chunk;
    const Index keys = std::min(plan_.chunk, call_.keys() - key_);
    packing_.begin_chunk(key_, keys);
    visibility_.begin_chunk(keys);
    if (relative_) relative_->begin_head(kv_head_);
    for (query_ = 0; query_ < forward_.q.tokens; query_ += plan_.block)
      block(std::min(plan_.block, forward_.q.tokens - query_), keys);
  }

 private:
  void block(Index queries, Index keys) {
    packing_.begin_block(kv_head_, query_, queries);
    visibility_.begin_block(queries);
    visibility_.of_group(kv_head_);
    const Rectangle all{0, queries, 0, keys};
    if (visibility_.is_hidden(all)) return;
    const Tile where = visibility_.tile_of(all);
    bias_tables_.begin(kv_head_, where.query, where.key, plan_.block + plan_.chunk);
    if (relative_) {
      relative_->begin_block(where.query);
      relative_->begin_chunk();
    }
    for (Index first = 0; first < queries; first += plan_.panel)
      for (Index g = 0; g < plan_.group; ++g)
        if (call_.head < 0 || head(g) == call_.head) panel(packing_.panel(first), g, keys);
  }

  void panel(const Panel& p, Index g, Index keys) {
    visibility_.of_head(head(g));
    const Rectangle all{p.first, p.queries, 0, keys};
    if (visibility_.is_hidden(all)) return;
    for (Index i = 0; i < p.width; ++i) {
      // Lanes without a query, and rows that see nothing, have no weights.
      T& lse = buffers_.lse[i];
      lse = std::numeric_limits<T>::infinity();
      if (i >= p.queries) continue;
      const T own = call_.lse[size((query_ + p.first + i) * forward_.q.heads + head(g))];
      if (own != -std::numeric_limits<T>::infinity()) lse = own;
    }
    if (relative_) relative_->begin_panel(p, g, visibility_.tile_of(visibility_.seen(all)));
    for (Index c = 0; c < keys; c += plan_.tile) tile(p, g, c, std::min(plan_.tile, keys - c));
  }

  void tile(const Panel& p, Index g, Index c, Index keys) {
    const Rectangle rows{p.first, p.queries, c, keys};
    const Tile where = visibility_.tile_of(rows);
    const TileClass mask = answers_.classify(where);
    if (mask == TileClass::none) return;
    const ScoreTile tile = buffers_.tiles.score_tile(p, head(g), c, keys, where);
    T* const weights = buffers_.tiles.scores;
    scores_.products(p, g, c, tile, TileHalves{{{p.width, 0, keys}}});
    if (relative_) relative_->add_to_scores(p, g, c, tile, weights);
    scores_.change(tile, g);
    if (mask == TileClass::partial) scores_.hide(tile);
    const GradientLeaves<T>& leaves = gradient_leaves<T>(forward_.leaves.level);
    leaves.weights(keys, p.width, weights, buffers_.lse);
    if (call_.by_key) {
      double* const sums = call_.by_key + head(g) * call_.keys() + key_ + c;
      for (Index k = 0; k < keys; ++k)
        sums[k] += static_cast<double>(leaves.dot(p.queries, weights + k * p.width, buffers_.ones));
    }
    for (Index i = 0; call_.matrix && i < p.queries; ++i)
      for (Index k = 0; k < keys; ++k)
        call_.matrix[(query_ + p.first + i) * call_.keys() + key_ + c + k] =
            weights[k * p.width + i];
  }

  [[nodiscard]] Index head(Index g) const { return kv_head_ * plan_.group + g; }
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const WeightsCall<T>& call_;
  const PrefillCall<T>& forward_;
  const Answers& answers_;
  const Plan& plan_;
  Arena arena_;
  WeightsBuffers<T> buffers_;
  Packing<T> packing_;
  Visibility<T> visibility_;
  BiasTables<T> bias_tables_;
  TileScores<T> scores_;
  Relative<T>* relative_ = nullptr;  ///< vectors by distance, where they have a part in scores

  Index kv_head_ = 0, key_ = 0, query_ = 0;
};

/// Runs a call in memory of its own.
template <class T>
POSENC_DETAIL_COLD void run_weights(const WeightsCall<T>& call, const AnyExecutor& executor) {
  if (call.forward.q.tokens == 0 || call.keys() == 0) return;
  const Plan plan = weights_plan(call, executor.concurrency());
  const Index workers = std::max<Index>(std::min(plan.tasks, plan.most_workers), 1);
  Arena measure(nullptr);
  WeightsBuffers<T>(call, plan, measure);
  Index bytes = 0;
  Problems problems;
  problems.require(measure.used() >= 0 && multiply(measure.used(), workers, bytes), "buffers for ",
                   call.keys(), " keys do not fit in memory.");
  problems.raise_if_any(call.matrix ? "posenc::head_weights" : "posenc::key_weights");
  const Workspace workspace({}, bytes);
  run_tasks(executor, workers, plan.tasks, [&](Index w) {
    return WeightsWorker<T>(call, plan, workspace.data() + w * measure.used());
  });
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void run_weights<float>(const WeightsCall<float>&, const AnyExecutor&);
POSENC_DETAIL_DOUBLE void run_weights<double>(const WeightsCall<double>&, const AnyExecutor&);
#endif

}  // namespace detail

POSENC_NAMESPACE_END
