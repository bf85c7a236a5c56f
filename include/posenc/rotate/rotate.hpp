// SPDX-License-Identifier: MIT
//
// rotate: the rotary operation by itself, for users who keep their own attention.
//
//   y(token, head) = A R_position x(token, head)      unrotate undoes it, and rotate_backward
//                                                     (rotate/backward.hpp) takes gradients back
//
// x and y are [tokens, heads, head_dim] with any strides, in float, double, bfloat16 or float16;
// y may be x. Cosine and sine are computed once per token and serve every head; 16-bit elements are
// rotated in float and rounded once. A call allocates nothing and gives the same bits on any number
// of threads.
//
// A is the attention factor of the encoding (YaRN, LongRoPE; otherwise 1). Multiplying it into
// cosine and sine of queries and keys alike is what the reference models do, and scores grow by
// A^2. With `attention_factor = false` the rotation is unitary: keys for a cache that may be
// rotated again later should be stored so, and posenc's own attention wants them so (see
// RotatedKeys).
#pragma once

#include <posenc/bind/bind.hpp>
#include <posenc/bind/length.hpp>
#include <posenc/bind/wrong_call.hpp>
#include <posenc/rotate/tokens.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Refuses encodings that have no rotation of a query or a key: by the compiler where it knows their
/// components, and otherwise in a sentence.
template <class E>
constexpr void require_rotation() {
  if constexpr (is_static<E>) {
    static_assert(
        Bound<E>::has_rotary,
        "posenc: this encoding has no rotary base, so there is nothing to rotate: begin it with "
        "RoPE<HalfSplit>{...} or RoPE<Interleaved>{...}.");
    static_assert(
        !Bound<E>::has_distance_map,
        "posenc: an encoding with a distance map (ReRoPE, LeakyReRoPE, ...) has no single rotation "
        "of a query or key: the angle depends on the pair. Use posenc::attention.");
  }
}
inline void check_rotation(Problems& problems, const Answers& answers) {
  problems.require(answers.rotates(),
                   "this encoding has no rotary base, so there is nothing to rotate: begin it with "
                   "RoPE<HalfSplit>{...} or RoPE<Interleaved>{...}.");
  problems.require(!answers.map(),
                   "an encoding with a distance map (ReRoPE, LeakyReRoPE, ...) has no single "
                   "rotation of a query or key: the angle depends on the pair. Use "
                   "posenc::attention.");
}

template <class LayoutT, std::size_t N, class T>
void rotate_all(const RotateTensors<T, N>& tensors, const Positions& positions,
                const Answers& answers, const RotateOptions& options, RotateBy by) {
  const Index tokens = tensors[0].x.tokens;
  Problems problems;
  check_rotation(problems, answers);
  problems.raise_if_any(who(by));
  const RotaryAtLength at_length(answers, [&] { return positions.length(tokens); });
  const Rotary& rotary = *at_length;
  const RotateCall call(rotary.state, options, by);
  check_tensors(problems, tensors, rotary.state.head_dim);
  check_rates(problems, tensors, rotary.heads.empty(), answers.shape());
  check_positions(problems, rotary.state, positions, tokens);
  call.check(problems, tensors[0].side);
  problems.raise_if_any(who(by));
  if (call.grows) check_growth<T>(problems, rotary.state, positions, tokens);
  problems.raise_if_any(who(by));
  rotate_checked<LayoutT>(tensors, positions, rotary, call, options.executor);
}
template <std::size_t N, class T, class E>
void rotate_all(const RotateTensors<T, N>& tensors, const Positions& positions,
                const Bound<E>& bound, const RotateOptions& options, RotateBy by) {
  require_rotation<E>();
  rotate_all<typename Bound<E>::layout>(tensors, positions, bound.answers(), options, by);
}

/// What some overload of rotate() takes of one tensor, and of two.
template <class E, class... Xs>
inline constexpr bool rotates_what_it_is_given = false;
template <class E, class X>
inline constexpr bool rotates_what_it_is_given<E, X> =
    AnyView<X> && (AnyBinding<E> || AnyPipeline<E>);
template <class E, class X, class Y>
inline constexpr bool rotates_what_it_is_given<E, X, Y> =
    AnyView<Y> && ReadAsView<X, Y> && AnyBinding<E>;

template <class E, class... Xs>
constexpr void explain_rotate() {
  static_assert((AnyView<Xs> && ...),
                "posenc: rotate takes views: write TensorView(x.data(), tokens, heads, width).");
  static_assert(
      AnyBinding<E> || (sizeof...(Xs) == 1 && AnyPipeline<E>),
      "posenc: rotate takes what bind() returns: write bind(component), once for many calls.");
}

}  // namespace detail

/// Rotates x [tokens, heads, head_dim] into y; x and y may be the same view.
///
/// A scheme whose frequencies depend on the length uses BindOptions::length, or, where that was not
/// given, one more than the greatest of these positions (which rebuilds its tables in the call).
/// Throws Error on mismatched shapes.
template <class T, class E>
void rotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
            const Positions& positions, const Bound<E>& bound, const RotateOptions& options = {}) {
  detail::rotate_all<1, T>({{{x, y, options.side}}}, positions, bound, options,
                           detail::RotateBy::rotation);
}

/// Rotates in place.
template <class T, class E>
void rotate(TensorView<T> x, const Positions& positions, const Bound<E>& bound,
            const RotateOptions& options = {}) {
  rotate(TensorView<const T>(x), x, positions, bound, options);
}

/// Rotates queries and keys of the same tokens in place, with one computation of their angles; they
/// may have different numbers of heads.
template <class T, class E>
void rotate(TensorView<T> q, TensorView<T> k, const Positions& positions, const Bound<E>& bound,
            const RotateOptions& options = {}) {
  detail::rotate_all<2, T>({{{q, q, Side::query}, {k, k, Side::key}}}, positions, bound, options,
                           detail::RotateBy::rotation);
}

/// Undoes rotate: y = R^-1 x / A.
template <class T, class E>
void unrotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
              const Positions& positions, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  detail::rotate_all<1, T>({{{x, y, options.side}}}, positions, bound, options,
                           detail::RotateBy::inverse);
}

/// Undoes rotate in place.
template <class T, class E>
void unrotate(TensorView<T> x, const Positions& positions, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  unrotate(TensorView<const T>(x), x, positions, bound, options);
}

/// Undoes rotate of queries and keys in place.
template <class T, class E>
void unrotate(TensorView<T> q, TensorView<T> k, const Positions& positions, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  detail::rotate_all<2, T>({{{q, q, Side::query}, {k, k, Side::key}}}, positions, bound, options,
                           detail::RotateBy::inverse);
}

/// Binds the encoding and rotates in place, in one call.
template <class T, class... Ts>
void rotate(TensorView<T> x, const Positions& positions, const Encoding<Ts...>& encoding,
            const RotateOptions& options = {}) {
  rotate(x, positions, bind(encoding), options);
}
template <class T, class... Ts>
void unrotate(TensorView<T> x, const Positions& positions, const Encoding<Ts...>& encoding,
              const RotateOptions& options = {}) {
  unrotate(x, positions, bind(encoding), options);
}

/// What none of the others takes is told what to write.
template <class X, class E>
  requires(!detail::rotates_what_it_is_given<E, X>)
void rotate(const X&, const Positions&, const E&, const RotateOptions& = {}) {
  detail::explain_rotate<E, X>();
}
template <class X, class Y, class E>
  requires(!detail::rotates_what_it_is_given<E, X, Y>)
void rotate(const X&, const Y&, const Positions&, const E&, const RotateOptions& = {}) {
  detail::explain_rotate<E, X, Y>();
}

POSENC_NAMESPACE_END
