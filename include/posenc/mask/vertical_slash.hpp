// SPDX-License-Identifier: MIT
//
// VerticalSlash: each query head sees some keys from everywhere, and keys at some distances.
//
//   Jiang et al., MInference 1.0, arXiv 2407.02490; microsoft/MInference, minference_forward.py,
//   vertical_slash_index.cu.
//
//   visible: D >= 0 and (key_index in columns(head) or D in slashes(head)),  D = query_index - key_index
//
// Columns and slashes depend on the text, so the method is: estimate them from the last queries of a prompt
// (from_weights, or estimate_vertical_slash of attention/vertical_slash.hpp for all heads of a call), attend to
// the prompt with them, and decode with all keys. How many of each a head has is found offline; files of patterns have
// two numbers for each head, 1,000 columns and 6,096 slashes where nothing better is known.
//
//   column m: sum over the last 64 queries n of w(n, m)       the first 30 keys always
//   slash D:  sum over the last 64 queries n of w(n, n - D)   the least 100 distances always
//
// Errata. The kernel of the reference widens every slash to whole blocks of 64 keys for 64 queries, so it shows more
// than the pattern does; its own search is exact, as is this. The search takes the least 30 distances for granted, the
// kernel that is run 100. It raises the two numbers of a head to 30 and 50; here they are raised to what is taken for
// granted, so that the choice of slashes is never one among equals.
//
// Tiles without a visible pair are known exactly, and are left out for each head by itself.
//
// Cache: all keys.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/mask/by_head.hpp>
#include <posenc/mask/index_set.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

struct VerticalSlashMask {
  struct Head {
    IndexSet columns, slashes;

    [[nodiscard]] bool visible(const Score& at) const {
      const Position d = at.query_index - at.key_index;
      // Without branches, so that loops become vectors.
      return (static_cast<int>(d >= 0) & (static_cast<int>(columns.contains(at.key_index)) |
                                          static_cast<int>(slashes.contains(d)))) != 0;
    }
    /// Every distance between the least and the greatest occurs in a tile, and a column is seen where it is not
    /// later than the last query.
    [[nodiscard]] TileClass classify(const Interval& query, const Interval& key) const {
      const Interval distances{query.first - key.last, query.last - key.first};
      const Position shown = columns.count({key.first, std::min(key.last, query.last)});
      const Position crossed = slashes.count(distances);
      if (shown == 0 && crossed == 0) return TileClass::none;
      const bool all = distances.first >= 0 && (shown == key.last - key.first + 1 ||
                                                crossed == distances.last - distances.first + 1);
      return all ? TileClass::full : TileClass::partial;
    }
  };
  std::vector<Head> heads;

  [[nodiscard]] bool visible(const Score& at) const { return of(at.head).visible(at); }
  [[nodiscard]] TileClass classify(const Tile& tile) const {
    return classify_heads(tile, [&](Position head) {
      return of(head).classify(tile.query_index, tile.key_index);
    });
  }

 private:
  [[nodiscard]] const Head& of(Position head) const {
    return heads[static_cast<std::size_t>(head)];
  }
};

}  // namespace detail

struct VerticalSlash {
  /// How much of a head's attention to compute; what a file of patterns says of a head, and the rest.
  struct Size {
    Position columns = 1000;
    Position slashes = 6096;
    Position first_columns =
        30;  ///< keys at the start of the sequence that are always among the columns
    Position least_slashes = 100;  ///< distances from 0 on that are always among the slashes

    void check(Problems& problems) const {
      problems.require(columns >= 1 && slashes >= 1 && first_columns >= 0 && least_slashes >= 1,
                       "VerticalSlash: a head needs at least one column, one slash and distance 0 "
                       "among the least slashes, got ",
                       columns, " columns, ", slashes, " slashes, ", first_columns,
                       " first columns and ", least_slashes, " least slashes.");
    }
  };
  /// What one query head sees, in any order.
  struct Head {
    std::vector<Position> columns;  ///< indices of keys
    std::vector<Position> slashes;  ///< distances in tokens, 0 for the query's own

    /// The head of AShape: `sinks` columns and `window` slashes.
    [[nodiscard]] static Head a_shape(Position sinks, Position window) {
      Head head{std::vector<Position>(static_cast<std::size_t>(std::max<Position>(sinks, 0))),
                std::vector<Position>(static_cast<std::size_t>(std::max<Position>(window, 0)))};
      std::iota(head.columns.begin(), head.columns.end(), Position{0});
      std::iota(head.slashes.begin(), head.slashes.end(), Position{0});
      return head;
    }
  };
  std::vector<Head> heads;  ///< of each query head

  /// The pattern of a head from the weights of the last queries over all keys, [queries][keys], where the last query
  /// is the token of the last key; the reference takes 64 queries. Of equal sums the earlier key and the lesser
  /// distance come first. Throws Error for weights that do not have this shape or are not finite.
  template <class T>
  [[nodiscard]] static Head from_weights(std::span<const T> weights, Index queries,
                                         const Size& size) {
    Problems problems;
    const Index count = std::ssize(weights);
    problems.require(
        queries > 0 && count % std::max<Index>(queries, 1) == 0 &&
            count / std::max<Index>(queries, 1) >= queries,
        "weights are [queries][keys], of the last queries over at least as many keys, but ", count,
        " elements are none of ", queries, " queries.");
    size.check(problems);
    problems.raise_if_any("posenc::VerticalSlash::from_weights");

    const Index keys = count / queries;
    std::vector<double> column(static_cast<std::size_t>(keys)), slash(column);
    double sum = 0;
    for (Index n = 0; n < queries; ++n) {
      const Index own = keys - queries + n;
      for (Index m = 0; m <= own; ++m) {
        const auto w = static_cast<double>(weights[static_cast<std::size_t>(n * keys + m)]);
        column[static_cast<std::size_t>(m)] += w;
        slash[static_cast<std::size_t>(own - m)] += w;
        sum += w;
      }
    }
    problems.require(std::isfinite(sum), "weights must be finite numbers, but their sum is ", sum,
                     ".");
    problems.raise_if_any("posenc::VerticalSlash::from_weights");
    return {greatest(column, size.columns, size.first_columns),
            greatest(slash, size.slashes, size.least_slashes)};
  }

  [[nodiscard]] detail::VerticalSlashMask prepare(const HeadShape&) const {
    detail::VerticalSlashMask mask;
    for (const Head& head : heads)
      mask.heads.push_back({detail::IndexSet(head.columns), detail::IndexSet(head.slashes)});
    return mask;
  }

  void check(Problems& problems, const HeadShape& shape) const {
    problems.require(std::ssize(heads) == shape.num_heads, "VerticalSlash: there are patterns of ",
                     heads.size(), " heads, but ", shape.num_heads, " query heads.");
    for (std::size_t head = 0; head < heads.size(); ++head)
      for (const auto* list : {&heads[head].columns, &heads[head].slashes})
        for (const Position i : *list)
          if (i < 0 || i >= detail::IndexSet::limit)
            return problems.add("VerticalSlash: ",
                                list == &heads[head].columns ? "columns are indices of keys"
                                                             : "slashes are distances",
                                " from 0 to 2^28 - 1, got ", i, " for head ", head, ".");
  }

 private:
  /// The places of the `wanted` greatest sums, in rising order; the first `forced` are always among them.
  [[nodiscard]] static std::vector<Position> greatest(std::vector<double>& sums, Position wanted,
                                                      Position forced) {
    const Position length = std::ssize(sums);
    std::fill_n(sums.begin(), std::min(forced, length), std::numeric_limits<double>::infinity());
    std::vector<Position> places(sums.size());
    std::iota(places.begin(), places.end(), Position{0});
    const auto before = [&](Position a, Position b) {
      const double x = sums[static_cast<std::size_t>(a)], y = sums[static_cast<std::size_t>(b)];
      return x > y || (x == y && a < b);
    };
    const auto end = places.begin() + std::min(std::max(wanted, forced), length);
    if (end != places.end()) std::nth_element(places.begin(), end, places.end(), before);
    places.erase(end, places.end());
    std::sort(places.begin(), places.end());
    return places;
  }
};

POSENC_NAMESPACE_END
