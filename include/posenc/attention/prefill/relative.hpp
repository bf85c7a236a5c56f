// SPDX-License-Identifier: MIT
//
// Vectors by distance and positions by context, as the prefill kernel sees them: behind pointers, which encodings
// without such vectors leave null, so that their programs have no code for them. See relative_terms.hpp and
// context_terms.hpp.
#pragma once

#include <posenc/attention/score/context.hpp>
#include <posenc/attention/score/relative.hpp>
#include <posenc/simd/dispatch.hpp>

POSENC_NAMESPACE_BEGIN

struct AttentionShape;

namespace detail {

class Answers;
class Arena;
struct Panel;
struct Plan;
template <class T>
class Packing;
template <class T>
struct PrefillBuffers;
template <class T>
struct PrefillCall;

/// Vectors by distance of one worker, in the order in which it asks.
template <class T>
class Relative {
 public:
  virtual void begin_head(Index kv_head) = 0;
  /// `queries` are the positions of the block.
  virtual void begin_block(const Interval& queries) = 0;
  virtual void begin_chunk() = 0;
  /// A panel of one head is about to meet keys of the chunk; `tile` is where both stand.
  virtual void begin_panel(const Panel& p, Index g, const Tile& tile) = 0;
  /// Adds all products to the scores of keys [c, c + tile.keys) of the chunk.
  virtual void add_to_scores(const Panel& p, Index g, Index c, const ScoreTile& tile,
                             T* scores) = 0;
  /// Adds the weights of a tile to the sums of all buckets.
  virtual void add_weights(const ScoreTile& tile, const T* weights, T* sums) const = 0;
  /// Adds the vectors of all buckets, times the sums of their weights, to a panel of outputs.
  virtual void add_to_outputs(const Panel& p, Index head, const T* sums, T* outputs) = 0;

  const bool in_scores, in_values;  ///< which of the above are asked for

 protected:
  Relative(bool in_scores_, bool in_values_) : in_scores(in_scores_), in_values(in_values_) {}
  ~Relative() = default;
};

/// How they are made, and what they call at one level.
template <class T>
struct RelativeLeaves {
  void (*add_query_products)(const Stage& stage, const QueryProducts<T>& products,
                             const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*add_key_products)(const Stage& stage, const KeyProducts<T>& products,
                           const ScoreTile& tile, T* scores) noexcept = nullptr;
  void (*add_bucket_weights)(const Stage& stage, const ScoreTile& tile, const T* weights,
                             T* sums) noexcept = nullptr;
  void (*add_context)(const ScoreTile& tile, const ContextProducts<T>& products,
                      const GateSums<T>& sums, const GateSums<T>& behind,
                      T* scores) noexcept = nullptr;
  /// Takes what a worker needs from its memory.
  void (*take)(PrefillBuffers<T>& buffers, const Answers& answers, const Plan& plan,
               const AttentionShape& shape, Arena& arena) = nullptr;
  /// In that memory.
  Relative<T>* (*make)(const PrefillCall<T>& call, const Plan& plan,
                       const PrefillBuffers<T>& buffers, Packing<T>& packing) = nullptr;
};
template <class T>
const simd::ByLevel<RelativeLeaves<T>>& relative_leaves();

}  // namespace detail

POSENC_NAMESPACE_END
