// SPDX-License-Identifier: MIT
//
// The gradients of rotary frequencies w_i. A vector x that is turned by the angles n w_i, and whose
// gradient d is known as it was before it was turned, adds for its pair (a, b)
//
//   d w_i += n (x_a d_b - x_b d_a)
//
// since turning commutes with turning. Amplitudes and magnitudes are in d already. A head that turns at a rate
// of its own, by the angles n s_i w_i, adds s_i times as much.
//
// Where two sides meet, as queries and keys do, only differences of positions matter: both count theirs from
// a common origin nearby, so that sums of far positions lose no digits.
#pragma once

#include <posenc/attention/backward/leaves.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/core/view.hpp>
#include <posenc/rotary/rotary.hpp>

#include <algorithm>
#include <array>
#include <vector>

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

/// How far a token has turned, in radians over the frequency, for the pairs [first, first + n).
template <class T>
void fill_turns(const Rotary& rotary, const Turned<T>& turned, Index token, Index first, Index n,
                T* turn) {
  const double scale =
      turned.step * (turned.factor ? static_cast<double>(turned.factor[token]) : 1.0);
  std::array<T, Positions::most_axes> by_axis{};
  for (int axis = 0; axis < rotary.state.axes; ++axis) {
    const auto i = static_cast<std::size_t>(axis);
    by_axis[i] = static_cast<T>(scale * (coordinate(turned.at, axis, token) - turned.origin[i]));
  }
  const std::vector<int>& axis_of = rotary.state.axis;
  if (axis_of.empty())
    std::fill_n(turn, n, by_axis[0]);
  else
    for (Index i = 0; i < n; ++i)
      turn[i] = by_axis[static_cast<std::size_t>(axis_of[static_cast<std::size_t>(first + i)])];
  const Frequencies& scale_of = rotary.state.head_scale;
  for (Index i = 0; scale_of.size() != 0 && i < n; ++i)
    turn[i] *= static_cast<T>(scale_of[first + i]);
}

/// Adds what they say to `sums`, one per pair. What has no gradient gives none, whatever it holds.
template <class T>
void add_frequency_gradients(const GradientLeaves<T>& leaves, const Rotary& rotary,
                             const Turned<T>& turned, double* sums) {
  constexpr Index most = 64;  // pairs at a time, whose sums over the tokens have T's precision
  const Index pairs = rotary.pairs();
  for (Index first = 0; first < pairs; first += most) {
    const Index n = std::min(most, pairs - first);
    Index a[most], b[most];
    bool in_rows = !turned.bias && turned.x.channel_stride == 1 && turned.d.channel_stride == 1;
    for (Index i = 0; i < n; ++i) {
      a[i] = rotary.offset + rotary.layout->first(first + i, pairs);
      b[i] = rotary.offset + rotary.layout->second(first + i, pairs);
      in_rows = in_rows && a[i] == a[0] + i && b[i] == b[0] + i;
    }
    T turn[most], sum[most] = {};
    for (Index t = 0; t < turned.x.tokens; ++t) {
      fill_turns(rotary, turned, t, first, n, turn);
      const T* const x = turned.x.row(t, 0);
      const T* const d = turned.d.row(t, 0);
      if (in_rows) {
        leaves.add_turns(n, turn, x + a[0], x + b[0], d + a[0], d + b[0], sum);
        continue;
      }
      T x_a[most], x_b[most], d_a[most], d_b[most];
      for (Index i = 0; i < n; ++i) {
        x_a[i] = x[a[i] * turned.x.channel_stride];
        x_b[i] = x[b[i] * turned.x.channel_stride];
        d_a[i] = d[a[i] * turned.d.channel_stride];
        d_b[i] = d[b[i] * turned.d.channel_stride];
        if (!turned.bias) continue;
        x_a[i] += static_cast<T>(turned.bias[a[i]]);
        x_b[i] += static_cast<T>(turned.bias[b[i]]);
      }
      leaves.add_turns(n, turn, x_a, x_b, d_a, d_b, sum);
    }
    for (Index i = 0; i < n; ++i) sums[first + i] += static_cast<double>(sum[i]);
  }
}

}  // namespace detail

POSENC_NAMESPACE_END
