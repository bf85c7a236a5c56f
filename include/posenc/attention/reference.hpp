// SPDX-License-Identifier: MIT
//
// reference_attention: attention as the formulas say it, for tests and for readers.
//
// For query row r (index n_r, position n) and key row c (index m_c, position m) of head h:
//
//   g      = distance map(n, m), or n - m without one
//   dot    = A^2 sum_pairs [ (q0 k0 + q1 k1) cos(g w_i) + (q0 k1 - q1 k0) sin(g w_i) ]     = A^2 q^T R_-g k
//            + sum over the channels that do not rotate of q k
//   x      = scale * temperature(n) * dot, then every bias and score map in the order written
//   p      = e^x / (e^sink + sum over visible keys of e^x)
//   out    = sum p v, or sum p R_-g v on the rotary block where values rotate
//   lse    = ln(e^sink + sum e^x)
//
// A key that a mask hides takes no part, whatever it holds. A row without weights, because it sees
// nothing or all its scores are minus infinity, is zero, and its lse is the sink's or minus infinity.
// NaN, and a score of plus infinity, make their row NaN.
//
// Everything is dense, in double, one pair of tokens at a time, and O(tokens^2) in memory and time. It
// shares nothing with the fused kernel, neither tiles nor tables: components are asked for their
// elementwise answers only, and angles are g * w_i whatever Angles the encoding is bound with.
#pragma once

#include <posenc/attention/bind.hpp>
#include <posenc/attention/options.hpp>

#include <cmath>
#include <limits>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct ReferenceResult {
  std::vector<double> out;  ///< [query tokens][query heads][value width]
  std::vector<double> lse;  ///< [query tokens][query heads], natural log
};

namespace detail::reference {

/// A bound encoding, asked one pair of tokens at a time.
template <class BoundT>
struct PairAnswers {
  const BoundT& bound;

  [[nodiscard]] bool visible(const Score& at) const {
    bool all = true;
    each_stage([&]<class S>(const S& stage) {
      if constexpr (Mask<S>) all = all && stage.visible(at);
    });
    return all;
  }

  /// The score stages, in the order written.
  [[nodiscard]] double stages(double x, const Score& at) const {
    each_stage([&]<class S>(const S& stage) {
      if constexpr (RelativeBias<S>)
        x += stage.relative_bias(at.head, at.query - at.key);
      else if constexpr (ScoreBias<S>)
        x += stage.score_bias(at);
      if constexpr (ScoreMap<S>) x = stage.map_score(x, at);
    });
    return x;
  }

  /// Logits without a value.
  [[nodiscard]] std::vector<double> sinks(Index head) const {
    std::vector<double> logits;
    each_stage([&]<class S>(const S& stage) {
      if constexpr (SoftmaxSink<S>) logits.push_back(stage.sink_logit(head));
    });
    return logits;
  }

 private:
  template <class F>
  void each_stage(F&& f) const {
    std::apply([&](const auto&... stage) { (f(stage), ...); }, bound.stages());
  }
};

/// The rotation R_-g of one distance g: y0 = x0 cos + x1 sin, y1 = x1 cos - x0 sin on each pair, a copy
/// on the channels that do not rotate. Nothing rotates in an encoding without a rotary base.
struct BackwardRotation {
  Frequencies cos, sin;
  std::vector<Index> first, second;  ///< channels of each pair

  template <class BoundT>
  explicit BackwardRotation(const BoundT& bound) {
    if constexpr (BoundT::has_rotary) {
      using Layout = typename BoundT::rotary_type::layout;
      const Index pairs = bound.rotary().state.inv_freq.size();
      for (Index i = 0; i < pairs; ++i) {
        first.push_back(bound.rotary().offset + Layout::first(i, pairs));
        second.push_back(bound.rotary().offset + Layout::second(i, pairs));
      }
    }
  }

  void set_angles(const Frequencies& angles) {
    cos = angles.cos();
    sin = angles.sin();
  }

  void rotate(std::vector<double>& x, double amplitude) const {
    for (std::size_t i = 0; i < first.size(); ++i) {
      double& x0 = x[static_cast<std::size_t>(first[i])];
      double& x1 = x[static_cast<std::size_t>(second[i])];
      const double c = amplitude * cos[static_cast<Index>(i)], s = amplitude * sin[static_cast<Index>(i)];
      const double y0 = x0 * c + x1 * s, y1 = x1 * c - x0 * s;
      x0 = y0;
      x1 = y1;
    }
  }
};

template <class T>
std::vector<double> head_vector(const TensorView<const T>& x, Index token, Index head) {
  std::vector<double> values;
  for (Index d = 0; d < x.width; ++d) values.push_back(static_cast<double>(x(token, head, d)));
  return values;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t d = 0; d < a.size(); ++d) sum += a[d] * b[d];
  return sum;
}

/// Turns logits into weights in place and returns their log-sum-exp. No weight at all gives minus
/// infinity and zeros.
inline double softmax(std::vector<double>& logits) {
  double greatest = -std::numeric_limits<double>::infinity();
  for (const double x : logits) greatest = std::max(greatest, x);
  if (!std::isfinite(greatest)) greatest = 0;  // all -inf: sum 0; any +inf or NaN: NaN below
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - greatest);
  for (double& x : logits) x = sum == 0 ? 0 : std::exp(x - greatest) / sum;
  return std::log(sum) + greatest;
}

}  // namespace detail::reference

/// q [query tokens, num_heads, head_dim], k [key tokens, num_kv_heads, head_dim],
/// v [key tokens, num_kv_heads, any width], of float or double. Of the options it reads offsets and
/// positions. Throws Error on shapes that do not fit each other or the encoding.
template <class Q, class E>
[[nodiscard]] ReferenceResult reference_attention(
    TensorView<Q> q, std::type_identity_t<TensorView<const Q>> k,
    std::type_identity_t<TensorView<const Q>> v, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<std::remove_const_t<Q>>>& options = {}) {
  const HeadShape& heads = bound.shape();
  Problems problems;
  problems.require(q.heads == heads.num_heads && k.heads == heads.num_kv_heads &&
                       v.heads == heads.num_kv_heads,
                   "the encoding is bound to ", heads.num_heads, " query and ", heads.num_kv_heads,
                   " key heads, got ", q.heads, ", ", k.heads, " and ", v.heads, ".");
  problems.require(q.width == k.width && q.width > 0 && (heads.head_dim == 0 || q.width == heads.head_dim),
                   "queries have ", q.width, " and keys ", k.width, " channels; the encoding wants ",
                   heads.head_dim, " (0: any).");
  problems.require(k.tokens == v.tokens, "got ", k.tokens, " keys, but ", v.tokens, " values.");
  problems.require(options.query_offset || q.tokens <= k.tokens, "there are ", q.tokens,
                   " queries but only ", k.tokens, " keys: set query_offset.");
  if constexpr (Bound<E>::rotates_values)
    problems.require(v.width >= bound.rotary().offset + 2 * bound.rotary().pairs(), "values have ",
                     v.width, " channels, too few for the rotary block.");

  const Position query_offset = options.query_offset.value_or(options.key_offset + k.tokens - q.tokens);
  const Positions query_index(query_offset), key_index(options.key_offset);
  const Positions query = options.query_positions.data() ? Positions(options.query_positions) : query_index;
  const Positions key = options.key_positions.data() ? Positions(options.key_positions) : key_index;
  query.check(problems, "queries", q.tokens);
  key.check(problems, "keys", k.tokens);
  problems.raise_if_any("posenc::reference_attention");

  if constexpr (Bound<E>::depends_on_length) {
    // Schemes that depend on the length see the length of this call.
    Position length = 0;
    for (Index r = 0; r < q.tokens; ++r) length = std::max(length, query[r] + 1);
    for (Index c = 0; c < k.tokens; ++c) length = std::max(length, key[c] + 1);
    if (bound.options().length != length)
      return reference_attention(q, k, v, bound.at_length(length), options);
  }

  const detail::reference::PairAnswers<Bound<E>> answers{bound};
  detail::reference::BackwardRotation rotation(bound);
  const double scale = bound.scale(q.width);
  const Index group = heads.num_heads / heads.num_kv_heads;
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  const auto set_distance = [&]([[maybe_unused]] Index r, [[maybe_unused]] Index c) {
    if constexpr (Bound<E>::has_rotary)
      rotation.set_angles(bound.distance_map().distance(query[r], key[c]) * bound.rotary().state.inv_freq);
  };
  double amplitude = 1;
  if constexpr (Bound<E>::has_rotary)
    amplitude = bound.rotary().state.attention_factor * bound.rotary().state.attention_factor;

  ReferenceResult result{std::vector<double>(size(q.tokens * q.heads * v.width)),
                         std::vector<double>(size(q.tokens * q.heads))};
  for (Index r = 0; r < q.tokens; ++r) {
    const auto at = [&](Index c, Index h) {
      return Score{query[r], key[c], query_index[r], key_index[c], h};
    };
    // Visible keys and their logits, per head. The sinks stand behind them.
    std::vector<std::vector<Index>> keys(size(q.heads));
    std::vector<std::vector<double>> weights(size(q.heads));
    for (Index c = 0; c < k.tokens; ++c) {
      bool is_set = false;  // angles are those of every head
      for (Index h = 0; h < q.heads; ++h) {
        if (!answers.visible(at(c, h))) continue;
        if (!is_set) set_distance(r, c);
        is_set = true;
        std::vector<double> rotated = detail::reference::head_vector<std::remove_const_t<Q>>(k, c, h / group);
        rotation.rotate(rotated, amplitude);
        const double x = detail::reference::dot(
            detail::reference::head_vector<std::remove_const_t<Q>>(q, r, h), rotated);
        keys[size(h)].push_back(c);
        weights[size(h)].push_back(answers.stages(scale * bound.temperature(query[r]) * x, at(c, h)));
      }
    }
    for (Index h = 0; h < q.heads; ++h) {
      for (const double sink : answers.sinks(h)) weights[size(h)].push_back(sink);
      result.lse[size(r * q.heads + h)] = detail::reference::softmax(weights[size(h)]);
      double* out = result.out.data() + (r * q.heads + h) * v.width;
      for (std::size_t i = 0; i < keys[size(h)].size(); ++i) {
        // no weights at all: zeros, whatever the values hold
        if (result.lse[size(r * q.heads + h)] == -std::numeric_limits<double>::infinity()) break;
        const Index c = keys[size(h)][i];
        std::vector<double> value = detail::reference::head_vector<std::remove_const_t<Q>>(v, c, h / group);
        if constexpr (Bound<E>::rotates_values) {
          set_distance(r, c);
          rotation.rotate(value, 1);
        }
        for (Index d = 0; d < v.width; ++d) out[d] += weights[size(h)][i] * value[size(d)];
      }
    }
  }
  return result;
}

POSENC_NAMESPACE_END
