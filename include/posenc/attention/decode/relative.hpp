// SPDX-License-Identifier: MIT
//
// Vectors by distance, as the decode kernel sees them: behind a pointer, which encodings without such
// vectors leave null, so that their programs have no code for them. See relative_terms.hpp.
#pragma once

#include <posenc/bind/answers.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class U>
struct DecodeBuffers;
template <class U>
struct DecodeLeaves;
struct DecodeShape;
template <class U>
struct RowSums;

/// Vectors by distance of one worker, in the order in which it asks.
template <class U>
class DecodeRelative {
 public:
  /// Another block of queries, of heads from `head` on; `rows` are those of all of these, scaled but not rotated, where
  /// meets_queries, and `scale` is that of the scores.
  virtual void begin_queries(Index head, Index queries, double scale, const U* rows) = 0;
  /// Another block of keys, with the positions of both in the buffers.
  virtual void begin_block(Index keys) = 0;
  /// Adds the products of all rows of a key head with the block to their scores. `plain_keys` are its
  /// keys as they were passed, [key][head_dim], where meets_keys.
  virtual void add_to_scores(Index kv_head, const U* plain_keys, U* scores) = 0;
  /// Adds the weights of all rows of a key head to the sums behind their outputs.
  virtual void add_weights(const U* weights, U* outputs) const = 0;
  /// Replaces the outputs of all rows by the vectors of all buckets, times the sums of their weights.
  virtual void sum_vectors(const RowSums<U>& sums) = 0;

  const bool meets_queries, meets_keys, in_values;  ///< which kinds of vectors there are

  [[nodiscard]] bool in_scores() const { return meets_queries || meets_keys; }

 protected:
  explicit DecodeRelative(const RelativeCounts& counts)
      : meets_queries(counts.keys > 0), meets_keys(counts.queries > 0),
        in_values(counts.values > 0) {}
  ~DecodeRelative() = default;
};

/// Makes them in memory of the buffers; null where no component has any.
template <class U>
DecodeRelative<U>* make_decode_relative(const Answers& answers, const DecodeShape& shape,
                                        const DecodeLeaves<U>& leaves,
                                        const DecodeBuffers<U>& buffers);

}  // namespace detail

POSENC_NAMESPACE_END
