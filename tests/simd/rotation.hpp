// SPDX-License-Identifier: MIT
//
// Rotation by its formula, in long double and sharing no code with posenc, and how far from it a
// result may be.
//
// A pair (x0, x1) of norm r = |A| sqrt(x0^2 + x1^2) becomes
//
//   y0 = A (x0 cos(n w_i) - x1 sin(n w_i)),    w_i = base^(-2i/dim)
//   y1 = A (x0 sin(n w_i) + x1 cos(n w_i))
//
// Computed in floats, the coefficients A cos and A sin are rounded, then the products, then the
// sum: each by 2^-24 of what it is, so each contributes at most 2^-24 r, and all three 1.5 units of
// 2^-23 r. (A fused multiply-add leaves out half of the second.) In doubles it is the same with
// 2^-53, and the coefficients are worse: products of rounded cosines and sines, one for each bit of
// the position. Their errors largely cancel; the worst of a million was 8 units of 2^-53.
//
// The angle n w_i is known to 2 n 2^-53: what rounding does to a frequency of w, to the exponent it
// comes from and to its product with n is at most w (2 + ln 1/w) 2^-53 of n.
#pragma once

#include <posenc/core/view.hpp>

#include "../support/guards.hpp"
#include "numbers.hpp"

#include <array>
#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

using posenc_test::Guarded;
using Real = long double;

/// What rotates: pairs of `dim` channels from `offset` on, in one of the two layouts.
struct Block {
  bool interleaved = false;
  posenc::Index dim = 0, offset = 0;

  /// The channels of pair i.
  [[nodiscard]] std::array<std::size_t, 2> channels(posenc::Index i) const {
    const posenc::Index first = interleaved ? 2 * i : i,
                        second = interleaved ? 2 * i + 1 : i + dim / 2;
    return {static_cast<std::size_t>(offset + first), static_cast<std::size_t>(offset + second)};
  }
};

/// Cosine and sine of pair i at a position.
inline std::array<Real, 2> turn(Real position, posenc::Index i, posenc::Index dim, double base) {
  const Real w =
      std::pow(static_cast<Real>(base), -2 * static_cast<Real>(i) / static_cast<Real>(dim));
  return {std::cos(position * w), std::sin(position * w)};
}

/// Cosines and sines of all pairs at all positions, [position][pair].
template <class P>
std::vector<std::array<Real, 2>> turns(const std::vector<P>& positions, posenc::Index dim,
                                       double base) {
  std::vector<std::array<Real, 2>> all;
  for (const P position : positions)
    for (posenc::Index i = 0; i < dim / 2; ++i)
      all.push_back(turn(static_cast<Real>(position), i, dim, base));
  return all;
}

/// How far a coordinate of a rotated pair of norm 1 may be from the formula, before it is stored in
/// an element of 16 bits, where the angle is off by so much.
template <class T>
constexpr Real tolerance(Real angle_error) {
  return angle_error + (std::is_same_v<T, double> ? 12 * 0x1p-53L : 3 * 0x1p-24L);
}

/// Is y what storing a number within `slack` of `exact` can give?
template <class T>
bool is_rounded(T y, Real exact, Real slack) {
  if constexpr (sizeof(T) > 2) return std::abs(static_cast<Real>(y) - exact) <= slack;
  return !is_nan(y) && rank(nearest<T>(exact - slack)) <= rank(y) &&
         rank(y) <= rank(nearest<T>(exact + slack));
}

/// Elements of [-1, 1], the same ones for the same seed.
template <class T>
std::vector<T> noise(posenc::Index n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values;
  for (posenc::Index i = 0; i < n; ++i)
    values.push_back(nearest<T>(static_cast<double>(random()) * 0x1p-31 - 1));
  return values;
}
