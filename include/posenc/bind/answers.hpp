// SPDX-License-Identifier: MIT
//
// Answers: what attention asks a bound encoding.
//
// Kernels take Answers, not Bound: components that end in the table of frequencies (PI, YaRN,
// MRoPE, ...) are no part of its type, so encodings that differ in them alone share one compiled
// kernel.
#pragma once

#include <posenc/core/concepts.hpp>
#include <posenc/rotary/rotary.hpp>

#include <cmath>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

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

/// RotaryT is NoRotary or Rotary<Layout>; S are the types that answer during attention, in the
/// order written.
template <class RotaryT, bool ValuesRotate, class... S>
class Answers {
 public:
  using rotary_type = RotaryT;
  using answers_type = Answers;
  static constexpr bool has_rotary = !std::is_same_v<RotaryT, NoRotary>;
  static constexpr bool has_distance_map = (false || ... || DistanceMap<S>);
  static constexpr bool rotates_values = ValuesRotate;
  static constexpr bool has_relative_queries = (false || ... || RelativeQueries<S>);

  /// An empty `score_scale` is the usual 1/sqrt(head_dim).
  Answers(const HeadShape& shape, RotaryT rotary, std::tuple<S...> stages,
          std::function<double(Index)> score_scale, Angles angles)
      : shape_(shape), rotary_(std::move(rotary)), stages_(std::move(stages)),
        score_scale_(std::move(score_scale)), angles_(angles) {
    if constexpr (has_rotary) build_angles();
  }

  [[nodiscard]] const Answers& answers() const { return *this; }
  [[nodiscard]] const HeadShape& shape() const { return shape_; }

  /// What answers during attention, in the order written.
  [[nodiscard]] const std::tuple<S...>& stages() const { return stages_; }

  /// Frequencies, channels and angles; only for encodings with a rotary base.
  [[nodiscard]] const RotaryT& rotary() const
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

  /// Whose arithmetic made the angles.
  [[nodiscard]] Angles angles() const { return angles_; }

  /// Softmax scale for heads of this width.
  [[nodiscard]] double scale(Index head_dim) const {
    double scale =
        score_scale_ ? score_scale_(head_dim) : 1 / std::sqrt(static_cast<double>(head_dim));
    if constexpr (has_rotary) scale *= rotary_.state.score_factor;
    return scale;
  }

  /// Product of all temperatures of a query row.
  [[nodiscard]] double temperature(Position query) const {
    double factor = 1;
    [[maybe_unused]] const auto ask = [&]<class T>(const T& stage) {
      if constexpr (QueryTemperature<T>) factor *= stage.temperature(query);
    };
    std::apply([&](const auto&... stage) { (ask(stage), ...); }, stages_);
    return factor;
  }

 private:
  static constexpr TrueDistance true_distance{};
  static constexpr std::size_t map_index = [] {
    std::size_t index = 0, found = 0;
    ((DistanceMap<S> ? found = index++ : index++), ...);
    return found;
  }();

  void build_angles() {
    rotary_.angles = AngleTable(rotary_.state, angles_);
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
        scaled_angles_.emplace_back(rotary_.state, angles_, step);
      }
    }
  }

  HeadShape shape_;
  RotaryT rotary_;
  std::tuple<S...> stages_;
  std::function<double(Index)> score_scale_;
  Angles angles_;
  std::vector<AngleTable> scaled_angles_;
  std::vector<int> table_of_region_;
};

/// The components of an encoding that are asked during attention, bound to heads.
template <class... Ts>
auto prepare_stages(const std::tuple<Ts...>& components, const HeadShape& shape) {
  const auto stage = [&]<class T>([[maybe_unused]] const T& component) {
    if constexpr (AskedInAttention<T>)
      return std::tuple<prepared_t<T>>(detail::prepare(component, shape));
    else
      return std::tuple<>();
  };
  return std::apply([&](const Ts&... c) { return std::tuple_cat(stage(c)...); }, components);
}

template <class RotaryT, bool ValuesRotate, class Stages>
struct answers_with;
template <class RotaryT, bool ValuesRotate, class... S>
struct answers_with<RotaryT, ValuesRotate, std::tuple<S...>> {
  using type = Answers<RotaryT, ValuesRotate, S...>;
};

/// The Answers of an encoding of these components.
template <class... Ts>
using answers_of =
    typename answers_with<typename rotary_of<Ts...>::type, (false || ... || ValueRotation<Ts>),
                          decltype(detail::prepare_stages(std::declval<const std::tuple<Ts...>&>(),
                                                          std::declval<const HeadShape&>()))>::type;

}  // namespace detail

POSENC_NAMESPACE_END
