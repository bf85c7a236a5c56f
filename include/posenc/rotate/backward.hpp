// SPDX-License-Identifier: MIT
//
// rotate_backward: the gradient of rotate, for users who keep their own attention.
//
//   y = A M R x  =>  d_x = A M R^T d_y                M: the magnitudes of XPos, otherwise 1
//
// The rotation is linear, so its gradient needs no x. It turns the other way round and scales as before,
// where unrotate divides by A and M. Channels that rotate leaves alone keep their gradient.
//
// Every function here takes what rotate was given, with the same options (attention_factor, side), and
// has the same rules; d_x may be d_y. (Two views of elements that can be written are queries and keys, both
// turned in place: pass d_y as a TensorView<const T>.) Through Rotations gradients go back by rotate(d, at.transposed()).
#pragma once

#include <posenc/rotate/ragged.hpp>

POSENC_NAMESPACE_BEGIN

/// The gradient of x from that of y = rotate(x), both [tokens, heads, head_dim].
/// Throws Error on mismatched shapes.
template <class T, class E>
void rotate_backward(std::type_identity_t<TensorView<const T>> d_y, TensorView<T> d_x,
                     const Positions& positions, const Bound<E>& bound,
                     const RotateOptions& options = {}) {
  detail::rotate_all<1, T>({{{d_y, d_x, options.side}}}, positions, bound, options,
                           detail::RotateBy::transpose);
}

/// The same in place.
template <class T, class E>
void rotate_backward(TensorView<T> d, const Positions& positions, const Bound<E>& bound,
                     const RotateOptions& options = {}) {
  rotate_backward(TensorView<const T>(d), d, positions, bound, options);
}

/// The same for queries and keys of the same tokens, in place.
template <class T, class E>
void rotate_backward(TensorView<T> d_q, TensorView<T> d_k, const Positions& positions,
                     const Bound<E>& bound, const RotateOptions& options = {}) {
  detail::rotate_all<2, T>({{{d_q, d_q, Side::query}, {d_k, d_k, Side::key}}}, positions, bound,
                           options, detail::RotateBy::transpose);
}

/// Binds the encoding and takes the gradient back in place, in one call.
template <class T, class... Ts>
void rotate_backward(TensorView<T> d, const Positions& positions, const Encoding<Ts...>& encoding,
                     const RotateOptions& options = {}) {
  rotate_backward(d, positions, bind(encoding), options);
}

/// The gradient of a ragged batch x from that of y = rotate(x).
template <class T, class E>
void rotate_backward(std::type_identity_t<TensorView<const T>> d_y, TensorView<T> d_x,
                     const RaggedBatch& batch, const Bound<E>& bound,
                     const RotateOptions& options = {}) {
  detail::rotate_ragged<1, T>({{{d_y, d_x, options.side}}}, batch, bound, options,
                              detail::RotateBy::transpose);
}

/// The same in place.
template <class T, class E>
void rotate_backward(TensorView<T> d, const RaggedBatch& batch, const Bound<E>& bound,
                     const RotateOptions& options = {}) {
  rotate_backward(TensorView<const T>(d), d, batch, bound, options);
}

/// The same for queries and keys of a ragged batch, in place.
template <class T, class E>
void rotate_backward(TensorView<T> d_q, TensorView<T> d_k, const RaggedBatch& batch,
                     const Bound<E>& bound, const RotateOptions& options = {}) {
  detail::rotate_ragged<2, T>({{{d_q, d_q, Side::query}, {d_k, d_k, Side::key}}}, batch, bound,
                              options, detail::RotateBy::transpose);
}

/// The same where each sequence was rotated by an encoding of its own.
template <class T, class E>
void rotate_backward(TensorView<T> d, const RaggedBatch& batch, std::span<const Bound<E>> bounds,
                     const RotateOptions& options = {}) {
  detail::rotate_ragged<1, T>({{{d, d, options.side}}}, batch, bounds, options,
                              detail::RotateBy::transpose);
}
template <class T, class E>
void rotate_backward(TensorView<T> d_q, TensorView<T> d_k, const RaggedBatch& batch,
                     std::span<const Bound<E>> bounds, const RotateOptions& options = {}) {
  detail::rotate_ragged<2, T>({{{d_q, d_q, Side::query}, {d_k, d_k, Side::key}}}, batch, bounds,
                              options, detail::RotateBy::transpose);
}

POSENC_NAMESPACE_END
