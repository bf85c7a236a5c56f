// SPDX-License-Identifier: MIT
//
// Vectors by distance, as the backward kernel sees them: behind a pointer, which encodings without such
// vectors leave null, so that their programs have no code for them. See relative_gradients.hpp.
#pragma once

#include <posenc/attention/prefill/relative.hpp>

#include <cstddef>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
struct BackwardBuffers;
template <class T>
struct BackwardCall;
struct BackwardPlan;

/// Vectors by distance of one worker, in the order in which it asks.
template <class T>
class BackwardRelative {
 public:
  /// A pair of a block of queries, whose positions are given, and a chunk of keys. Where in_scores, as the
  /// next two are.
  virtual void begin(Index kv_head, const Interval& queries, Index keys) = 0;
  /// A panel of one head is about to meet keys of the chunk; `tile` is where both stand.
  virtual void begin_panel(const Panel& p, Index g, const Tile& tile) = 0;
  /// Adds all products to the scores of keys [c, c + tile.keys) of the chunk.
  virtual void add_to_scores(const Panel& p, Index g, Index c, const ScoreTile& tile,
                             T* scores) = 0;
  /// Adds <d_out, a> of relative values to the gradients of the weights of a tile. Where in_values, as the
  /// next one is.
  virtual void add_to_weights(const ScoreTile& tile, T* gradient) const = 0;
  /// The vectors that were added to values get the weights' share of d_out.
  virtual void add_weights(const ScoreTile& tile, const T* weights, double* parameters) const = 0;
  /// From the gradients of scores to those of queries, keys and vectors; keys stand at [c, ...) of the
  /// chunk. `factor` by lane. Where in_scores.
  virtual void add_scores(const ScoreTile& tile, Index c, const T* gradient, const T* factor,
                          double* parameters) = 0;

  const bool in_scores, in_values;  ///< which of the above are asked for

 protected:
  BackwardRelative(bool in_scores_, bool in_values_)
      : in_scores(in_scores_), in_values(in_values_) {}
  ~BackwardRelative() = default;
};

/// How they are made.
template <class T>
struct BackwardRelativeLeaves {
  std::size_t bytes = 0;
  /// In so many bytes; null where no component has such vectors.
  BackwardRelative<T>* (*make)(std::byte* memory, const BackwardCall<T>& call,
                               const BackwardPlan& plan, const BackwardBuffers<T>& buffers,
                               Packing<T>& packing) = nullptr;
};
template <class T>
const BackwardRelativeLeaves<T>& backward_relative_leaves();

}  // namespace detail

POSENC_NAMESPACE_END
