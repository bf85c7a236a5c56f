// SPDX-License-Identifier: MIT
//
// reference_attention: attention as the formulas say it, for tests and for readers.
//
// For query row r (index n_r, position n) and key row c (index m_c, position m) of head h:
//
//   g_i    = n - m in the coordinate of pair i (all the same where positions have only one), or
//            distance map(n, m)
//   w_i    = the frequency of pair i, times head_scale of the key head where heads turn at rates of their own
//   dot    = A^2 q^T R_-g k on the rotary block + q^T k on the other channels, where q^T R_-g k is
//            the sum over pairs of (q0 k0 + q1 k1) cos(g_i w_i) + (q0 k1 - q1 k0) sin(g_i w_i),
//            each pair times exp(growth_i (n - m)) where the encoding grows (XPos); q of the dot has
//            every query bias
//   dot   += <q, r> of every relative key r, <k, s> of every relative query s, and their constants,
//            by the bucket of n - m, without rotation and factor
//   dot   += what positions by context add, which see q^T k of all keys (reference_context.hpp)
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

#include <posenc/attention/call/checks.hpp>
#include <posenc/attention/call/coordinates.hpp>
#include <posenc/attention/call/distances.hpp>
#include <posenc/attention/reference_context.hpp>
#include <posenc/bind/bind.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct ReferenceResult {
  std::vector<double> out;                    ///< [query tokens][query heads][value width]
  std::vector<double> lse;                    ///< [query tokens][query heads], natural log
  std::vector<double> entropy{}, greatest{};  ///< of each row, as RowStatistics has them
};

namespace detail::reference {

/// R_-g for one query and one key: y0 = x0 cos + x1 sin, y1 = x1 cos - x0 sin on each pair, a copy
/// elsewhere. Nothing rotates without a rotary base.
class BackwardRotation {
 public:
  /// Query token r of `query`, key token c of `key`, of a key head.
  BackwardRotation(const Answers& answers, const Rotary& rotary, Index kv_head,
                   const Positions& query, Index r, const Positions& key, Index c)
      : rotary_(&rotary) {
    if (!rotary.layout) return;
    const RotaryState& state = rotary.state;
    distance_.resize(state.inv_freq.size());
    for (Index i = 0; i < distance_.size(); ++i) {
      const int axis = state.axis.empty() ? 0 : state.axis[static_cast<std::size_t>(i)];
      distance_[i] = answers.map().distance(query.at(axis, r), key.at(axis, c));
      if (state.head_scale.size() != 0)
        distance_[i] *= state.head_scale[kv_head * distance_.size() + i];
    }
    const Vector angles = state.inv_freq * distance_;
    cos_ = angles.cos();
    sin_ = angles.sin();
    magnitude_ = Vector::Constant(angles.size(), state.attention_factor * state.attention_factor);
    if (state.growth.size() != 0)
      magnitude_ *= (static_cast<double>(query[r] - key[c]) * state.growth).exp();
  }

  /// A key as the query sees it, with the magnitudes of both.
  [[nodiscard]] Vector key(Vector x) const { return rotated(std::move(x), true, 1); }
  /// A value as the query sees it.
  [[nodiscard]] Vector value(Vector x) const { return rotated(std::move(x), false, 1); }
  /// Gradients of what these return become those of what they were given.
  [[nodiscard]] Vector key_gradient(Vector x) const { return rotated(std::move(x), true, -1); }
  [[nodiscard]] Vector value_gradient(Vector x) const { return rotated(std::move(x), false, -1); }
  /// d <x, y> / d w_i, where y is what key() or value() returned.
  [[nodiscard]] Vector frequency_gradient(const Vector& x, const Vector& y) const {
    Vector gradient(distance_.size());
    for (Index i = 0; i < gradient.size(); ++i) {
      const Index a = rotary_->offset + rotary_->layout->first(i, gradient.size()),
                  b = rotary_->offset + rotary_->layout->second(i, gradient.size());
      gradient[i] = distance_[i] * (x[a] * y[b] - x[b] * y[a]);
    }
    return gradient;
  }

 private:
  [[nodiscard]] Vector rotated(Vector x, bool with_magnitude, double direction) const {
    const Index pairs = cos_.size(), offset = rotary_->offset;
    for (Index i = 0; i < pairs; ++i) {
      double& a = x[offset + rotary_->layout->first(i, pairs)];
      double& b = x[offset + rotary_->layout->second(i, pairs)];
      const double magnitude = with_magnitude ? magnitude_[i] : 1, sin = direction * sin_[i];
      const double rotated_a = magnitude * (a * cos_[i] + b * sin);
      b = magnitude * (b * cos_[i] - a * sin);
      a = rotated_a;
    }
    return x;
  }

  const Rotary* rotary_;
  Vector distance_;  ///< of each pair, times what its frequency is multiplied by for the head
  Vector cos_, sin_, magnitude_;
};

/// A tensor of any element as doubles of its own.
class Widened {
 public:
  template <class T>
  explicit Widened(const TensorView<T>& x)
      : values_(static_cast<std::size_t>(x.tokens * x.heads * x.width)),
        view_(values_.data(), x.tokens, x.heads, x.width) {
    double* to = values_.data();
    for (Index t = 0; t < x.tokens; ++t)
      for (Index h = 0; h < x.heads; ++h)
        for (Index d = 0; d < x.width; ++d) *to++ = static_cast<double>(widen(x(t, h, d)));
  }
  operator TensorView<const double>() const { return view_; }

 private:
  std::vector<double> values_;
  TensorView<const double> view_;
};

inline Vector head_vector(const TensorView<const double>& x, Index token, Index head) {
  Vector values(x.width);
  for (Index d = 0; d < x.width; ++d) values[d] = x(token, head, d);
  return values;
}

/// Biases and score maps, in the order written.
inline double apply_stages(const Answers& answers, double x, const Score& at) {
  for (const auto& [self, ask] : answers.asked())
    if (ask->change) x = ask->change(self, x, at);
  return x;
}

/// The query as it meets keys.
inline Vector with_query_biases(const Answers& answers, Vector query, Index head) {
  for (const auto& [self, ask] : answers.asked()) {
    if (!ask->query_bias) continue;
    const std::span<const float> bias = ask->query_bias(self, head);
    for (std::size_t d = 0; d < bias.size(); ++d)
      query[static_cast<Index>(d)] += static_cast<double>(bias[d]);
  }
  return query;
}

/// Products with the vectors of a pair's distance.
inline double relative_products(const Answers& answers, const Vector& query, const Vector& key,
                                const Score& at) {
  double sum = 0;
  const auto product = [&](const RelativeTable& table, const Vector& x, Index bucket) {
    if (table.data)
      sum += (x * row_vector(table, at.head, bucket)).sum() + table.constant(at.head, bucket);
  };
  for (const auto& [self, ask] : answers.asked()) {
    if (ask->relative_keys)
      product(ask->relative_keys(self), query, ask->bucket(self, at.query - at.key));
    if (ask->relative_queries)
      product(ask->relative_queries(self), key, ask->bucket(self, at.query - at.key));
  }
  return sum;
}

/// A value with the vectors of a pair's distance.
inline Vector with_relative_values(const Answers& answers, Vector value, const Score& at) {
  for (const auto& [self, ask] : answers.asked())
    if (ask->relative_values)
      if (const RelativeTable table = ask->relative_values(self); table.data)
        value += row_vector(table, at.head, ask->bucket(self, at.query - at.key));
  return value;
}

/// Throws where a component has no vector for the distance of a pair that is seen.
inline void require_vectors(const Answers& answers, const Score& at) {
  Problems problems;
  for (const auto& [self, ask] : answers.asked()) {
    if (!ask->distances) continue;
    const Interval allowed = ask->distances(self);
    const Position distance = at.query - at.key;
    problems.require(distance >= allowed.first && distance <= allowed.last, "the distance of ",
                     distance, " from position ", at.query, " to ", at.key,
                     " has no vector, only those of ", allowed.first, " to ", allowed.last,
                     " have.");
  }
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

/// Everything that the components say about one call, asked one row at a time. T is double: a template,
/// so that a program can have it compiled once.
template <class T>
struct Call {
  const Answers& answers;
  const Rotary& rotary;
  TensorView<const T> q, k, v;
  Positions query, key, query_index, key_index;
  Index sequence = 0;
  std::vector<T>* all_weights = nullptr;  ///< [query][head][key], appended to

  [[nodiscard]] ReferenceResult attend() const;

  /// How row r sees each key, for a head and those behind it that rotate alike.
  [[nodiscard]] std::vector<BackwardRotation> rotations_of(Index r, Index h) const {
    std::vector<BackwardRotation> rotations;
    rotations.reserve(static_cast<std::size_t>(k.tokens));
    for (Index c = 0; c < k.tokens; ++c)
      rotations.emplace_back(answers, rotary, h / (q.heads / k.heads), query, r, key, c);
    return rotations;
  }
  [[nodiscard]] Index heads_alike() const {
    return rotary.state.head_scale.size() == 0 ? q.heads : q.heads / k.heads;
  }

 private:
  /// Writes the output of row r of a head, appends its statistics and returns its lse.
  T attend(Index r, Index h, const std::vector<BackwardRotation>& rotations, T* out,
           ReferenceResult& result) const;
};

template <class T>
ReferenceResult Call<T>::attend() const {
  const auto rows = static_cast<std::size_t>(q.tokens * q.heads);
  ReferenceResult result{std::vector<T>(rows * static_cast<std::size_t>(v.width)),
                         std::vector<T>(rows)};
  T *out = result.out.data(), *lse = result.lse.data();
  for (Index r = 0; r < q.tokens; ++r) {
    std::vector<BackwardRotation> rotations;
    for (Index h = 0; h < q.heads; ++h, out += v.width) {
      if (h % heads_alike() == 0) rotations = rotations_of(r, h);
      *lse++ = attend(r, h, rotations, out, result);
    }
  }
  return result;
}

template <class T>
T Call<T>::attend(Index r, Index h, const std::vector<BackwardRotation>& rotations, T* out,
                  ReferenceResult& result) const {
  const Index kv_head = h / (q.heads / k.heads);
  const double scale = answers.scale(q.width, rotary) * answers.temperature(query[r]);
  const Vector plain_query = head_vector(q, r, h);
  const Vector query_vector = with_query_biases(answers, plain_query, h);
  std::vector<Index> keys;  // those that are visible; behind their logits stand the sinks
  std::vector<double> weights, products, others;
  for (Index c = 0; c < k.tokens; ++c) {
    const Score at{query[r], key[c], query_index[r], key_index[c], h, sequence};
    if (!answers.visible(at)) continue;
    const BackwardRotation& rotation = rotations[static_cast<std::size_t>(c)];
    require_vectors(answers, at);
    const Vector plain_key = head_vector(k, c, kv_head);
    keys.push_back(c);
    products.push_back(scale * (query_vector * rotation.key(plain_key)).sum());
    others.push_back(scale * relative_products(answers, plain_query, plain_key, at));
  }
  const ContextRow context(answers, plain_query, h, scale, products);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Score at{query[r], key[keys[i]], query_index[r], key_index[keys[i]], h, sequence};
    weights.push_back(apply_stages(answers, products[i] + others[i] + context.added(i), at));
  }
  for (const auto& [self, ask] : answers.asked())
    if (ask->sink_logit) weights.push_back(ask->sink_logit(self, h));

  const double lse = softmax(weights);
  Vector sum = Vector::Zero(v.width);
  for (std::size_t i = 0; i < keys.size() && lse != -std::numeric_limits<double>::infinity(); ++i) {
    Vector value = head_vector(v, keys[i], kv_head);
    if (answers.facts().rotates_values)
      value = rotations[static_cast<std::size_t>(keys[i])].value(std::move(value));
    const Score at{query[r], key[keys[i]], query_index[r], key_index[keys[i]], h, sequence};
    sum += weights[i] * with_relative_values(answers, std::move(value), at);
  }
  for (Index d = 0; d < v.width; ++d) out[d] = sum[d];
  if (all_weights) {
    const auto row =
        all_weights->insert(all_weights->end(), static_cast<std::size_t>(k.tokens), T{0});
    for (std::size_t i = 0; i < keys.size(); ++i) row[keys[i]] = weights[i];
  }
  T entropy = 0, greatest = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] != 0) entropy -= weights[i] * std::log(weights[i]);
    if (i < keys.size()) greatest = std::max(greatest, weights[i]);
  }
  if (std::isnan(entropy)) greatest = entropy;  // some weight is
  result.entropy.push_back(entropy);
  result.greatest.push_back(greatest);
  return lse;
}

#if defined(POSENC_DETAIL_DOUBLE)
POSENC_DETAIL_DOUBLE ReferenceResult Call<double>::attend() const;
#endif

/// Where the tokens of a call stand, and the frequencies that hold there.
template <class U>
class Positioned {
 public:
  Positioned(const Answers& answers, Index queries, Index keys, const AttentionOptions<U>& options)
      : answers_(answers), rotary_(answers.rotary()),
        query_index_(options.query_offset.value_or(options.key_offset + keys - queries)),
        key_index_(options.key_offset), query_(options.query_positions.value_or(query_index_)),
        key_(options.key_positions.value_or(key_index_)), sequence_(options.sequence) {
    if (!answers.facts().depends_on_length || answers.options().length != 0) return;
    Position length = 0;  // of this call, where the encoding was bound without one
    for (int axis = 0; axis < rotary_.state.axes; ++axis) {
      for (Index r = 0; r < queries; ++r) length = std::max(length, query_.at(axis, r) + 1);
      for (Index c = 0; c < keys; ++c) length = std::max(length, key_.at(axis, c) + 1);
    }
    if (length != 0) rotary_ = answers.rotary_at(length);
  }
  [[nodiscard]] Call<double> call(const TensorView<const double>& q,
                                  const TensorView<const double>& k,
                                  const TensorView<const double>& v) const {
    return {answers_, rotary_, q, k, v, query_, key_, query_index_, key_index_, sequence_, nullptr};
  }

 private:
  const Answers& answers_;
  Rotary rotary_;
  Positions query_index_, key_index_, query_, key_;
  Index sequence_;
};

/// Reports what is wrong with a call.
template <class Q, class K, class V, class U>
void check_call(const TensorView<Q>& q, const TensorView<K>& k, const TensorView<V>& v,
                const Answers& answers, const AttentionOptions<U>& options) {
  const HeadShape& heads = answers.shape();
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
  check_relative_widths(problems, answers, q.width, v.width);
  if (answers.facts().rotates_values)
    problems.require(v.width >= answers.rotary().offset + 2 * answers.rotary().pairs(),
                     "values rotate like keys, but ", v.width, " channels are too few for that.");
  problems.require(options.query_offset || q.tokens <= k.tokens, "there are ", q.tokens,
                   " queries but only ", k.tokens, " keys, so set query_offset.");
  const Positions query_index =
      options.query_offset.value_or(options.key_offset + k.tokens - q.tokens);
  check_attended(problems, "queries", options.query_positions.value_or(query_index), q.tokens,
                 answers.rotary().state);
  check_attended(problems, "keys", options.key_positions.value_or(Positions(options.key_offset)),
                 k.tokens, answers.rotary().state);
  if (problems.empty() && q.tokens > 0 && k.tokens > 0)
    check_known_tokens(problems, answers, options.sequence,
                       {std::min(query_index[0], options.key_offset),
                        std::max(query_index[q.tokens - 1], options.key_offset + k.tokens - 1)});
  problems.raise_if_any("posenc::reference_attention");
}

}  // namespace detail::reference

/// q [query tokens, num_heads, head_dim], k [key tokens, num_kv_heads, head_dim],
/// v [key tokens, num_kv_heads, any width], of any elements. Of the options only offsets and
/// positions are read. Throws Error on shapes that do not fit each other or the encoding.
template <class Q, class K, class V, class E>
[[nodiscard]] ReferenceResult reference_attention(
    TensorView<Q> q, TensorView<K> k, TensorView<V> v, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<arithmetic_t<std::remove_const_t<Q>>>>& options =
        {}) {
  detail::reference::check_call(q, k, v, bound.answers(), options);
  const detail::reference::Widened queries(q), keys(k), values(v);
  const detail::reference::Positioned<arithmetic_t<std::remove_const_t<Q>>> at(
      bound.answers(), q.tokens, k.tokens, options);
  return at.call(queries, keys, values).attend();
}

/// The weights of all heads, [query tokens][query heads][key tokens].
template <class Q, class E>
[[nodiscard]] std::vector<double> reference_weights(
    TensorView<Q> q, std::type_identity_t<TensorView<const std::remove_const_t<Q>>> k,
    const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<arithmetic_t<std::remove_const_t<Q>>>>& options =
        {}) {
  detail::reference::check_call(q, k, k, bound.answers(), options);
  const detail::reference::Widened queries(q), keys(k);
  const detail::reference::Positioned<arithmetic_t<std::remove_const_t<Q>>> at(
      bound.answers(), q.tokens, k.tokens, options);
  auto call = at.call(queries, keys, keys);
  std::vector<double> weights;
  call.all_weights = &weights;
  (void)call.attend();
  return weights;
}

/// reference_attention for tensors of one element, which may be written in braces.
template <class Q, class E>
[[nodiscard]] ReferenceResult reference_attention(
    TensorView<Q> q, std::type_identity_t<TensorView<const std::remove_const_t<Q>>> k,
    std::type_identity_t<TensorView<const std::remove_const_t<Q>>> v, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<arithmetic_t<std::remove_const_t<Q>>>>& options =
        {}) {
  return reference_attention<const std::remove_const_t<Q>, const std::remove_const_t<Q>,
                             const std::remove_const_t<Q>, E>(q, k, v, bound, options);
}

POSENC_NAMESPACE_END
