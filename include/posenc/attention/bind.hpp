// SPDX-License-Identifier: MIT
//
// bind: from a description to something that runs.
//
// An encoding is a description; binding it to a number of heads checks every parameter of every
// component, reports all that is wrong at once, resolves the frequencies to one table, and lets the
// components build theirs. A Bound is immutable and may be shared by threads.
#pragma once

#include <posenc/core/pipeline.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/rotary/rotary.hpp>

#include <array>
#include <cmath>
#include <optional>
#include <vector>

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

/// Stands for the rotary of an encoding without one.
struct NoRotary {};

template <class... Ts>
struct rotary_of {
  using type = NoRotary;
};
template <class T, class... Ts>
struct rotary_of<T, Ts...> : rotary_of<Ts...> {};
template <RotaryBase T, class... Ts>
struct rotary_of<T, Ts...> {
  using type = Rotary<typename T::layout>;
};

/// Stands for the distance map of an encoding without one: one region, true distances.
struct TrueDistance {
  static constexpr int num_regions = 1;
  [[nodiscard]] static constexpr double distance(Position query, Position key) {
    return static_cast<double>(query - key);
  }
  [[nodiscard]] static constexpr int region(Position, Position) { return 0; }
  [[nodiscard]] static constexpr RegionSet regions(const Tile&) { return 1; }
  [[nodiscard]] static constexpr double step(int) { return 1; }
  [[nodiscard]] static constexpr double query_position(int, Position query) {
    return static_cast<double>(query);
  }
  [[nodiscard]] static constexpr Position key_position(int, Position key) { return key; }
};

}  // namespace detail

template <class E>
class Bound;

template <class... Ts>
class Bound<Encoding<Ts...>> {
 public:
  using encoding_type = Encoding<Ts...>;
  using rotary_type = typename detail::rotary_of<Ts...>::type;
  static constexpr bool has_rotary = encoding_type::num_rotary_bases == 1;
  static constexpr bool has_distance_map = encoding_type::num_distance_maps == 1;
  static constexpr bool depends_on_length = encoding_type::depends_on_length;
  static constexpr bool rotates_values = encoding_type::rotates_values;
  static constexpr bool has_relative_queries = (false || ... || RelativeQueries<prepared_t<Ts>>);

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
      : encoding_(std::move(encoding)), options_(options), shape_(resolve()),
        stages_(std::apply(
            [&](const Ts&... c) {
              return std::tuple<prepared_t<Ts>...>(detail::prepare(c, shape_)...);
            },
            encoding_.components())) {
    if constexpr (has_rotary) build_angles();
  }

  [[nodiscard]] const encoding_type& encoding() const { return encoding_; }
  [[nodiscard]] const BindOptions& options() const { return options_; }
  [[nodiscard]] const HeadShape& shape() const { return shape_; }

  /// What answers for each component during attention, in the order written.
  [[nodiscard]] const std::tuple<prepared_t<Ts>...>& stages() const { return stages_; }

  /// Frequencies, channels and angles; only for encodings with a rotary base.
  [[nodiscard]] const rotary_type& rotary() const
    requires has_rotary
  {
    return rotary_;
  }

  [[nodiscard]] const auto& distance_map() const {
    if constexpr (has_distance_map)
      return std::get<map_index>(stages_);
    else
      return true_distance;
  }

  /// Angles in units of the region's step.
  [[nodiscard]] const AngleTable& region_angles(int region) const
    requires has_rotary
  {
    const int table = table_of_region_[static_cast<std::size_t>(region)];
    return table < 0 ? rotary_.angles : scaled_angles_[static_cast<std::size_t>(table)];
  }

  /// Softmax scale for heads of this width.
  [[nodiscard]] double scale(Index head_dim) const {
    double scale = 1 / std::sqrt(static_cast<double>(head_dim));
    encoding_.for_each([&]<class T>(const T& component) {
      if constexpr (ScoreScale<T>) scale = component.score_scale(head_dim);
    });
    if (options_.scale) scale = *options_.scale;
    if constexpr (has_rotary) scale *= rotary_.state.score_factor;
    return scale;
  }

  /// Product of all temperatures of a query row.
  [[nodiscard]] double temperature(Position query) const {
    double factor = 1;
    [[maybe_unused]] const auto ask = [&]<class S>(const S& stage) {
      if constexpr (QueryTemperature<S>) factor *= stage.temperature(query);
    };
    std::apply([&](const auto&... stage) { (ask(stage), ...); }, stages_);
    return factor;
  }

  /// The same encoding at another current length.
  [[nodiscard]] Bound at_length(Position length) const {
    BindOptions options = options_;
    options.length = length;
    return Bound(encoding_, options);
  }

 private:
  static constexpr detail::TrueDistance true_distance{};
  static constexpr std::size_t map_index = [] {
    std::size_t index = 0, found = 0;
    ((DistanceMap<prepared_t<Ts>> ? found = index++ : index++), ...);
    return found;
  }();

  /// Checks everything, resolves the frequencies, throws if anything is wrong.
  HeadShape resolve() {
    Problems problems;
    HeadShape shape{options_.num_heads,
                    options_.num_kv_heads == 0 ? options_.num_heads : options_.num_kv_heads,
                    options_.head_dim};
    constexpr Index most_heads = Index{1} << 20;
    problems.require(shape.num_heads > 0 && shape.num_heads <= most_heads,
                     "num_heads must lie within [1, ", most_heads, "], got ", shape.num_heads, ".");
    problems.require(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                     "num_kv_heads must divide num_heads, got ", shape.num_kv_heads,
                     " key heads for ", shape.num_heads, " query heads.");
    problems.require(shape.head_dim >= 0, "head_dim must not be negative, got ", shape.head_dim,
                     ".");
    problems.require(!options_.scale || std::isfinite(*options_.scale),
                     "scale must be finite, got ", options_.scale.value_or(0), ".");
    problems.require(options_.length >= 0 && options_.length <= Position{1} << 52,
                     "length must lie within [0, 2^52], got ", options_.length, ".");

    encoding_.for_each([&]<class T>(const T& component) {
      if constexpr (Checks<T>) component.check(problems, shape);
    });
    if constexpr (has_rotary) resolve_frequencies(problems, shape);
    problems.raise_if_any("posenc::bind");
    return shape;
  }

  void resolve_frequencies(Problems& problems, HeadShape& shape) {
    RotaryState& state = rotary_.state;
    encoding_.for_each([&]<class T>(const T& component) {
      if constexpr (RotaryBase<T>) {
        state = component.rotary_state();
        state.length = options_.length;
        rotary_.offset = component.rotary_offset;
        shape.head_dim = state.head_dim;
      }
    });
    encoding_.for_each([&]<class T>(const T& component) {
      if constexpr (FrequencyTransform<T>) {
        if constexpr (ChecksState<T>) component.check(problems, state);
        if (problems.empty()) component.transform(state);
      }
    });
    if (!problems.empty()) return;
    problems.require(state.inv_freq.size() == state.rotary_dim / 2, "the encoding ends with ",
                     state.inv_freq.size(), " frequencies for ", state.rotary_dim / 2,
                     " rotary pairs.");
    problems.require(state.inv_freq.allFinite() && (state.inv_freq >= 0).all(),
                     "the encoding ends with a frequency that is negative or not finite: check the "
                     "parameters of its frequency transforms.");
    problems.require(std::isfinite(state.attention_factor) && std::isfinite(state.score_factor),
                     "the encoding ends with an attention factor that is not finite.");
    check_axes(problems, state);
    check_growth(problems, state);
  }

  /// Every pair has one of the coordinates of a position.
  static void check_axes(Problems& problems, const RotaryState& state) {
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
  static void check_growth(Problems& problems, const RotaryState& state) {
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

  void build_angles() {
    rotary_.angles = AngleTable(rotary_.state, options_.angles);
    constexpr int regions = std::remove_cvref_t<decltype(distance_map())>::num_regions;
    table_of_region_.assign(static_cast<std::size_t>(regions), -1);
    for (int region = 0; region < regions; ++region) {
      const double step = distance_map().step(region);
      if (step == 1) continue;
      int& table = table_of_region_[static_cast<std::size_t>(region)];
      for (std::size_t t = 0; t < scaled_angles_.size(); ++t)
        if (scaled_angles_[t].step() == step) table = static_cast<int>(t);
      if (table < 0) {
        table = static_cast<int>(scaled_angles_.size());
        scaled_angles_.emplace_back(rotary_.state, options_.angles, step);
      }
    }
  }

  encoding_type encoding_;
  BindOptions options_;
  rotary_type rotary_{};
  HeadShape shape_;
  std::tuple<prepared_t<Ts>...> stages_;
  std::vector<AngleTable> scaled_angles_;
  std::vector<int> table_of_region_;
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
