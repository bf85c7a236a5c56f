// SPDX-License-Identifier: MIT
//
// The vectors of a RelativeTable as prefill multiplies with them: rows of numbers of the type that is computed in.
#pragma once

#include <posenc/attention/prefill/leaves.hpp>
#include <posenc/core/relative_table.hpp>

#include <algorithm>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Vectors that a buffer has room for, where they are not floats already.
inline constexpr Index most_table_rows = 64;

/// Calls f(rows, stride, count) for the vectors of some buckets; `buffer` is [most_table_rows][width].
template <class T, class F>
void for_each_rows(const RelativeTable& table, Index head, const Interval& buckets, T* buffer,
                   const F& f) {
  if constexpr (std::is_same_v<T, float>) {
    if (buckets.first <= buckets.last)
      f(table.row(head, buckets.first), table.bucket_stride, buckets.last - buckets.first + 1);
  } else {
    for (Index b = buckets.first; b <= buckets.last; b += most_table_rows) {
      const Index count = std::min(most_table_rows, buckets.last + 1 - b);
      for (Index r = 0; r < count; ++r)
        std::copy_n(table.row(head, b + r), table.width, buffer + r * table.width);
      f(buffer, table.width, count);
    }
  }
}

/// out[bucket][panel width] = products of the vectors of some buckets with a panel of queries, [head_dim][panel width].
template <class T>
void multiply_rows(const TileLeaves<T>& tile, const RelativeTable& table, Index head,
                   const Interval& buckets, const T* queries, Index width, T* buffer, T* out) {
  for_each_rows(table, head, buckets, buffer, [&](const T* rows, Index stride, Index count) {
    for (Index lane = 0; lane < width; lane += tile.panel)
      tile.scores(count, table.width, std::min(tile.panel, width - lane), rows, stride, 1,
                  queries + lane, out + lane, width);
    out += count * width;
  });
}

}  // namespace detail

POSENC_NAMESPACE_END
