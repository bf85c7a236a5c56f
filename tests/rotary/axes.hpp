// SPDX-License-Identifier: MIT
//
// What the tests of MRoPE, Axial2D and XPos share: random tensors, rotate() on them, and the
// formula in long double, pair by pair.
#pragma once

#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"
#include "../support/tensor.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace axes_test {

using namespace posenc;
using posenc_test::noise;
using posenc_test::size;
using Real = long double;

/// Ids [axes][tokens], whole numbers within [low, high].
inline std::vector<Position> random_ids(int axes, Index tokens, Position low, Position high,
                                        unsigned seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<Position> draw(low, high);
  std::vector<Position> ids(size(axes * tokens));
  for (Position& id : ids) id = draw(random);
  return ids;
}

inline Index heads_of(Index values, Index tokens, Index width) { return values / (tokens * width); }

/// x [tokens][heads][width] rotated at positions.
template <class T, class BoundT>
std::vector<T> rotated(std::vector<T> x, Index tokens, const Positions& positions,
                       const BoundT& bound, const RotateOptions& options = {}) {
  const Index width = bound.rotary().state.head_dim;
  rotate(TensorView<T>(x.data(), tokens, heads_of(std::ssize(x), tokens, width), width), positions,
         bound, options);
  return x;
}

template <class T, class BoundT>
std::vector<T> unrotated(std::vector<T> x, Index tokens, const Positions& positions,
                         const BoundT& bound, const RotateOptions& options = {}) {
  const Index width = bound.rotary().state.head_dim;
  unrotate(TensorView<T>(x.data(), tokens, heads_of(std::ssize(x), tokens, width), width),
           positions, bound, options);
  return x;
}

template <class T>
double worst_difference(const std::vector<T>& a, const std::vector<T>& b) {
  double worst = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
  return worst;
}

template <class T>
double dot(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// What the formulas say of one pair at one token.
struct Turned {
  Real angle;
  Real magnitude = 1;
};

/// Greatest error of rotated values over what arithmetic in T explains. turned(pair, token) is the
/// formula. Inputs lie in [-1, 1]: cosine and sine are within 3.5e-8 in float (in double the angle
/// is rounded, relative to its size), and two products and a sum round by 2^-24 (2^-53) of at most
/// 2.
template <class T, class F>
double worst_ratio(const std::vector<T>& x, const std::vector<T>& y, Index tokens,
                   const Rotary& rotary, F&& turned) {
  constexpr bool is_float = std::is_same_v<T, float>;
  const Index width = rotary.state.head_dim, pairs = rotary.pairs();
  const Index heads = heads_of(std::ssize(x), tokens, width);
  double worst = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h) {
      const auto at = [&](Index channel) { return size((t * heads + h) * width + channel); };
      for (Index c = 0; c < width; ++c)
        if ((c < rotary.offset || c >= rotary.offset + 2 * pairs) && y[at(c)] != x[at(c)])
          return HUGE_VAL;
      for (Index i = 0; i < pairs; ++i) {
        const Turned f = turned(i, t);
        const std::size_t a = at(rotary.offset + rotary.layout->first(i, pairs)),
                          b = at(rotary.offset + rotary.layout->second(i, pairs));
        const Real x0 = static_cast<Real>(x[a]), x1 = static_cast<Real>(x[b]);
        const Real y0 = f.magnitude * (x0 * std::cos(f.angle) - x1 * std::sin(f.angle)),
                   y1 = f.magnitude * (x0 * std::sin(f.angle) + x1 * std::cos(f.angle));
        const Real bound = f.magnitude * (is_float ? 2 * 3.5e-8L + 8 * 0x1p-24L
                                                   : (8 * std::abs(f.angle) + 64) * 0x1p-53L);
        worst =
            std::max({worst, static_cast<double>(std::abs(static_cast<Real>(y[a]) - y0) / bound),
                      static_cast<double>(std::abs(static_cast<Real>(y[b]) - y1) / bound)});
      }
    }
  return worst;
}

/// base^(-2i/d)
inline Real ladder(Real base, Index d, Index i) {
  return std::pow(base, -2 * static_cast<Real>(i) / static_cast<Real>(d));
}

/// All sentences of what f complains of; empty when nothing.
template <class F>
std::string complaint(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace axes_test
