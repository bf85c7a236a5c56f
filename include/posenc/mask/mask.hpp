// SPDX-License-Identifier: MIT
//
// mask(f): a mask of your own, from a predicate that says which keys a query may see.
//
//   auto even_keys = mask([](Score at) { return at.key_index % 2 == 0; });
//
// The predicate is asked about every score, so no tile is skipped. A type of your own with both
// visible(const Score&) and classify(const Tile&) is a component without this wrapper, and skips
// tiles. Ask about indices for the order of the tokens, about positions only if position ids are
// meant.
//
// A functor with a member check(Problems&, const HeadShape&) has its parameters checked at bind.
#pragma once

#include <posenc/core/concepts.hpp>

#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

template <class F>
struct MaskFunction {
  F function;

  [[nodiscard]] constexpr bool visible(const Score& at) const { return function(at); }

  constexpr void check(Problems& problems, const HeadShape& shape) const
    requires Checks<F>
  {
    function.check(problems, shape);
  }
};

template <class F>
[[nodiscard]] constexpr MaskFunction<F> mask(F function) {
  static_assert(!detail::CalledUnlessConst<F, const Score&>,
                "posenc: this f can be called only while it is not const: write "
                "`operator()(...) const`, and no `mutable` behind a lambda.");
  static_assert(
      std::is_invocable_r_v<bool, const F&, const Score&>,
      "posenc: mask(f) needs an f that can be called, also when it is const, as f(Score at), "
      "and that returns true when the query may see the key.");
  return {std::move(function)};
}

POSENC_NAMESPACE_END
