// SPDX-License-Identifier: MIT
//
// bind: from a description to something that runs.
//
// An encoding is a description; binding it to a number of heads checks every parameter of every
// component, reports all that is wrong at once, resolves the frequencies to one table, and lets the
// components build theirs. A Bound is immutable and may be shared by threads; copies share what the
// components have built.
#pragma once

#include <posenc/bind/any.hpp>

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

/// What the components of an encoding are prepared to, as far as attention asks them: a list of types.
template <class... S>
struct StageList {};
template <class Found, class... Ts>
struct stages_of {
  using type = Found;
};
template <class... S, class T, class... Ts>
struct stages_of<StageList<S...>, T, Ts...>
    : stages_of<
          std::conditional_t<AskedInAttention<T>, StageList<S..., prepared_t<T>>, StageList<S...>>,
          Ts...> {};

/// The score loops of some components, by stage.
template <class T, class Stages>
inline constexpr int loops_of = 0;
template <class T, class... S>
inline constexpr FindLoops<T> loops_of<T, StageList<S...>>[] = {&score_loops<S, T>..., nullptr};

/// The derivatives of the same, where they are asked for.
template <class T, class Stages>
inline constexpr int derivatives_of = 0;
template <class T, class... S>
inline constexpr FindDerivative<T> derivatives_of<T, StageList<S...>>[] = {&derivative<S, T>...,
                                                                           nullptr};

/// The first distance map of a list.
template <class Stages>
struct map_of {
  using type = TrueDistance;
};
template <class First, class... Rest>
struct map_of<StageList<First, Rest...>>
    : std::conditional_t<DistanceMap<First>, std::type_identity<First>,
                         map_of<StageList<Rest...>>> {};

}  // namespace detail

template <class... Ts>
class Bound<Encoding<Ts...>> {
 public:
  using encoding_type = Encoding<Ts...>;
  using layout = typename detail::layout_of<Ts...>::type;
  static constexpr detail::EncodingFacts encoding_facts = [] {
    detail::EncodingFacts facts;
    (facts.add(detail::facts_of<Ts>()), ...);
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
      encoding_facts.context_positions <= 1,
      "posenc: two components of this encoding position keys by context (such as two CoPE): keep "
      "one.");
  static_assert(
      !(rotates_values && has_distance_map),
      "posenc: RotateValues cannot be combined with a distance map (ReRoPE, LeakyReRoPE, ...): "
      "a value would have to be rotated differently for every query.");

  /// Throws Error with every problem.
  Bound(encoding_type encoding, const BindOptions& options)
      : bound_(AnyEncoding::as_written(std::move(encoding)), options) {}

  [[nodiscard]] const encoding_type& encoding() const {
    return detail::as<encoding_type>(bound_.encoding().written_.get());
  }
  [[nodiscard]] const BindOptions& options() const { return answers().options(); }
  [[nodiscard]] const HeadShape& shape() const { return answers().shape(); }

  /// The same encoding at another current length.
  [[nodiscard]] Bound at_length(Position length) const {
    return Bound(detail::BoundComponents(bound_.encoding(), bound_.at_length(length)));
  }

  /// Frequencies, channels and angles; only for encodings with a rotary base.
  [[nodiscard]] const Rotary& rotary() const
    requires has_rotary
  {
    return answers().rotary();
  }
  [[nodiscard]] const auto& distance_map() const {
    if constexpr (has_distance_map)
      return detail::as<typename detail::map_of<Stages>::type>(answers().map().self);
    else
      return true_distance;
  }
  /// Softmax scale for heads of this width, and the product of all temperatures of a query row.
  [[nodiscard]] double scale(Index head_dim) const { return answers().scale(head_dim); }
  [[nodiscard]] double temperature(Position query) const { return answers().temperature(query); }

  // --- For kernels ------------------------------------------------------------------------------

  [[nodiscard]] const detail::Answers& answers() const { return bound_.answers(); }
  template <class T>
  [[nodiscard]] detail::Asked<T> asked() const {
    static_assert(
        encoding_facts.context_positions == 0,
        "posenc: positions by context (CoPE) depend on all keys behind one: attention and "
        "decode know them, and of gradients reference_attention_backward.");
    return asked_from_behind<T>();
  }
  /// For a kernel that can walk keys from the last on.
  template <class T>
  [[nodiscard]] detail::Asked<T> asked_from_behind() const {
    return {&answers(), &answers().rotary(), detail::loops_of<T, Stages>};
  }
  template <class T>
  [[nodiscard]] const detail::FindDerivative<T>* derivatives() const {
    return detail::derivatives_of<T, Stages>;
  }

 private:
  using Stages = typename detail::stages_of<detail::StageList<>, Ts...>::type;
  static constexpr detail::TrueDistance true_distance{};

  explicit Bound(const detail::BoundComponents& bound) : bound_(bound) {}

  detail::BoundComponents bound_;
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

/// What is no component is told so by the encoding that it would be.
template <class T>
  requires(!detail::ComponentOrEncoding<T> && !std::convertible_to<const T&, AnyEncoding>)
void bind(const T& component, const BindOptions& = {}) {
  (void)Encoding<T>(component);
}

POSENC_NAMESPACE_END
