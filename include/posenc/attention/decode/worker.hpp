// SPDX-License-Identifier: MIT
//
// The decode kernel: a few queries of each sequence against the keys that a cache holds, generic over
// the type it computes in.
//
//   for each sequence (or choice of its keys), block of queries and part of the keys, in parallel:
//     for each block of up to 512 keys, wherever they lie, and each key head:
//       masks:         hidden blocks are not read; mixed ones are halved down to 64 keys
//       distance map:  one product for a uniform block, one per region and a blend for a mixed one
//       products with vectors by distance, biases and score maps in the order written, masks,
//       softmax, weights times values
//     parts are merged in pairs; the last to come adds vectors by distance times their weights, and
//     writes the rows
//
// Keys are what takes time: each is read once, for all query heads of its group, and prefetched before
// it is needed. Where keys are rotated on the way, all heads of a key that turn alike share its cosines and
// sines.
#pragma once

#include <posenc/attention/decode/outputs.hpp>
#include <posenc/attention/decode/products.hpp>
#include <posenc/attention/score/tile.hpp>
#include <posenc/executor/tasks.hpp>

#include <bit>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeWorker {
 public:
  DecodeWorker(const DecodeCall<U>& call, const SharedDecode<U>& shared, std::byte* workspace)
      : call_(call), answers_(*call.asked.answers), map_(answers_.map()), shape_(call.shape),
        leaves_(call.leaves), shared_(shared), group_(shape_.heads / shape_.kv_heads),
        arena_(workspace), buffers_(answers_, shape_, arena_), sums_(RowSums<U>(shape_, arena_)),
        queries_(call, buffers_), angles_(call, buffers_),
        products_(call, buffers_, queries_, angles_),
        relative_(leaves_.make_relative ? leaves_.make_relative(answers_, shape_, leaves_, buffers_)
                                        : nullptr),
        outputs_(call, buffers_, queries_, relative_) {}

  void operator()(Index task) noexcept {
    const std::span<const Index> first_tasks(shared_.first_task, size(shape_.sequences + 1));
    const Index i =
        std::upper_bound(first_tasks.begin(), first_tasks.end(), task) - first_tasks.begin() - 1;
    sequence_ = &call_.sequences[size(i)];
    rotary_ = sequence_->rotary;
    const Index keys = sequence_->keys.tokens, parts = DecodePlan::parts_of(keys);
    const Index block = (task - shared_.first_task[i]) / parts;
    const Index part = (task - shared_.first_task[i]) % parts, first_part = task - part;
    queries_.begin(*sequence_, block * DecodePlan::most_queries);
    angles_.begin_sequence(*rotary_);
    products_.begin_sequence(*sequence_);
    if (relative_)
      relative_->begin_queries(sequence_->head, queries_.count(), queries_.scale(),
                               relative_->meets_queries ? queries_.plain() : nullptr);
    sums_ = shared_.of(shape_, task);
    const Index first = part * DecodePlan::part_of(keys);
    const Index last = std::min(keys, first + DecodePlan::part_of(keys));
    attend_part(part, first, last, false);
    // A weight of zero must not meet a value that is not finite; such values are found afterwards.
    if (!outputs_.is_finite(sums_)) attend_part(part, first, last, true);

    const bool is_last =
        merge_parts(part, parts, shared_.arrived + first_part, [&](Index left, Index right) {
          outputs_.merge(shared_.of(shape_, first_part + left),
                         shared_.of(shape_, first_part + right));
        });
    if (is_last) outputs_.finish(shared_.of(shape_, first_part), *rotary_);
  }

 private:
  static constexpr Index score_row = DecodePlan::score_row;

  using Block = DecodeBlock<U>;

  [[nodiscard]] Index rows() const { return group_ * queries_.count(); }
  static Index padded(Index keys) { return round_up(keys, DecodePlan::pad); }

  void attend_part(Index part, Index first, Index last, bool skip_zeros) {
    skip_zeros_ = skip_zeros;
    for (Index row = 0; row < shape_.heads * queries_.count(); ++row) {
      const SoftmaxStart start =
          part == 0 ? answers_.template softmax_start<U>(sequence_->head + row / queries_.count())
                    : SoftmaxStart{};
      sums_.shift[row] = static_cast<U>(start.shift);
      sums_.sum[row] = static_cast<U>(start.sum);
      sums_.most[row] = RowSpread<U>{}.greatest;
      sums_.spread[row] = static_cast<U>(start.spread);
    }
    std::fill_n(sums_.outputs, shape_.heads * queries_.count() * shape_.output_row(), U{0});
    while (first < last) {
      const Index room = DecodePlan::block_keys - runs_.tokens;
      runs_.add(sequence_->keys.find(sequence_->keys.self, first, std::min(last - first, room)));
      first += runs_.run[size(runs_.count - 1)].tokens;
      if (first < last && !runs_.is_full()) continue;
      attend_block(0, runs_.tokens);
      runs_.clear();
    }
  }

  /// Some keys of the runs at hand.
  void attend_block(Index first, Index keys) {
    const Block block(answers_, shape_, buffers_, *sequence_, queries_.count(), runs_, first, keys);
    if (block.mask == TileClass::none) return;
    if (keys > DecodePlan::mixed_keys &&
        (block.mask == TileClass::partial || !std::has_single_bit(block.regions))) {
      const Index half = round_up(keys / 2, DecodePlan::mixed_keys);
      attend_block(first, half);
      attend_block(first + half, keys - half);
      return;
    }
    begin_block(block);
    for (Index h = 0; h < shape_.kv_heads; ++h) meet(block, h);
  }
  void begin_block(const Block& block) {
    angles_.begin_block(block);
    block.for_runs([&](const KeyRun& run, Index at, const KeyRun*) {
      for (Index k = 0; k < run.tokens; ++k) {
        buffers_.key[at + k] = run.positions[k];
        buffers_.key_index[at + k] = run.index + k;
      }
    });
    for (Index k = block.keys; k < padded(block.keys); ++k) {
      buffers_.key[k] = buffers_.key[block.keys - 1];
      buffers_.key_index[k] = buffers_.key_index[block.keys - 1];
    }
    if (relative_) relative_->begin_block(block.keys);
  }

  /// A block of keys meets all rows of a key head.
  void meet(const Block& block, Index head) {
    if (block.is_hidden_from(answers_, head, group_)) return;
    angles_.begin_head(rotary_->of(sequence_->kv_head + head));
    score_regions(block, head);
    if (relative_ && relative_->in_scores())
      relative_->add_to_scores(head,
                               relative_->meets_keys ? products_.plain_keys(block, head) : nullptr,
                               buffers_.scores);
    const Index first_row = head * rows(), padded = this->padded(block.keys);
    for (Index r = 0; r < rows(); ++r) {
      U* const scores = buffers_.scores + r * score_row;
      change_scores(block, head, r, scores);
      std::fill(scores + block.keys, scores + padded, -std::numeric_limits<U>::infinity());
      const Index row = first_row + r;
      U &shift = sums_.shift[row], &sum = sums_.sum[row];
      const U factor = call_.rows.are_wanted()
                           ? leaves_.sums->softmax_row_spread(padded, scores, shift, sum,
                                                              sums_.most + row, sums_.spread + row)
                           : leaves_.sums->softmax_row(padded, scores, shift, sum);
      if (factor == 1) continue;
      U* const output = sums_.outputs + row * shape_.output_row();
      leaves_.sums->combine(shape_.output_row(), factor, output, U{0}, output);
    }
    U* const outputs = sums_.outputs + first_row * shape_.output_row();
    if (relative_ && relative_->in_values) relative_->add_weights(buffers_.scores, outputs);
    // A block is summed by itself first: over many keys of equal weight, one running sum would round
    // the same way each time.
    std::fill_n(buffers_.sums, rows() * shape_.value_row(), U{0});
    products_.add_values(block, head, skip_zeros_, buffers_.sums);
    for (Index r = 0; r < rows(); ++r)
      leaves_.sums->combine(shape_.value_row(), U{1}, outputs + r * shape_.output_row(), U{1},
                            buffers_.sums + r * shape_.value_row());
  }

  /// Scores of all rows of a key head: the product of each region that occurs, each pair taking its
  /// own region's.
  void score_regions(const Block& block, Index head) {
    products_.score(block, head, std::countr_zero(block.regions), buffers_.scores);
    for (RegionSet set = block.regions & (block.regions - 1); set != 0; set &= set - 1) {
      const int region = std::countr_zero(set);
      products_.score(block, head, region, buffers_.blend);
      for (Index i = 0; i < queries_.count(); ++i) {
        map_.ask->region(map_.self, block.keys, buffers_.query + i, 0, buffers_.key, 1,
                         buffers_.region_of);
        for (Index g = 0; g < group_; ++g)
          for (Index k = 0, at = (g * queries_.count() + i) * score_row; k < block.keys; ++k, ++at)
            if (buffers_.region_of[k] == region) buffers_.scores[at] = buffers_.blend[at];
      }
    }
  }

  /// Biases and score maps of a row, in the order written, then masks where they hide a part.
  void change_scores(const Block& block, Index head, Index r, U* scores) const {
    const std::span<const Stage> stages = answers_.asked();
    const Index i = r % queries_.count();
    const Position query = buffers_.query[i], index = buffers_.query_index[i];
    const KeyRow row{.keys = padded(block.keys),
                     .query = query,
                     .query_index = index,
                     .head = sequence_->head + head * group_ + r / queries_.count(),
                     .key = buffers_.key,
                     .key_index = buffers_.key_index,
                     .where = {{query, query},
                               block.where.key,
                               {index, index},
                               block.where.key_index,
                               block.heads_of(head, group_),
                               sequence_->sequence}};
    const auto loops = [&](std::size_t stage) -> const ScoreLoops<U>& {
      return call_.asked.loops[stage](leaves_.level);
    };
    for (std::size_t s = 0; s < stages.size(); ++s)
      if (const auto change = loops(s).change_row) change(stages[s].self, row, scores);
    for (std::size_t s = 0; s < stages.size() && block.mask == TileClass::partial; ++s)
      if (const auto hide = loops(s).hide_row) hide(stages[s].self, row, scores);
  }

  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  const DecodeCall<U>& call_;
  const Answers& answers_;
  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const SharedDecode<U>& shared_;
  Index group_;  ///< query heads per key head
  Arena arena_;
  DecodeBuffers<U> buffers_;
  RowSums<U> sums_;
  DecodeQueries<U> queries_;
  DecodeAngles<U> angles_;
  DecodeProducts<U> products_;
  DecodeRelative<U>* relative_;  ///< null where no component has vectors by distance
  DecodeOutputs<U> outputs_;

  const DecodeSequence<U>* sequence_ = nullptr;
  KeyRuns runs_{};  ///< where the keys lie that are met now
  const Rotary* rotary_ = nullptr;
  bool skip_zeros_ = false;
};

}  // namespace detail

POSENC_NAMESPACE_END
