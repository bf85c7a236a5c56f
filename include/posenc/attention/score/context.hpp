// SPDX-License-Identifier: MIT
//
// Positions by context in one tile: gates of its scores are summed from the last key to the first, and each pair reads
// between two products. prefill/context_terms.hpp makes these.
#pragma once

#include <posenc/bind/score_tile.hpp>

#include <algorithm>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Products of a panel of queries with vectors, [position][panel width]; behind the last position it stands once more.
template <class T>
struct ContextProducts {
  const T* data = nullptr;
  Index last = 0;  ///< position
};

/// Sums of gates: a whole number and a rest below 1 each.
template <class T>
struct GateSums {
  T* whole = nullptr;
  T* rest = nullptr;
};

/// Adds the products to a tile of scores whose hidden pairs are minus infinity, so that their gates are shut. `behind` is
/// what the gates of all later keys sum up to, by query; this tile's are added. `sums` is a buffer, [key][panel width].
template <class Level, class T>
void add_context(const ScoreTile& tile, const ContextProducts<T>& products, const GateSums<T>& sums,
                 const GateSums<T>& behind, T* scores) noexcept {
  const Index width = tile.width;
  const auto most = static_cast<T>(products.last);
  if (std::all_of(behind.whole, behind.whole + width, [=](T whole) { return whole >= most; })) {
    const T* const row = products.data + products.last * width;
    return Level::map(tile.keys, width, scores, [=](T x, Index, Index j) { return x + row[j]; });
  }
  Level::sum_gates(tile.keys, width, scores, sums.whole, sums.rest, behind.whole, behind.rest);
  Level::map(tile.keys, width, scores,
             [=, from = products.data, lanes = static_cast<std::int32_t>(width)](T x, Index k,
                                                                                 Index j) {
               const T whole = sums.whole[k * width + j], rest = sums.rest[k * width + j];
               const auto low = static_cast<std::int32_t>(whole < most ? whole : most);
               const T* const at = from + low * lanes + j;
               return x + (at[0] + rest * (at[lanes] - at[0]));
             });
}

}  // namespace detail

POSENC_NAMESPACE_END
