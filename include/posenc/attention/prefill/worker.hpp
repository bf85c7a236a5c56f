// SPDX-License-Identifier: MIT
//
// The one attention kernel, generic over encoding and element type.
//
//   for each key head and block of queries, in parallel:
//     for each chunk of keys that some query of the block sees:
//       for each panel of queries, for each query head of the group:
//         for each tile of keys:
//           masks:         hidden tiles are not visited, fully visible tiles run no mask code
//           distance map:  one product for a uniform tile, one per region and a blend for a mixed
//                          one; keys and queries are rotated when a region first needs them
//           products with vectors by distance, biases and score maps in the order written, masks,
//           online softmax, weights times values
//     vectors by distance times their weights, divide, rotate back (RotateValues), write the output
//     and its log-sum-exp
//
// Nothing larger than a tile is made of the scores; of the keys no more than a chunk is kept rotated.
//
//   Milakov and Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135.
//
// The softmax keeps, for each query, a shift s near its greatest score and the sum l of exp(x - s) so
// far. At the end output = sum / l and log-sum-exp = s + ln l.
#pragma once

#include <posenc/attention/prefill/relative_terms.hpp>
#include <posenc/executor/any_executor.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <new>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Works through tasks with buffers of its own.
template <class T, class BoundT, bool KeysAreRotated>
class Worker {
 public:
  Worker(const Problem<T, BoundT>& problem, std::byte* workspace)
      : problem_(problem), q_(problem.q), k_(problem.k), v_(problem.v), out_(problem.out),
        bound_(problem.bound), map_(bound_.distance_map()), at_(problem.at), lse_(problem.lse),
        leaves_(problem.leaves), tile_(leaves_.tile), plan_(problem.plan), arena_(workspace),
        output_rows_(v_.width + plan_.value_buckets),
        buffers_(bound_, plan_, problem.shape(), arena_), packing_(problem, buffers_),
        relative_(problem, buffers_, packing_) {}

  /// A part of a task.
  void run(Index item) noexcept {
    const Index task = item / plan_.parts, part = item % plan_.parts;
    // The last blocks come first: under a causal mask they are the longest.
    const Index kv_head = task / plan_.blocks;
    const Index query = (plan_.blocks - 1 - task % plan_.blocks) * plan_.block;
    if (kv_head != kv_head_) {
      prepare_biases(kv_head);
      if constexpr (Relative::in_scores) relative_.begin_head(kv_head);
    }
    kv_head_ = kv_head;
    sums_ = plan_.parts == 1 ? buffers_.sums : sums_of(item);
    begin(query, std::min(plan_.block, q_.tokens - query), part == 0);
    const Index end = std::min(k_.tokens, (part + 1) * plan_.part);
    for (Index key = part * plan_.part; key < end; key += plan_.chunk)
      chunk(key, std::min(plan_.chunk, end - key));
    if (plan_.parts > 1) {
      std::atomic<Index>& waiting = problem_.shared.waiting[task];
      if (waiting.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      merge(task);
    }
    for (Index g = 0; g < plan_.group; ++g)
      for (Index p = 0; p < queries_; p += plan_.panel) finish(packing_.panel(p), g);
  }

 private:
  static constexpr int regions = Buffers<T, BoundT>::regions;
  using Relative = RelativeTerms<T, BoundT, KeysAreRotated>;

  /// Outputs, and behind them the sums of weights by bucket.
  [[nodiscard]] T* output_panel(const Panel& p, Index g) const {
    return sums_.outputs + (g * plan_.block + p.first) * output_rows_;
  }
  [[nodiscard]] Index statistics(const Panel& p, Index g) const {
    return g * plan_.block + p.first;
  }

  /// Tabulates relative biases when many scores share a distance; with position ids that are spread
  /// wider than the tokens are many, they are evaluated score by score.
  void prepare_biases(Index kv_head) {
    tables_ = {};
    constexpr Index worth_a_table = 16;  // queries
    if (!buffers_.bias || q_.tokens < worth_a_table || k_.tokens == 0) return;
    const Interval query = bounds(at_.query, 0, q_.tokens), key = bounds(at_.key, 0, k_.tokens);
    const Position distances = (query.last - key.first) - (query.first - key.last) + 1;
    if (distances > q_.tokens + k_.tokens) return;
    tables_ = {buffers_.bias, distances, plan_.panel, query.first - key.last, plan_.group};
    detail::fill_bias_tables(tables_, bound_.stages(), kv_head * plan_.group);
  }

  /// Empty sums for all queries of a block; the first part has the sinks.
  void begin(Index query, Index queries, bool is_first_part) {
    query_ = query;
    queries_ = queries;
    packing_.begin_block(kv_head_, query, queries);
    if constexpr (Relative::in_scores) relative_.begin_block(query, queries);
    for (Index g = 0; g < plan_.group; ++g) {
      const SoftmaxStart start =
          is_first_part ? detail::softmax_start<T>(bound_.stages(), kv_head_ * plan_.group + g)
                        : SoftmaxStart{};
      std::fill_n(sums_.shift + g * plan_.block, plan_.block, static_cast<T>(start.shift));
      std::fill_n(sums_.sum + g * plan_.block, plan_.block, static_cast<T>(start.sum));
    }
    std::fill_n(sums_.outputs, plan_.group * plan_.block * output_rows_, T{0});
  }

  [[nodiscard]] Sums<T> sums_of(Index item) const {
    return problem_.shared.of(plan_, problem_.shape(), item);
  }

  /// All parts of a task into the first, in their order.
  void merge(Index task) {
    sums_ = sums_of(task * plan_.parts);
    for (Index part = 1; part < plan_.parts; ++part) {
      const Sums<T> from = sums_of(task * plan_.parts + part);
      for (Index g = 0; g < plan_.group; ++g)
        for (Index first = 0; first < queries_; first += plan_.panel)
          merge(packing_.panel(first), g, from);
    }
  }

  void merge(const Panel& p, Index g, const Sums<T>& from) {
    const Index at = statistics(p, g), offset = output_panel(p, g) - sums_.outputs;
    for (Index i = 0; i < p.queries; ++i) {
      T &shift = sums_.shift[at + i], &sum = sums_.sum[at + i];
      const T other = from.shift[at + i];
      if (from.sum[at + i] == 0) continue;  // it saw nothing
      const T greatest = other > shift ? other : shift;
      const T mine = std::exp(shift - greatest), theirs = std::exp(other - greatest);
      sum = sum * mine + from.sum[at + i] * theirs;
      shift = greatest;
      for (Index c = 0; c < output_rows_; ++c) {
        T& output = sums_.outputs[offset + c * p.width + i];
        // A weight of zero has no effect, whatever the other part holds.
        output = (mine == 0 ? T{0} : output * mine) +
                 (theirs == 0 ? T{0} : from.outputs[offset + c * p.width + i] * theirs);
      }
    }
  }

  void chunk(Index key, Index keys) {
    const TileRows all = make_tile(at_, query_, queries_, key, keys);
    if (detail::classify(bound_.stages(), all.tile) == TileClass::none) return;
    key_ = key;
    packing_.begin_chunk(key, keys);
    if constexpr (Relative::in_scores) relative_.begin_chunk(key);
    for (Index first = 0; first < queries_; first += plan_.panel) {
      const Panel p = packing_.panel(first);
      const TileRows rows = make_tile(at_, query_ + first, p.queries, key, keys);
      if (detail::classify(bound_.stages(), rows.tile) == TileClass::none) continue;
      for (Index g = 0; g < plan_.group; ++g) {
        if constexpr (Relative::in_scores) relative_.begin_panel(p, g, seen(rows).tile);
        for (Index c = 0; c < keys; c += plan_.tile) tile(p, g, c, std::min(plan_.tile, keys - c));
      }
    }
  }

  /// The part of a panel and a chunk between the first tile and the last that some query sees.
  [[nodiscard]] TileRows seen(TileRows rows) const {
    const auto is_hidden = [&](Index key, Index keys) {
      const TileRows tile = make_tile(at_, rows.query, rows.queries, key, keys);
      return detail::classify(bound_.stages(), tile.tile) == TileClass::none;
    };
    while (rows.keys > plan_.tile && is_hidden(rows.key, plan_.tile)) {
      rows.key += plan_.tile;
      rows.keys -= plan_.tile;
    }
    for (Index last; rows.keys > plan_.tile; rows.keys -= last) {
      last = (rows.keys - 1) % plan_.tile + 1;
      if (!is_hidden(rows.key + rows.keys - last, last)) break;
    }
    return make_tile(at_, rows.query, rows.queries, rows.key, rows.keys);
  }

  /// Keys [c, c + keys) of the chunk meet a panel.
  void tile(const Panel& p, Index g, Index c, Index keys) {
    const TileRows rows = make_tile(at_, query_ + p.first, p.queries, key_ + c, keys);
    const TileClass mask = detail::classify(bound_.stages(), rows.tile);
    if (mask == TileClass::none) return;
    const Index head = kv_head_ * plan_.group + g;
    const ScoreTile scores{.keys = keys,
                           .queries = p.queries,
                           .width = p.width,
                           .head = head,
                           .query = buffers_.query + p.first,
                           .query_index = buffers_.query_index + p.first,
                           .key = buffers_.key + c,
                           .key_index = at_.key_offset + key_ + c,
                           .consecutive = p.consecutive,
                           .where = rows.tile};
    const Halves halves =
        mask == TileClass::partial ? visible_halves(rows, p) : Halves{{{p.width, 0, keys}}};
    score_products(map_.regions(rows.tile), p, g, c, scores, halves);
    if constexpr (Relative::in_scores)
      relative_.add_to_scores(p, g, c, rows.tile, scores, buffers_.scores);
    leaves_.stage.stages(bound_.stages(), tables_, g, scores, buffers_.scores);
    if (mask == TileClass::partial) leaves_.stage.masks(bound_.stages(), scores, buffers_.scores);

    const Index at = statistics(p, g);
    T* const outputs = output_panel(p, g);
    if (tile_.softmax(keys, p.width, buffers_.scores, sums_.shift + at, sums_.sum + at,
                      buffers_.factor))
      tile_.scale_rows(output_rows_, p.width, outputs, buffers_.factor);
    if constexpr (Relative::in_values)
      relative_.add_weights(rows.tile, scores, buffers_.scores, outputs + v_.width * p.width);
    // A hidden key has weight 0, and 0 * infinity must not reach the output of a row that cannot
    // see it.
    const auto values = packing_.values(c, keys);
    const auto add = values.are_finite ? tile_.values : tile_.values_skipping_zeros;
    Index lane = 0;
    for (const auto& [width, first, last] : halves) {
      if (first < last)
        add(v_.width, last - first, width, values.rows + first * v_.width, 1, v_.width,
            buffers_.scores + first * p.width + lane, outputs + lane, p.width);
      lane += width;
    }
  }

  /// Part of a tile: some lanes, and the keys [first, last) that some of their queries see.
  struct Part {
    Index width = 0;
    Index first = 0, last = 0;
  };
  using Halves = std::array<Part, 2>;

  /// Half of the panel sees only half of the keys where the edge of a mask cuts off a corner.
  [[nodiscard]] Halves visible_halves(const TileRows& tile, const Panel& p) const {
    const Index half = p.width / 2;
    if (half % tile_.panel_step != 0 || tile.queries <= half || tile.keys < 2)
      return {{{p.width, 0, tile.keys}}};
    const Index middle = tile.keys / 2;
    const auto part = [&](Index query, Index queries) {
      const auto hidden = [&](Index key, Index keys) {
        const TileRows quarter = make_tile(at_, tile.query + query, queries, tile.key + key, keys);
        return detail::classify(bound_.stages(), quarter.tile) == TileClass::none;
      };
      return Part{half, hidden(0, middle) ? middle : 0,
                  hidden(middle, tile.keys - middle) ? middle : tile.keys};
    };
    return {part(0, half), part(half, tile.queries - half)};
  }

  /// Scores of one head: the product of each region that occurs, each pair taking its own region's.
  void score_products(RegionSet set, const Panel& p, Index g, Index c, const ScoreTile& tile,
                      const Halves& halves) {
    const auto product = [&](int region, T* scores) {
      const T* const queries = packing_.queries(p, region, g);
      const T* const keys = packing_.keys(region, c, tile.keys);
      Index lane = 0;
      for (const auto& [width, first, last] : halves) {
        if (first < last)
          tile_.scores(last - first, q_.width, width, keys + first * k_.width, k_.width, 1,
                       queries + lane, scores + first * p.width + lane, p.width);
        lane += width;
      }
    };
    product(std::countr_zero(set), buffers_.scores);
    if constexpr (regions > 1) {
      for (set &= set - 1; set != 0; set &= set - 1) {
        const int region = std::countr_zero(set);
        product(region, buffers_.blend);
        for (Index r = 0; r < tile.keys; ++r)
          for (Index j = 0; j < tile.queries; ++j)
            if (map_.region(tile.query[j], tile.key[r]) == region)
              buffers_.scores[r * tile.width + j] = buffers_.blend[r * tile.width + j];
      }
    }
  }

  void finish(const Panel& p, Index g) {
    const Index at = statistics(p, g), head = kv_head_ * plan_.group + g;
    for (Index i = 0; i < p.queries; ++i) {
      const T sum = sums_.sum[at + i];
      // A row that sees no key is zero already.
      buffers_.factor[i] = sum == 0 ? T{1} : 1 / sum;
      if (lse_.empty()) continue;
      lse_[size((query_ + p.first + i) * q_.heads + head)] = static_cast<T>(
          static_cast<double>(sums_.shift[at + i]) + std::log(static_cast<double>(sum)));
    }
    ask_for_rows<true>(out_, query_ + p.first + plan_.panel, plan_.panel, head);
    const TensorView<T> y = rows_of(out_, query_ + p.first, p.queries, head);
    T* const outputs = output_panel(p, g);
    if constexpr (Relative::in_values && !BoundT::rotates_values)
      relative_.add_to_outputs(p, head, outputs + v_.width * p.width, outputs);
    if constexpr (BoundT::rotates_values) {
      tile_.from_panel(p.queries, v_.width, p.width, outputs, buffers_.factor, buffers_.rows,
                       v_.width, 1);
      const TensorView<const T> x(buffers_.rows, p.queries, 1, v_.width, v_.width, 0);
      leaves_.rotation.rotate(bound_.rotary(), bound_.rotary().angles, {.inverse = true},
                              at_.query.subspan(size(query_ + p.first), size(p.queries)), x, y);
      if constexpr (Relative::in_values) {  // which do not turn
        std::fill_n(outputs, v_.width * p.width, T{0});
        relative_.add_to_outputs(p, head, outputs + v_.width * p.width, outputs);
        tile_.from_panel(p.queries, v_.width, p.width, outputs, buffers_.factor, buffers_.rows,
                         v_.width, 1);
        for (Index i = 0; i < p.queries; ++i)
          for (Index c = 0; c < v_.width; ++c) y(i, 0, c) += x(i, 0, c);
      }
    } else {
      tile_.from_panel(p.queries, v_.width, p.width, outputs, buffers_.factor, y.data,
                       y.token_stride, y.channel_stride);
    }
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const Problem<T, BoundT>& problem_;
  TensorView<const T> q_, k_, v_;
  TensorView<T> out_;
  const BoundT& bound_;
  const std::remove_cvref_t<decltype(std::declval<const BoundT&>().distance_map())>& map_;
  const Coordinates& at_;
  std::span<T> lse_;
  const Leaves<T, BoundT>& leaves_;
  const TileLeaves<T>& tile_;
  const Plan& plan_;
  Arena arena_;
  Index output_rows_;  ///< of a panel
  Buffers<T, BoundT> buffers_;
  Sums<T> sums_;
  Packing<T, BoundT, KeysAreRotated> packing_;
  [[no_unique_address]] Relative relative_;

  Index kv_head_ = -1;
  BiasTables<T> tables_{};
  Index query_ = 0, queries_ = 0;  ///< the block
  Index key_ = 0;                  ///< the chunk
};
/// Shares the parts of all tasks among workers: whoever is free takes the next.
template <bool KeysAreRotated, class T, class BoundT>
void run_tasks(const Problem<T, BoundT>& problem, const AnyExecutor& executor, std::byte* workspace,
               Index bytes_per_worker) {
  const Plan& plan = problem.plan;
  if (plan.parts > 1)
    for (Index task = 0; task < plan.tasks; ++task)
      new (&problem.shared.waiting[task]) std::atomic<Index>(plan.parts);
  std::atomic<Index> next{0};
  const auto work = [&](Index i) {
    Worker<T, BoundT, KeysAreRotated> worker(problem, workspace + i * bytes_per_worker);
    const Index items = plan.tasks * plan.parts;
    for (Index item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;)
      worker.run(item);
  };
  if (plan.workers() == 1)
    work(0);
  else
    executor(plan.workers(), work);
}

}  // namespace detail

POSENC_NAMESPACE_END
