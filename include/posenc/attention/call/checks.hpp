// SPDX-License-Identifier: MIT
//
// What has to hold of the tensors of a call, for attention, ragged calls and decode alike.
#pragma once

#include <posenc/attention/options.hpp>
#include <posenc/bind/answers.hpp>
#include <posenc/core/element.hpp>
#include <posenc/core/overlap.hpp>

#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// arithmetic_t; what is no element stays as it is, so that require_elements() can say so.
template <class T>
struct computed_in {
  using type = T;
};
template <Element T>
struct computed_in<T> {
  using type = arithmetic_t<T>;
};
template <class T>
using computed_in_t = typename computed_in<T>::type;

template <class U, class... Ts>
concept ComputedIn = (Element<std::remove_const_t<Ts>> && ...) &&
                     (std::same_as<arithmetic_t<std::remove_const_t<Ts>>, U> && ...);

/// Elements that meet in one call are all computed in one type, U.
template <class U, class... Ts>
constexpr void require_elements() {
  static_assert((Element<std::remove_const_t<Ts>> && ...),
                "posenc: attention takes float or double, or 16-bit elements: Eigen::bfloat16, "
                "Eigen::half, or "
                "a type of your own with an ElementTraits (core/element.hpp).");
  if constexpr ((Element<std::remove_const_t<Ts>> && ...))
    static_assert((std::is_same_v<arithmetic_t<std::remove_const_t<Ts>>, U> && ...),
                  "posenc: attention computes in float or in double: tensors of double cannot be "
                  "mixed with others in one call.");
}

/// Reports numbers of which there is not one for each row of the queries.
template <class U, class Q>
POSENC_DETAIL_COLD void check_by_row(Problems& problems, const char* what, std::span<U> values,
                                     const TensorView<Q>& q) {
  Index rows = 0;
  problems.require(
      values.empty() || (multiply(q.tokens, q.heads, rows) && std::ssize(values) == rows), what,
      " has ", values.size(), " elements for ", q.tokens, " queries of ", q.heads, " heads.");
}
template <class U, class Q>
void check_statistics(Problems& problems, const RowStatistics<U>& rows, const TensorView<Q>& q) {
  check_by_row(problems, "rows.entropy", rows.entropy, q);
  check_by_row(problems, "rows.greatest", rows.greatest, q);
}

/// Reports results that would overwrite what is still read.
template <class Q, class O>
POSENC_DETAIL_COLD void check_out(Problems& problems, const TensorView<Q>& q,
                                  const TensorView<O>& out) {
  const TensorView<const O> written = out;
  problems.require(!overlap(written, q) || same_elements(written, q),
                   "out must be the same view as q or must not overlap it.");
  check_result(problems, "out", written);
}

/// Reports vectors that are not as wide as what they meet.
POSENC_DETAIL_COLD inline void check_relative_widths(Problems& problems, const Answers& answers,
                                                     Index width, Index value_dim) {
  const auto check = [&](const char* what, const char* with, Index own, Index needed) {
    problems.require(own == needed, "the encoding has ", what, " of ", own, " channels, but ", with,
                     " have ", needed, ".");
  };
  const auto check_table = [&](const char* what, const char* with, const RelativeTable& table,
                               Index needed) {
    if (table.data) check(what, with, table.width, needed);
  };
  for (const auto& [self, ask] : answers.asked()) {
    if (ask->relative_keys)
      check_table("relative keys", "queries", ask->relative_keys(self), width);
    if (ask->relative_queries)
      check_table("relative queries", "keys", ask->relative_queries(self), width);
    if (ask->relative_values)
      check_table("relative values", "values", ask->relative_values(self), value_dim);
    if (ask->context_positions)
      check_table("positions by context", "queries", ask->context_positions(self).vectors, width);
    for (Index head = 0; ask->query_bias && head < answers.shape().num_heads; ++head)
      if (const auto bias = ask->query_bias(self, head); !bias.empty())
        check("a query bias", "queries", std::ssize(bias), width);
  }
}

/// Channels that values must have for RotateValues.
inline Index rotated_value_channels(const Answers& answers) {
  if (!answers.facts().rotates_values) return 0;
  return answers.rotary().offset + answers.rotary().state.rotary_dim;
}

template <class Q, class K, class V, class O, class U>
POSENC_DETAIL_COLD void check_shapes(Problems& problems, const TensorView<Q>& q,
                                     const TensorView<K>& k, const TensorView<V>& v,
                                     const TensorView<O>& writable, const Answers& answers,
                                     std::span<U> lse) {
  const TensorView<const O> out = writable;
  const HeadShape& shape = answers.shape();
  const auto dims = [](const auto& x) { return ShapeText(x); };
  check_view(problems, "q", q);
  check_view(problems, "k", k);
  check_view(problems, "v", v);
  check_view(problems, "out", out);
  const bool addresses_fit = problems.empty();
  problems.require(q.heads == shape.num_heads, "q is ", dims(q), " but the encoding is bound to ",
                   shape.num_heads, " query heads.",
                   swap_hint(q.tokens == shape.num_heads &&
                             (shape.head_dim == 0 || q.width == shape.head_dim)));
  problems.require(k.heads == shape.num_kv_heads, "k is ", dims(k),
                   " but the encoding is bound to ", shape.num_kv_heads, " key heads.",
                   swap_hint(k.tokens == shape.num_kv_heads && k.width == q.width));
  problems.require(v.tokens == k.tokens && v.heads == k.heads, "k is ", dims(k), " and v is ",
                   dims(v), ": they must have the same tokens and heads.",
                   swap_hint(v.tokens == k.heads && v.heads == k.tokens));
  problems.require(q.width == k.width, "q is ", dims(q), " and k is ", dims(k),
                   ": they must have the same width.");
  problems.require(shape.head_dim == 0 || q.width == shape.head_dim, "q is ", dims(q),
                   " but the encoding is bound to heads of ", shape.head_dim, " channels.");
  problems.require(
      out.tokens == q.tokens && out.heads == q.heads && out.width == v.width, "out is ", dims(out),
      " but must be [", q.tokens, ", ", q.heads, ", ", v.width, "].",
      swap_hint(out.tokens == q.heads && out.heads == q.tokens && out.width == v.width));
  problems.require(q.width > 0 || q.tokens == 0, "q is ", dims(q),
                   ": heads need at least one channel.");
  if (addresses_fit) {
    problems.require(!overlap(out, k) && !overlap(out, v), "out must not overlap k or v.");
    check_out(problems, q, writable);
  }
  const Index rotated = rotated_value_channels(answers);
  problems.require(v.width >= rotated, "RotateValues rotates channels up to ", rotated,
                   " but v is ", dims(v), ".");
  check_relative_widths(problems, answers, q.width, v.width);
  check_by_row(problems, "lse", lse, q);
}

}  // namespace detail

POSENC_NAMESPACE_END
