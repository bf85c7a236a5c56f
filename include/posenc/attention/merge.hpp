// SPDX-License-Identifier: MIT
//
// merge: two partial attentions over disjoint sets of keys become one.
//
//   lse = ln(e^lse_a + e^lse_b)      out = e^(lse_a - lse) out_a + e^(lse_b - lse) out_b
//
// Exact, and in any order: attend to each part of the keys with AttentionOptions::lse, merge. A
// SinkLogit belongs to the softmax as a whole, so it may take part in one of the parts only.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/view.hpp>

#include <cmath>
#include <limits>
#include <span>

POSENC_NAMESPACE_BEGIN

/// Output [tokens, heads, value_dim] and natural log-sum-exp [tokens][heads] of some of the keys.
template <class T>
struct Partial {
  TensorView<T> out;
  std::span<T> lse;

  constexpr operator Partial<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {out, lse};
  }
};

/// Merges `from` into `into`. A part that saw no key of a row (lse of minus infinity) leaves the
/// row as it is.
/// Throws Error when the shapes differ.
template <class T>
void merge(Partial<T> into, std::type_identity_t<Partial<const T>> from) {
  const TensorView<T>& a = into.out;
  const TensorView<const T>& b = from.out;
  Problems problems;
  problems.require(a.tokens == b.tokens && a.heads == b.heads && a.width == b.width,
                   "the parts must have the same shape, got [", a.tokens, ", ", a.heads, ", ",
                   a.width, "] and [", b.tokens, ", ", b.heads, ", ", b.width, "].");
  problems.require(std::ssize(into.lse) == a.tokens * a.heads && into.lse.size() == from.lse.size(),
                   "a log-sum-exp per row is needed, ", a.tokens, " tokens of ", a.heads,
                   " heads, got ", into.lse.size(), " and ", from.lse.size(), ".");
  problems.raise_if_any("posenc::merge");

  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (Index t = 0; t < a.tokens; ++t)
    for (Index h = 0; h < a.heads; ++h) {
      T& lse_a = into.lse[static_cast<std::size_t>(t * a.heads + h)];
      const T lse_b = from.lse[static_cast<std::size_t>(t * a.heads + h)];
      if (lse_b == -infinity) continue;
      const T greatest = lse_a > lse_b ? lse_a : lse_b;
      const T weight_a = std::exp(lse_a - greatest), weight_b = std::exp(lse_b - greatest);
      const T sum = weight_a + weight_b;
      for (Index i = 0; i < a.width; ++i) {
        // A weight of zero has no effect, whatever the other part holds.
        const T part_a = weight_a == 0 ? T{0} : weight_a * a(t, h, i);
        const T part_b = weight_b == 0 ? T{0} : weight_b * b(t, h, i);
        a(t, h, i) = (part_a + part_b) / sum;
      }
      lse_a = greatest + std::log(sum);
    }
}

POSENC_NAMESPACE_END
