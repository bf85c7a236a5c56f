// SPDX-License-Identifier: MIT
//
// Calls that no overload takes, and the sentences that they are told: a vector where a view belongs, an
// encoding that is not bound, braces for a result. Without these a compiler lists every overload and why it
// is none. Of a right call only the concepts are asked.
#pragma once

#include <posenc/bind/any.hpp>
#include <posenc/core/element.hpp>
#include <posenc/core/view.hpp>

#include <concepts>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace detail {

template <class T>
std::type_identity<std::remove_const_t<T>> element_of_view(const TensorView<T>&);
template <class E>
void takes_bound(const Bound<E>&);
template <class... Ts>
void takes_encoding(const Encoding<Ts...>&);

/// A view, or what derives from one.
template <class X>
concept AnyView = requires(const X& x) { element_of_view(x); };
template <class E>
concept AnyBinding = requires(const E& encoding) { takes_bound(encoding); };
template <class E>
concept AnyPipeline = requires(const E& encoding) { takes_encoding(encoding); };

/// The element of a tensor, as far as a wrong argument tells.
template <class X>
struct element_or_guess {
  using type = float;
};
template <AnyView X>
struct element_or_guess<X> : decltype(element_of_view(std::declval<const X&>())){};
template <class X>
  requires(!AnyView<X>) && requires { requires Element<typename X::value_type>; }
struct element_or_guess<X> {
  using type = typename X::value_type;
};
template <class X>
using element_or_guess_t = typename element_or_guess<X>::type;

/// A tensor that is read beside this result: a view, or what converts to one.
template <class X, class O>
concept ReadAsView = AnyView<X> || std::convertible_to<X&, TensorView<const element_or_guess_t<O>>>;

/// Stands for a result in braces, {} or {data, tokens, heads, width, ...}; nothing else converts to it.
struct BracedView {
  constexpr BracedView() = default;
  template <class T>
  constexpr BracedView(T*, Index, Index, Index, Index = 0, Index = 0, Index = 1) {}
};

/// Says that a result may be written.
template <class T>
constexpr void require_writable() {
  static_assert(!std::is_const_v<T>,
                "posenc: this view is of const elements, which cannot be written: make it a "
                "TensorView<T>, not a TensorView<const T>.");
}

}  // namespace detail

POSENC_NAMESPACE_END
