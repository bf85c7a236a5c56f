// SPDX-License-Identifier: MIT
//
// Encoding<Ts...>: components composed with `|`, flat, in the order written.
//
//   auto encoding = RoPE<HalfSplit>{.head_dim = 128} | YaRN{.factor = 4} | ALiBi{} | Causal{};
//
// Composition only collects values; nothing is computed before bind(). What types alone can tell is
// wrong (a second rotary base, a second distance map, an operand that answers no question) stops
// the compiler with a sentence.
#pragma once

#include <posenc/core/concepts.hpp>

#include <tuple>
#include <utility>

POSENC_NAMESPACE_BEGIN

template <class... Ts>
class Encoding;

namespace detail {

template <class T>
inline constexpr bool is_encoding = false;
template <class... Ts>
inline constexpr bool is_encoding<Encoding<Ts...>> = true;

template <class T>
concept ComponentOrEncoding = is_encoding<T> || Component<T>;

template <class T>
constexpr auto components_of(T component) {
  if constexpr (is_encoding<T>)
    return component.components();
  else
    return std::tuple<T>(std::move(component));
}

}  // namespace detail

template <class... Ts>
class Encoding {
 public:
  static constexpr int num_rotary_bases = (0 + ... + int(RotaryBase<Ts>));
  static constexpr int num_distance_maps = (0 + ... + int(DistanceMap<prepared_t<Ts>>));
  static constexpr bool depends_on_length = (false || ... || LengthDependent<Ts>);
  static constexpr bool transforms_frequencies = (false || ... || FrequencyTransform<Ts>);
  static constexpr bool rotates_values = (false || ... || ValueRotation<Ts>);

  static_assert((true && ... && Component<Ts>),
                "posenc: an operand of | is not a component of an encoding: it answers none of the "
                "questions of posenc/core/concepts.hpp. Wrap a function with bias(f), score_map(f) "
                "or mask(f), or give your type one of the member functions named there.");
  static_assert(num_rotary_bases <= 1,
                "posenc: an encoding has one rotary base, but this one has two (such as two RoPE): "
                "keep one, and change its frequencies with ABF, PI, NTK, YaRN, ...");
  static_assert(
      num_distance_maps <= 1,
      "posenc: an encoding has one distance map, but this one has two (such as ReRoPE and "
      "LeakyReRoPE): each rewrites the true distance, so keep one.");

  constexpr explicit Encoding(Ts... components) : components_(std::move(components)...) {}
  constexpr explicit Encoding(std::tuple<Ts...> components) : components_(std::move(components)) {}

  [[nodiscard]] constexpr const std::tuple<Ts...>& components() const { return components_; }

  /// Calls f(component) for each component, in the order written.
  template <class F>
  constexpr void for_each(F&& f) const {
    std::apply([&](const Ts&... component) { (f(component), ...); }, components_);
  }

 private:
  std::tuple<Ts...> components_;
};

namespace detail {
template <class... Ts>
constexpr Encoding<Ts...> to_encoding(std::tuple<Ts...> components) {
  return Encoding<Ts...>(std::move(components));
}
}  // namespace detail

/// Composes components and encodings. Only one side has to be a component for this operator to be
/// chosen, so that the other can be told what is wrong with it in a sentence.
template <class Left, class Right>
  requires(detail::ComponentOrEncoding<Left> || detail::ComponentOrEncoding<Right>)
[[nodiscard]] constexpr auto operator|(Left left, Right right) {
  return detail::to_encoding(std::tuple_cat(detail::components_of(std::move(left)),
                                            detail::components_of(std::move(right))));
}

/// An encoding of these components; the same as joining them with `|`, and the way to begin with
/// types that are not from this library, or to make an encoding of a single component.
template <class... Ts>
[[nodiscard]] constexpr auto encoding(Ts... components) {
  return detail::to_encoding(std::tuple_cat(detail::components_of(std::move(components))...));
}

POSENC_NAMESPACE_END
