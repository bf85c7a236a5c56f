// SPDX-License-Identifier: MIT
//
// attention: softmax(scores) V with any encoding, any mask, any bias.
//
//   out(i, h) = sum_j softmax_j(x_ij) v_j
//   x_ij      = biases and score maps of (scale * temperature_i * <q_i, k_j> under the rotation)
//
// Vectors by distance (ShawKeys, TransformerXL, DeBERTa, ShawValues) join <q_i, k_j> and v_j.
//
// Shapes: q [queries, heads, head_dim], k [keys, kv heads, head_dim], v [keys, kv heads,
// value_dim], out [queries, heads, value_dim]; strides are free. Query head h reads key head h /
// (heads / kv heads). Elements are float, bfloat16 or float16, any mixture of them, computed in
// float32 and rounded once at the end; or double. Keys are as they leave their projection; the kernel
// rotates them. Keys that are rotated already are passed as RotatedKeys{k}.
//
// A key that a query may not see has no effect on it, whatever it holds. A row that sees no key is
// zero, with a log-sum-exp of minus infinity. A NaN or plus infinity among the scores that a row
// sees makes the row NaN; a score of minus infinity is a weight of zero. A value that is not finite
// makes its channel of the output not finite in every row that gives it a weight above zero.
#pragma once

#include <posenc/attention/call/checks.hpp>
#include <posenc/attention/call/distances.hpp>
#include <posenc/attention/prefill/run.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/bind/wrong_call.hpp>

#include <tuple>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Refuses encodings that cannot read rotated keys: by the compiler where it knows their components,
/// and otherwise in a sentence.
template <class E>
constexpr void require_rotated_keys() {
  if constexpr (is_static<E>) {
    static_assert(
        !Bound<E>::depends_on_length,
        "posenc: RotatedKeys cannot meet a scheme whose frequencies depend on the length "
        "(DynamicNTK, Dynamic<YaRN>, LongRoPE by length, ...): keys rotated at one length do not "
        "fit "
        "queries rotated at another. Keep raw keys and pass them as they are.");
    static_assert(
        !Bound<E>::has_distance_map,
        "posenc: RotatedKeys cannot meet a distance map (ReRoPE, LeakyReRoPE, ...): far pairs need "
        "the key at another position than its own. Keep raw keys and pass them as they are.");
    static_assert(!Bound<E>::encoding_facts.has_relative_queries,
                  "posenc: RotatedKeys cannot meet an encoding whose keys meet vectors by distance "
                  "(DeBERTa): these products want the key without its rotation. Keep raw keys and "
                  "pass them as they are.");
  }
}
POSENC_DETAIL_COLD inline void check_rotated_keys(Problems& problems, const Answers& answers) {
  const EncodingFacts& facts = answers.facts();
  problems.require(!facts.depends_on_length,
                   "RotatedKeys cannot meet a scheme whose frequencies depend on the length "
                   "(DynamicNTK, Dynamic<YaRN>, ...): keep raw keys and pass them as they are.");
  problems.require(facts.distance_maps == 0,
                   "RotatedKeys cannot meet a distance map (ReRoPE, LeakyReRoPE, ...): keep raw "
                   "keys and pass them as they are.");
  problems.require(!facts.has_relative_queries,
                   "RotatedKeys cannot meet an encoding whose keys meet vectors by distance "
                   "(DeBERTa): keep raw keys and pass them as they are.");
}

/// All of a call: checks, memory, kernel. Nothing in it knows the type of the encoding.
template <class Q, class K, class V, class O, class U>
POSENC_DETAIL_COLD void attend(const TensorView<Q>& q, const TensorView<K>& k,
                               const TensorView<V>& v, const TensorView<O>& out, KeyState keys,
                               const Asked<U>& asked, const PrefillLeaves<U>& leaves,
                               const AttentionOptions<U>& options) {
  const Answers& answers = *asked.answers;
  const std::size_t level = leaves.level;
  Problems problems;
  if (keys == KeyState::rotated) check_rotated_keys(problems, answers);
  check_shapes(problems, q, k, v, out, answers, std::ssize(options.lse));
  check_statistics(problems, options.rows, q);
  const Coordinates at = coordinates(problems, q.tokens, k.tokens, options, answers.rotary().state);
  DistanceCheck(answers, at, options.sequence)(problems, q.tokens, k.tokens);
  const AttentionShape shape{q.tokens, k.tokens, q.width, v.width};
  const Index concurrency = options.executor.concurrency();  // once: the next answer may differ
  const Index bytes = problems.empty() ? prefill_bytes(answers, leaves, shape, concurrency) : 0;
  if (bytes < 0)
    problems.add("the workspace for ", q.tokens, " queries, ", k.tokens, " keys and widths of ",
                 q.width, " and ", v.width, " does not fit in memory.");
  else if (problems.empty())
    check_workspace(problems, options.workspace, bytes);
  problems.raise_if_any("posenc::attention");

  const RotaryAtLength rotary(answers, [&] { return context_length(at, q.tokens, k.tokens); });
  const TensorKeys<U> source(Rows<U>(k, level), Rows<U>(v, level), keys, at);
  const Workspace workspace(options.workspace, bytes);
  PrefillCall<U> call{Rows<U>(q, level),
                      source.source(),
                      OutRows<U>(out, level),
                      options.lse,
                      at.query,
                      Positions(at.query_offset),
                      asked,
                      leaves,
                      options.sequence,
                      options.rows};
  call.asked.rotary = &*rotary;
  run_prefill(call, concurrency, options.executor, workspace.data());
}

#if defined(POSENC_DETAIL_FLOAT)
POSENC_DETAIL_FLOAT void attend<const float, const float, const float, float, float>(
    const TensorView<const float>&, const TensorView<const float>&, const TensorView<const float>&,
    const TensorView<float>&, KeyState, const Asked<float>&, const PrefillLeaves<float>&,
    const AttentionOptions<float>&);
POSENC_DETAIL_DOUBLE void attend<const double, const double, const double, double, double>(
    const TensorView<const double>&, const TensorView<const double>&,
    const TensorView<const double>&, const TensorView<double>&, KeyState, const Asked<double>&,
    const PrefillLeaves<double>&, const AttentionOptions<double>&);
#endif

template <class U, class... Ts, class E>
void attend_bound(const TensorView<Ts>&... tensors, KeyState keys, const Bound<E>& bound,
                  const AttentionOptions<U>& options) {
  require_writable<std::tuple_element_t<3, std::tuple<Ts...>>>();
  require_elements<U, Ts...>();
  if constexpr (ComputedIn<U, Ts...>)
    attend(tensors..., keys, bound.template asked_from_behind<U>(),
           prefill_leaves<E, U>(level_index()), options);
}

/// Tensors of one element are taken by the overloads that also accept braces.
template <class... Ts>
concept MixedElements =
    (Element<std::remove_const_t<Ts>> && ...) &&
    !(std::same_as<std::remove_const_t<Ts>,
                   std::remove_const_t<std::tuple_element_t<0, std::tuple<Ts...>>>> &&
      ...);

template <class T>
void takes_rotated(const RotatedKeys<T>&);
template <class K>
concept AnyRotatedKeys = requires(const K& k) { takes_rotated(k); };

template <class Q, class K, class V, class O>
concept AttentionTensors = AnyView<O> && ReadAsView<Q, O> && ReadAsView<V, O> &&
                           (ReadAsView<K, O> || AnyRotatedKeys<K> ||
                            std::convertible_to<K&, RotatedKeys<element_or_guess_t<O>>>);
/// What some overload of attention() takes, as far as its options are right.
template <class Q, class K, class V, class O, class E>
concept AttentionArguments = AttentionTensors<Q, K, V, O> && (AnyBinding<E> || AnyPipeline<E>);

}  // namespace detail

/// Bytes of workspace for calls of up to this shape with this executor; pass them aligned to 64 bytes in
/// AttentionOptions::workspace and the call allocates nothing. T is the element of the tensors, or what
/// they are computed in.
/// Throws Error when the size does not fit in memory.
template <class T, class E>
[[nodiscard]] std::size_t attention_workspace(const Bound<E>& bound, const AttentionShape& shape,
                                              const AnyExecutor& executor = {}) {
  using U = arithmetic_t<T>;
  const auto leaves = detail::prefill_leaves<E, U>(detail::level_index());
  const Index bytes =
      detail::prefill_bytes<U>(bound.answers(), leaves, shape, executor.concurrency());
  return detail::usable_bytes(bytes, shape, "posenc::attention_workspace");
}

/// Attention over keys as they leave their projection. See the head of this file.
///
/// An encoding whose frequencies depend on the length is evaluated at the length of this call (one
/// more than its greatest position), unless it was bound with a length of its own; that costs a
/// rebuild of its tables.
/// Throws Error for shapes that do not fit together, with every problem at once.
template <class T, class E>
void attention(
    std::type_identity_t<TensorView<const T>> q, std::type_identity_t<TensorView<const T>> k,
    std::type_identity_t<TensorView<const T>> v, TensorView<T> out, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<detail::computed_in_t<T>>>& options = {}) {
  detail::attend_bound<detail::computed_in_t<T>, const T, const T, const T, T>(
      q, k, v, out, KeyState::raw, bound, options);
}

/// The same for tensors of different elements.
template <class Q, class K, class V, class O, class E>
  requires detail::MixedElements<Q, K, V, O>
void attention(TensorView<Q> q, TensorView<K> k, TensorView<V> v, TensorView<O> out,
               const Bound<E>& bound,
               const std::type_identity_t<AttentionOptions<arithmetic_t<O>>>& options = {}) {
  detail::attend_bound<arithmetic_t<O>, const Q, const K, const V, O>(q, k, v, out, KeyState::raw,
                                                                      bound, options);
}

/// Attention over keys that were rotated at their own positions, as a cache may hold them.
template <class T, class E>
void attention(
    std::type_identity_t<TensorView<const T>> q, std::type_identity_t<RotatedKeys<T>> k,
    std::type_identity_t<TensorView<const T>> v, TensorView<T> out, const Bound<E>& bound,
    const std::type_identity_t<AttentionOptions<detail::computed_in_t<T>>>& options = {}) {
  detail::require_rotated_keys<E>();
  detail::attend_bound<detail::computed_in_t<T>, const T, const T, const T, T>(
      q, k.keys, v, out, KeyState::rotated, bound, options);
}

/// The same for tensors of different elements.
template <class Q, class K, class V, class O, class E>
  requires detail::MixedElements<Q, K, V, O>
void attention(TensorView<Q> q, RotatedKeys<K> k, TensorView<V> v, TensorView<O> out,
               const Bound<E>& bound,
               const std::type_identity_t<AttentionOptions<arithmetic_t<O>>>& options = {}) {
  detail::require_rotated_keys<E>();
  detail::attend_bound<arithmetic_t<O>, const Q, const K, const V, O>(
      q, k.keys, v, out, KeyState::rotated, bound, options);
}

/// Binds the encoding and attends, in one call; the heads are those of q and k.
template <class T, class... Ts>
void attention(
    std::type_identity_t<TensorView<const T>> q, std::type_identity_t<TensorView<const T>> k,
    std::type_identity_t<TensorView<const T>> v, TensorView<T> out, const Encoding<Ts...>& encoding,
    const std::type_identity_t<AttentionOptions<detail::computed_in_t<T>>>& options = {}) {
  attention(q, k, v, out, bind(encoding, {.num_heads = q.heads, .num_kv_heads = k.heads}), options);
}

/// What none of the others takes is told what to write.
template <class Q, class K, class V, class O, class E>
  requires(!detail::AttentionArguments<Q, K, V, O, E>)
void attention(const Q&, const K&, const V&, const O&, const E&,
               const AttentionOptions<detail::computed_in_t<detail::element_or_guess_t<O>>>& = {}) {
  static_assert(detail::AttentionTensors<Q, K, V, O>,
                "posenc: attention takes views of q, k, v and out: write TensorView(q.data(), "
                "tokens, heads, width) for a std::vector or other memory, as_heads(matrix, heads) "
                "for a matrix of Eigen.");
  static_assert(detail::AnyBinding<E> || detail::AnyPipeline<E>,
                "posenc: attention takes what bind() returns: write bind(component, {.num_heads = "
                "..., .num_kv_heads = ...}), once for many calls; or encoding(component).");
}
template <class Q, class K, class V, class E>
void attention(const Q&, const K&, const V&, detail::BracedView, const E&,
               const AttentionOptions<detail::computed_in_t<detail::element_or_guess_t<Q>>>& = {}) {
  static_assert(!std::is_same_v<Q, Q>,
                "posenc: out cannot be braces: write TensorView(out.data(), tokens, heads, width), "
                "whose type tells what to compute in.");
}

POSENC_NAMESPACE_END
