// SPDX-License-Identifier: MIT
//
// bias(f): a bias of your own.
//
//   bias([](Index head, Position distance) { ... })   depends on head and distance alone
//   bias([](Score at) { ... })                        depends on anything in Score
//
// What f returns is added to the scaled score. It is also asked about pairs that a mask hides, so it
// must have an answer for every distance, negative ones included. Prefer the first form: f is
// evaluated once for each head and distance of a call of many queries, and in decode once for each
// head and distance below `cached_distances` for as long as the bound encoding lives
// (bias/distance_table.hpp), so it may be as slow as it likes. Beyond them, and in blocks that hold keys
// in the future of their query, decode evaluates it per score. The table takes 8 bytes per head and
// distance that sequences reach (4 where f returns a float).
//
// What decode keeps stays as it was first evaluated. An f that reads what changes later, through a
// reference or a pointer, needs bias(f, 0), or the encoding has to be bound anew after each change.
//
// The second form runs in the fused kernel for every score: keep it short, free of branches and in
// float.
//
//   struct RecencyBonus {
//     float strength, half_life;
//     float operator()(Score at) const {
//       return strength * half_life / (half_life + static_cast<float>(at.distance()));
//     }
//   };
//   auto encoding = RoPE<HalfSplit>{.head_dim = 64} | bias(RecencyBonus{1.5f, 64}) | Causal{};
//
// A functor with a member check(Problems&, const HeadShape&) has its parameters checked at bind. One with
// num_parameters() and gradient(head, distance, sum, std::span<double>), or gradient(at, dx,
// std::span<double>), can learn: see Parameters in core/gradients.hpp.
#pragma once

#include <posenc/bias/distance_table.hpp>
#include <posenc/core/gradients.hpp>

#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

template <class F>
struct PreparedRelativeBias;

/// A function of (head, distance) as a component.
template <class F>
struct RelativeBiasFunction {
  F function;
  Index cached_distances = 65'536;  ///< distances below this are kept for decode; 0: none

  [[nodiscard]] constexpr auto relative_bias(Index head, Position distance) const {
    return function(head, distance);
  }
  [[nodiscard]] constexpr Index num_parameters() const
    requires Parameters<F>
  {
    return function.num_parameters();
  }
  constexpr void relative_bias_gradient(Index head, Position distance, double sum,
                                        std::span<double> gradient) const
    requires requires(const F f) { f.gradient(head, distance, sum, gradient); }
  {
    function.gradient(head, distance, sum, gradient);
  }
  [[nodiscard]] PreparedRelativeBias<F> prepare(const HeadShape& shape) const {
    return {*this, shape.num_heads};
  }
  constexpr void check(Problems& problems, const HeadShape& shape) const {
    detail::check_cached_distances(problems, "bias(f)", shape, cached_distances);
    if constexpr (Checks<F>) function.check(problems, shape);
  }
};

/// The same with a table of what decode asks for; prefill and gradients ask the function.
template <class F>
struct PreparedRelativeBias : RelativeBiasFunction<F> {
  using Result = std::remove_cvref_t<std::invoke_result_t<const F&, Index, Position>>;
  using Table =
      detail::DistanceTable<std::conditional_t<std::is_arithmetic_v<Result>, Result, double>>;
  detail::Shared<Table> table;

  PreparedRelativeBias(const RelativeBiasFunction<F>& bias, Index num_heads)
      : RelativeBiasFunction<F>(bias),
        table(detail::Shared<Table>::make(num_heads, bias.cached_distances)) {}

  template <class Use>
  void tile_bias(const Tile& tile, Index head, const Use& use) const {
    table->tile_bias(tile, head, *this, use);
  }
};

/// A function of Score as a component.
template <class F>
struct ScoreBiasFunction {
  F function;

  [[nodiscard]] constexpr auto score_bias(const Score& at) const { return function(at); }
  [[nodiscard]] constexpr Index num_parameters() const
    requires Parameters<F>
  {
    return function.num_parameters();
  }
  constexpr void score_bias_gradient(const Score& at, double dx, std::span<double> gradient) const
    requires requires(const F f) { f.gradient(at, dx, gradient); }
  {
    function.gradient(at, dx, gradient);
  }
  constexpr void check(Problems& problems, const HeadShape& shape) const
    requires Checks<F>
  {
    function.check(problems, shape);
  }
};

namespace detail {

/// An f that bias() takes as a function of (head, distance), or as one of Score.
template <class F>
concept DistanceFunction = std::is_invocable_r_v<double, const F&, Index, Position>;
template <class F>
concept ScoreFunction = std::is_invocable_r_v<double, const F&, const Score&>;

}  // namespace detail

/// Makes a bias of a function; of two call operators that fit, (head, distance) is chosen.
template <class F>
[[nodiscard]] constexpr auto bias(F function) {
  constexpr bool relative = detail::DistanceFunction<F>, of_score = detail::ScoreFunction<F>;
  if constexpr (!relative && !of_score)
    static_assert(!detail::CalledUnlessConst<F, Index, Position> &&
                      !detail::CalledUnlessConst<F, const Score&>,
                  "posenc: this f can be called only while it is not const: write "
                  "`operator()(...) const`, and no `mutable` behind a lambda.");
  static_assert(relative || of_score,
                "posenc: bias(f) needs an f that can be called, also when it is const, as "
                "f(Index head, Position distance) or as f(Score at), and that returns a number.");
  if constexpr (relative)
    return RelativeBiasFunction<F>{std::move(function)};
  else if constexpr (of_score)
    return ScoreBiasFunction<F>{std::move(function)};
}

/// The same with another number of distances below which decode keeps what f says, 0 for none.
template <class F>
[[nodiscard]] constexpr auto bias(F function, Index cached_distances) {
  static_assert(
      detail::DistanceFunction<F>,
      "posenc: bias(f, cached_distances) needs an f that can be called, also when it is "
      "const, as f(Index head, Position distance): what f(Score at) says is not kept, write "
      "bias(f).");
  if constexpr (detail::DistanceFunction<F>)
    return RelativeBiasFunction<F>{std::move(function), cached_distances};
}

POSENC_NAMESPACE_END
