// SPDX-License-Identifier: MIT
//
// What a component learns: the questions that attention_backward and add_positions_backward ask besides
// those of core/concepts.hpp.
#pragma once

#include <posenc/core/concepts.hpp>

POSENC_NAMESPACE_BEGIN

/// num_parameters(): how many numbers the component can learn. The gradients of them come back in the
/// order in which the component holds them: its vectors one behind another. One of the functions below
/// says what they are; all of them add to `gradient`, which has num_parameters() elements.
template <class T>
concept Parameters = requires(const T c) {
  { c.num_parameters() } -> std::convertible_to<Index>;
};

/// Adds <d, d embed(position) / d parameter>, where d is the gradient of the vector that embed() writes.
/// Asked by add_positions_backward, of the parameters themselves.
template <class T>
concept InputEmbeddingGradient =
    InputEmbedding<T> && Parameters<T> &&
    requires(const T c, double position, std::span<const double> d, std::span<double> gradient) {
      c.embed_gradient(position, d, gradient);
    };

/// Where parameters act through fewer or simpler numbers: num_sums() says how many of these there are,
/// `gradient` of the functions below is of them, and gradient_of_sums(sums, gradient), asked once at the
/// end of a call, adds the gradients of the parameters.
template <class T>
concept GradientSums =
    Parameters<T> && requires(const T c, std::span<const double> sums, std::span<double> gradient) {
      { c.num_sums() } -> std::convertible_to<Index>;
      c.gradient_of_sums(sums, gradient);
    };

/// Adds sum * d relative_bias(head, distance) / d parameter, where `sum` is that of the gradients of all
/// scores of a head at a distance.
template <class T>
concept RelativeBiasGradient =
    RelativeBias<T> && Parameters<T> &&
    requires(const T c, Index head, Position distance, std::span<double> gradient) {
      c.relative_bias_gradient(head, distance, 1.0, gradient);
    };

/// Adds dx * d score_bias(at) / d parameter, where dx is the gradient of that score. Asked for every
/// score.
template <class T>
concept ScoreBiasGradient = ScoreBias<T> && Parameters<T> &&
                            requires(const T c, const Score& at, std::span<double> gradient) {
                              c.score_bias_gradient(at, 1.0, gradient);
                            };

/// tile_bias_gradient(tile, head, keys, dx, stride, gradient): the same for a rectangle of one head's
/// scores. Its queries stand at consecutive positions, tile.query, and its keys at `keys`; the gradient of
/// the jth query's score with the kth key is dx[k * stride + j], in the kernel's own type of number. It is
/// asked of a component that says that it is `differentiable`.
template <class T>
concept TiledBiasGradient =
    ScoreBiasGradient<T> &&
    requires(const T c, const Tile& tile, Index i, std::span<const Position> keys,
             const float* single, const double* dx, std::span<double> gradient) {
      c.tile_bias_gradient(tile, i, keys, single, i, gradient);
      c.tile_bias_gradient(tile, i, keys, dx, i, gradient);
    };

/// What a bias learns that is a function of the query's token less the same function of the key's: sums of the
/// gradients of all scores of a head in one call, by query and by key.
struct TokenGradients {
  Index sequence = 0, head = 0;
  Position query_index = 0, key_index = 0;       ///< of the first of each
  std::span<const double> by_query{}, by_key{};  ///< by token from there on
};
/// token_bias_gradient(d, gradient): adds what score_bias_gradient() adds for all the scores of a head. Asked
/// once per head and call instead of it, by attention_backward. It adds to the gradients of parameters
/// themselves, so it does not go with gradient_of_sums().
template <class T>
concept TokenBiasGradient = ScoreBiasGradient<T> && requires(const T c, const TokenGradients& d,
                                                             std::span<double> gradient) {
  c.token_bias_gradient(d, gradient);
};

/// d map_score(x, at) / d parameter, with x of the kernel's own type.
template <class T>
concept MapParameterDerivative =
    ScoreMap<T> && Parameters<T> && requires(const T c, Index parameter, const Score& at) {
      { c.map_parameter_derivative(parameter, 1.0, at) } -> std::convertible_to<double>;
      { c.map_parameter_derivative(parameter, 1.0F, at) } -> std::convertible_to<double>;
    };

/// Adds sum * d temperature(query) / d parameter, where `sum` is the gradient of that temperature.
template <class T>
concept TemperatureGradient = QueryTemperature<T> && Parameters<T> &&
                              requires(const T c, Position query, std::span<double> gradient) {
                                c.temperature_gradient(query, 1.0, gradient);
                              };

/// Adds sum * d sink_logit(head) / d parameter, where `sum` is the gradient of the logit.
template <class T>
concept SinkLogitGradient =
    SoftmaxSink<T> && Parameters<T> && requires(const T c, Index head, std::span<double> gradient) {
      c.sink_logit_gradient(head, 1.0, gradient);
    };

/// Vectors by distance: adds the gradient of a head's vector, and of its constant, of one bucket.
template <class T>
concept RelativeKeysGradient =
    RelativeKeys<T> && Parameters<T> &&
    requires(const T c, Index i, std::span<const double> vector, std::span<double> gradient) {
      c.relative_keys_gradient(i, i, vector, 1.0, gradient);  // head, bucket, ..., constant
    };
/// Vectors by context: adds the gradient of a head's vector of one position.
template <class T>
concept ContextPositionsGradient =
    ContextPositions<T> && Parameters<T> &&
    requires(const T c, Index i, std::span<const double> vector, std::span<double> gradient) {
      c.context_positions_gradient(i, i, vector, gradient);  // head, position, ...
    };
template <class T>
concept RelativeQueriesGradient =
    RelativeQueries<T> && Parameters<T> &&
    requires(const T c, Index i, std::span<const double> vector, std::span<double> gradient) {
      c.relative_queries_gradient(i, i, vector, 1.0, gradient);
    };
template <class T>
concept RelativeValuesGradient =
    RelativeValues<T> && Parameters<T> &&
    requires(const T c, Index i, std::span<const double> vector, std::span<double> gradient) {
      c.relative_values_gradient(i, i, vector, gradient);
    };
/// Adds the gradient of query_bias(head).
template <class T>
concept QueryBiasGradient =
    QueryBias<T> && Parameters<T> &&
    requires(const T c, Index head, std::span<const double> vector, std::span<double> gradient) {
      c.query_bias_gradient(head, vector, gradient);
    };

POSENC_NAMESPACE_END
