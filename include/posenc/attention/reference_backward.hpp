// SPDX-License-Identifier: MIT
//
// reference_attention_backward: the gradients of attention as the formulas say them, for tests and for
// readers. Dense, in double, one pair of tokens at a time; it shares nothing with the fused kernel.
//
// For every row i of head h and every key j that it sees, with the names of attention/reference.hpp:
//
//   dp_j     = <d_out, value_j as the query sees it>
//   dx_j     = p_j (dp_j - sum over k of p_k dp_k)
//   ds_j     = dx_j through the score maps, last to first
//   d dot_j  = scale * temperature * ds_j
//   d dot_j += what it adds to the positions by context of this key and of those before it
//   dq      += d dot_j * (key_j as the query sees it),  dk_j += d dot_j * (R_-g)^T q,  dv_j likewise
//   dq      += d dot_j r,  dr += d dot_j q               of relative keys; of queries and values likewise
//   d w_i   += the derivative by a rotary frequency of every product of rotated vectors
//   d sink   = -p_sink * sum over k of p_k dp_k
//
// and each bias gets dx_j as it was when the biases and maps behind it had been gone through.
#pragma once

#include <posenc/attention/backward/parameters.hpp>
#include <posenc/attention/reference.hpp>
#include <posenc/bind/derivatives.hpp>

POSENC_NAMESPACE_BEGIN

struct ReferenceGradients {
  std::vector<double> q, k, v;      ///< [tokens][heads][width] each
  std::vector<double> parameters;   ///< of components, as in ParameterGradients::values()
  std::vector<double> frequencies;  ///< one per rotary pair
};

namespace detail::reference {

/// T is double.
template <class T>
class Backward {
 public:
  Backward(const Call<T>& call, const TensorView<const T>& d_out,
           const FindDerivative<T>* derivatives)
      : call_(call), answers_(call.answers), d_out_(d_out), derivatives_(derivatives),
        forward_(call.attend()) {
    result_.q.resize(size(call.q.tokens * call.q.heads * call.q.width));
    result_.k.resize(size(call.k.tokens * call.k.heads * call.k.width));
    result_.v.resize(size(call.v.tokens * call.v.heads * call.v.width));
    Index sums = 0;
    for (const Stage& stage : answers_.asked()) sums += num_sums(stage);
    sums_.resize(size(sums));
    result_.frequencies.resize(size(call.rotary.pairs()));
  }

  [[nodiscard]] ReferenceGradients run();

 private:
  void row(Index r, Index h, const std::vector<BackwardRotation>& rotations);
  /// dx through stages, last to first, to the gradient of what the first was given.
  [[nodiscard]] T through_stages(T score, T dx, const Score& at);
  /// Calls f(stage, its sums).
  template <class F>
  void for_each_stage(const F& f) {
    T* sums = sums_.data();
    for (const Stage& stage : answers_.asked()) {
      const Index count = num_sums(stage);
      f(stage, std::span<T>(sums, size(count)));
      sums += count;
    }
  }
  /// As a span; until the next call.
  std::span<const T> numbers(const Vector& x) {
    numbers_.assign(x.begin(), x.end());
    return numbers_;
  }
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static void add(std::vector<T>& to, Index first, const Vector& x) {
    for (Index c = 0; c < x.size(); ++c) to[size(first + c)] += x[c];
  }

  const Call<T>& call_;
  const Answers& answers_;
  TensorView<const T> d_out_;
  const FindDerivative<T>* derivatives_;
  ReferenceResult forward_;
  ReferenceGradients result_;
  std::vector<T> sums_, numbers_;
};

template <class T>
ReferenceGradients Backward<T>::run() {
  for (Index r = 0; r < call_.q.tokens; ++r) {
    std::vector<BackwardRotation> rotations;
    for (Index h = 0; h < call_.q.heads; ++h) {
      if (h % call_.heads_alike() == 0) rotations = call_.rotations_of(r, h);
      row(r, h, rotations);
    }
  }
  for_each_stage([&](const Stage& stage, std::span<const T> sums) {
    const auto& [self, ask] = stage;
    const std::size_t before = result_.parameters.size();
    result_.parameters.insert(result_.parameters.end(), sums.begin(), sums.end());
    if (!ask->gradient_of_sums) return;
    result_.parameters.resize(before);
    result_.parameters.resize(before + size(num_parameters(stage)));
    ask->gradient_of_sums(self, sums, std::span(result_.parameters).subspan(before));
  });
  return std::move(result_);
}

template <class T>
void Backward<T>::row(Index r, Index h, const std::vector<BackwardRotation>& rotations) {
  const TensorView<const T>&q = call_.q, &k = call_.k, &v = call_.v;
  const Index kv_head = h / (q.heads / k.heads), q_row = (r * q.heads + h) * q.width;
  const double scale = answers_.scale(q.width, call_.rotary) * answers_.temperature(call_.query[r]);
  const Vector query = head_vector(q, r, h), d_out = head_vector(d_out_, r, h);
  const Vector biased = with_query_biases(answers_, query, h);
  Vector d_biased = Vector::Zero(q.width);
  const double lse = forward_.lse[size(r * q.heads + h)];
  if (lse == -std::numeric_limits<double>::infinity()) return;  // no weights
  double mean = 0;                                              // sum of p dp
  for (Index d = 0; d < v.width; ++d)
    mean += d_out[d] * forward_.out[size((r * q.heads + h) * v.width + d)];

  std::vector<double> products;
  for (Index c = 0; answers_.facts().context_positions > 0 && c < k.tokens; ++c)
    if (answers_.visible({call_.query[r], call_.key[c], call_.query_index[r], call_.key_index[c], h,
                          call_.sequence}))
      products.push_back(scale *
                         (biased * rotations[size(c)].key(head_vector(k, c, kv_head))).sum());
  ContextRow context(answers_, query, h, scale, products);
  std::size_t seen = 0;  // keys so far

  for (Index c = 0; c < k.tokens; ++c) {
    const Score at{call_.query[r], call_.key[c], call_.query_index[r], call_.key_index[c], h,
                   call_.sequence};
    if (!answers_.visible(at)) continue;
    const BackwardRotation& rotation = rotations[size(c)];
    const Vector plain_key = head_vector(k, c, kv_head), key = rotation.key(plain_key);
    const std::size_t i = seen++;
    const double product = scale * (biased * key).sum(), added = context.added(i);
    const double score =
        product + scale * relative_products(answers_, query, plain_key, at) + added;
    const double p = std::exp(apply_stages(answers_, score, at) - lse);
    if (p == 0 && !context) continue;
    Vector value = head_vector(v, c, kv_head), d_value = p * d_out;
    if (answers_.facts().rotates_values) {
      value = rotation.value(std::move(value));
      add(result_.frequencies, 0, p * rotation.frequency_gradient(d_out, value));
      d_value = rotation.value_gradient(std::move(d_value));
    }
    add(result_.v, (c * v.heads + kv_head) * v.width, d_value);
    value = with_relative_values(answers_, std::move(value), at);
    const double dx = p * ((d_out * value).sum() - mean);
    const double d_score = through_stages(score, dx, at), ds = scale * d_score;
    const double d_gates = context.add_gradient(i, d_score), d_product = ds + scale * d_gates;
    for_each_stage([&](const Stage& stage, std::span<T> to) {
      const auto& [self, ask] = stage;
      const double by_temperature =
          d_score * (score - (context.scaled() ? 0 : added)) + d_gates * product;
      if (ask->temperature_gradient && by_temperature != 0)
        ask->temperature_gradient(self, at.query, by_temperature / ask->temperature(self, at.query),
                                  to);
    });
    if (call_.rotary.layout)
      add(result_.frequencies, 0, d_product * rotation.frequency_gradient(biased, key));
    const Index k_row = (c * k.heads + kv_head) * k.width;
    d_biased += d_product * key;
    add(result_.k, k_row, rotation.key_gradient(d_product * biased));
    for_each_stage([&](const Stage& stage, std::span<T> to) {
      const auto& [self, ask] = stage;
      const Index bucket = ask->bucket ? ask->bucket(self, at.query - at.key) : 0;
      if (ask->relative_keys)
        if (const RelativeTable table = ask->relative_keys(self); table.data) {
          add(result_.q, q_row, ds * row_vector(table, h, bucket));
          if (ask->relative_keys_gradient)
            ask->relative_keys_gradient(self, h, bucket, numbers(ds * query), ds, to);
        }
      if (ask->relative_queries)
        if (const RelativeTable table = ask->relative_queries(self); table.data) {
          add(result_.k, k_row, ds * row_vector(table, h, bucket));
          if (ask->relative_queries_gradient)
            ask->relative_queries_gradient(self, h, bucket, numbers(ds * plain_key), ds, to);
        }
      if (ask->relative_values && ask->relative_values_gradient && ask->relative_values(self).data)
        ask->relative_values_gradient(self, h, bucket, numbers(p * d_out), to);
    });
  }
  add(result_.q, q_row, d_biased);
  for (Index at = 0; at < context.positions(); ++at)
    add(result_.q, q_row, context.query_gradient(at));
  for_each_stage([&](const Stage& stage, std::span<T> to) {
    const auto& [self, ask] = stage;
    for (Index at = 0; ask->context_positions_gradient && at < context.positions(); ++at)
      ask->context_positions_gradient(self, h, at, numbers(context.product_gradient(at) * query),
                                      to);
    if (ask->query_bias_gradient) ask->query_bias_gradient(self, h, numbers(d_biased), to);
    if (!ask->sink_logit_gradient) return;
    const double p = std::exp(ask->sink_logit(self, h) - lse);
    if (p != 0) ask->sink_logit_gradient(self, h, -p * mean, to);
  });
}

template <class T>
T Backward<T>::through_stages(T score, T dx, const Score& at) {
  const std::span<const Stage> stages = answers_.asked();
  std::vector<T> given;  // what each stage was given
  for (const auto& [self, ask] : stages) {
    given.push_back(score);
    if (ask->change) score = ask->change(self, score, at);
  }
  T* sums = sums_.data() + sums_.size();
  for (std::size_t i = stages.size(); i-- > 0;) {
    const auto& [self, ask] = stages[i];
    const std::size_t count = size(num_sums(stages[i]));
    sums -= count;
    const std::span<T> to(sums, count);
    if (const auto find = derivatives_[i]; find && find(0).one) {
      for (std::size_t n = 0; find(0).one_by && n < count; ++n)
        to[n] += dx * find(0).one_by(self, static_cast<Index>(n), given[i], at);
      dx *= find(0).one(self, given[i], at);
    }
    if (count == 0) continue;
    if (ask->relative_bias_gradient)
      ask->relative_bias_gradient(self, at.head, at.query - at.key, 1, &dx, to);
    if (ask->score_bias_gradient) ask->score_bias_gradient(self, at, dx, to);
  }
  return dx;
}

#if defined(POSENC_DETAIL_DOUBLE)
POSENC_DETAIL_DOUBLE ReferenceGradients Backward<double>::run();
#endif

}  // namespace detail::reference

/// The gradients of reference_attention(q, k, v, bound, options), given d_out [query tokens, num_heads,
/// value width]. Throws Error on shapes that do not fit.
template <class Q, class E>
[[nodiscard]] ReferenceGradients reference_attention_backward(
    TensorView<Q> q, std::type_identity_t<TensorView<const std::remove_const_t<Q>>> k,
    std::type_identity_t<TensorView<const std::remove_const_t<Q>>> v,
    std::type_identity_t<TensorView<const std::remove_const_t<Q>>> d_out, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<arithmetic_t<std::remove_const_t<Q>>>>& options =
        {}) {
  using U = arithmetic_t<std::remove_const_t<Q>>;
  detail::reference::check_call(q, k, v, bound.answers(), options);
  Problems problems;
  problems.require(d_out.tokens == q.tokens && d_out.heads == q.heads && d_out.width == v.width,
                   "d_out is ", detail::ShapeText(d_out), " but must be [", q.tokens, ", ", q.heads,
                   ", ", v.width, "].");
  problems.raise_if_any("posenc::reference_attention_backward");
  const detail::reference::Widened queries(q), keys(k), values(v), d_outs(d_out);
  const detail::reference::Positioned<U> at(bound.answers(), q.tokens, k.tokens, options);
  const detail::reference::Call<double> call = at.call(queries, keys, values);
  return detail::reference::Backward<double>(call, d_outs, bound.template derivatives<double>())
      .run();
}

POSENC_NAMESPACE_END
