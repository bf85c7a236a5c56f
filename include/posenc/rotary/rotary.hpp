// SPDX-License-Identifier: MIT
//
// Rotary: a rotary base and all of its frequency transforms, resolved: which channels rotate, by
// which angles, with which amplitude. Made by bind(); read by rotate() and by the attention kernel.
#pragma once

#include <posenc/rotary/angles.hpp>
#include <posenc/rotary/layout.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN

template <class LayoutT>
struct Rotary {
  using layout = LayoutT;

  RotaryState state;
  Index offset = 0;  ///< first rotated channel
  AngleTable angles;

  [[nodiscard]] Index pairs() const { return state.pairs(); }
};

namespace detail {

/// Pairs whose cosine and sine are computed at once, into the stack.
inline constexpr Index angle_chunk = 128;

/// Copies the channels of one head that do not rotate.
template <class LayoutT, class T, class U>
void copy_unrotated(const Rotary<LayoutT>& rotary, Index width, const T* x, Index x_stride, U* y,
                    Index y_stride) {
  for (Index c = 0; c < rotary.offset; ++c) y[c * y_stride] = static_cast<U>(x[c * x_stride]);
  for (Index c = rotary.offset + 2 * rotary.pairs(); c < width; ++c)
    y[c * y_stride] = static_cast<U>(x[c * x_stride]);
}

/// Rotates pairs [first, first + count) of one head; x and y may be the same.
template <class LayoutT, class T, class U>
void rotate_pairs(const Rotary<LayoutT>& rotary, Index first, Index count, const T* x,
                  Index x_stride, U* y, Index y_stride, const U* cos, const U* sin) {
  const Index pairs = rotary.pairs();
  x += rotary.offset * x_stride;
  y += rotary.offset * y_stride;
  for (Index i = 0; i < count; ++i) {
    const Index a = LayoutT::first(first + i, pairs), b = LayoutT::second(first + i, pairs);
    const U x0 = static_cast<U>(x[a * x_stride]), x1 = static_cast<U>(x[b * x_stride]);
    y[a * y_stride] = x0 * cos[i] - x1 * sin[i];
    y[b * y_stride] = x0 * sin[i] + x1 * cos[i];
  }
}

/// Multiplies cosine and sine by `amplitude`, and turns the angle round when `inverse`.
template <class T>
void shape_angles(Index count, double amplitude, bool inverse, T* cos, T* sin) {
  if (amplitude == 1 && !inverse) return;
  const T a = static_cast<T>(amplitude), b = inverse ? -a : a;
  for (Index i = 0; i < count; ++i) {
    cos[i] *= a;
    sin[i] *= b;
  }
}

/// Rotates one head at one position (integer or real): y = amplitude * R x on the rotary block, a
/// copy elsewhere.
template <class LayoutT, class P, class T, class U>
void rotate_head(const Rotary<LayoutT>& rotary, const AngleTable& angles, P position, Index width,
                 const T* x, Index x_stride, U* y, Index y_stride, double amplitude = 1,
                 bool inverse = false) {
  U cos[angle_chunk], sin[angle_chunk];
  for (Index first = 0; first < rotary.pairs(); first += angle_chunk) {
    const Index count = std::min(angle_chunk, rotary.pairs() - first);
    angles.cos_sin(position, first, count, cos, sin);
    shape_angles(count, amplitude, inverse, cos, sin);
    rotate_pairs(rotary, first, count, x, x_stride, y, y_stride, cos, sin);
  }
  copy_unrotated(rotary, width, x, x_stride, y, y_stride);
}

}  // namespace detail

POSENC_NAMESPACE_END
