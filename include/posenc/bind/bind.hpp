// SPDX-License-Identifier: MIT
//
// bind: from a description to something that runs.
//
// An encoding is a description; binding it to a number of heads checks every parameter of every
// component, reports all that is wrong at once, resolves the frequencies to one table, and lets the
// components build theirs. A Bound is immutable and may be shared by threads.
#pragma once

#include <posenc/bind/answers.hpp>
#include <posenc/core/pipeline.hpp>
#include <posenc/core/positions.hpp>

#include <cmath>
#include <functional>
#include <optional>

POSENC_NAMESPACE_BEGIN

struct BindOptions {
  Index num_heads = 1;     ///< query heads
  Index num_kv_heads = 0;  ///< key and value heads, a divisor of num_heads; 0 means num_heads
  Index head_dim = 0;      ///< width of queries and keys; 0: as the rotary base says, or any
  std::optional<double> scale{};  ///< softmax scale; by default the encoding's, or 1/sqrt(head_dim)
  Angles angles = Angles::exact;  ///< whose arithmetic makes the angles
  Position length = 0;  ///< current length, for schemes that depend on it; 0: the trained one
};

namespace detail {

inline HeadShape check_heads(Problems& problems, const BindOptions& options) {
  HeadShape shape{options.num_heads,
                  options.num_kv_heads == 0 ? options.num_heads : options.num_kv_heads,
                  options.head_dim};
  constexpr Index most_heads = Index{1} << 20;
  problems.require(shape.num_heads > 0 && shape.num_heads <= most_heads,
                   "num_heads must lie within [1, ", most_heads, "], got ", shape.num_heads, ".");
  problems.require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                   "num_kv_heads must divide num_heads, got ", shape.num_kv_heads,
                   " key heads for ", shape.num_heads, " query heads.");
  problems.require(shape.head_dim >= 0, "head_dim must not be negative, got ", shape.head_dim, ".");
  problems.require(!options.scale || std::isfinite(*options.scale), "scale must be finite, got ",
                   options.scale.value_or(0), ".");
  problems.require(options.length >= 0 && options.length <= Position{1} << 52,
                   "length must lie within [0, 2^52], got ", options.length, ".");
  return shape;
}

/// Every pair has one of the coordinates of a position.
inline void check_axes(Problems& problems, const RotaryState& state, bool has_distance_map) {
  problems.require(state.axes >= 1 && state.axes <= Positions::most_axes,
                   "the encoding ends with positions of ", state.axes, " coordinates, but 1 to ",
                   Positions::most_axes, " are possible.");
  const Index pairs = state.rotary_dim / 2, mapped = std::ssize(state.axis);
  problems.require(mapped == pairs || (mapped == 0 && state.axes == 1),
                   "the encoding ends with a coordinate for ", mapped, " of ", pairs,
                   " rotary pairs.");
  for (const int axis : state.axis)
    if (axis < 0 || axis >= state.axes)
      return problems.add("the encoding ends with a pair that turns by coordinate ", axis,
                          " of positions that have ", state.axes, ".");
  problems.require(!has_distance_map || state.axes == 1,
                   "a distance map (ReRoPE, LeakyReRoPE, ...) rewrites one distance, but "
                   "positions of this encoding have ",
                   state.axes, " coordinates: leave one of the two out.");
}

/// xPos: every pair has a finite magnitude.
inline void check_growth(Problems& problems, const RotaryState& state, bool has_distance_map) {
  const Index pairs = state.rotary_dim / 2, grown = state.growth.size();
  problems.require(grown == 0 || grown == pairs, "the encoding ends with a growth for ", grown,
                   " of ", pairs, " rotary pairs.");
  problems.require(state.growth.allFinite(),
                   "the encoding ends with a growth of magnitudes that is not finite.");
  problems.require(state.centre >= -greatest_position && state.centre <= greatest_position,
                   "the centre of growth must lie within +-2^52, got ", state.centre, ".");
  problems.require(!has_distance_map || grown == 0,
                   "a distance map (ReRoPE, LeakyReRoPE, ...) cannot be combined with magnitudes "
                   "that grow with position (XPos): they would follow the true distance, and "
                   "angles another one.");
}

/// What all frequency transforms together have made.
inline void check_frequencies(Problems& problems, const RotaryState& state, bool has_distance_map) {
  problems.require(state.inv_freq.size() == state.rotary_dim / 2, "the encoding ends with ",
                   state.inv_freq.size(), " frequencies for ", state.rotary_dim / 2,
                   " rotary pairs.");
  problems.require(state.inv_freq.allFinite() && (state.inv_freq >= 0).all(),
                   "the encoding ends with a frequency that is negative or not finite: check the "
                   "parameters of its frequency transforms.");
  problems.require(std::isfinite(state.attention_factor) && std::isfinite(state.score_factor),
                   "the encoding ends with an attention factor that is not finite.");
  check_axes(problems, state, has_distance_map);
  check_growth(problems, state, has_distance_map);
}

}  // namespace detail

template <class E>
class Bound;

template <class... Ts>
class Bound<Encoding<Ts...>> : public detail::answers_of<Ts...> {
 public:
  using encoding_type = Encoding<Ts...>;
  using answers_type = detail::answers_of<Ts...>;
  using rotary_type = typename answers_type::rotary_type;
  using answers_type::has_distance_map, answers_type::has_rotary, answers_type::rotates_values;
  static constexpr bool depends_on_length = encoding_type::depends_on_length;

  static_assert(
      has_rotary || !encoding_type::transforms_frequencies,
      "posenc: this encoding changes rotary frequencies (PI, NTK, YaRN, ...) but has no rotary "
      "base: begin it with RoPE<HalfSplit>{...} or RoPE<Interleaved>{...}.");
  static_assert(
      has_rotary || !has_distance_map,
      "posenc: this encoding rewrites rotary distances (ReRoPE, LeakyReRoPE, ...) but has no "
      "rotary base: begin it with RoPE<HalfSplit>{...} or RoPE<Interleaved>{...}.");
  static_assert(
      has_rotary || !rotates_values,
      "posenc: RotateValues needs a rotary base: begin the encoding with RoPE<HalfSplit>{...} "
      "or RoPE<Interleaved>{...}.");
  static_assert((0 + ... + int(ScoreScale<Ts>)) <= 1,
                "posenc: two components of this encoding set the softmax scale (such as two "
                "T5Bias): keep one, "
                "or give BindOptions::scale and make the other a plain bias.");
  static_assert(
      !(rotates_values && has_distance_map),
      "posenc: RotateValues cannot be combined with a distance map (ReRoPE, LeakyReRoPE, ...): "
      "a value would have to be rotated differently for every query.");

  /// Throws Error with every problem.
  Bound(encoding_type encoding, const BindOptions& options)
      : answers_type(answer(encoding, options)), encoding_(std::move(encoding)), options_(options) {
  }

  [[nodiscard]] const encoding_type& encoding() const { return encoding_; }
  [[nodiscard]] const BindOptions& options() const { return options_; }

  /// The same encoding at another current length.
  [[nodiscard]] Bound at_length(Position length) const {
    BindOptions options = options_;
    options.length = length;
    return Bound(encoding_, options);
  }

 private:
  /// Checks everything, resolves the frequencies, throws if anything is wrong.
  static answers_type answer(const encoding_type& encoding, const BindOptions& options) {
    Problems problems;
    HeadShape shape = detail::check_heads(problems, options);
    encoding.for_each([&]<class T>(const T& component) {
      if constexpr (Checks<T>) component.check(problems, shape);
    });
    rotary_type rotary{};
    if constexpr (has_rotary) resolve_frequencies(problems, encoding, options, shape, rotary);
    problems.raise_if_any("posenc::bind");
    return answers_type(shape, std::move(rotary),
                        detail::prepare_stages(encoding.components(), shape),
                        score_scale(encoding, options), options.angles);
  }

  static void resolve_frequencies(Problems& problems, const encoding_type& encoding,
                                  const BindOptions& options, HeadShape& shape,
                                  rotary_type& rotary) {
    RotaryState& state = rotary.state;
    encoding.for_each([&]<class T>(const T& component) {
      if constexpr (RotaryBase<T>) {
        state = component.rotary_state();
        state.length = options.length;
        rotary.offset = component.rotary_offset;
        shape.head_dim = state.head_dim;
      }
    });
    encoding.for_each([&]<class T>(const T& component) {
      if constexpr (FrequencyTransform<T>) {
        if constexpr (ChecksState<T>) component.check(problems, state);
        if (problems.empty()) component.transform(state);
      }
    });
    if (problems.empty()) detail::check_frequencies(problems, state, has_distance_map);
  }

  static std::function<double(Index)> score_scale(const encoding_type& encoding,
                                                  const BindOptions& options) {
    if (options.scale) return [scale = *options.scale](Index) { return scale; };
    std::function<double(Index)> scale;
    encoding.for_each([&]<class T>(const T& component) {
      if constexpr (ScoreScale<T>)
        scale = [component](Index head_dim) {
          return static_cast<double>(component.score_scale(head_dim));
        };
    });
    return scale;
  }

  encoding_type encoding_;
  BindOptions options_;
};

/// Binds an encoding to heads. Throws Error with every problem of every component.
template <class... Ts>
[[nodiscard]] Bound<Encoding<Ts...>> bind(const Encoding<Ts...>& encoding,
                                          const BindOptions& options = {}) {
  return Bound<Encoding<Ts...>>(encoding, options);
}

/// A single component is an encoding too.
template <Component T>
[[nodiscard]] Bound<Encoding<T>> bind(const T& component, const BindOptions& options = {}) {
  return Bound<Encoding<T>>(Encoding<T>(component), options);
}

POSENC_NAMESPACE_END
