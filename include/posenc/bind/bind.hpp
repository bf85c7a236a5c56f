// SPDX-License-Identifier: MIT
//
// bind: from a description to something that runs.
//
// An encoding is a description; binding it to a number of heads checks every parameter of every
// component, reports all that is wrong at once, resolves the frequencies to one table, and lets the
// components build theirs. A Bound is immutable and may be shared by threads; copies share what the
// components have built.
#pragma once

#include <posenc/bind/answers.hpp>
#include <posenc/core/pipeline.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Stands for the layout of an encoding without a rotary base.
struct NoLayout {};

template <class... Ts>
struct layout_of {
  using type = NoLayout;
};
template <class T, class... Ts>
struct layout_of<T, Ts...> : layout_of<Ts...> {};
template <RotaryBase T, class... Ts>
struct layout_of<T, Ts...> {
  using type = typename T::layout;
};

/// Stands for the distance map of an encoding without one.
struct TrueDistance {
  [[nodiscard]] static constexpr double distance(Position query, Position key) {
    return static_cast<double>(query - key);
  }
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

/// An encoding and what its components were prepared to, at an address that copies of a Bound share.
template <class... Ts>
struct Components {
  using Stages = decltype(detail::prepare_stages(std::declval<const std::tuple<Ts...>&>(),
                                                 std::declval<const HeadShape&>()));
  Encoding<Ts...> encoding;
  std::optional<Stages> stages{};

  explicit Components(Encoding<Ts...> from) : encoding(std::move(from)) {}

  [[nodiscard]] std::vector<Described> described() const {
    return std::apply(
        [](const Ts&... c) { return std::vector<Described>{{&c, &description<Ts>}...}; },
        encoding.components());
  }
  [[nodiscard]] std::vector<Stage> asked() const {
    return std::apply(
        []<class... S>(const S&... s) { return std::vector<Stage>{{&s, &questions<S>}...}; },
        *stages);
  }
};

/// The score loops of some components, by stage.
template <class T, class Stages>
inline constexpr int loops_of = 0;
template <class T, class... S>
inline constexpr std::array<const LoopsByLevel<T>*, sizeof...(S) + 1>
    loops_of<T, std::tuple<S...>> = {&score_loops<S, T>..., nullptr};

}  // namespace detail

/// Encoding<...>, whose types the compiler knows, or AnyEncoding (bind/any.hpp).
template <class E>
class Bound;

namespace detail {
/// Are the components known to the compiler, so that it can refuse what does not fit?
template <class E>
inline constexpr bool is_static = false;
template <class... Ts>
inline constexpr bool is_static<Encoding<Ts...>> = true;
}  // namespace detail

template <class... Ts>
class Bound<Encoding<Ts...>> {
 public:
  using encoding_type = Encoding<Ts...>;
  using layout = typename detail::layout_of<Ts...>::type;
  static constexpr detail::EncodingFacts encoding_facts = [] {
    detail::EncodingFacts facts;
    (facts.add(detail::description<Ts>.facts), ...);
    return facts;
  }();
  static constexpr bool has_rotary = encoding_facts.rotary_bases > 0;
  static constexpr bool has_distance_map = encoding_facts.distance_maps > 0;
  static constexpr bool rotates_values = encoding_facts.rotates_values;
  static constexpr bool depends_on_length = encoding_facts.depends_on_length;

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
  static_assert(encoding_facts.score_scales <= 1,
                "posenc: two components of this encoding set the softmax scale (such as two "
                "T5Bias): keep one, "
                "or give BindOptions::scale and make the other a plain bias.");
  static_assert(
      !(rotates_values && has_distance_map),
      "posenc: RotateValues cannot be combined with a distance map (ReRoPE, LeakyReRoPE, ...): "
      "a value would have to be rotated differently for every query.");

  /// Throws Error with every problem.
  Bound(encoding_type encoding, const BindOptions& options)
      : components_(std::make_shared<Components>(std::move(encoding))),
        answers_(answer(*components_, options)) {}

  [[nodiscard]] const encoding_type& encoding() const { return components_->encoding; }
  [[nodiscard]] const BindOptions& options() const { return answers_.options(); }
  [[nodiscard]] const HeadShape& shape() const { return answers_.shape(); }

  /// The same encoding at another current length.
  [[nodiscard]] Bound at_length(Position length) const {
    BindOptions options = this->options();
    options.length = length;
    return Bound(encoding(), options);
  }

  /// What answers during attention, in the order written.
  [[nodiscard]] const auto& stages() const { return *components_->stages; }

  /// Frequencies, channels and angles; only for encodings with a rotary base.
  [[nodiscard]] const Rotary& rotary() const
    requires has_rotary
  {
    return answers_.rotary();
  }
  [[nodiscard]] const auto& distance_map() const {
    if constexpr (has_distance_map)
      return std::apply([](const auto&... stage) -> const auto& { return first_map(stage...); },
                        stages());
    else
      return true_distance;
  }
  /// Softmax scale for heads of this width, and the product of all temperatures of a query row.
  [[nodiscard]] double scale(Index head_dim) const { return answers_.scale(head_dim); }
  [[nodiscard]] double temperature(Position query) const { return answers_.temperature(query); }

  // --- For kernels ------------------------------------------------------------------------------

  [[nodiscard]] const detail::Answers& answers() const { return answers_; }
  template <class T>
  [[nodiscard]] detail::Asked<T> asked() const {
    return {&answers_, &answers_.rotary(), detail::loops_of<T, typename Components::Stages>.data()};
  }

 private:
  using Components = detail::Components<Ts...>;
  static constexpr detail::TrueDistance true_distance{};

  template <class S, class... Rest>
  static const auto& first_map(const S& stage, const Rest&... rest) {
    if constexpr (DistanceMap<S>)
      return stage;
    else
      return first_map(rest...);
  }

  static detail::Answers answer(Components& components, const BindOptions& options) {
    Problems problems;
    std::vector<detail::Described> described = components.described();
    detail::Resolved resolved = detail::resolve(problems, described, options);
    components.stages.emplace(
        detail::prepare_stages(components.encoding.components(), resolved.shape));
    detail::Answers answers(std::move(described), std::move(resolved), options);
    answers.ask(components.asked());
    return answers;
  }

  std::shared_ptr<Components> components_;
  detail::Answers answers_;
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
