// SPDX-License-Identifier: MIT
//
// Positions by context (CoPE) in prefill, for one worker.
//
//   for each tile of keys, from the last of a query to the first:
//     gate of each pair = sigmoid(score), added to the sum of the gates of all keys behind it
//     score += lerp(P[floor sum], P[ceil sum]), where P[position][query] are products of the panel with vectors
//
// The sum of a query is one number, so walking its keys from behind costs no more memory than walking them forwards.
// Products are made once for a block of queries. Where every query of a panel has arrived at the last position, which
// those with open gates do soon, no gate is computed any more: a row is added.
#pragma once

#include <posenc/attention/prefill/pack.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
class ContextTerms {
 public:
  ContextTerms(const PrefillCall<T>& call, const Plan& plan, const PrefillBuffers<T>& buffers,
               Packing<T>& packing)
      : tile_(*call.leaves.tile), leaves_(*call.leaves.relative), plan_(plan),
        own_(buffers.relative.context), packing_(packing) {}

  explicit operator bool() const { return own_.positions() > 0; }

  /// The next key that queries of the block meet is their last.
  void begin_block(Index kv_head) {
    kv_head_ = kv_head;
    const Index queries = plan_.group * plan_.block;
    std::fill_n(own_.behind.whole, queries, T{0});
    std::fill_n(own_.behind.rest, queries, T{0});
    std::fill_n(own_.are_made, queries, false);
  }

  void add_to_scores(const Panel& p, Index g, const ScoreTile& tile, T* scores) {
    const Index at = g * plan_.block + p.first;
    T* const products = own_.products + at * (own_.positions() + 1);
    if (!own_.are_made[at]) multiply(p, g, products);
    own_.are_made[at] = true;
    leaves_.add_context(tile, {products, own_.positions() - 1}, own_.sums,
                        {own_.behind.whole + at, own_.behind.rest + at}, scores);
  }

 private:
  /// Products of a panel of queries with all vectors, and with the last one once more, to which those lean that have
  /// arrived there.
  void multiply(const Panel& p, Index g, T* products) const {
    for (Index i = 0; i < p.queries; ++i)
      own_.factor[i] = own_.table.scaled ? packing_.factor(p.first + i) : T{1};
    packing_.plain_panel(p, g, own_.factor, own_.queries);
    multiply_rows(tile_, own_.table.vectors, kv_head_ * plan_.group + g, {0, own_.positions() - 1},
                  own_.queries, p.width, own_.rows, products);
    std::copy_n(products + (own_.positions() - 1) * p.width, p.width,
                products + own_.positions() * p.width);
  }

  const TileLeaves<T>& tile_;
  const RelativeLeaves<T>& leaves_;
  const Plan& plan_;
  const ContextBuffers<T>& own_;
  Packing<T>& packing_;
  Index kv_head_ = 0;
};

}  // namespace detail

POSENC_NAMESPACE_END
