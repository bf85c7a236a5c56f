// SPDX-License-Identifier: MIT
//
// rotate: the rotary operation by itself, for users who keep their own attention.
//
//   y(token, head) = A R_position x(token, head)      unrotate undoes it
//
// A is the attention factor of the encoding (YaRN, LongRoPE; otherwise 1). Multiplying it into
// cosine and sine of queries and keys alike is what the reference models do, and scores grow by
// A^2. With `attention_factor = false` the rotation is unitary: keys for a cache that may be
// rotated again later should be stored so, and posenc's own attention wants them so (see
// RotatedKeys).
#pragma once

#include <posenc/attention/bind.hpp>
#include <posenc/core/overlap.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/rotary/rotary.hpp>

POSENC_NAMESPACE_BEGIN

struct RotateOptions {
  bool attention_factor = true;  ///< multiply by A (divide, in unrotate)
};

namespace detail {

template <class LayoutT, class T>
void rotate_view(TensorView<const T> x, TensorView<T> y, const Positions& positions,
                 const Rotary<LayoutT>& rotary, const RotateOptions& options, bool inverse) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "posenc: rotate takes float or double.");
  Problems problems;
  for (const auto& [name, view] : {std::pair{"input", x}, {"output", TensorView<const T>(y)}}) {
    const bool sensible = view.tokens >= 0 && view.heads >= 0 && view.width >= 0;
    problems.require(sensible && fits_in_memory(view), "the sizes of the ", name,
                     " must not be negative and must fit in memory, got [", view.tokens, ", ",
                     view.heads, ", ", view.width, "].");
    problems.require(view.data || is_empty(view), "the data pointer of the ", name, " is null.");
  }
  problems.raise_if_any(inverse ? "posenc::unrotate" : "posenc::rotate");
  problems.require(x.tokens == y.tokens && x.heads == y.heads && x.width == y.width,
                   "input and output must have the same shape, got [", x.tokens, ", ", x.heads,
                   ", ", x.width, "] and [", y.tokens, ", ", y.heads, ", ", y.width, "].");
  problems.require(x.width == rotary.state.head_dim, "the encoding rotates heads of ",
                   rotary.state.head_dim, " channels, but these have ", x.width, ".");
  problems.require(same_elements(x, y) || !overlap(x, y),
                   "input and output must be the same view (in place) or must not overlap.");
  problems.require(has_distinct_elements(y), "two places of the output share an element (strides ",
                   y.token_stride, ", ", y.head_stride, ", ", y.channel_stride,
                   "), so it cannot hold a result.");
  const double a = options.attention_factor ? rotary.state.attention_factor : 1.0;
  problems.require(!inverse || a != 0, "the attention factor is 0, so it cannot be undone.");
  positions.check(problems, "tokens", x.tokens);
  problems.raise_if_any(inverse ? "posenc::unrotate" : "posenc::rotate");

  const double amplitude = inverse ? 1 / a : a;
  T cos[angle_chunk], sin[angle_chunk];
  for (Index t = 0; t < x.tokens; ++t) {
    for (Index first = 0; first < rotary.pairs(); first += angle_chunk) {
      const Index count = std::min(angle_chunk, rotary.pairs() - first);
      if (positions.is_real())
        rotary.angles.cos_sin(positions.real(t), first, count, cos, sin);
      else
        rotary.angles.cos_sin(positions[t], first, count, cos, sin);
      shape_angles(count, amplitude, inverse, cos, sin);
      for (Index h = 0; h < x.heads; ++h)
        rotate_pairs(rotary, first, count, x.row(t, h), x.channel_stride, y.row(t, h),
                     y.channel_stride, cos, sin);
    }
    if (x.data != y.data)
      for (Index h = 0; h < x.heads; ++h)
        copy_unrotated(rotary, x.width, x.row(t, h), x.channel_stride, y.row(t, h),
                       y.channel_stride);
  }
}

/// Checks at compile time that "the" rotation of an encoding exists, and binds it to the length of
/// these positions where its frequencies depend on it.
template <class BoundT, class F>
void with_rotary(const BoundT& bound, const Positions& positions, Index tokens, F&& f) {
  static_assert(
      BoundT::has_rotary,
      "posenc: this encoding has no rotary base, so there is nothing to rotate: begin it with "
      "RoPE<HalfSplit>{...} or RoPE<Interleaved>{...}.");
  static_assert(
      !BoundT::has_distance_map,
      "posenc: an encoding with a distance map (ReRoPE, LeakyReRoPE, ...) has no single rotation "
      "of a query or key: the angle depends on the pair. Use posenc::attention.");
  if constexpr (BoundT::depends_on_length) {
    if (bound.options().length == 0)
      return f(bound.at_length(std::max<Position>(0, positions.length(tokens))).rotary());
  }
  f(bound.rotary());
}

}  // namespace detail

/// Rotates x [tokens, heads, head_dim] into y; x and y may be the same view.
///
/// A scheme whose frequencies depend on the length uses BindOptions::length, or, where that was not
/// given, one more than the greatest of these positions. Throws Error on mismatched shapes.
template <class T, class E>
void rotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
            const Positions& positions, const Bound<E>& bound, const RotateOptions& options = {}) {
  detail::with_rotary(bound, positions, x.tokens, [&](const auto& rotary) {
    detail::rotate_view<>(x, y, positions, rotary, options, false);
  });
}

/// Rotates in place.
template <class T, class E>
void rotate(TensorView<T> x, const Positions& positions, const Bound<E>& bound,
            const RotateOptions& options = {}) {
  rotate(TensorView<const T>(x), x, positions, bound, options);
}

/// Undoes rotate: y = R^-1 x / A.
template <class T, class E>
void unrotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
              const Positions& positions, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  detail::with_rotary(bound, positions, x.tokens, [&](const auto& rotary) {
    detail::rotate_view<>(x, y, positions, rotary, options, true);
  });
}

/// Undoes rotate in place.
template <class T, class E>
void unrotate(TensorView<T> x, const Positions& positions, const Bound<E>& bound,
              const RotateOptions& options = {}) {
  unrotate(TensorView<const T>(x), x, positions, bound, options);
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

POSENC_NAMESPACE_END
