// SPDX-License-Identifier: MIT
//
// any_of(masks...): a key is visible when one of the masks shows it.
//
// Masks joined by `|` intersect; this unites them, and is one mask to the rest of the encoding:
//
//   Causal{} | any_of(SlidingWindow{.left = 1023}, PrefixLM{.prefix = 64})
//
// A tile is full when one mask says so and none when all do. Masks that only together fill a tile
// leave it partial, which costs time, never correctness, as does a mask that cannot classify.
#pragma once

#include <posenc/core/concepts.hpp>

#include <tuple>
#include <utility>

POSENC_NAMESPACE_BEGIN

template <class... Ms>
struct AnyOf {
  std::tuple<Ms...> masks;

  [[nodiscard]] constexpr bool visible(const Score& at) const
    requires(Mask<Ms> && ...)
  {
    return std::apply([&](const Ms&... mask) { return (mask.visible(at) || ...); }, masks);
  }

  [[nodiscard]] constexpr TileClass classify(const Tile& tile) const
    requires(TiledMask<Ms> || ...)
  {
    bool none = true, full = false;
    const auto ask = [&](const auto& mask) {
      TileClass answer = TileClass::partial;
      if constexpr (TiledMask<std::remove_cvref_t<decltype(mask)>>) answer = mask.classify(tile);
      none = none && answer == TileClass::none;
      full = full || answer == TileClass::full;
    };
    std::apply([&](const Ms&... mask) { (ask(mask), ...); }, masks);
    return full ? TileClass::full : none ? TileClass::none : TileClass::partial;
  }

  [[nodiscard]] constexpr AnyOf<prepared_t<Ms>...> prepare(const HeadShape& shape) const
    requires(Prepares<Ms> || ...)
  {
    return {std::apply(
        [&](const Ms&... mask) {
          return std::tuple<prepared_t<Ms>...>(detail::prepare(mask, shape)...);
        },
        masks)};
  }

  void check(Problems& problems, const HeadShape& shape) const {
    const auto ask = [&](const auto& mask) {
      if constexpr (Checks<std::remove_cvref_t<decltype(mask)>>) mask.check(problems, shape);
    };
    std::apply([&](const Ms&... mask) { (ask(mask), ...); }, masks);
  }
};

template <class... Ms>
[[nodiscard]] constexpr AnyOf<Ms...> any_of(Ms... masks) {
  static_assert(sizeof...(Ms) > 0, "posenc: any_of() needs at least one mask.");
  static_assert((Mask<prepared_t<Ms>> && ...),
                "posenc: any_of(...) unites masks, but an argument is not a mask: it has no member "
                "visible(const Score&). Wrap a predicate with mask(f).");
  return {std::tuple<Ms...>(std::move(masks)...)};
}

POSENC_NAMESPACE_END
