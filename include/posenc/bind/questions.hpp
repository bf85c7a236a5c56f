// SPDX-License-Identifier: MIT
//
// Questions: what attention asks a component, as a table of functions.
//
// A component answers by having member functions (core/concepts.hpp, core/gradients.hpp); here each of
// them becomes a pointer, null where the component has none. So kernels are compiled once, and serve encodings that
// are composed while the program runs as well as those that the compiler knows. All of this is asked
// at most once per tile, block or row; what is asked for every score is in score_loops.hpp.
#pragma once

#include <posenc/core/gradients.hpp>

#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// There are vectors for an interval of distances alone.
template <class S>
concept LimitedDistances = requires(const S stage) { stage.distances(); };

/// What a distance map answers. `self` is the map.
struct MapQuestions {
  int regions = 1;
  KeyState stored_keys = KeyState::raw;  ///< one copy of a key in this state serves all regions
  double (*distance)(const void* self, Position query, Position key) = nullptr;
  RegionSet (*occurring)(const void* self, const Tile& tile) = nullptr;
  double (*step)(const void* self, int region) = nullptr;
  int (*key_copy)(const void* self, int region) = nullptr;
  void (*query_positions)(const void* self, int region, Index n, const Position* query,
                          double* out) = nullptr;
  void (*key_positions)(const void* self, int region, Index n, const Position* key,
                        Position* out) = nullptr;
  /// The region of n pairs; the steps are 0 or 1.
  void (*region)(const void* self, Index n, const Position* query, Index query_step,
                 const Position* key, Index key_step, std::int32_t* out) = nullptr;
};

/// What any component answers. `self` is what it was prepared to.
struct Questions {
  const MapQuestions* map = nullptr;

  TileClass (*classify)(const void* self, const Tile& tile) = nullptr;
  bool (*visible)(const void* self, const Score& at) = nullptr;

  /// Of how many tokens of a sequence there is data.
  Position (*known_tokens)(const void* self, Index sequence) = nullptr;

  double (*temperature)(const void* self, Position query) = nullptr;
  double (*sink_logit)(const void* self, Index head) = nullptr;

  /// A relative bias at n distances from one on.
  void (*relative_bias)(const void* self, Index head, Position distance, Index n,
                        double* out) = nullptr;
  /// Bias and score map of one score, for those who do not ask by tiles.
  double (*change)(const void* self, double x, const Score& at) = nullptr;

  Index (*num_parameters)(const void* self) = nullptr;
  Index (*num_sums)(const void* self) =
      nullptr;  ///< of gradients, where they are not the parameters'
  void (*gradient_of_sums)(const void* self, std::span<const double> sums,
                           std::span<double> gradient) = nullptr;
  /// The sums are those of n distances from one on.
  void (*relative_bias_gradient)(const void* self, Index head, Position distance, Index n,
                                 const double* sums, std::span<double> gradient) = nullptr;
  void (*score_bias_gradient)(const void* self, const Score& at, double dx,
                              std::span<double> gradient) = nullptr;
  /// Asked by heads instead, where sums of gradients by query and by key are enough.
  void (*token_bias_gradient)(const void* self, const TokenGradients& d,
                              std::span<double> gradient) = nullptr;
  void (*temperature_gradient)(const void* self, Position query, double sum,
                               std::span<double> gradient) = nullptr;
  void (*sink_logit_gradient)(const void* self, Index head, double sum,
                              std::span<double> gradient) = nullptr;

  void (*relative_keys_gradient)(const void* self, Index head, Index bucket,
                                 std::span<const double> vector, double constant,
                                 std::span<double> gradient) = nullptr;
  void (*relative_queries_gradient)(const void* self, Index head, Index bucket,
                                    std::span<const double> vector, double constant,
                                    std::span<double> gradient) = nullptr;
  void (*relative_values_gradient)(const void* self, Index head, Index bucket,
                                   std::span<const double> vector,
                                   std::span<double> gradient) = nullptr;
  void (*query_bias_gradient)(const void* self, Index head, std::span<const double> vector,
                              std::span<double> gradient) = nullptr;

  RelativeTable (*relative_keys)(const void* self) = nullptr;
  RelativeTable (*relative_queries)(const void* self) = nullptr;
  RelativeTable (*relative_values)(const void* self) = nullptr;
  ContextTable (*context_positions)(const void* self) = nullptr;
  void (*context_positions_gradient)(const void* self, Index head, Index position,
                                     std::span<const double> vector,
                                     std::span<double> gradient) = nullptr;
  std::span<const float> (*query_bias)(const void* self, Index head) = nullptr;
  Index (*bucket)(const void* self, Position distance) = nullptr;
  Interval (*distances)(const void* self) = nullptr;
};

template <class S>
const S& as(const void* self) {
  return *static_cast<const S*>(self);
}

template <DistanceMap M>
constexpr MapQuestions make_map_questions() {
  MapQuestions ask;
  ask.regions = M::num_regions;
  if constexpr (requires { M::stored_keys; }) ask.stored_keys = M::stored_keys;
  ask.distance = [](const void* self, Position query, Position key) {
    return static_cast<double>(as<M>(self).distance(query, key));
  };
  ask.occurring = [](const void* self, const Tile& tile) {
    return static_cast<RegionSet>(as<M>(self).regions(tile));
  };
  ask.step = [](const void* self, int region) {
    return static_cast<double>(as<M>(self).step(region));
  };
  ask.key_copy = []([[maybe_unused]] const void* self, int region) {
    if constexpr (requires(const M& map) { map.key_copy(region); })
      return static_cast<int>(as<M>(self).key_copy(region));
    else
      return region;
  };
  ask.query_positions = [](const void* self, int region, Index n, const Position* query,
                           double* out) {
    for (Index i = 0; i < n; ++i) out[i] = as<M>(self).query_position(region, query[i]);
  };
  ask.key_positions = [](const void* self, int region, Index n, const Position* key,
                         Position* out) {
    for (Index i = 0; i < n; ++i) out[i] = as<M>(self).key_position(region, key[i]);
  };
  ask.region = [](const void* self, Index n, const Position* query, Index query_step,
                  const Position* key, Index key_step, std::int32_t* out) {
    for (Index i = 0; i < n; ++i)
      out[i] = static_cast<int>(as<M>(self).region(query[i * query_step], key[i * key_step]));
  };
  return ask;
}
template <class M>
inline constexpr MapQuestions map_questions = make_map_questions<M>();

template <class S>
constexpr Questions make_questions() {
  Questions ask;
  if constexpr (DistanceMap<S>) ask.map = &map_questions<S>;
  if constexpr (Mask<S>) {
    ask.classify = []([[maybe_unused]] const void* self, [[maybe_unused]] const Tile& tile) {
      if constexpr (TiledMask<S>)
        return as<S>(self).classify(tile);
      else
        return TileClass::partial;
    };
    ask.visible = [](const void* self, const Score& at) {
      return static_cast<bool>(as<S>(self).visible(at));
    };
  }
  if constexpr (KnowsTokens<S>)
    ask.known_tokens = [](const void* self, Index sequence) {
      return static_cast<Position>(as<S>(self).known_tokens(sequence));
    };
  if constexpr (QueryTemperature<S>)
    ask.temperature = [](const void* self, Position query) {
      return static_cast<double>(as<S>(self).temperature(query));
    };
  if constexpr (SoftmaxSink<S>)
    ask.sink_logit = [](const void* self, Index head) {
      return static_cast<double>(as<S>(self).sink_logit(head));
    };
  if constexpr (RelativeBias<S>)
    ask.relative_bias = [](const void* self, Index head, Position distance, Index n, double* out) {
      for (Index i = 0; i < n; ++i)
        out[i] = static_cast<double>(as<S>(self).relative_bias(head, distance + i));
    };
  if constexpr (RelativeBias<S> || ScoreBias<S> || ScoreMap<S>)
    ask.change = [](const void* self, double x, const Score& at) {
      if constexpr (RelativeBias<S>)
        x += static_cast<double>(as<S>(self).relative_bias(at.head, at.query - at.key));
      else if constexpr (ScoreBias<S>)
        x += static_cast<double>(as<S>(self).score_bias(at));
      if constexpr (ScoreMap<S>) x = static_cast<double>(as<S>(self).map_score(x, at));
      return x;
    };
  if constexpr (Parameters<S>) {
    ask.num_parameters = [](const void* self) {
      return static_cast<Index>(as<S>(self).num_parameters());
    };
  }
  if constexpr (GradientSums<S>) {
    ask.num_sums = [](const void* self) { return static_cast<Index>(as<S>(self).num_sums()); };
    ask.gradient_of_sums = [](const void* self, std::span<const double> sums,
                              std::span<double> gradient) {
      as<S>(self).gradient_of_sums(sums, gradient);
    };
  }
  if constexpr (TemperatureGradient<S>)
    ask.temperature_gradient = [](const void* self, Position query, double sum,
                                  std::span<double> gradient) {
      as<S>(self).temperature_gradient(query, sum, gradient);
    };
  if constexpr (RelativeBiasGradient<S>)
    ask.relative_bias_gradient = [](const void* self, Index head, Position distance, Index n,
                                    const double* sums, std::span<double> gradient) {
      for (Index i = 0; i < n; ++i)  // what nobody sees has no gradient
        if (sums[i] != 0) as<S>(self).relative_bias_gradient(head, distance + i, sums[i], gradient);
    };
  if constexpr (ScoreBiasGradient<S> && !RelativeBias<S>)
    ask.score_bias_gradient = [](const void* self, const Score& at, double dx,
                                 std::span<double> gradient) {
      as<S>(self).score_bias_gradient(at, dx, gradient);
    };
  if constexpr (TokenBiasGradient<S> && !RelativeBias<S>)
    ask.token_bias_gradient = [](const void* self, const TokenGradients& d,
                                 std::span<double> gradient) {
      as<S>(self).token_bias_gradient(d, gradient);
    };
  if constexpr (SinkLogitGradient<S>)
    ask.sink_logit_gradient = [](const void* self, Index head, double sum,
                                 std::span<double> gradient) {
      as<S>(self).sink_logit_gradient(head, sum, gradient);
    };
  if constexpr (RelativeKeysGradient<S>)
    ask.relative_keys_gradient = [](const void* self, Index head, Index bucket,
                                    std::span<const double> vector, double constant,
                                    std::span<double> gradient) {
      as<S>(self).relative_keys_gradient(head, bucket, vector, constant, gradient);
    };
  if constexpr (RelativeQueriesGradient<S>)
    ask.relative_queries_gradient = [](const void* self, Index head, Index bucket,
                                       std::span<const double> vector, double constant,
                                       std::span<double> gradient) {
      as<S>(self).relative_queries_gradient(head, bucket, vector, constant, gradient);
    };
  if constexpr (RelativeValuesGradient<S>)
    ask.relative_values_gradient = [](const void* self, Index head, Index bucket,
                                      std::span<const double> vector, std::span<double> gradient) {
      as<S>(self).relative_values_gradient(head, bucket, vector, gradient);
    };
  if constexpr (QueryBiasGradient<S>)
    ask.query_bias_gradient = [](const void* self, Index head, std::span<const double> vector,
                                 std::span<double> gradient) {
      as<S>(self).query_bias_gradient(head, vector, gradient);
    };
  if constexpr (RelativeKeys<S>)
    ask.relative_keys = [](const void* self) { return as<S>(self).relative_keys(); };
  if constexpr (RelativeQueries<S>)
    ask.relative_queries = [](const void* self) { return as<S>(self).relative_queries(); };
  if constexpr (RelativeValues<S>)
    ask.relative_values = [](const void* self) { return as<S>(self).relative_values(); };
  if constexpr (ContextPositions<S>)
    ask.context_positions = [](const void* self) { return as<S>(self).context_positions(); };
  if constexpr (ContextPositionsGradient<S>)
    ask.context_positions_gradient = [](const void* self, Index head, Index position,
                                        std::span<const double> vector,
                                        std::span<double> gradient) {
      as<S>(self).context_positions_gradient(head, position, vector, gradient);
    };
  if constexpr (QueryBias<S>)
    ask.query_bias = [](const void* self, Index head) { return as<S>(self).query_bias(head); };
  if constexpr (DistanceBuckets<S>)
    ask.bucket = [](const void* self, Position distance) {
      return static_cast<Index>(as<S>(self).bucket(distance));
    };
  if constexpr (LimitedDistances<S>)
    ask.distances = [](const void* self) { return as<S>(self).distances(); };
  return ask;
}
/// The questions that components of type S answer, once they are prepared.
template <class S>
inline constexpr Questions questions = make_questions<S>();

/// One component of a bound encoding, and what it answers.
struct Stage {
  const void* self = nullptr;
  const Questions* ask = nullptr;
};

/// How many numbers a stage learns, and in how many its gradients are summed.
[[nodiscard]] inline Index num_parameters(const Stage& stage) {
  return stage.ask->num_parameters ? stage.ask->num_parameters(stage.self) : 0;
}
[[nodiscard]] inline Index num_sums(const Stage& stage) {
  return stage.ask->num_sums ? stage.ask->num_sums(stage.self) : num_parameters(stage);
}

}  // namespace detail

POSENC_NAMESPACE_END
