// SPDX-License-Identifier: MIT
//
// Stacks of components with random values, as in tests/pipelines: decoded from caches with
// positions of their own, some with gaps, and compared with the dense reference.
#pragma once

#include "../pipelines/pipelines.hpp"
#include "../support/cases.hpp"
#include "calls.hpp"
#include "reference.hpp"

#include <tuple>

namespace decode_test {

using attention_test::Make;

/// Components with random values; and the same without the masks among them.
struct Stack {
  AnyEncoding all, unmasked;
};
template <class... Cs>
Stack make_stack(Random& random, const attention_test::Setting& at) {
  const std::tuple<Cs...> components{Make<Cs>::make(random, at)...};
  Stack stack;
  const auto add = [&]<class C>(const C& component) {
    stack.all |= component;
    if constexpr (!Mask<C>) stack.unmasked |= component;
  };
  std::apply([&](const Cs&... component) { (add(component), ...); }, components);
  return stack;
}

template <KeyState State, class U>
void check_stack(std::uint64_t seed, Stack (*make)(Random&, const attention_test::Setting&)) {
  Random random(seed);
  attention_test::Setting at = attention_test::random_setting(random);
  at.tokens = random.pick<Index>({1, 20, 66, 130, 700});
  at.head_dim = std::min<Index>(at.head_dim, 96);
  at.rotary_dim = std::min(at.rotary_dim, at.head_dim);
  at.rotary_offset = random.integer(0, at.head_dim - at.rotary_dim);
  const Stack stack = make(random, at);
  const BindOptions options{.num_heads = at.num_heads, .num_kv_heads = at.num_kv_heads};
  const AnyBound bound = bind(stack.all, options);

  const Index n = at.tokens;
  const Index value_dim = bound.rotates_values() ? at.head_dim + random.integer(0, 3)
                                                 : random.pick<Index>({at.head_dim, 1, 17, 40});
  const Sequence<U> sequence(n, at.num_heads, at.num_kv_heads, at.head_dim, value_dim, seed,
                             random.pick({0.5, 2.0}));
  std::vector<Position> ids(size(n));
  std::vector<Index> held(size(n));  // which tokens of the sequence
  std::iota(held.begin(), held.end(), Index{0});
  const Position from = random.pick<Position>({0, 0, 1000, 1'000'000, -30});
  const bool is_random = random.chance(0.3);
  for (Index t = 0; t < n; ++t) ids[size(t)] = from + (is_random ? random.integer(0, 2 * n) : t);

  const Kind kind = random.pick({Kind::contiguous, Kind::ring, Kind::paged});
  Holder<State, U> cache(kind, shape_for(sequence));
  for (Index t = 0; t < n;) {
    const Index some = std::min(n - t, random.integer(1, 40));
    append(*cache, 0, sequence, t, t + some, bound,
           {Positions(std::span<const Position>(ids).subspan(size(t), size(some)))});
    t += some;
  }
  Tensor<U> k(n, at.num_kv_heads, at.head_dim), v(n, at.num_kv_heads, value_dim);
  const auto copy = [](const TensorView<const U>& x, Index i, const TensorView<U>& y, Index j) {
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) y(j, h, c) = x(i, h, c);
  };
  // Without some tokens in the middle, in two places.
  Index kept = n;
  if (random.chance(0.5) && n > 10)
    for (int i = 0; i < 2; ++i) {
      const Index most = std::ssize(held) - 9, first = random.integer(0, std::max<Index>(most, 0));
      const Index last = std::min(first + random.integer(1, 6), std::ssize(held));
      cache->evict(0, first, last);
      held.erase(held.begin() + first, held.begin() + last);
    }
  kept = cache->tokens(0);
  std::vector<Position> kept_ids(size(kept)), kept_index(size(kept));
  for (Index rank = 0; rank < kept; ++rank) {
    kept_index[size(rank)] = cache->index(0, rank);
    kept_ids[size(rank)] = ids[size(held[size(rank)])];
    copy(sequence.k, held[size(rank)], k.view(), rank);
    copy(sequence.v, held[size(rank)], v.view(), rank);
  }
  const Index queries = std::min<Index>({kept, random.pick<Index>({1, 2, 8, 9, 20}), 3000 / n + 1});
  Arguments<U> call = sequence.last(queries);
  call.k = k.view().slice(0, kept);
  call.v = v.view().slice(0, kept);
  call.options.key_positions = kept_ids;
  call.options.query_positions = Positions(kept_ids).subspan(size(kept - queries), size(queries));

  AnyBound whole = bound;
  if (bound.depends_on_length())
    if (const Position length = Positions(kept_ids).length(kept); length > 0)
      whole = bound.at_length(length);
  const Output<U> result = decoded(call.q, *cache, bound);
  // Which keys a mask shows is a matter of indices, which the bound does not know: all of them
  // count.
  INFO("seed " << seed << ": " << queries << " of " << kept << " tokens (" << n
               << " appended), heads " << at.num_heads << "/" << at.num_kv_heads << " of "
               << at.head_dim << " and " << value_dim << ", from " << from << ", kind "
               << static_cast<int>(kind));
  const std::vector<attention_test::RowBound> bounds = attention_test::error_bounds(
      call, bind(stack.unmasked, options).at_length(whole.options().length));
  CHECK(attention_test::worst_ratio<U>(
            result.out, result.lse,
            reference_of<U>(call.q, call.k, call.v, kept_ids, kept_index, whole), bounds) <= 1);
}

template <class... Cs>
void check_stacks(std::uint64_t seed) {
  std::string name;
  ((name += std::string(" | ") + Make<Cs>::name), ...);
  INFO(name);
  constexpr bool has_map = Encoding<Cs...>::num_distance_maps > 0;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(posenc_test::some_of(40)); ++i) {
    check_stack<KeyState::raw, float>(1000 * seed + i, &make_stack<Cs...>);
    if (!Encoding<Cs...>::depends_on_length && !has_map)
      check_stack<KeyState::rotated, float>(1000 * seed + i, &make_stack<Cs...>);
  }
}

}  // namespace decode_test
