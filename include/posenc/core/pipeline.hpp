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

#include <posenc/core/members.hpp>

#include <cstddef>
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

/// The components, side by side: a std::tuple would bring a dozen functions for each encoding.
template <std::size_t i, class T>
struct Part {
  T value;
};
template <class Indices, class... Ts>
struct Parts;
template <std::size_t... i, class... Ts>
struct Parts<std::index_sequence<i...>, Ts...> : Part<i, Ts>... {
  constexpr explicit Parts(Ts... values) : Part<i, Ts>{std::move(values)}... {}
};
template <std::size_t i, class T>
constexpr const T& part(const Part<i, T>& parts) {
  return parts.value;
}
template <std::size_t i, class T>
constexpr T&& take(Part<i, T>&& parts) {
  return std::move(parts.value);
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

  static_assert((true && ... && detail::members_are_answers<Ts>));
  static_assert((true && ... && Component<Ts>),
                "posenc: an operand of | is not a component of an encoding: it answers none of the "
                "questions of posenc/core/concepts.hpp. Wrap a function with bias(f), score_map(f) "
                "or mask(f), or give your type one of the const members named there, such as "
                "relative_bias(head, distance), score_bias(at), map_score(x, at), visible(at).");
  static_assert(num_rotary_bases <= 1,
                "posenc: an encoding has one rotary base, but this one has two (such as two RoPE): "
                "keep one, and change its frequencies with ABF, PI, NTK, YaRN, ...");
  static_assert(
      num_distance_maps <= 1,
      "posenc: an encoding has one distance map, but this one has two (such as ReRoPE and "
      "LeakyReRoPE): each rewrites the true distance, so keep one.");

  constexpr explicit Encoding(Ts... components) : parts_(std::move(components)...) {}

  static constexpr std::size_t size = sizeof...(Ts);

  /// The ith component as written, counted from 0.
  template <std::size_t i>
  [[nodiscard]] constexpr const auto& get() const {
    return detail::part<i>(parts_);
  }

  /// Calls f(component) for each component, in the order written.
  template <class F>
  constexpr void for_each(F&& f) const {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (f(get<i>()), ...);
    }(std::index_sequence_for<Ts...>());
  }

  /// This encoding's components, and then the other's.
  template <class... Us>
  [[nodiscard]] constexpr Encoding<Ts..., Us...> join(Encoding<Us...>&& other) && {
    return [&]<std::size_t... i, std::size_t... j>(std::index_sequence<i...>,
                                                   std::index_sequence<j...>) {
      return Encoding<Ts..., Us...>(detail::take<i>(std::move(parts_))...,
                                    detail::take<j>(std::move(other.parts_))...);
    }(std::index_sequence_for<Ts...>(), std::index_sequence_for<Us...>());
  }

 private:
  template <class... Us>
  friend class Encoding;
  detail::Parts<std::index_sequence_for<Ts...>, Ts...> parts_;
};

namespace detail {
template <class T>
constexpr auto as_encoding(T part) {
  if constexpr (is_encoding<T>)
    return part;
  else
    return Encoding<T>(std::move(part));
}
}  // namespace detail

/// Composes components and encodings. Only one side has to be a component for this operator to be
/// chosen, so that the other can be told what is wrong with it in a sentence.
template <class Left, class Right>
  requires(detail::ComponentOrEncoding<Left> || detail::ComponentOrEncoding<Right>)
[[nodiscard]] constexpr auto operator|(Left left, Right right) {
  return detail::as_encoding(std::move(left)).join(detail::as_encoding(std::move(right)));
}

/// An encoding of these components; the same as joining them with `|`, and the way to begin with
/// types that are not from this library, or to make an encoding of a single component.
[[nodiscard]] constexpr Encoding<> encoding() { return Encoding<>(); }
template <class First, class... Rest>
[[nodiscard]] constexpr auto encoding(First first, Rest... rest) {
  return detail::as_encoding(std::move(first)).join(posenc::encoding(std::move(rest)...));
}

POSENC_NAMESPACE_END
