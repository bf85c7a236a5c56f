// SPDX-License-Identifier: MIT
//
// reference_attention: attention as the formulas say it, for tests and for readers.
//
// For query row r (index n_r, position n) and key row c (index m_c, position m) of head h:
//
//   g_i    = n - m in the coordinate of pair i (all the same where positions have only one), or
//            distance map(n, m)
//   dot    = A^2 q^T R_-g k on the rotary block + q^T k on the other channels, where q^T R_-g k is
//            the sum over pairs of (q0 k0 + q1 k1) cos(g_i w_i) + (q0 k1 - q1 k0) sin(g_i w_i),
//            each pair times exp(growth_i (n - m)) where the encoding grows (XPos); q of the dot has
//            every query bias
//   dot   += <q, r> of every relative key r, <k, s> of every relative query s, and their constants,
//            by the bucket of n - m, without rotation and factor
//   x      = scale * temperature(n) * dot, then every bias and score map in the order written
//   p      = e^x / (e^sink + sum over visible keys of e^x)
//   out    = sum p v, or sum p R_-g v on the rotary block where values rotate, + sum p a of every
//            relative value a
//   lse    = ln(e^sink + sum e^x)
//
// A key that a mask hides takes no part, whatever it holds. A row without weights, because it sees
// nothing or all its scores are minus infinity, is zero, and its lse is the sink's or minus
// infinity. NaN, and a score of plus infinity, make their row NaN.
//
// Everything is dense, in double, one pair of tokens at a time, and O(tokens^2) in memory and time.
// It shares nothing with the fused kernel, neither tiles nor tables: components are asked for their
// elementwise answers only, and angles are g * w_i whatever Angles the encoding is bound with.
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/attention/options.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct ReferenceResult {
  std::vector<double> out;  ///< [query tokens][query heads][value width]
  std::vector<double> lse;  ///< [query tokens][query heads], natural log
};

// Calls below are qualified, so that a user's namespace that has a visible() of its own is not
// asked.
namespace detail::reference {

using Vector = Frequencies;

/// R_-g for one query and one key: y0 = x0 cos + x1 sin, y1 = x1 cos - x0 sin on each pair, a copy
/// elsewhere. Nothing rotates without a rotary base.
template <class BoundT>
class BackwardRotation {
 public:
  /// Query token r of `query`, key token c of `key`.
  BackwardRotation(const BoundT& bound, [[maybe_unused]] const Positions& query,
                   [[maybe_unused]] Index r, [[maybe_unused]] const Positions& key,
                   [[maybe_unused]] Index c)
      : bound_(&bound) {
    if constexpr (BoundT::has_rotary) {
      const RotaryState& state = bound.rotary().state;
      Vector angles = state.inv_freq;
      for (Index i = 0; i < angles.size(); ++i) {
        const int axis = state.axis.empty() ? 0 : state.axis[static_cast<std::size_t>(i)];
        angles[i] *= bound.distance_map().distance(query.at(axis, r), key.at(axis, c));
      }
      cos_ = angles.cos();
      sin_ = angles.sin();
      magnitude_ = Vector::Constant(angles.size(), state.attention_factor * state.attention_factor);
      if (state.growth.size() != 0)
        magnitude_ *= (static_cast<double>(query[r] - key[c]) * state.growth).exp();
    }
  }

  /// A key as the query sees it, with the magnitudes of both.
  [[nodiscard]] Vector key(const Vector& x) const { return rotated(x, magnitude_); }
  /// A value as the query sees it.
  [[nodiscard]] Vector value(const Vector& x) const {
    return rotated(x, Vector::Ones(magnitude_.size()));
  }

 private:
  [[nodiscard]] Vector rotated(const Vector& x, [[maybe_unused]] const Vector& magnitude) const {
    Vector y = x;
    if constexpr (BoundT::has_rotary) {
      using LayoutT = typename BoundT::rotary_type::layout;
      const Index pairs = cos_.size(), offset = bound_->rotary().offset;
      for (Index i = 0; i < pairs; ++i) {
        const Index a = offset + LayoutT::first(i, pairs), b = offset + LayoutT::second(i, pairs);
        y[a] = magnitude[i] * (x[a] * cos_[i] + x[b] * sin_[i]);
        y[b] = magnitude[i] * (x[b] * cos_[i] - x[a] * sin_[i]);
      }
    }
    return y;
  }

  const BoundT* bound_;
  Vector cos_, sin_, magnitude_;
};

template <class T>
Vector head_vector(const TensorView<const T>& x, Index token, Index head) {
  Vector values(x.width);
  for (Index d = 0; d < x.width; ++d) values[d] = static_cast<double>(x(token, head, d));
  return values;
}

template <class BoundT, class F>
void each_stage(const BoundT& bound, F&& f) {
  std::apply([&](const auto&... stage) { (f(stage), ...); }, bound.stages());
}

template <class BoundT>
bool visible(const BoundT& bound, const Score& at) {
  bool all = true;
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (Mask<S>) all = all && stage.visible(at);
  });
  return all;
}

/// Biases and score maps, in the order written.
template <class BoundT>
double apply_stages(const BoundT& bound, double x, const Score& at) {
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (RelativeBias<S>)
      x += static_cast<double>(stage.relative_bias(at.head, at.query - at.key));
    else if constexpr (ScoreBias<S>)
      x += static_cast<double>(stage.score_bias(at));
    if constexpr (ScoreMap<S>) x = static_cast<double>(stage.map_score(x, at));
  });
  return x;
}

inline Vector row_vector(const RelativeTable& table, Index head, Index bucket) {
  Vector values(table.width);
  for (Index d = 0; d < table.width; ++d)
    values[d] = static_cast<double>(table.row(head, bucket)[d]);
  return values;
}

/// The query as it meets keys.
template <class BoundT>
Vector with_query_biases(const BoundT& bound, Vector query, Index head) {
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (QueryBias<S>) {
      const std::span<const float> bias = stage.query_bias(head);
      for (std::size_t d = 0; d < bias.size(); ++d)
        query[static_cast<Index>(d)] += static_cast<double>(bias[d]);
    }
  });
  return query;
}

/// Products with the vectors of a pair's distance.
template <class BoundT>
double relative_products(const BoundT& bound, const Vector& query, const Vector& key,
                         const Score& at) {
  double sum = 0;
  const auto product = [&](const RelativeTable& table, const Vector& x, Index bucket) {
    if (table.data)
      sum += (x * reference::row_vector(table, at.head, bucket)).sum() +
             table.constant(at.head, bucket);
  };
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (RelativeKeys<S>)
      product(stage.relative_keys(), query, stage.bucket(at.query - at.key));
    if constexpr (RelativeQueries<S>)
      product(stage.relative_queries(), key, stage.bucket(at.query - at.key));
  });
  return sum;
}

/// A value with the vectors of a pair's distance.
template <class BoundT>
Vector with_relative_values(const BoundT& bound, Vector value, const Score& at) {
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (RelativeValues<S>)
      if (const RelativeTable table = stage.relative_values(); table.data)
        value += reference::row_vector(table, at.head, stage.bucket(at.query - at.key));
  });
  return value;
}

/// Throws where a component has no vector for the distance of a pair that is seen.
template <class BoundT>
void require_vectors(const BoundT& bound, const Score& at) {
  Problems problems;
  reference::each_stage(bound, [&]<class S>(const S& stage) {
    if constexpr (requires { stage.distances(); }) {
      const Interval allowed = stage.distances();
      const Position distance = at.query - at.key;
      problems.require(distance >= allowed.first && distance <= allowed.last, "the distance of ",
                       distance, " from position ", at.query, " to ", at.key,
                       " has no vector, only those of ", allowed.first, " to ", allowed.last,
                       " have.");
    }
  });
  problems.raise_if_any("posenc::reference_attention");
}

/// Turns logits into weights and returns their log-sum-exp; where nothing has weight, zeros and
/// minus infinity.
inline double softmax(std::vector<double>& logits) {
  double greatest = -std::numeric_limits<double>::infinity();
  for (const double x : logits) greatest = std::max(greatest, x);
  if (!std::isfinite(greatest)) greatest = 0;  // the sum is then 0, NaN or infinite
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - greatest);
  for (double& x : logits) x = sum == 0 ? 0 : std::exp(x - greatest) / sum;
  return std::log(sum) + greatest;
}

/// Everything that the components say about one call, asked one row at a time.
template <class BoundT, class T>
struct Call {
  const BoundT& bound;
  TensorView<const T> q, k, v;
  Positions query, key, query_index, key_index;

  /// Writes the output of row r of every head and its lse.
  void attend(Index r, double* out, double* lse) const {
    std::vector<BackwardRotation<BoundT>> rotations;
    for (Index c = 0; c < k.tokens; ++c) rotations.emplace_back(bound, query, r, key, c);
    for (Index h = 0; h < q.heads; ++h) lse[h] = attend(r, h, rotations, out + h * v.width);
  }

 private:
  double attend(Index r, Index h, const std::vector<BackwardRotation<BoundT>>& rotations,
                double* out) const {
    const Index kv_head = h / (q.heads / k.heads);
    const double scale = bound.scale(q.width) * bound.temperature(query[r]);
    const Vector plain_query = reference::head_vector(q, r, h);
    const Vector query_vector = reference::with_query_biases(bound, plain_query, h);
    std::vector<Index> keys;  // those that are visible; behind their logits stand the sinks
    std::vector<double> weights;
    for (Index c = 0; c < k.tokens; ++c) {
      const Score at{query[r], key[c], query_index[r], key_index[c], h};
      if (!reference::visible(bound, at)) continue;
      const BackwardRotation<BoundT>& rotation = rotations[static_cast<std::size_t>(c)];
      reference::require_vectors(bound, at);
      const Vector plain_key = reference::head_vector(k, c, kv_head);
      const double dot = (query_vector * rotation.key(plain_key)).sum() +
                         reference::relative_products(bound, plain_query, plain_key, at);
      keys.push_back(c);
      weights.push_back(reference::apply_stages(bound, scale * dot, at));
    }
    reference::each_stage(bound, [&]<class S>(const S& stage) {
      if constexpr (SoftmaxSink<S>) weights.push_back(static_cast<double>(stage.sink_logit(h)));
    });

    const double lse = reference::softmax(weights);
    Vector sum = Vector::Zero(v.width);
    for (std::size_t i = 0; i < keys.size() && lse != -std::numeric_limits<double>::infinity();
         ++i) {
      Vector value = reference::head_vector(v, keys[i], kv_head);
      if constexpr (BoundT::rotates_values)
        value = rotations[static_cast<std::size_t>(keys[i])].value(value);
      const Score at{query[r], key[keys[i]], query_index[r], key_index[keys[i]], h};
      sum += weights[i] * reference::with_relative_values(bound, value, at);
    }
    for (Index d = 0; d < v.width; ++d) out[d] = sum[d];
    return lse;
  }
};

/// The positions of a call and what is wrong with it.
template <class T, class BoundT>
Call<BoundT, T> check_call(const TensorView<const T>& q, const TensorView<const T>& k,
                           const TensorView<const T>& v, const BoundT& bound,
                           const AttentionOptions<T>& options) {
  const HeadShape& heads = bound.shape();
  Problems problems;
  problems.require(
      q.heads == heads.num_heads && k.heads == heads.num_kv_heads && v.heads == heads.num_kv_heads,
      "the encoding is bound to ", heads.num_heads, " query and ", heads.num_kv_heads,
      " key and value heads, got ", q.heads, " of q, ", k.heads, " of k, ", v.heads, " of v.");
  problems.require(q.width > 0 && q.width == k.width &&
                       (heads.head_dim == 0 || q.width == heads.head_dim),
                   "q and k must have ", heads.head_dim == 0 ? q.width : heads.head_dim,
                   " channels, got ", q.width, " and ", k.width, ".");
  problems.require(k.tokens == v.tokens, "got ", k.tokens, " keys, but ", v.tokens, " values.");
  detail::check_relative_widths(problems, bound, q.width, v.width);
  if constexpr (BoundT::rotates_values)
    problems.require(v.width >= bound.rotary().offset + 2 * bound.rotary().pairs(),
                     "values rotate like keys, but ", v.width, " channels are too few for that.");
  problems.require(options.query_offset || q.tokens <= k.tokens, "there are ", q.tokens,
                   " queries but only ", k.tokens, " keys, so set query_offset.");

  const Positions query_index =
      options.query_offset.value_or(options.key_offset + k.tokens - q.tokens);
  const Positions key_index = options.key_offset;
  const Positions query = options.query_positions.value_or(query_index);
  const Positions key = options.key_positions.value_or(key_index);
  const RotaryState& rotary = detail::rotary_state(bound);
  detail::check_attended(problems, "queries", query, q.tokens, rotary);
  detail::check_attended(problems, "keys", key, k.tokens, rotary);
  problems.raise_if_any("posenc::reference_attention");
  return {bound, q, k, v, query, key, query_index, key_index};
}

template <class T, class BoundT>
ReferenceResult attend(const Call<BoundT, T>& call) {
  const Index queries = call.q.tokens, heads = call.q.heads, width = call.v.width;
  const auto rows = static_cast<std::size_t>(queries * heads);
  ReferenceResult result{std::vector<double>(rows * static_cast<std::size_t>(width)),
                         std::vector<double>(rows)};
  for (Index r = 0; r < queries; ++r)
    call.attend(r, result.out.data() + r * heads * width, result.lse.data() + r * heads);
  return result;
}

}  // namespace detail::reference

/// q [query tokens, num_heads, head_dim], k [key tokens, num_kv_heads, head_dim],
/// v [key tokens, num_kv_heads, any width], of float or double. Of the options only offsets and
/// positions are read. Throws Error on shapes that do not fit each other or the encoding.
template <class Q, class E>
[[nodiscard]] ReferenceResult reference_attention(
    TensorView<Q> q, std::type_identity_t<TensorView<const Q>> k,
    std::type_identity_t<TensorView<const Q>> v, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<std::remove_const_t<Q>>>& options = {}) {
  using T = std::remove_const_t<Q>;
  const auto call =
      detail::reference::check_call<T>(TensorView<const T>(q), k, v, bound.answers(), options);
  if constexpr (Bound<E>::depends_on_length) {  // by the length of this call, if bound without one
    Position length = 0;
    for (int axis = 0; axis < detail::rotary_state(bound.answers()).axes; ++axis) {
      for (Index r = 0; r < q.tokens; ++r) length = std::max(length, call.query.at(axis, r) + 1);
      for (Index c = 0; c < k.tokens; ++c) length = std::max(length, call.key.at(axis, c) + 1);
    }
    if (bound.options().length == 0 && length != 0)
      return reference_attention<Q, E>(q, k, v, bound.at_length(length), options);
  }
  return detail::reference::attend(call);
}

POSENC_NAMESPACE_END
