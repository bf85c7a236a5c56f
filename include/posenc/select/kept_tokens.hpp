// SPDX-License-Identifier: MIT
//
// keep_tokens, evict_tokens: tokens by the attention that they have received (HeavyHitters, SnapKV).
//
//   keep_tokens(HeavyHitters{.heavy = 256, .recent = 256}, mass, cache, 0, {.heads = 32}, chosen);   each head's own
//   decode(q, cache, out, bound, {.selection = &chosen});
//
//   evict_tokens(HeavyHitters{.heavy = 256, .recent = 256}, mass, cache, 0);      out of the cache, for all heads
//
// A cache holds a token for all heads or for none, so heads that choose for themselves read different parts of a cache
// that stays whole, and memory is saved by a choice that all heads share, whose sums are added.
#pragma once

#include <posenc/select/attention_mass.hpp>
#include <posenc/select/heavy_hitters.hpp>
#include <posenc/select/scored_choice.hpp>
#include <posenc/select/snap_kv.hpp>

POSENC_NAMESPACE_BEGIN

/// A method that keeps the last tokens and others by their attention mass.
template <class M>
concept TokenKeeper = requires(const M& m, Problems& problems, std::span<float> scores) {
  { M::name } -> std::convertible_to<std::string_view>;
  m.check(problems);
  { m.per } -> std::convertible_to<ChoicePer>;
  { m.recent_tokens() } -> std::same_as<Index>;
  { m.chosen_tokens() } -> std::same_as<Index>;
  m.pool(scores);
};

namespace detail {

/// The tokens that heads [head, head + heads) keep, of all that there are.
template <TokenKeeper M>
std::span<const KeyRange> kept_by(const M& method, std::span<const double> mass, Index all_heads,
                                  Index head, Index heads, ScoredChoice& choice) {
  const Index tokens = std::ssize(mass) / all_heads;
  std::vector<float> scores(
      static_cast<std::size_t>(std::max<Index>(tokens - method.recent_tokens(), 0)));
  for (std::size_t m = 0; m < scores.size(); ++m) {
    const auto row = mass.begin() + static_cast<Index>(m) * all_heads + head;
    double sum = 0;
    for (Index h = 0; h < heads; ++h) sum += row[h];
    scores[m] = static_cast<float>(sum);
  }
  method.pool(std::span(scores));
  return choice(scores.data(), 1, tokens, {.last = method.recent_tokens()}, method.chosen_tokens());
}

}  // namespace detail

/// Adds to `out` what rows [readers.query, readers.query + readers.queries) of the next call to decode() read of a
/// sequence; readers.heads is the number of all query heads, which choose as M::per says. Of equal sums the earlier
/// token is kept. Throws Error for wrong parameters.
template <TokenKeeper M, KeyState State, class C>
void keep_tokens(const M& method, AttentionMass& mass, const KeyValueCache<State, C>& cache,
                 Index sequence, const Selection::Readers& readers, Selection& out) {
  Problems problems;
  method.check(problems);
  problems.require(readers.head == 0 && readers.heads == mass.heads(), "a choice is made for all ",
                   mass.heads(), " query heads, got heads [", readers.head, ", ",
                   readers.head + readers.heads, ").");
  problems.raise_if_any("posenc::keep_tokens");
  const Index choices = method.per == ChoicePer::query_head ? mass.heads()
                        : method.per == ChoicePer::key_head ? mass.kv_heads()
                                                            : 1,
              heads = mass.heads() / choices;
  const std::span<const double> sums = mass.of(cache, sequence);
  detail::ScoredChoice choice;
  for (Index c = 0; c < choices; ++c)
    out.add({readers.query, readers.queries, c * heads, heads},
            detail::kept_by(method, sums, mass.heads(), c * heads, heads, choice));
}

/// Takes all tokens but those that are kept out of a sequence of the cache, by the sums over all heads, and returns how
/// many were taken out. Positions of the others stay. Throws Error for wrong parameters.
template <TokenKeeper M, KeyState State, class C>
Index evict_tokens(const M& method, AttentionMass& mass, KeyValueCache<State, C>& cache,
                   Index sequence) {
  Problems problems;
  method.check(problems);
  problems.raise_if_any("posenc::evict_tokens");
  detail::ScoredChoice choice;
  std::vector<Position> kept;
  for (const KeyRange& range :
       detail::kept_by(method, mass.of(cache, sequence), mass.heads(), 0, mass.heads(), choice))
    for (Index rank = range.first; rank < range.first + range.tokens; ++rank)
      kept.push_back(cache.index(sequence, rank));
  const Index evicted = cache.tokens(sequence) - std::ssize(kept);
  if (evicted > 0) mass.keep(cache, sequence, kept);
  return evicted;
}

POSENC_NAMESPACE_END
