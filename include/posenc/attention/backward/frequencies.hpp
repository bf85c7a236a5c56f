// SPDX-License-Identifier: MIT
//
// The gradients of rotary frequencies w_i. A vector x that is turned by the angles n w_i, and whose
// gradient d is known as it was before it was turned, adds for its pair (a, b)
//
//   d w_i += n (x_a d_b - x_b d_a)
//
// since turning commutes with turning. Amplitudes and magnitudes are in d already.
//
// Where two sides meet, as queries and keys do, only differences of positions matter: both count theirs from
// a common origin nearby, so that sums of far positions lose no digits.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/core/view.hpp>
#include <posenc/rotary/rotary.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A position, by coordinate.
using Origin = std::array<double, Positions::most_axes>;
inline double coordinate(const Positions& at, int axis, Index token) {
  const int own = axis < at.axes() ? axis : 0;
  return at.is_real() ? at.real(own, token) : static_cast<double>(at.at(own, token));
}

inline Origin origin_of(const Rotary& rotary, const Positions& at, Index token) {
  Origin origin{};
  for (int axis = 0; axis < rotary.state.axes; ++axis)
    origin[static_cast<std::size_t>(axis)] = coordinate(at, axis, token);
  return origin;
}

/// Some vectors that are turned, and their gradients.
template <class T>
struct Turned {
  TensorView<const T> x;         ///< [token][1][width]
  const double* bias = nullptr;  ///< added to each; null: none
  TensorView<const T> d;         ///< the same shape as x
  const T* factor = nullptr;     ///< of each gradient; null: 1
  Positions at{};
  Origin origin{};  ///< from which positions count
  double step = 1;  ///< by which they do
};

/// Adds what they say to `sums`, one per pair. What has no gradient gives none, whatever it holds.
template <class T>
void add_frequency_gradients(const Rotary& rotary, const Turned<T>& turned, double* sums) {
  const auto& [x, bias, d, factor, at, origin, step] = turned;
  const std::vector<int>& axis_of = rotary.state.axis;
  const Index pairs = rotary.pairs();
  for (Index t = 0; t < x.tokens; ++t) {
    const double scale = step * (factor ? static_cast<double>(factor[t]) : 1.0);
    Origin turn{};
    for (int axis = 0; axis < rotary.state.axes; ++axis) {
      const auto a = static_cast<std::size_t>(axis);
      turn[a] = scale * (coordinate(at, axis, t) - origin[a]);
    }
    for (Index i = 0; i < pairs; ++i) {
      const Index a = rotary.offset + rotary.layout->first(i, pairs);
      const Index b = rotary.offset + rotary.layout->second(i, pairs);
      const auto d_a = static_cast<double>(d(t, 0, a)), d_b = static_cast<double>(d(t, 0, b));
      if (d_a == 0 && d_b == 0) continue;
      const double x_a = static_cast<double>(x(t, 0, a)) + (bias ? bias[a] : 0);
      const double x_b = static_cast<double>(x(t, 0, b)) + (bias ? bias[b] : 0);
      const int axis = axis_of.empty() ? 0 : axis_of[static_cast<std::size_t>(i)];
      sums[i] += turn[static_cast<std::size_t>(axis)] * (x_a * d_b - x_b * d_a);
    }
  }
}

}  // namespace detail

POSENC_NAMESPACE_END
