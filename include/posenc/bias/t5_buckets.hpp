// SPDX-License-Identifier: MIT
//
// T5Buckets: the buckets of distances that share a learned bias in T5.
//
//   Raffel et al., arXiv 1910.10683; mesh-tensorflow, transformer_layers.py; transformers,
//   models/t5/modeling_t5.py (_relative_position_bucket).
//
// A side has N buckets: all num_buckets when only the past counts, otherwise half of them for keys
// up to the query and the other half, after it, for keys in the future. With E = N / 2 (rounded
// down), r = key - query and n = |r|, the first E buckets hold one distance each and the others grow
// geometrically:
//
//   bucket = n                                                        n < E
//   bucket = min(N - 1, E + floor((N - E) ln(n/E) / ln(max_distance/E)))     otherwise
//
// Erratum: the logarithm is evaluated in float32 by the reference, and distances on an edge (16,
// 32, 64 for the defaults) move to another bucket when it is rearranged or done in double. Here the
// first distance of each bucket is found exactly, in integers; it equals the float32 expression.
#pragma once

#include <posenc/core/natural.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace detail {

/// Is n >= first (last / first)^(k / count)? Both sides are raised to the power of `count`, which
/// leaves whole numbers to compare: n^count and first^(count - k) last^k. A common divisor of the
/// exponents is taken out.
inline bool reaches(Position n, Position first, Position last, Index k, Index count) {
  const Index common = std::gcd(k, count);
  Natural left, right;
  left.multiply_by_power(n, count / common);
  right.multiply_by_power(first, (count - k) / common).multiply_by_power(last, k / common);
  return !(left < right);
}

}  // namespace detail

/// T5's buckets, by the least distance |r| of each bucket of a side.
struct T5Buckets {
  std::vector<Position> starts;  ///< 0, 1, 2, ...; not decreasing; beyond the last nothing changes
  bool bidirectional = true;

  T5Buckets(bool bidirectional_, Index num_buckets, Position max_distance)
      : bidirectional(bidirectional_) {
    const Index side = bidirectional ? num_buckets / 2 : num_buckets;
    const Index exact = side / 2, count = side - exact;
    for (Index bucket = 0; bucket < exact; ++bucket) starts.push_back(bucket);
    for (Index k = 0; k < count; ++k) {
      // Floating point says where to look; where its rounding matters, integers decide.
      const double edge = static_cast<double>(exact) *
                          std::pow(static_cast<double>(max_distance) / static_cast<double>(exact),
                                   static_cast<double>(k) / static_cast<double>(count));
      auto start = static_cast<Position>(std::ceil(edge * (1 - 1e-12)));
      const auto end = static_cast<Position>(std::ceil(edge * (1 + 1e-12)));
      while (start < end && !detail::reaches(start, exact, max_distance, k, count)) ++start;
      starts.push_back(start);
    }
  }

  /// The bucket of r = key - query (not a distance, which is query - key).
  [[nodiscard]] Index bucket(Position relative_position) const {
    const Position last = starts.back();
    const Position r = std::clamp(relative_position, -last, last);
    const Position n = bidirectional ? std::abs(r) : std::max<Position>(-r, 0);
    const Index side = bidirectional && r > 0 ? std::ssize(starts) : 0;
    if (n == last) return side + std::ssize(starts) - 1;
    return side + (std::upper_bound(starts.begin(), starts.end(), n) - starts.begin()) - 1;
  }

  static void check(Problems& problems, bool bidirectional, Index num_buckets,
                    Position max_distance) {
    const Index least = bidirectional ? 4 : 2;
    const Index exact = num_buckets / least;
    problems.require(num_buckets >= least, "T5Bias: num_buckets must be at least ", least,
                     bidirectional ? " when bidirectional" : " when not bidirectional", ", got ",
                     num_buckets, ".");
    problems.require(
        max_distance > exact && max_distance <= std::numeric_limits<std::int32_t>::max(),
        "T5Bias: max_distance must exceed the ", exact,
        " distances that have a bucket of their own and be below 2^31, got ", max_distance, ".");
  }
};

/// The bucket of r = key - query; parameters in the order of the reference.
[[nodiscard]] inline Index t5_bucket(Position relative_position, bool bidirectional = true,
                                     Index num_buckets = 32, Position max_distance = 128) {
  Problems problems;
  T5Buckets::check(problems, bidirectional, num_buckets, max_distance);
  problems.raise_if_any("posenc::t5_bucket");
  return T5Buckets(bidirectional, num_buckets, max_distance).bucket(relative_position);
}

POSENC_NAMESPACE_END
