// SPDX-License-Identifier: MIT
//
// Dynamic: a scheme whose factor follows the current length.
//
//   YaRN, arXiv 2309.00071, section 3.3 ("dynamic scaling"); jquesnelle/yarn.
//
//   factor(T) = max(1, T / L),  T = greatest position + 1,  L = original context
//
//   Dynamic<YaRN>{.scheme = {.original_context = 4'096}}
//   Dynamic<PI>{.original_context = 2'048}
//
// Up to L the model runs as it was trained, and beyond it no more is squeezed than is needed: at
// T = s L this equals the scheme with factor s, temperature included. L is the length of the
// pretraining, never the extended one (one of the two files of jquesnelle/yarn divides by the wrong
// one). Frequencies change as the sequence grows, so cached keys must be raw. A length that is not
// known yet (0) counts as L.
#pragma once

#include <posenc/core/concepts.hpp>

#include <concepts>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

template <class Scheme>
struct Dynamic {
  static_assert(
      FrequencyTransform<Scheme> && !LengthDependent<Scheme> &&
          requires(Scheme s) {
            { (s.factor) } -> std::same_as<double&>;
          },
      "posenc: Dynamic<Scheme> varies the `factor` of a static frequency scheme, so Scheme "
      "needs that member and must not depend on the length already: YaRN, NTKByParts, "
      "PI. For NTK, write DynamicNTK.");
  static constexpr bool depends_on_length = true;

  Scheme scheme{};                ///< its factor stays 1: the length decides
  Position original_context = 0;  ///< for schemes without one of their own (PI); 0: the scheme's

  /// L: the scheme's own original context, or the one given here.
  [[nodiscard]] constexpr Position context() const {
    if constexpr (has_context)
      return original_context == 0 ? scheme.original_context : original_context;
    else
      return original_context;
  }

  /// The static scheme that stands for this one at a length beyond the original context.
  [[nodiscard]] constexpr Scheme at_length(Position length) const {
    Scheme fixed = scheme;
    fixed.factor =
        length > context() ? static_cast<double>(length) / static_cast<double>(context()) : 1.0;
    if constexpr (has_context) fixed.original_context = context();
    return fixed;
  }

  void transform(RotaryState& state) const {
    if (state.length > context()) at_length(state.length).transform(state);
  }

  void check(Problems& problems, const RotaryState& state) const {
    problems.require(
        scheme.factor == 1,
        "Dynamic: the factor is max(1, length / original_context), so leave that of the "
        "scheme at 1, got ",
        scheme.factor, ".");
    problems.require(context() > 0,
                     "Dynamic: original_context, the trained length, must be positive, got ",
                     context(), ".");
    problems.require(state.length >= 0, "Dynamic: the current length must not be negative, got ",
                     state.length, ".");
    if constexpr (has_context)
      problems.require(original_context == 0 || scheme.original_context == 0 ||
                           original_context == scheme.original_context,
                       "Dynamic: original_context is ", original_context,
                       " but that of the scheme is ", scheme.original_context,
                       ": give one of them.");
    if constexpr (ChecksState<Scheme>)
      if (context() > 0) at_length(state.length).check(problems, state);
  }

 private:
  static constexpr bool has_context = requires(Scheme s) {
    { (s.original_context) } -> std::same_as<Position&>;
  };
};

template <class Scheme>
Dynamic(Scheme) -> Dynamic<Scheme>;
template <class Scheme>
Dynamic(Scheme, Position) -> Dynamic<Scheme>;

POSENC_NAMESPACE_END
