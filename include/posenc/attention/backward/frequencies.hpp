// SPDX-License-Identifier: MIT
//
// The gradients of rotary frequencies w_i. A vector x that is turned by the angles n w_i, and whose
// gradient d is known as it was before it was turned, adds for its pair (a, b)
//
//   d w_i += n (x_a d_b - x_b d_a)
//
// since turning commutes with turning. Amplitudes and magnitudes are in d already.
#pragma once

#include <posenc/core/positions.hpp>
#include <posenc/core/view.hpp>
#include <posenc/rotary/rotary.hpp>

#include <array>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Adds to `sums`, one per pair, what some rows x [token][1][width] say, `times` each. d are their
/// gradients, of which each is multiplied by its factor where there are factors; `bias` is added to x
/// where there is one. What has no gradient gives none, whatever it holds.
template <class T>
void add_frequency_gradients(const Rotary& rotary, const TensorView<const T>& x, const double* bias,
                             const TensorView<const T>& d, const T* factor, const Positions& at,
                             double times, double* sums) {
  const std::vector<int>& axis_of = rotary.state.axis;
  const Index pairs = rotary.pairs();
  for (Index t = 0; t < x.tokens; ++t) {
    std::array<double, Positions::most_axes> turn{};
    for (int axis = 0; axis < rotary.state.axes; ++axis) {
      const int own = axis < at.axes() ? axis : 0;
      const double position = at.is_real() ? at.real(own, t) : static_cast<double>(at.at(own, t));
      turn[static_cast<std::size_t>(axis)] =
          times * position * (factor ? static_cast<double>(factor[t]) : 1.0);
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

/// Some tokens of one head.
template <class T>
TensorView<T> rows_of(const TensorView<T>& x, Index first, Index tokens, Index head) {
  TensorView<T> rows = x;
  rows.data = x.row(first, head);
  rows.tokens = tokens;
  rows.heads = 1;
  return rows;
}

}  // namespace detail

POSENC_NAMESPACE_END
