// SPDX-License-Identifier: MIT
//
// Products of the decode kernel: rows of queries with the keys of a block, and weights with its values, wherever
// they lie; rotated on their way where the cache keeps them raw.
#pragma once

#include <posenc/attention/decode/angles.hpp>
#include <posenc/attention/decode/queries.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
class DecodeProducts {
 public:
  DecodeProducts(const DecodeCall<U>& call, const DecodeBuffers<U>& buffers,
                 DecodeQueries<U>& queries, DecodeAngles<U>& angles)
      : answers_(*call.asked.answers), map_(answers_.map()), shape_(call.shape),
        leaves_(call.leaves), buffers_(buffers), queries_(queries), angles_(angles),
        group_(shape_.heads / shape_.kv_heads) {}

  void begin_sequence(const DecodeSequence<U>& sequence) {
    sequence_ = &sequence;
    rotary_ = sequence.rotary;
    turns_ = rotary_->layout && sequence.keys.state == KeyState::raw;
  }

  /// Keys as numbers without gaps, where they are or in a buffer.
  [[nodiscard]] const U* plain_keys(const DecodeBlock<U>& block, Index head) const {
    const Storage<U>& storage = *sequence_->keys.keys.storage;
    const U* keys = buffers_.relative.plain;
    block.for_runs([&](const KeyRun& run, Index at, const KeyRun*) {
      const std::byte* const from = stored_keys(run, head);
      if (storage.is_plain && run.tokens == block.keys)
        keys = reinterpret_cast<const U*>(from);
      else
        storage.load(run.tokens * shape_.head_dim, from,
                     buffers_.relative.plain + at * shape_.head_dim);
    });
    return keys;
  }

  /// Scores of all rows of a key head for a region of distances.
  void score(const DecodeBlock<U>& block, Index head, int region, U* scores) {
    const U* const q = queries_.of_region(region) + head * rows() * shape_.query_row();
    const int copy = turns_ ? map_.key_copy(region) : 0;
    const bool turned = turns_ && angles_.fill_keys(copy);
    const KeyRun& front = block.runs.run.front();
    block.for_runs([&](const KeyRun& run, Index at, const KeyRun* behind) {
      const std::byte* const k = stored_keys(run, head);
      const simd::ReadNext next{behind ? stored_keys(*behind, head)
                                       : stored_values(block.runs.count == 1 ? run : front, head)};
      if (!turned)
        return leaves_.stored_dots(rows(), run.tokens, shape_.head_dim, q, shape_.query_row(), k,
                                   shape_.head_dim, scores + at, score_row, next);
      const AngleRows<U> angles = angles_.rows(copy).from(at);
      if (!leaves_.rotated_dots || rows() > DecodePlan::rows_that_turn)
        return score_turned(run.tokens, k, angles, q, scores + at, next);
      const RotaryBlock channels = rotary_->block();
      leaves_.rotated_dots(rows(), run.tokens, shape_.head_dim, q, shape_.query_row(), k,
                           {angles.cos, angles.sin, angles.row, channels.offset, channels.pairs},
                           scores + at, score_row, next);
    });
  }

  /// Adds the values of a key head times the weights of all rows.
  void add_values(const DecodeBlock<U>& block, Index head, bool skip_zeros, U* sums) {
    const bool turned = turns_ && answers_.facts().rotates_values;
    const int copy = turned ? angles_.fill_values() : 0;
    const Index key_bytes = shape_.head_dim * sequence_->keys.keys.storage->bytes;
    const ValueLeaves<U>& leaves = turned ? *leaves_.plain_values : *leaves_.stored_values;
    block.for_runs([&](const KeyRun& run, Index at, const KeyRun* behind) {
      const void* values = stored_values(run, head);
      const simd::ReadNext next{
          behind ? stored_values(*behind, head)
          : head + 1 < shape_.kv_heads
              ? stored_keys(block.runs.count == 1 ? run : block.runs.run.front(), head + 1)
              : run.keys + run.tokens * key_bytes};
      if (turned) {
        turn(sequence_->keys.values, stored_values(run, head), run.tokens, shape_.value_dim,
             angles_.rows(copy).from(at), buffers_.values);
        values = buffers_.values;
      }
      (skip_zeros ? leaves.add_skipping_zeros : leaves.add)(rows(), run.tokens, shape_.value_dim,
                                                            buffers_.scores + at, score_row, values,
                                                            sums, shape_.value_row(), next);
    });
  }

 private:
  static constexpr Index score_row = DecodePlan::score_row;

  [[nodiscard]] Index rows() const { return group_ * queries_.count(); }

  /// Keys and values of a head, as they are stored.
  [[nodiscard]] const std::byte* stored_keys(const KeyRun& run, Index head) const {
    return run.keys + sequence_->keys.keys.bytes_before(sequence_->kv_head + head);
  }
  [[nodiscard]] const std::byte* stored_values(const KeyRun& run, Index head) const {
    return run.values + sequence_->keys.values.bytes_before(sequence_->kv_head + head);
  }

  /// Some keys at a time turn into a buffer of the first-level cache, and meet all rows there.
  void score_turned(Index keys, const std::byte* k, const AngleRows<U>& angles, const U* q,
                    U* scores, const simd::ReadNext& next) {
    const Rows<U>& stored = sequence_->keys.keys;
    const Index row_bytes = shape_.head_dim * stored.storage->bytes;
    for (Index first = 0; first < keys; first += DecodePlan::turned_keys) {
      const Index n = std::min(DecodePlan::turned_keys, keys - first), after = first + n;
      turn(stored, k + first * row_bytes, n, shape_.head_dim, angles.from(first), buffers_.keys);
      leaves_.plain_dots(rows(), n, shape_.head_dim, q, shape_.query_row(), buffers_.keys,
                         shape_.head_dim, scores + first, score_row,
                         after < keys ? simd::ReadNext{k + after * row_bytes} : next);
    }
  }

  /// Stored rows as numbers, rotated.
  void turn(const Rows<U>& rows, const std::byte* from, Index n, Index width,
            const AngleRows<U>& angles, U* to) const {
    rows.storage->load(n * width, from, to);
    leaves_.turn(*rotary_, {to, n, 1, width, width, 0}, angles);
  }

  const Answers& answers_;
  const MapOfDistances& map_;
  const DecodeShape& shape_;
  const DecodeLeaves<U>& leaves_;
  const DecodeBuffers<U>& buffers_;
  DecodeQueries<U>& queries_;
  DecodeAngles<U>& angles_;
  Index group_;  ///< query heads per key head

  const DecodeSequence<U>* sequence_ = nullptr;
  const Rotary* rotary_ = nullptr;
  bool turns_ = false;  ///< keys are rotated on their way out of the cache
};

}  // namespace detail

POSENC_NAMESPACE_END
