// SPDX-License-Identifier: MIT
//
// attention_backward: the gradients of attention, for every encoding.
//
//   attention(q, k, v, out, bound, {.lse = lse});
//   attention_backward<float>({q, k, v, out, lse}, d_out, {dq, dk, dv}, bound);
//
// From d_out = dL/d out, with the weights P = exp(x - lse) and delta = <d_out, out>:
//
//   dv_j = sum_i P_ij d_out_i                 dx_ij = P_ij (<d_out_i, v_j> - delta_i)
//   dq_i = sum_j ds_ij k_j,  dk_j = sum_i ds_ij q_i      ds: dx back through score maps, scale and
//                                                        temperature, under the rotation
//
// (Dao, FlashAttention-2, arXiv 2307.08691, Algorithm 2, and the chain rule for what posenc adds.) Weights
// are computed again, tile by tile: memory is O(tokens). The gradients are of q, k and v as they were
// passed: rotations, magnitudes, scale, temperature and RotateValues are undone. Sums have one order,
// so the results are the same bits for any number of threads.
//
// Shapes: q, out and d_out as in attention, dq, dk, dv as q, k, v; strides are free. float or double.
// Query heads that share a key head add to its gradient. dq, dk and dv are overwritten; the gradients of
// parameters (ParameterGradients) are added to.
//
// A row that sees nothing has no gradient. What has no weight has no gradient and gives none, whatever it
// holds; otherwise what is not finite makes not finite what depends on it: the gradient of its query, and
// of the keys and values that the query gives a weight.
#pragma once

#include <posenc/attention/backward/parameters.hpp>
#include <posenc/attention/backward/relative_gradients.hpp>
#include <posenc/attention/backward/run.hpp>
#include <posenc/attention/call/checks.hpp>
#include <posenc/attention/call/coordinates.hpp>
#include <posenc/attention/call/distances.hpp>
#include <posenc/bind/wrong_call.hpp>

POSENC_NAMESPACE_BEGIN

/// What attention was given, and what it returned.
template <class T>
struct AttentionForward {
  TensorView<const T> q, k, v, out;
  std::span<const T> lse;  ///< [query][head]
};

/// Where gradients go.
template <class T>
struct AttentionGradients {
  TensorView<T> q, k, v;
  ParameterGradients* parameters = nullptr;  ///< of the same binding; null: not wanted
};

namespace detail {

template <class T>
POSENC_DETAIL_COLD void check_backward(Problems& problems, const AttentionForward<T>& f,
                                       const TensorView<const T>& d_out,
                                       const AttentionGradients<T>& d, std::span<T> lse_option,
                                       const RowStatistics<T>& rows_option,
                                       const Answers& answers) {
  check_shapes(problems, f.q, f.k, f.v, f.out, answers, std::ssize(f.lse));
  check_view(problems, "d_out", d_out);
  problems.require(!f.lse.empty() || f.q.tokens == 0 || f.q.heads == 0,
                   "lse is empty: pass the one that attention returned.");
  problems.require(lse_option.empty(),
                   "the lse of the options is a result of attention; pass it with what else "
                   "attention returned.");
  problems.require(
      !rows_option.are_wanted(),
      "the statistics of rows in the options are results of attention: ask it for them.");
  const auto same = [&](const char* what, const Extent& got, const char* as, const Extent& wanted) {
    problems.require(
        got.tokens == wanted.tokens && got.heads == wanted.heads && got.width == wanted.width, what,
        " is ", ShapeText(got), " but must be as ", as, ", ", ShapeText(wanted), ".");
  };
  same("d_out", d_out, "out", f.out);
  same("the gradient of q", d.q, "q", f.q);
  same("the gradient of k", d.k, "k", f.k);
  same("the gradient of v", d.v, "v", f.v);
  if (!problems.empty()) return;
  const TensorView<const T> lse(f.lse.data(), std::ssize(f.lse), 1, 1);
  const auto result = [&](const char* what, const Extent& x) {
    check_result(problems, what, x);
    for (const TensorView<const T>* other : {&f.q, &f.k, &f.v, &f.out, &d_out, &lse})
      if (overlap(x, *other))
        return problems.add(what, " must not overlap q, k, v, out, lse or d_out.");
  };
  problems.require(!overlap(f.out, f.q),
                   "out overlaps q: a gradient needs the queries, which attention overwrote.");
  result("the gradient of q", d.q);
  result("the gradient of k", d.k);
  result("the gradient of v", d.v);
  problems.require(!overlap(d.q, d.k) && !overlap(d.q, d.v) && !overlap(d.k, d.v),
                   "the gradients of q, k and v must not overlap each other.");
  problems.require(!d.parameters || d.parameters->is_of(answers),
                   "the ParameterGradients are those of another encoding.");
}

/// What the workers of a call read; the source and the frequencies are read as long as that is.
template <class T>
BackwardCall<T> backward_call(const AttentionForward<T>& f, const TensorView<const T>& d_out,
                              const AttentionGradients<T>& d, const TensorKeys<T>& source,
                              const Coordinates& at, Index sequence, const Rotary* rotary,
                              const Asked<T>& asked, const BackwardLeaves<T>& leaves) {
  const std::size_t level = leaves.forward.level;
  BackwardCall<T> call{{Rows<T>(f.q, level),
                        source.source(),
                        {},
                        {},
                        at.query,
                        Positions(at.query_offset),
                        asked,
                        leaves.forward,
                        sequence},
                       f.q,
                       f.k,
                       f.v,
                       f.out,
                       at.key,
                       Rows<T>(d_out, level),
                       f.lse,
                       d.q,
                       d.k,
                       d.v,
                       leaves.derivatives,
                       leaves.relative};
  call.forward.asked.rotary = rotary;
  if (d.parameters) {
    call.parameters = d.parameters->values();
    call.learns_frequencies = !d.parameters->frequencies().empty();
  }
  return call;
}

/// A call of this shape without data, to measure its memory.
template <class T>
BackwardCall<T> call_of_shape(const Asked<T>& asked, const BackwardLeaves<T>& leaves,
                              const AttentionShape& shape, bool learns_frequencies) {
  BackwardCall<T> call;
  call.forward.asked = asked;
  call.forward.leaves = leaves.forward;
  call.forward.q.tokens = shape.queries, call.forward.q.heads = asked.answers->shape().num_heads;
  call.forward.q.width = shape.head_dim;
  call.forward.keys.tokens = shape.keys;
  call.forward.keys.values.width = shape.value_dim;
  call.derivatives = leaves.derivatives;
  call.relative = leaves.relative;
  call.learns_frequencies = learns_frequencies;
  return call;
}

/// The most of bytes_of(learns parameters, learns frequencies) whatever is learned; -1 where any is.
template <class BytesOf>
Index most_backward_bytes(const BytesOf& bytes_of) {
  const Index nothing = bytes_of(false, false), parameters = bytes_of(true, false),
              all = bytes_of(true, true);
  return std::min({nothing, parameters, all}) < 0 ? -1 : std::max({nothing, parameters, all});
}

/// A temperature of 0 hides the products from which its own gradient would be found.
POSENC_DETAIL_COLD inline void check_temperatures(Problems& problems, const Answers& answers,
                                                  const Positions& at, Index queries) {
  for (const auto& [self, ask] : answers.asked())
    for (Index t = 0; ask->temperature_gradient && t < queries; ++t)
      if (ask->temperature(self, at[t]) == 0)
        return problems.add("the temperature of the query at position ", at[t],
                            " is 0, so what it learns cannot be found from its scores.");
}

template <class T>
POSENC_DETAIL_COLD void differentiate_attention(
    const AttentionForward<T>& f, const TensorView<const T>& d_out, const AttentionGradients<T>& d,
    const Asked<T>& asked, const BackwardLeaves<T>& leaves, const AttentionOptions<T>& options) {
  const Answers& answers = *asked.answers;
  const std::size_t level = leaves.forward.level;
  Problems problems;
  check_backward(problems, f, d_out, d, options.lse, options.rows, answers);
  const Coordinates at =
      coordinates(problems, f.q.tokens, f.k.tokens, options, answers.rotary().state);
  DistanceCheck(answers, at, options.sequence)(problems, f.q.tokens, f.k.tokens);
  if (d.parameters && problems.empty()) check_temperatures(problems, answers, at.query, f.q.tokens);
  problems.raise_if_any("posenc::attention_backward");

  const RotaryAtLength rotary(answers, [&] { return context_length(at, f.q.tokens, f.k.tokens); });
  const TensorKeys<T> source(Rows<T>(f.k, level), Rows<T>(f.v, level), KeyState::raw, at);
  const BackwardCall<T> call =
      backward_call(f, d_out, d, source, at, options.sequence, &*rotary, asked, leaves);
  const Index concurrency = options.executor.concurrency();  // once: the next answer may differ
  const bool learns = !call.parameters.empty();
  const BackwardWork work(call, concurrency, learns);
  check_workspace(problems, options.workspace, work.bytes);
  problems.raise_if_any("posenc::attention_backward");
  const Workspace workspace(options.workspace, work.bytes);
  run_backward(call, work, workspace.data(), options.executor);
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void differentiate_attention<float>(const AttentionForward<float>&,
                                                        const TensorView<const float>&,
                                                        const AttentionGradients<float>&,
                                                        const Asked<float>&,
                                                        const BackwardLeaves<float>&,
                                                        const AttentionOptions<float>&);
POSENC_DETAIL_DOUBLE void differentiate_attention<double>(const AttentionForward<double>&,
                                                          const TensorView<const double>&,
                                                          const AttentionGradients<double>&,
                                                          const Asked<double>&,
                                                          const BackwardLeaves<double>&,
                                                          const AttentionOptions<double>&);
#endif

}  // namespace detail

/// Bytes of workspace for calls of this shape with this executor, whatever they learn. Pass them aligned to
/// 64 bytes in AttentionOptions::workspace and the call allocates nothing, unless frequencies follow its
/// length. Throws Error when the size does not fit in memory.
template <class T, class E>
[[nodiscard]] std::size_t attention_backward_workspace(const Bound<E>& bound,
                                                       const AttentionShape& shape,
                                                       const AnyExecutor& executor = {}) {
  const auto leaves = detail::backward_leaves<T>(bound);
  const Index bytes = detail::most_backward_bytes([&](bool learns, bool frequencies) {
    return detail::BackwardWork(detail::call_of_shape<T>(bound.template asked<T>(), leaves, shape,
                                                         frequencies),
                                executor.concurrency(), learns)
        .bytes;
  });
  return detail::usable_bytes(bytes, shape, "posenc::attention_backward_workspace");
}

/// The gradients of attention(q, k, v, out, bound, options): the same options as there, but for lse,
/// which is passed with `forward`. See the head of this file.
/// Throws Error for shapes that do not fit together, with every problem at once, and for encodings with a
/// component that has no gradient.
template <class T, class E>
void attention_backward(const AttentionForward<T>& forward,
                        std::type_identity_t<TensorView<const T>> d_out,
                        const std::type_identity_t<AttentionGradients<T>>& gradients,
                        const Bound<E>& bound, const AttentionOptions<T>& options = {}) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "posenc: attention_backward takes float or double.");
  detail::differentiate_attention<T>(forward, d_out, gradients, bound.template asked<T>(),
                                     detail::backward_leaves<T>(bound), options);
}

/// What is not bound is told what to write.
template <class T, class E>
  requires(!detail::AnyBinding<E>)
void attention_backward(const AttentionForward<T>&, std::type_identity_t<TensorView<const T>>,
                        const std::type_identity_t<AttentionGradients<T>>&, const E&,
                        const AttentionOptions<T>& = {}) {
  static_assert(
      detail::AnyBinding<E>,
      "posenc: attention_backward takes what bind() returns, the same as attention: write "
      "bind(encoding, {.num_heads = ..., .num_kv_heads = ...}), once for both.");
}

POSENC_NAMESPACE_END
