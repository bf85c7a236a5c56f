// SPDX-License-Identifier: MIT
//
// Calls with their tensors, compared row by row and bit by bit, in scratch memory between guards.
#pragma once

#include "../support/backwards.hpp"
#include "../support/bits.hpp"
#include "../support/catch.hpp"
#include "../support/guards.hpp"
#include "../support/oracle.hpp"

namespace attention_test {

using posenc_test::Backwards;
using posenc_test::same_bits;
using posenc_test::Workspace;

/// The tensors of one call, filled.
template <class T>
struct Inputs {
  using Memory = typename Tensor<T>::Memory;
  Tensor<T> q, k, v;
  AttentionOptions<T> options{};

  Inputs(Index queries, Index keys, Index heads, Index kv_heads, Index width, Index value_dim,
         double gain = 2, Memory memory = Tensor<T>::token_major)
      : q(queries, heads, width, memory), k(keys, kv_heads, width, memory),
        v(keys, kv_heads, value_dim, memory) {
    q.fill(Random(1), gain);
    k.fill(Random(2));
    v.fill(Random(3));
    if (queries > keys) options.query_offset = 0;
  }
  [[nodiscard]] Arguments<T> call() const { return {q, k, v, options}; }
};

/// Row r of one head: output and log-sum-exp.
template <class T>
bool same_row(const Output<T>& a, Index row_a, const Output<T>& b, Index row_b, Index head) {
  const TensorView<const T> x = a.out, y = b.out;
  bool same = same_bits(a.lse[size(row_a * x.heads + head)], b.lse[size(row_b * y.heads + head)]);
  for (Index d = 0; d < x.width; ++d)
    same = same && same_bits(x(row_a, head, d), y(row_b, head, d));
  return same;
}

/// The number of rows that are not the same.
template <class T>
Index differing_rows(const Output<T>& a, const Output<T>& b) {
  Index differ = 0;
  const TensorView<const T> x = a.out;
  for (Index r = 0; r < x.tokens; ++r)
    for (Index h = 0; h < x.heads; ++h) differ += same_row(a, r, b, r, h) ? 0 : 1;
  return differ;
}

/// A call in scratch memory that holds NaN before, as what was not computed may.
template <class T, class BoundT>
Output<T> attend_in_nan(Arguments<T> call, const BoundT& bound,
                        typename Tensor<T>::Memory memory = Tensor<T>::token_major) {
  const Workspace workspace(attention_workspace<T>(
      bound, {call.q.tokens, call.k.tokens, call.q.width, call.v.width}, call.options.executor));
  Output<T> result(call, memory);
  call.options.lse = result.lse;
  call.options.workspace = workspace.memory();
  attention(call.q, call.k, call.v, result.out.view(), bound, call.options);
  if (!workspace.guards_are_whole()) FAIL_CHECK("wrote beyond the workspace");
  return result;
}

}  // namespace attention_test
