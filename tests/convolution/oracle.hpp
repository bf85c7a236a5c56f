// SPDX-License-Identifier: MIT
//
// What the tests of long convolutions share: random numbers and sums in long double.
#pragma once

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/random.hpp"

#include <posenc/core/problems.hpp>
#include <posenc/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace convolution_test {

using namespace posenc;
using posenc_test::Random;
using Real = long double;

template <class T>
std::vector<T> draw(Index n, std::uint64_t seed, double low = -1, double high = 1) {
  Random random(seed);
  std::vector<T> all(static_cast<std::size_t>(n));
  for (T& x : all) x = static_cast<T>(random.real(low, high));
  return all;
}

/// [tokens, 1, channels] of a vector.
template <class T>
TensorView<const T> view_of(const std::vector<T>& x, Index tokens) {
  return {x.data(), tokens, 1, std::ssize(x) / std::max<Index>(tokens, 1)};
}
template <class T>
TensorView<T> result_of(std::vector<T>& x, Index tokens) {
  return {x.data(), tokens, 1, std::ssize(x) / std::max<Index>(tokens, 1)};
}

/// The lower triangular Toeplitz matrix of each filter, [channels][taps], times u [tokens][channels].
template <class T, class H>
std::vector<Real> toeplitz(const std::vector<H>& h, const std::vector<T>& u, Index channels) {
  const Index taps = std::ssize(h) / channels, tokens = std::ssize(u) / channels;
  std::vector<Real> y(u.size());
  for (Index t = 0; t < tokens; ++t)
    for (Index k = 0; k < std::min(taps, t + 1); ++k)
      for (Index c = 0; c < channels; ++c)
        y[static_cast<std::size_t>(t * channels + c)] +=
            static_cast<Real>(h[static_cast<std::size_t>(c * taps + k)]) *
            static_cast<Real>(u[static_cast<std::size_t>((t - k) * channels + c)]);
  return y;
}

/// The greatest difference, and the greatest of the second ones.
template <class A, class B>
double worst(const std::vector<A>& a, const std::vector<B>& b) {
  double most = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const auto difference =
        static_cast<double>(std::abs(static_cast<Real>(a[i]) - static_cast<Real>(b[i])));
    most = difference <= most ? most : difference;  // NaN is passed on
    if (std::isnan(difference)) return difference;
  }
  return most;
}
template <class T>
double greatest(const std::vector<T>& x) {
  double most = 0;
  for (const T& one : x) most = std::max(most, static_cast<double>(std::abs(one)));
  return most;
}

}  // namespace convolution_test
