// SPDX-License-Identifier: MIT
//
// T5Bias: a learned bias per head and bucket of distances.
//
//   Raffel et al., arXiv 1910.10683; mesh-tensorflow, transformer_layers.py; transformers,
//   models/t5/modeling_t5.py (_relative_position_bucket).
//
//   score = q . k + table[bucket(r)][head],   r = key - query
//
// A side has N buckets: all num_buckets when only the past counts, otherwise half of them for keys
// up to the query and the other half, after it, for keys in the future. With E = N / 2 (rounded
// down) and n = |r|, the first E buckets hold one distance each and the others grow geometrically:
//
//   bucket = n                                                        n < E
//   bucket = min(N - 1, E + floor((N - E) ln(n/E) / ln(max_distance/E)))     otherwise
//
// T5 does not divide scores by sqrt(head_dim); its initialisation of W_q does. MPNet and TorchScale
// take the buckets and keep the division: `scaled`. One table belongs to all layers of a stack.
//
// Erratum: the logarithm is evaluated in float32 by the reference, and distances on an edge (16,
// 32, 64 for the defaults) move to another bucket when it is rearranged or done in double. Here the
// first distance of each bucket is found exactly, in integers; it equals the float32 expression.
#pragma once

#include <posenc/core/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A natural number, in digits of 32 bits, least significant first; never zero.
using Natural = std::vector<std::uint32_t>;

inline void multiply_by_power(Natural& number, Position base, Index exponent) {
  for (Index i = 0; i < exponent; ++i) {
    std::uint64_t carry = 0;
    for (std::uint32_t& digit : number) {
      carry += std::uint64_t{digit} * static_cast<std::uint64_t>(base);
      digit = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) number.push_back(static_cast<std::uint32_t>(carry));
  }
}

/// Is n >= first (last / first)^(k / count)? Exact: compares n^count with first^(count - k) last^k.
inline bool reaches(Position n, Position first, Position last, Index k, Index count) {
  const Index common = std::gcd(k, count);
  Natural left{1}, right{1};
  multiply_by_power(left, n, count / common);
  multiply_by_power(right, first, (count - k) / common);
  multiply_by_power(right, last, k / common);
  if (left.size() != right.size()) return left.size() > right.size();
  return !std::lexicographical_compare(left.rbegin(), left.rend(), right.rbegin(), right.rend());
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

/// T5Bias with its buckets at hand.
struct PreparedT5Bias {
  T5Buckets buckets;
  std::vector<float> table;
  Index num_heads;

  [[nodiscard]] double relative_bias(Index head, Position distance) const {
    const Position last = buckets.starts.back();
    const Index bucket = buckets.bucket(-std::clamp(distance, -last, last));
    return static_cast<double>(table[static_cast<std::size_t>(bucket * num_heads + head)]);
  }
};

struct T5Bias {
  std::vector<float> table{};   ///< [num_buckets][num_heads], as checkpoints store it
  Index num_buckets = 32;       ///< config: relative_attention_num_buckets
  Position max_distance = 128;  ///< config: relative_attention_max_distance
  bool bidirectional = true;    ///< true in encoders, false in decoders
  bool scaled = false;          ///< keep the softmax scale 1/sqrt(head_dim), which T5 has not

  [[nodiscard]] double score_scale(Index head_dim) const {
    return scaled ? 1 / std::sqrt(static_cast<double>(head_dim)) : 1;
  }

  [[nodiscard]] PreparedT5Bias prepare(const HeadShape& shape) const {
    return {T5Buckets(bidirectional, num_buckets, max_distance), table, shape.num_heads};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    T5Buckets::check(problems, bidirectional, num_buckets, max_distance);
    Index values = 0;
    problems.require(num_buckets < 0 || shape.num_heads < 0 ||
                         (multiply(num_buckets, shape.num_heads, values) &&
                          std::ssize(table) == values),
                     "T5Bias: table must have ", num_buckets, " buckets x ", shape.num_heads,
                     " query heads, got ", table.size(), " values.");
    problems.require(std::all_of(table.begin(), table.end(),
                                 [](float b) { return std::isfinite(b); }),
                     "T5Bias: every value of the table must be finite.");
  }
};

POSENC_NAMESPACE_END
