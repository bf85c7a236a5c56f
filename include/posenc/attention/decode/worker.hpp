// SPDX-License-Identifier: MIT
//
// The kernel of decode: a few queries of each sequence against the keys that a cache holds.
//
//   for each sequence, block of queries and part of its keys, in parallel:
//     for each block of up to 256 keys and each key head:
//       masks:         hidden blocks are not read; mixed ones are halved down to 64 keys
//       distance map:  one product for a uniform block, one per region and a blend for a mixed one
//       products with vectors by distance, biases and score maps in the order written, masks,
//       softmax, weights times values
//     parts are merged in pairs; the last to come adds vectors by distance times their weights, and
//     writes the rows
//
// Keys are what takes time: each is read once, for all query heads of its group, and asked for
// before it is needed. Where keys turn on the way, all heads of a key share its cosines and sines.
#pragma once

#include <posenc/attention/decode/leaves.hpp>
#include <posenc/attention/decode/plan.hpp>
#include <posenc/attention/decode/relative_terms.hpp>
#include <posenc/cache/key_value_cache.hpp>

#include <algorithm>
#include <atomic>
#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// What a call is about; shared by its workers.
template <class CacheT, class BoundT>
struct DecodeProblem {
  using T = typename CacheT::element;
  using U = arithmetic_t<T>;
  using Counts = RelativeCounts<typename DecodeLeaves<T, BoundT>::Stages>;

  TensorView<const U> q;
  TensorView<U> out;
  const CacheT& cache;
  const BoundT* bounds;  ///< one, or one per sequence
  bool bound_each;
  std::span<const Index> sequences;  ///< empty: 0, 1, ...
  std::span<const Index> starts;     ///< empty: equal shares
  std::optional<Positions> query_positions;
  std::span<U> lse;
  const DecodeLeaves<T, BoundT>& leaves;
  const DecodeShape& shape;

  [[nodiscard]] Index sequence(Index i) const {
    return sequences.empty() ? i : sequences[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] const BoundT& bound(Index i) const { return bounds[bound_each ? i : 0]; }
  /// First query token of the i-th sequence.
  [[nodiscard]] Index start(Index i) const {
    return starts.empty() ? i * (q.tokens / std::max<Index>(shape.sequences, 1))
                          : starts[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Index queries(Index i) const { return start(i + 1) - start(i); }

  /// Where a query of the i-th sequence stands: by default queries are the last tokens that the
  /// cache holds.
  [[nodiscard]] Positions place_of_query(Index i, const Slots& slots, Index query) const {
    if (query_positions)
      return query_positions->subspan(static_cast<std::size_t>(start(i) + query), 1);
    const Index rank = slots.tokens() - queries(i) + query;
    return cache.is_streaming() ? Positions(rank) : slots.positions(slots.slot(rank), 1);
  }
  [[nodiscard]] Positions places_of_keys(const Slots& slots, const SlotRun& run) const {
    return cache.is_streaming() ? Positions(run.rank) : slots.positions(run.slot, run.tokens);
  }
};

template <class CacheT, class BoundT>
class DecodeWorker {
 public:
  using T = typename CacheT::element;
  using U = arithmetic_t<T>;

  DecodeWorker(const DecodeProblem<CacheT, BoundT>& problem, const SharedDecode<U>& shared,
               std::byte* workspace)
      : problem_(problem), cache_(problem.cache), shape_(problem.shape), leaves_(problem.leaves),
        shared_(shared), group_(shape_.heads / cache_.shape().kv_heads), arena_(workspace),
        buffers_(shape_, arena_), sums_(RowSums<U>(shape_, arena_)),
        relative_(shape_, leaves_, buffers_, group_) {}

  void run(Index task) noexcept {
    const std::span<const Index> first_tasks(shared_.first_task, size(shape_.sequences + 1));
    i_ = std::ranges::upper_bound(first_tasks, task) - first_tasks.begin() - 1;
    bound_ = &problem_.bound(i_);
    sequence_ = problem_.sequence(i_);
    slots_ = &cache_.slots("decode", sequence_);
    const Index keys = slots_->tokens(), parts = DecodePlan::parts_of(keys);
    const Index block = (task - shared_.first_task[i_]) / parts;
    const Index part = (task - shared_.first_task[i_]) % parts;
    begin_queries(block);
    sums_ = shared_.of(shape_, task);
    const Index first = part * DecodePlan::part_of(keys);
    const Index last = std::min(keys, first + DecodePlan::part_of(keys));
    attend_part(part, first, last, false);
    // A weight of zero must not meet a value that is not finite: such values are rare, so they are
    // found afterwards.
    if (!is_finite()) attend_part(part, first, last, true);

    merge_up(part, parts, task - part);
  }

 private:
  using Buffers = DecodeBuffers<U, BoundT>;
  using Map = map_of<BoundT>;
  using Relative = DecodeRelative<T, BoundT>;
  static constexpr int regions = Buffers::regions, copy_of_values = regions;
  static constexpr Index block_keys = DecodePlan::block_keys;
  /// Do keys turn, and values under RotateValues, on their way out of the cache?
  static constexpr bool turns = BoundT::has_rotary && CacheT::state == KeyState::raw;
  static constexpr bool turns_values = turns && BoundT::rotates_values;

  /// Keys that lie one after another and have consecutive indices.
  struct Block {
    Index slot = 0, keys = 0;
    Tile where{};
    TileClass mask = TileClass::full;
    RegionSet regions = 1;
    Positions positions;
  };

  [[nodiscard]] const Map& map() const { return bound_->distance_map(); }
  [[nodiscard]] Index rows() const { return group_ * queries_; }
  static Index padded(Index keys) { return round_up(keys, DecodePlan::pad); }

  // --- Queries ----------------------------------------------------------------------------------

  void begin_queries(Index block) {
    const Index all = problem_.queries(i_);
    first_query_ = problem_.start(i_) + block * DecodePlan::most_queries;
    queries_ = std::min(DecodePlan::most_queries, all - block * DecodePlan::most_queries);
    rotated_ = 0;
    const Index rank = slots_->tokens() - all + block * DecodePlan::most_queries;
    for (Index i = 0; i < queries_; ++i) {
      buffers_.query_index[i] = rank + i >= 0 ? slots_->index(rank + i) : rank + i;
      buffers_.query[i] = query_positions(i)[0];
    }
    if constexpr (Relative::asks)
      relative_.begin_queries(*bound_, queries_, [&] { return plain_queries(); });
  }
  /// Where query i of the block stands.
  [[nodiscard]] Positions query_positions(Index i) const {
    return problem_.place_of_query(i_, *slots_, first_query_ + i - problem_.start(i_));
  }

  /// Query i of the block, of all heads, among rows of queries.
  [[nodiscard]] TensorView<U> heads_of(U* queries, Index i) const {
    return {queries + i * shape_.query_row(), 1, shape_.heads, shape_.head_dim, 0,
            queries_ * shape_.query_row()};
  }
  void scale(const TensorView<U>& y, Index i) const {
    const U factor =
        static_cast<U>(bound_->scale(shape_.head_dim) * bound_->temperature(buffers_.query[i]));
    for (Index h = 0; h < shape_.heads; ++h) {
      U* const row = y.row(0, h);
      std::fill(row + shape_.head_dim, row + shape_.query_row(), U{0});
      if (factor != 0)
        leaves_.combine(shape_.query_row(), factor, row, U{0}, row);
      else  // keeps what is not finite
        std::transform(row, row + shape_.head_dim, row, [](U x) { return x * 0; });
    }
  }

  /// Queries of all heads as they were passed but for their scale, [row][query_row].
  [[nodiscard]] const U* plain_queries() {
    if constexpr (!Buffers::Relative::has_queries) return queries(0);
    for (Index i = 0; i < queries_; ++i) {
      const TensorView<U> y = heads_of(buffers_.relative.queries, i);
      store_rows(tokens_of(problem_.q, first_query_ + i, 1), y);
      scale(y, i);
    }
    return buffers_.relative.queries;
  }
  /// Queries of all heads, rotated for a region and scaled, [row][query_row].
  [[nodiscard]] const U* queries(int region) {
    U* const all = buffers_.queries + region * shape_.rows() * shape_.query_row();
    if ((rotated_ >> region & 1U) != 0) return all;
    rotated_ |= RegionSet{1} << region;
    for (Index i = 0; i < queries_; ++i) {
      TensorView<const U> x = tokens_of(problem_.q, first_query_ + i, 1);
      const TensorView<U> y = heads_of(all, i);
      if constexpr (Relative::Counts::query_biases > 0) {
        store_rows(x, y);
        add_query_biases(*bound_, y);
        x = y;
      }
      if constexpr (BoundT::has_rotary) {
        const double factor = bound_->rotary().state.attention_factor;
        const Turn turn{.amplitude = factor * factor, .side = Side::query};
        const double at = map().query_position(region, buffers_.query[i]);
        const Positions positions = BoundT::has_distance_map
                                        ? Positions(std::span<const double>(&at, 1))
                                        : query_positions(i);
        leaves_.turn.rotate_queries(bound_->rotary(), bound_->region_angles(region), turn,
                                    positions, x, y);
      } else if constexpr (Relative::Counts::query_biases == 0) {
        store_rows(x, y);
      }
      scale(y, i);
    }
    return all;
  }

  // --- Keys -------------------------------------------------------------------------------------

  void attend_part(Index part, Index first, Index last, bool skip_zeros) {
    skip_zeros_ = skip_zeros;
    for (Index row = 0; row < shape_.heads * queries_; ++row) {
      const SoftmaxStart start =
          part == 0 ? detail::softmax_start<U>(bound_->stages(), row / queries_) : SoftmaxStart{};
      sums_.shift[row] = static_cast<U>(start.shift);
      sums_.sum[row] = static_cast<U>(start.sum);
    }
    std::fill_n(sums_.outputs, shape_.heads * queries_ * shape_.output_row(), U{0});
    slots_->for_runs(
        first, last,
        [&](const SlotRun& run) {
          for (Index k = 0; k < run.tokens; k += block_keys)
            attend_block({run.rank + k, run.slot + k, std::min(block_keys, run.tokens - k)});
        },
        true);
  }

  void attend_block(const SlotRun& run) {
    const Block block = block_of(run);
    if (block.mask == TileClass::none) return;
    if (run.tokens > DecodePlan::mixed_keys &&
        (block.mask == TileClass::partial || !std::has_single_bit(block.regions))) {
      const Index half = round_up(run.tokens / 2, DecodePlan::mixed_keys);
      attend_block({run.rank, run.slot, half});
      attend_block({run.rank + half, run.slot + half, run.tokens - half});
      return;
    }
    begin_block(block);
    for (Index h = 0; h < cache_.shape().kv_heads; ++h) meet(block, h);
  }

  [[nodiscard]] Block block_of(const SlotRun& run) const {
    const Index keys = run.tokens;
    const Position first_index = slots_->index_of_slot(run.slot);
    Block block;
    block.slot = run.slot;
    block.keys = keys;
    block.positions = problem_.places_of_keys(*slots_, run);
    Interval places{block.positions[0], block.positions[0]};
    for (Index k = 1; k < keys; ++k) {
      const Position place = block.positions[k];
      places = {std::min(places.first, place), std::max(places.last, place)};
    }
    const auto bounds_of = [&](const Position* at) {
      const auto [least, greatest] = std::minmax_element(at, at + queries_);
      return Interval{*least, *greatest};
    };
    block.where = {bounds_of(buffers_.query),
                   places,
                   bounds_of(buffers_.query_index),
                   {first_index, first_index + keys - 1}};
    block.mask = detail::classify(bound_->stages(), block.where);
    block.regions = map().regions(block.where);
    return block;
  }

  void begin_block(const Block& block) {
    with_angles_ = 0;
    for (Index k = 0; k < padded(block.keys); ++k) {
      const Index key = std::min(k, block.keys - 1);
      buffers_.key[k] = block.positions[key];
      buffers_.key_index[k] = block.where.key_index.first + key;
    }
    if constexpr (Relative::asks) relative_.begin_block(block.keys);
  }

  /// A block of keys meets all rows of a key head.
  void meet(const Block& block, Index head) {
    turned_ = -1;
    const Index first_row = head * rows();
    score(block, head, std::countr_zero(block.regions), buffers_.scores);
    if constexpr (regions > 1)
      for (RegionSet set = block.regions & (block.regions - 1); set != 0; set &= set - 1) {
        const int region = std::countr_zero(set);
        score(block, head, region, buffers_.blend);
        for (Index r = 0; r < rows(); ++r)
          for (Index k = 0; k < block.keys; ++k)
            if (map().region(buffers_.query[r % queries_], buffers_.key[k]) == region)
              buffers_.scores[r * block_keys + k] = buffers_.blend[r * block_keys + k];
      }
    if constexpr (Relative::in_scores)
      relative_.add_to_scores(head, cache_.rows().key(sequence_, block.slot, head),
                              buffers_.scores);
    const Index padded = this->padded(block.keys);
    const RowTile tile{rows(),        queries_,          padded,         block_keys,
                       head * group_, block.where,       buffers_.query, buffers_.query_index,
                       buffers_.key,  buffers_.key_index};
    leaves_.stages(bound_->stages(), tile, block.mask == TileClass::partial, buffers_.scores);
    for (Index r = 0; r < rows(); ++r) {
      U* const scores = buffers_.scores + r * block_keys;
      std::fill(scores + block.keys, scores + padded, -std::numeric_limits<U>::infinity());
      const Index row = first_row + r;
      const U factor = leaves_.softmax_row(padded, scores, sums_.shift[row], sums_.sum[row]);
      if (factor == 1) continue;
      U* const output = sums_.outputs + row * shape_.output_row();
      leaves_.combine(shape_.output_row(), factor, output, U{0}, output);
    }
    U* const outputs = sums_.outputs + first_row * shape_.output_row();
    if constexpr (Relative::in_values) relative_.add_weights(buffers_.scores, outputs);
    // A block is summed by itself first: over many keys of equal weight, one running sum would round
    // the same way each time.
    std::fill_n(buffers_.sums, rows() * shape_.value_row(), U{0});
    add_values(block, head, buffers_.sums);
    for (Index r = 0; r < rows(); ++r)
      leaves_.combine(shape_.value_row(), U{1}, outputs + r * shape_.output_row(), U{1},
                      buffers_.sums + r * shape_.value_row());
  }

  void score(const Block& block, Index head, int region, U* scores) {
    const U* const q = queries(region) + head * rows() * shape_.query_row();
    const T* const k = cache_.rows().key(sequence_, block.slot, head);
    const simd::Ahead ahead{cache_.rows().value(sequence_, block.slot, head)};
    if constexpr (turns) {
      if (const int copy = key_copy(region); has_angles(block, copy)) {
        if (leaves_.turn.dots) {
          const AngleRows<U> at = angles(copy);
          const RotaryBlock turned = bound_->rotary().block();
          return leaves_.turn.dots(rows(), block.keys, shape_.head_dim, q, shape_.query_row(), k,
                                   {at.cos, at.sin, at.row, turned.offset, turned.pairs}, scores,
                                   block_keys, ahead);
        }
        if (turned_ != copy) {
          turned_ = copy;
          leaves_.turn.turn(bound_->rotary(), view(k, block.keys, shape_.head_dim),
                            view(buffers_.keys, block.keys, shape_.head_dim), angles(copy));
        }
        return leaves_.turned.dots(rows(), block.keys, shape_.head_dim, q, shape_.query_row(),
                                   buffers_.keys, shape_.head_dim, scores, block_keys, ahead);
      }
    }
    leaves_.stored.dots(rows(), block.keys, shape_.head_dim, q, shape_.query_row(), k,
                        shape_.head_dim, scores, block_keys, ahead);
  }

  void add_values(const Block& block, Index head, U* sums) {
    const T* const v = cache_.rows().value(sequence_, block.slot, head);
    const T* const next =
        head + 1 < cache_.shape().kv_heads
            ? cache_.rows().key(sequence_, block.slot, head + 1)
            : cache_.rows().key(sequence_, block.slot, 0) + block.keys * shape_.head_dim;
    const simd::Ahead ahead{next};
    const auto add = [&](const auto& leaves, const auto* values) {
      (skip_zeros_ ? leaves.add_values_skipping_zeros
                   : leaves.add_values)(rows(), block.keys, shape_.value_dim, buffers_.scores,
                                        block_keys, values, sums, shape_.value_row(), ahead);
    };
    if constexpr (turns_values) {
      const int copy = bound_->rotary().state.growth.size() == 0 ? 0 : copy_of_values;
      fill_angles(block, copy, bound_->rotary().angles, block.positions);
      leaves_.turn.turn(bound_->rotary(), view(v, block.keys, shape_.value_dim),
                        view(buffers_.values, block.keys, shape_.value_dim), angles(copy));
      add(leaves_.turned, buffers_.values);
    } else {
      add(leaves_.stored, v);
    }
  }

  template <class X>
  static TensorView<X> view(X* rows, Index tokens, Index width) {
    return {rows, tokens, 1, width, width, 0};
  }

  /// The region whose rotated keys serve this one too.
  [[nodiscard]] int key_copy(int region) const {
    if constexpr (requires { map().key_copy(region); })
      return map().key_copy(region);
    else
      return region;
  }
  [[nodiscard]] AngleRows<U> angles(int copy) const {
    const Index at = copy * block_keys * shape_.angle_row();
    return {buffers_.cos + at, buffers_.sin + at, shape_.angle_row()};
  }
  /// Computes the angles of a block once; false when its keys stand at zero and need not turn.
  bool has_angles(const Block& block, int copy) {
    if ((with_angles_ >> copy & 1U) != 0) return true;
    Positions positions = block.positions;
    if constexpr (BoundT::has_distance_map) {
      bool turn = false;
      for (Index k = 0; k < block.keys; ++k) {
        buffers_.key_copy[k] = map().key_position(copy, buffers_.key[k]);
        turn = turn || buffers_.key_copy[k] != 0;
      }
      if (!turn) return false;
      positions = std::span<const Position>(buffers_.key_copy, size(block.keys));
    }
    fill_angles(block, copy, bound_->region_angles(copy), positions);
    return true;
  }
  void fill_angles(const Block& block, int copy, const AngleTable& table,
                   const Positions& positions) {
    if ((with_angles_ >> copy & 1U) != 0) return;
    with_angles_ |= RegionSet{1} << copy;
    const Turn turn{.side = copy == copy_of_values ? std::optional<Side>{} : Side::key};
    const AngleRows<U> to = angles(copy);
    leaves_.turn.angles(bound_->rotary(), table, turn, positions, block.keys,
                        const_cast<U*>(to.cos), const_cast<U*>(to.sin), to.row);
  }

  // --- Sums -------------------------------------------------------------------------------------

  [[nodiscard]] bool is_finite() const {
    return leaves_.copy_finite(shape_.heads * queries_ * shape_.output_row(), sums_.outputs,
                               sums_.outputs);
  }

  /// Parts are merged in pairs, pairs of pairs, ...: each by whoever comes last. What is merged with
  /// what, and so the result, does not depend on who that is.
  void merge_up(Index part, Index parts, Index first_task) {
    for (Index span = 1; span < parts; span *= 2) {
      const Index left = part & ~span, right = left + span;
      part = left;
      if (right >= parts) continue;
      if (!shared_.arrived[first_task + right].test_and_set(std::memory_order_acq_rel)) return;
      sums_ = shared_.of(shape_, first_task + left);
      merge(shared_.of(shape_, first_task + right));
    }
    finish();
  }

  void merge(const RowSums<U>& from) {
    for (Index row = 0; row < shape_.heads * queries_; ++row) {
      if (from.sum[row] == 0) continue;  // it saw nothing
      U &shift = sums_.shift[row], &sum = sums_.sum[row];
      const U other = from.shift[row], greatest = other > shift ? other : shift;
      const U mine = std::exp(shift - greatest), theirs = std::exp(other - greatest);
      sum = sum * mine + from.sum[row] * theirs;
      shift = greatest;
      const Index at = row * shape_.output_row();
      leaves_.combine(shape_.output_row(), mine, sums_.outputs + at, theirs, from.outputs + at);
    }
  }

  void finish() {
    for (Index i = 0; i < queries_; ++i) {
      const TensorView<U> y = tokens_of(problem_.out, first_query_ + i, 1);
      for (Index h = 0; h < shape_.heads; ++h) {
        const Index row = h * queries_ + i;
        U* const output = sums_.outputs + row * shape_.output_row();
        const U sum = sums_.sum[row];
        if (sum != 0)  // a row that sees no key is zero already
          leaves_.combine(shape_.value_row(), 1 / sum, output, U{0}, output);
        if (!problem_.lse.empty())
          problem_.lse[size((first_query_ + i) * shape_.heads + h)] = static_cast<U>(
              static_cast<double>(sums_.shift[row]) + std::log(static_cast<double>(sum)));
        copy_channels(shape_.value_dim, output, 1, y.row(0, h), y.channel_stride);
      }
      if constexpr (BoundT::rotates_values)
        leaves_.turn.rotate_queries(bound_->rotary(), bound_->rotary().angles, {.inverse = true},
                                    query_positions(i), y, y);
    }
    if constexpr (Relative::in_values)  // which do not turn
      relative_.add_to_outputs(sums_, tokens_of(problem_.out, first_query_, queries_));
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const DecodeProblem<CacheT, BoundT>& problem_;
  const CacheT& cache_;
  const DecodeShape& shape_;
  const DecodeLeaves<T, BoundT>& leaves_;
  const SharedDecode<U>& shared_;
  Index group_;  ///< query heads per key head
  Arena arena_;
  Buffers buffers_;
  RowSums<U> sums_;
  Relative relative_;

  const BoundT* bound_ = nullptr;
  const Slots* slots_ = nullptr;
  Index i_ = 0, sequence_ = 0;               ///< of the call, and of the cache
  Index first_query_ = 0, queries_ = 0;      ///< the block of queries
  RegionSet rotated_ = 0, with_angles_ = 0;  ///< regions with queries, and with angles of the block
  int turned_ = -1;                          ///< whose keys the buffer holds
  bool skip_zeros_ = false;
};

}  // namespace detail

POSENC_NAMESPACE_END
