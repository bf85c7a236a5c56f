// SPDX-License-Identifier: MIT
//
// choose_blocks: which blocks of keys the queries of a prompt see, as a mask.
//
//   const ChosenBlocks chosen = choose_blocks(q, k, MoBA{.block = 512, .topk = 8}, bound, {.query_block = 64});
//   attention(q, k, v, out, bind(rope | Causal{} | chosen, heads));
//
// What select() (select/select.hpp) does for the keys of a cache, for tensors. All keys are summarised, and every group of
// `query_block` queries chooses:
//
//   score(b) = sum over the queries of the group, and over the heads that share a choice, of <meet(q), summary(b)>
//
// (or of what the selector makes of these products). Nothing is chosen by what is not known yet: only blocks that end before
// the own block of the group's first query have scores; blocks from there to that of its last query are seen, and Causal
// hides in them what is behind each query. The forced blocks of the first query are forced for all.
//
// A group takes one choice, so methods that choose for every query (MoBA, NSA) are as published with query_block = 1.
// Tiles of attention are computed as a whole, so groups of 64 queries and more save what they do not see.
#pragma once

#include <posenc/core/overlap.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/select/check_selector.hpp>
#include <posenc/select/choose_blocks_worker.hpp>

POSENC_NAMESPACE_BEGIN

struct ChooseOptions {
  /// Consecutive queries that share a choice.
  Index query_block = 1;
  /// Index of the first query; by default queries are the last tokens of k. The first key has index 0.
  std::optional<Position> query_offset{};
  /// In place of indices, for rotations.
  std::optional<Positions> query_positions{}, key_positions{};
  /// Attention mass that keys have received, [key][query head], for selectors that need it (InfLLM).
  std::span<const double> mass{};
  Index sequence = 0;  ///< which of a ragged batch; see mask/chosen_blocks.hpp
  AnyExecutor executor{};
};

/// `bound` is an encoding that has the rotations of attention; its masks and biases take no part.
/// Throws Error for shapes that do not fit together, and for a method that cannot choose for this encoding.
template <class Q, class K, KeySelector S, class E>
[[nodiscard]] ChosenBlocks choose_blocks(TensorView<Q> q, TensorView<K> k, const S& selector,
                                         const Bound<E>& bound, const ChooseOptions& options = {}) {
  using T = std::remove_const_t<Q>;
  using C = std::remove_const_t<K>;
  const detail::Answers& answers = bound.answers();
  const HeadShape& shape = answers.shape();
  Problems problems;
  detail::check_selector(problems, selector, answers);
  detail::check_view(problems, "q", q);
  detail::check_view(problems, "k", k);
  problems.require(q.heads == shape.num_heads && k.heads == shape.num_kv_heads &&
                       q.width == k.width && (shape.head_dim == 0 || q.width == shape.head_dim),
                   "q is ", detail::ShapeText(q), " and k is ", detail::ShapeText(k),
                   " but the encoding is bound to ", shape.num_heads, " query heads and ",
                   shape.num_kv_heads, " key heads.");
  problems.require(options.query_block > 0, "query_block must be positive, got ",
                   options.query_block, ".");
  const Index masses = detail::needs_mass<S> ? k.tokens * shape.num_heads : 0;
  problems.require(!detail::needs_mass<S> || std::ssize(options.mass) == masses, S::name,
                   " needs the attention mass of ", k.tokens, " keys and ", shape.num_heads,
                   " query heads, got ", options.mass.size(), " numbers.");
  const detail::Coordinates at =
      detail::coordinates(problems, q.tokens, k.tokens,
                          AttentionOptions<float>{.query_offset = options.query_offset,
                                                  .query_positions = options.query_positions,
                                                  .key_positions = options.key_positions},
                          answers.rotary().state);
  problems.require(at.query_offset >= 0, "the first key has index 0, so a query cannot have ",
                   at.query_offset, ".");
  problems.require(
      !problems.empty() || selector.forced(1).last > 0 || q.tokens == 0, S::name,
      " does not always read the block of a query's own token, whose summary would hold keys that "
      "the query must "
      "not know: choose_blocks() needs a selector whose forced blocks have a last one.");
  problems.raise_if_any("posenc::choose_blocks");

  BlockSets sets({.queries = q.tokens,
                  .first = at.query_offset,
                  .query_block = options.query_block,
                  .block = selector.block,
                  .blocks = k.tokens == 0 ? 0 : (k.tokens - 1) / selector.block + 1,
                  .choices = detail::choices_of(selector.per, shape),
                  .sequence = options.sequence});
  const detail::RotaryAtLength rotary(answers, [&] {
    return detail::context_length(at, q.tokens, k.tokens);
  });
  const std::size_t level = detail::level_index();
  detail::ChooseCall<S, arithmetic_t<T>, arithmetic_t<C>> call{
      selector,
      answers,
      *rotary,
      detail::Rows<arithmetic_t<T>>(q, level),
      detail::Rows<arithmetic_t<C>>(k, level),
      at,
      options.mass,
      detail::dots_leaves<float>()[level]};
  if constexpr (!std::is_same_v<typename Bound<E>::layout, detail::NoLayout>)
    if (answers.rotates())
      call.rotate = detail::rotation_leaves<typename Bound<E>::layout, float>()[level];
  detail::choose_all_blocks(call, sets, options.executor);
  return ChosenBlocks(std::move(sets));
}

POSENC_NAMESPACE_END
