// SPDX-License-Identifier: MIT
//
// Questions about vectors: those that a distance decides, and those that contents do. See concepts.hpp.
#pragma once

#include <posenc/core/relative_table.hpp>

#include <concepts>
#include <span>

POSENC_NAMESPACE_BEGIN

/// bucket(distance): which vector belongs to a distance (query - key). It answers for every distance,
/// of either sign, within [0, buckets) of the component's tables, and never turns back: it is the
/// same or greater for a greater distance, or the same or less for all of them. Distances are the
/// true ones, also where a distance map rewrites those of the rotation.
///
/// Optional:
///   distances()              the interval of distances that have a vector; a call in which a query
///                            sees a key at another one is refused. Without it, every distance has.
template <class T>
concept DistanceBuckets = requires(const T c, Position distance) {
  { c.bucket(distance) } -> std::convertible_to<Index>;
};

/// A vector r per query head and bucket that queries meet beside keys:
///   score += scale * temperature * (<q, r(head, bucket)> + constant(head, bucket))
/// The query is the one that was passed: rotations and query biases are left out.
template <class T>
concept RelativeKeys = DistanceBuckets<T> && requires(const T c) {
  { c.relative_keys() } -> std::same_as<RelativeTable>;
};

/// A vector s per query head and bucket that keys meet beside queries:
///   score += scale * temperature * (<k, s(head, bucket)> + constant(head, bucket))
/// The key is the one that was passed, without rotation. Memory of a call grows with the number of
/// buckets.
template <class T>
concept RelativeQueries = DistanceBuckets<T> && requires(const T c) {
  { c.relative_queries() } -> std::same_as<RelativeTable>;
};

/// A vector a per query head and bucket that is added to the values of the keys at its distances:
///   out += sum over keys of weight * a(head, bucket)
/// Memory of a call grows with the number of buckets. Vectors are as wide as values; constants have
/// no meaning here. RotateValues does not turn them.
template <class T>
concept RelativeValues = DistanceBuckets<T> && requires(const T c) {
  { c.relative_values() } -> std::same_as<RelativeTable>;
};

/// query_bias(head): a vector that is added to the queries of a head before they are rotated and meet
/// keys; empty for none. Relative vectors meet the queries without it.
template <class T>
concept QueryBias = requires(const T c, Index head) {
  { c.query_bias(head) } -> std::same_as<std::span<const float>>;
};

/// A vector e per query head and position, where contents decide which position a key has for a query: the gates of
/// all keys that the query sees from this one on, together,
///   position = min(sum of sigmoid(x), positions - 1),   x = scale * temperature * <q, k> as they meet
///   score   += (scale * temperature *) lerp(<q, e(head, floor position)>, <q, e(head, ceil position)>)
/// Keys count in the order of their places in the sequence. The query of the products is the one that was passed.
/// Kernels walk the keys of a query from the last on.
template <class T>
concept ContextPositions = requires(const T c) {
  { c.context_positions() } -> std::same_as<ContextTable>;
};

POSENC_NAMESPACE_END
