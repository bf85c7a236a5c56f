// SPDX-License-Identifier: MIT
//
// Members that look like an answer and are none: a function with the name of a question that is not const,
// or takes something else. Nobody would ask it, and nothing would tell. Here the compiler does, for every
// component that joins an encoding, and says how the member has to be declared.
#pragma once

#include <posenc/core/gradients.hpp>

#include <concepts>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A member function that is neither a template nor overloaded.
template <auto member>
concept MemberFunction = std::is_member_function_pointer_v<decltype(member)>;

/// The members of one component, or of what it is prepared to. A function of the name of a question, or one
/// that answers as long as the component is not const, has to be the answer.
template <class T>
struct Members {
  static_assert(RelativeBias<T> || !(
                                       requires { requires MemberFunction<&T::relative_bias>; } ||
                                       requires(T& c, Position d) { c.relative_bias(Index{}, d); }),
                "posenc: a component answers by const members: write `double relative_bias(Index "
                "head, Position distance) const`.");
  static_assert(
      ScoreBias<T> || !(
                          requires { requires MemberFunction<&T::score_bias>; } ||
                          requires(T& c, const Score& at) { c.score_bias(at); }),
      "posenc: a component answers by const members: write `float score_bias(const Score& "
      "at) const`.");
  static_assert(
      TiledBias<T> ||
          !(
              requires { requires MemberFunction<&T::tile_bias>; } ||
              requires(T& c, const Tile& tile) { c.tile_bias(tile, Index{}, TakesFunction{}); }),
      "posenc: a component answers by const members: write `template <class Use> void "
      "tile_bias(const Tile& tile, Index head, const Use& use) const`, beside score_bias.");
  static_assert(ScoreMap<T> || !(
                                   requires { requires MemberFunction<&T::map_score>; } ||
                                   requires(T& c, const Score& at) { c.map_score(1.0F, at); }),
                "posenc: a component answers by const members: write `template <class T> T "
                "map_score(T x, const Score& at) const`.");
  static_assert(QueryTemperature<T> ||
                    !(
                        requires { requires MemberFunction<&T::temperature>; } ||
                        requires(T& c, Position query) { c.temperature(query); }),
                "posenc: a component answers by const members: write `double temperature(Position "
                "query) const`.");
  static_assert(ScoreScale<T> || !(
                                     requires { requires MemberFunction<&T::score_scale>; } ||
                                     requires(T& c, Index head_dim) { c.score_scale(head_dim); }),
                "posenc: a component answers by const members: write `double score_scale(Index "
                "head_dim) const`.");
  static_assert(
      Mask<T> || !(
                     requires { requires MemberFunction<&T::visible>; } ||
                     requires(T& c, const Score& at) { c.visible(at); }),
      "posenc: a component answers by const members: write `bool visible(const Score& at) "
      "const`.");
  static_assert(
      TiledMask<T> || !(
                          requires { requires MemberFunction<&T::classify>; } ||
                          requires(T& c, const Tile& tile) { c.classify(tile); }),
      "posenc: a component answers by const members: write `TileClass classify(const Tile& "
      "tile) const`, beside visible.");
  static_assert(
      SoftmaxSink<T> || !(
                            requires { requires MemberFunction<&T::sink_logit>; } ||
                            requires(T& c, Index head) { c.sink_logit(head); }),
      "posenc: a component answers by const members: write `double sink_logit(Index head) "
      "const`.");
  static_assert(
      FrequencyTransform<T> || !requires(T& c, RotaryState& state) { c.transform(state); },
      "posenc: a component answers by const members: write `void transform(RotaryState& "
      "state) const`.");
  static_assert(
      InputEmbedding<T> || !requires(T& c, std::span<double> out) { c.embed(1.0, out); },
      "posenc: a component answers by const members: write `void embed(double position, "
      "std::span<double> out) const` and `Index embedding_width() const`.");
  static_assert(
      RelativeKeys<T> || !requires(T& c) { c.relative_keys(); },
      "posenc: a component answers by const members: write `RelativeTable relative_keys() "
      "const` and `Index bucket(Position distance) const`.");
  static_assert(
      RelativeQueries<T> || !requires(T& c) { c.relative_queries(); },
      "posenc: a component answers by const members: write `RelativeTable "
      "relative_queries() const` and `Index bucket(Position distance) const`.");
  static_assert(
      RelativeValues<T> || !requires(T& c) { c.relative_values(); },
      "posenc: a component answers by const members: write `RelativeTable "
      "relative_values() const` and `Index bucket(Position distance) const`.");
  static_assert(
      QueryBias<T> || !requires(T& c, Index head) { c.query_bias(head); },
      "posenc: a component answers by const members: write `std::span<const float> "
      "query_bias(Index head) const`.");
  static_assert(
      ContextPositions<T> || !requires(T& c) { c.context_positions(); },
      "posenc: a component answers by const members: write `ContextTable context_positions() "
      "const`.");
  static_assert(
      DistanceMap<T> || !requires { T::num_regions; },
      "posenc: a distance map has num_regions and the const members distance(query, key), "
      "region(query, key), regions(tile), step(region), query_position(region, query) and "
      "key_position(region, key).");
  static_assert(
      Prepares<T> || !requires(T& c, const HeadShape& shape) { c.prepare(shape); },
      "posenc: a component answers by const members: write `auto prepare(const HeadShape& "
      "shape) const`.");
  static_assert(
      Checks<T> || ChecksState<T> || !requires { requires MemberFunction<&T::check>; },
      "posenc: a component answers by const members: write `void check(Problems& problems, const "
      "HeadShape& shape) const`; a frequency transform takes a `const RotaryState& state` there.");

  static_assert(
      !Parameters<T> || RelativeBiasGradient<T> || ScoreBiasGradient<T> ||
          MapParameterDerivative<T> || TemperatureGradient<T> || SinkLogitGradient<T> ||
          RelativeKeysGradient<T> || RelativeQueriesGradient<T> || RelativeValuesGradient<T> ||
          QueryBiasGradient<T> || ContextPositionsGradient<T> || InputEmbeddingGradient<T> ||
          !std::same_as<prepared_t<T>, T>,  // then its twin has to have one
      "posenc: this component has num_parameters(), but no const member that says their gradient: "
      "relative_bias_gradient, score_bias_gradient, sink_logit_gradient, ... (core/gradients.hpp), "
      "or "
      "gradient(...) of a functor in bias(f).");
  static_assert(
      TiledBiasGradient<T> ||
          !requires(const T c, const Tile& tile, Index i, std::span<const Position> keys,
                    const double* dx, std::span<double> gradient) {
            c.tile_bias_gradient(tile, i, keys, dx, i, gradient);
          },
      "posenc: gradients may be float or double: write `template <class X> void "
      "tile_bias_gradient(const Tile& tile, Index head, std::span<const Position> keys, "
      "const X* dx, Index stride, std::span<double> gradient) const`, beside score_bias_gradient.");
  static_assert(
      GradientSums<T> || !requires(const T c) { c.num_sums(); },
      "posenc: this component has num_sums(), so it needs num_parameters() and a const member "
      "gradient_of_sums(std::span<const double> sums, std::span<double> gradient) "
      "(core/gradients.hpp).");
  static_assert(
      !(TokenBiasGradient<T> && GradientSums<T>),
      "posenc: this component has token_bias_gradient(), which adds to the gradients of parameters "
      "themselves, and gradient_of_sums(), which takes sums of its own: give it one of the two "
      "(core/gradients.hpp).");

  static constexpr bool are_answers = true;
};

/// Those of a component and of its twin.
template <class T>
inline constexpr bool members_are_answers =
    Members<T>::are_answers && Members<prepared_t<T>>::are_answers;

}  // namespace detail

POSENC_NAMESPACE_END
