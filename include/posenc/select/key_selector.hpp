// SPDX-License-Identifier: MIT
//
// KeySelector: a method that chooses blocks of keys by a summary of each.
//
//   1. Keys are cut into blocks of `block` tokens, by index: block b holds the indices [b block, (b + 1) block), the
//      last one what there is of it. Of each block and key head a summary is kept, a vector (select/summaries.hpp).
//   2. A query meets the summaries in one product: score(b) = <meet(q), summary(b)>. Rows that share a choice
//      have their scores added (select/select.hpp).
//   3. Some blocks are always read (forced), of the others the `top` with the greatest scores.
//
// A selector is a plain value that says what its method does in these three places; that is all of it, so a method of
// your own is a struct like those of the library (Quest, MoBA, ...). What a method may say beside the concept:
//
//   static constexpr bool needs_mass    summaries are per query head, and KeyBlock::mass is what update() was given
//   static constexpr Placement placement   where chosen keys stand (select/selection.hpp)
//   Position query_position()           queries rotate at this one position when they meet summaries of raw keys
//   Rounding rounding(Index i, Index n)    how number i of a summary of keys of n channels becomes a 16-bit element
//   void weigh(std::span<float> scores, double scale)   what becomes of the scores of a row before rows are added;
//                                       `scale` is what attention multiplies the scores of that query by
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>
#include <posenc/select/selection.hpp>

#include <concepts>
#include <span>
#include <string_view>

POSENC_NAMESPACE_BEGIN

/// Who shares a choice.
enum class ChoicePer {
  query_head,  ///< nobody: each query head has its own
  key_head,    ///< the query heads of a key head, so that their keys are read once
  sequence     ///< all heads
};

/// Keys of one key head that are summarised together.
struct KeyBlock {
  const float* keys = nullptr;  ///< [tokens][width]
  Index tokens = 0, width = 0;
  std::span<const double> mass{};  ///< [tokens], of one query head, where the selector needs it

  [[nodiscard]] std::span<const float> key(Index token) const {
    return {keys + token * width, static_cast<std::size_t>(width)};
  }
};

/// Blocks that are always read, of all that there are.
struct ForcedBlocks {
  Index first = 0;  ///< so many at the beginning
  Index last = 0;   ///< so many at the end, the one of the query's own token among them
};

template <class S>
concept KeySelector = requires(const S& s, Problems& problems, const KeyBlock& block,
                               const float* query, float* to, Index n) {
  { S::name } -> std::convertible_to<std::string_view>;
  /// Do summaries and queries stand for rotated keys and queries, or for those that were passed?
  { S::rotated } -> std::convertible_to<bool>;
  /// Adds a sentence for each wrong parameter.
  s.check(problems);
  { s.block } -> std::convertible_to<Index>;
  { s.per } -> std::convertible_to<ChoicePer>;
  /// Numbers in a summary, and in a query that meets it, for keys of n channels.
  { s.summary_width(n) } -> std::same_as<Index>;
  s.summarize(block, to);
  s.meet(query, n, to);
  /// Of n blocks, and how many more are chosen by their scores.
  { s.forced(n) } -> std::same_as<ForcedBlocks>;
  { s.top() } -> std::same_as<Index>;
};

namespace detail {

template <class S>
inline constexpr bool needs_mass = false;
template <class S>
  requires requires { S::needs_mass; }
inline constexpr bool needs_mass<S> = S::needs_mass;

template <class S>
inline constexpr Placement placement_of = Placement::own;
template <class S>
  requires requires { S::placement; }
inline constexpr Placement placement_of<S> = S::placement;

/// Queries of all tokens rotate at one position, and keys not at all.
template <class S>
concept TurnsQueriesAlike = requires(const S& s) {
  { s.query_position() } -> std::same_as<Position>;
};
template <class S>
concept RoundsSummaries = requires(const S& s, Index i) {
  { s.rounding(i, i) } -> std::same_as<Rounding>;
};
template <class S>
concept WeighsScores =
    requires(const S& s, std::span<float> scores, double scale) { s.weigh(scores, scale); };

}  // namespace detail

POSENC_NAMESPACE_END
