// SPDX-License-Identifier: MIT
//
// estimate_vertical_slash: the pattern of each head for a prompt, from the weights of its last 64 queries.
//
// What MInference does before it attends to a prompt: the last queries see all keys, and where they look, other
// queries will (mask/vertical_slash.hpp). A head's weights are a matrix of 64 rows, one head at a time, so that
// 32,768 keys take 8 MiB.
//
//   const VerticalSlash pattern = estimate_vertical_slash(q, k, bind(rope | Causal{}, heads));
//   attention(q, k, v, out, bind(rope | pattern, heads));
#pragma once

#include <posenc/attention/key_weights.hpp>
#include <posenc/mask/vertical_slash.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

/// `bound` is what the queries see without the pattern: the encoding with Causal. Queries and keys are those of the
/// prompt, or of its end and all of it; indices are positions. `sizes` are those of each query head, or one for
/// all. Where the tokens stand elsewhere, VerticalSlash::from_weights takes the results of head_weights.
/// Throws Error for shapes that do not fit together, with every problem at once.
template <class Q, class K, class E>
[[nodiscard]] VerticalSlash estimate_vertical_slash(
    TensorView<Q> q, TensorView<K> k, const Bound<E>& bound,
    std::span<const VerticalSlash::Size> sizes = std::array{VerticalSlash::Size{}},
    const AnyExecutor& executor = {}) {
  constexpr Index last_queries = 64;
  using U = detail::computed_in_t<std::remove_const_t<Q>>;
  Problems problems;
  problems.require(std::ssize(sizes) == 1 || std::ssize(sizes) == q.heads,
                   "there must be a size for each of the ", q.heads,
                   " query heads or one for all, got ", sizes.size(), ".");
  problems.require(q.tokens >= 1 && q.tokens <= k.tokens, "the queries must be the last of the ",
                   k.tokens, " tokens that have keys, got ", q.tokens, ".");
  problems.raise_if_any("posenc::estimate_vertical_slash");

  const Index queries = std::min(last_queries, q.tokens);
  const TensorView<Q> last = q.slice(q.tokens - queries, queries);
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  std::vector<U> outputs(size(queries * q.heads * k.width)), lse(size(queries * q.heads));
  // Only the log-sum-exps are wanted: keys stand for the values.
  attention(last, k, k, TensorView<U>(outputs.data(), queries, q.heads, k.width), bound,
            {.lse = lse, .executor = executor});

  VerticalSlash pattern;
  std::vector<U> weights(size(queries * k.tokens));
  for (Index head = 0; head < q.heads; ++head) {
    head_weights(last, k, std::span<const U>(lse), head, std::span<U>(weights), bound,
                 {.executor = executor});
    pattern.heads.push_back(
        VerticalSlash::from_weights(std::span<const U>(weights), queries,
                                    sizes.size() == 1 ? sizes.front() : sizes[size(head)]));
  }
  return pattern;
}

POSENC_NAMESPACE_END
