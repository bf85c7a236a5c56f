// SPDX-License-Identifier: MIT
//
// How the tensors of a call are checked; see checks.hpp.
#pragma once

#include <posenc/attention/call/checks.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

POSENC_DETAIL_DEFINITION void check_by_row(Problems& problems, const char* what, Index values,
                                           const Extent& q) {
  Index rows = 0;
  problems.require(values == 0 || (multiply(q.tokens, q.heads, rows) && values == rows), what,
                   " has ", values, " elements for ", q.tokens, " queries of ", q.heads, " heads.");
}

POSENC_DETAIL_DEFINITION void check_out(Problems& problems, const Extent& q, const Extent& out) {
  problems.require(!overlap(out, q) || same_elements(out, q),
                   "out must be the same view as q or must not overlap it.");
  check_result(problems, "out", out);
}

POSENC_DETAIL_DEFINITION void check_relative_widths(Problems& problems, const Answers& answers,
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

POSENC_DETAIL_DEFINITION void check_shapes(Problems& problems, const Extent& q, const Extent& k,
                                           const Extent& v, const Extent& out,
                                           const Answers& answers, Index lse) {
  const HeadShape& shape = answers.shape();
  const auto dims = [](const Extent& x) { return ShapeText(x); };
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
    check_out(problems, q, out);
  }
  const Index rotated = rotated_value_channels(answers);
  problems.require(v.width >= rotated, "RotateValues rotates channels up to ", rotated,
                   " but v is ", dims(v), ".");
  check_relative_widths(problems, answers, q.width, v.width);
  check_by_row(problems, "lse", lse, q);
}

}  // namespace detail

POSENC_NAMESPACE_END
