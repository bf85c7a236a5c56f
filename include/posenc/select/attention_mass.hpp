// SPDX-License-Identifier: MIT
//
// AttentionMass: how much attention each token of a cache has received, by query head, summed from step to step.
//
//   AttentionMass mass(cache, num_heads);
//   decode(q, cache, out, bound, {.lse = lse});
//   mass.add(q, cache, sequence, lse, bound);         mass(m, h) += sum over the queries n of w(n, h, m)
//
// It is what H2O and SnapKV choose tokens by (select/kept_tokens.hpp), and what InfLLM represents blocks by. A step costs
// one more product with all keys (attention/key_weights.hpp).
//
// It stays beside the tokens of the cache: tokens that are appended begin with 0, and truncate() takes tokens away by itself. An
// edit that moves tokens is made through this object, which moves the sums with them:
//
//   mass.evict(cache, sequence, first, last)     and keep(cache, sequence, kept): takes tokens out of both
//   mass.fork(cache, from, to, end)              copies both
//   mass.in_place(cache, sequence, [&] { shift(cache, sequence, ...); })   tokens stay what they are
//
// Of an edit that was made behind its back it knows the first token that may have changed, and forgets the sums from there
// on: they begin again with 0.
#pragma once

#include <posenc/attention/key_weights.hpp>
#include <posenc/cache/key_value_cache.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

POSENC_NAMESPACE_BEGIN

class AttentionMass {
 public:
  template <KeyState State, class C>
  AttentionMass(const KeyValueCache<State, C>& cache, Index num_heads)
      : of_(cache.rows().identity()), heads_(num_heads), kv_heads_(cache.shape().kv_heads) {
    Problems problems;
    problems.require(num_heads > 0 && num_heads % kv_heads_ == 0,
                     "the number of query heads must be a multiple of the cache's ", kv_heads_,
                     " key heads, got ", num_heads, ".");
    problems.require(!cache.is_ring(),
                     "a ring drops its oldest tokens by itself, whatever attention they receive: "
                     "keep tokens in a contiguous or paged cache.");
    problems.raise_if_any("posenc::AttentionMass");
    held_.resize(static_cast<std::size_t>(cache.shape().sequences));
  }

  [[nodiscard]] Index heads() const { return heads_; }
  [[nodiscard]] Index kv_heads() const { return kv_heads_; }

  /// Adds the weights of the last tokens of a sequence, q [tokens, heads, head_dim], whose log-sum-exps
  /// decode() returned. Throws Error for shapes that do not fit together.
  template <class Q, KeyState State, class C, class E>
  void add(TensorView<Q> q, const KeyValueCache<State, C>& cache, Index sequence,
           std::span<const arithmetic_t<C>> lse, const Bound<E>& bound,
           const AnyExecutor& executor = {}) {
    Held& held = follow("add", cache, sequence);
    Problems problems;
    problems.require(q.heads == heads_, "q is ", detail::ShapeText(q), " but there are sums of ",
                     heads_, " query heads.");
    problems.raise_if_any("posenc::AttentionMass::add");
    std::vector<double> step(held.sums.size());
    key_weights(q, cache, sequence, lse, std::span<double>(step), 1, bound, executor);
    for (std::size_t i = 0; i < step.size(); ++i) held.sums[i] += step[i];
  }

  /// [token][query head], of the tokens that the cache holds now.
  template <KeyState State, class C>
  [[nodiscard]] std::span<const double> of(const KeyValueCache<State, C>& cache, Index sequence) {
    return follow("of", cache, sequence).sums;
  }

  /// Takes the tokens with index [first, last) out of the sequence, here and in the cache.
  template <KeyState State, class C>
  void evict(KeyValueCache<State, C>& cache, Index sequence, Position first, Position last) {
    Held& held = follow("evict", cache, sequence);
    const detail::Slots& slots = cache.slots("evict", sequence);
    const Index from = slots.rank_of(first), to = slots.rank_of(last);
    cache.evict(sequence, first, last);
    held.sums.erase(row(held, from), row(held, to));
    seen(held, slots);
  }
  /// Keeps the tokens of these indices, which rise, and takes all others out of the sequence, here and in the cache.
  template <KeyState State, class C>
  void keep(KeyValueCache<State, C>& cache, Index sequence, std::span<const Position> kept) {
    Held& held = follow("keep", cache, sequence);
    const detail::Slots& slots = cache.slots("keep", sequence);
    std::vector<Index> ranks;
    for (const Position index : kept) ranks.push_back(slots.rank_of(index));
    cache.keep_path(sequence, 0, kept);
    for (std::size_t i = 0; i < ranks.size(); ++i)
      std::copy_n(row(held, ranks[i]), heads_, row(held, static_cast<Index>(i)));
    seen(held, slots);
  }
  /// Copies the tokens of a sequence before an index to another one, with their sums.
  template <KeyState State, class C>
  void fork(KeyValueCache<State, C>& cache, Index from, Index to, Position end) {
    const std::vector<double> sums = follow("fork", cache, from).sums;
    Held& held = follow("fork", cache, to);
    cache.fork(from, to, end);
    held.sums = sums;
    seen(held, cache.slots("fork", to));
  }
  /// Runs an edit after which every token has the rank that it had (shift, rebase).
  template <KeyState State, class C, class F>
  void in_place(const KeyValueCache<State, C>& cache, Index sequence, const F& edit) {
    Held& held = follow("in_place", cache, sequence);
    edit();
    seen(held, cache.slots("in_place", sequence));
  }
  /// All sums of a sequence are 0 again.
  template <KeyState State, class C>
  void clear(const KeyValueCache<State, C>& cache, Index sequence) {
    Held& held = follow("clear", cache, sequence);
    std::fill(held.sums.begin(), held.sums.end(), 0.0);
  }

 private:
  struct Held {
    detail::Edits::Number edit = 0;
    std::vector<double> sums;  ///< [token][head]
  };

  [[nodiscard]] std::vector<double>::iterator row(Held& held, Index rank) const {
    return held.sums.begin() + rank * heads_;
  }
  /// The edits so far are known, and there are sums of what is left.
  void seen(Held& held, const detail::Slots& slots) const {
    held.edit = slots.edits().last();
    held.sums.resize(static_cast<std::size_t>(slots.tokens() * heads_));
  }
  /// The sums of a sequence, for the tokens that are there now.
  template <KeyState State, class C>
  Held& follow(const char* what, const KeyValueCache<State, C>& cache, Index sequence) {
    const detail::Slots& slots = cache.slots(what, sequence);
    Problems problems;
    problems.require(cache.shape().sequences == std::ssize(held_) &&
                         cache.shape().kv_heads == kv_heads_,
                     "these sums are of a cache of another shape.");
    problems.require(of_ == cache.rows().identity(), "these sums are of another cache.");
    problems.raise_if_any("posenc::AttentionMass");
    Held& held = held_[static_cast<std::size_t>(sequence)];
    const Index tokens = std::ssize(held.sums) / heads_,
                same = std::min(tokens, slots.edits().first_since(held.edit));
    std::fill(row(held, same), held.sums.end(), 0.0);
    seen(held, slots);
    return held;
  }

  std::uint64_t of_;  ///< the identity of the cache
  Index heads_, kv_heads_;
  std::vector<Held> held_;  ///< [sequence]
};

POSENC_NAMESPACE_END
