// SPDX-License-Identifier: MIT
//
// What parameters of state spaces and of Hyena have to be, and how layers draw them.
#pragma once

#include <posenc/core/arena.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers::parameters {

/// Reports parameters that are not `count` finite numbers; `of` says of what.
template <class T>
void check(Problems& problems, const char* what, const std::vector<T>& values, Index count,
           const char* of) {
  problems.require(std::ssize(values) == count, what, " must have ", count, " numbers, ", of,
                   ", got ", values.size(), ".");
  if (!std::ranges::all_of(values, [](T x) { return std::isfinite(x); }))
    problems.add(what, " must be finite.");
}

/// Reports logarithms whose exponentials could leave the range of double when they are multiplied.
inline void check_logarithms(Problems& problems, const char* what,
                             const std::vector<float>& values) {
  constexpr float most = 80;
  if (!std::ranges::all_of(values, [](float x) { return std::abs(x) <= most; }))
    problems.add(what, " must be within [-", most, ", ", most, "].");
}

/// Reports widths from which no numbers of parameters can be computed; true when there are none.
inline bool check_width(Problems& problems, const char* what, Index width) {
  constexpr Index most = Index{1} << 24;
  const bool fits = width >= 1 && width <= most;
  problems.require(fits, what, " must be 1 to ", most, ", got ", width, ".");
  return fits;
}

/// Throws Error unless kernels of so many taps can be held; checks the parameters first.
template <class M>
void check_kernel(const M& of, Index channels, Index taps) {
  Problems problems;
  of.check(problems);
  Index numbers = 0, bytes = 0;
  problems.require(taps >= 1 && multiply(channels, taps, numbers) && multiply(numbers, 16, bytes),
                   "a kernel must have at least 1 tap and fit in memory, got ", taps, " taps of ",
                   channels, " channels.");
  problems.raise_if_any("posenc::mixers::" + std::string(M::name));
}

/// Normal, by Box and Muller.
inline double normal(SeededRandom& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.real(0, 1)));
  return radius * std::cos(2 * std::numbers::pi * random.real(0, 1));
}
inline std::vector<float> normals(SeededRandom& random, Index n, double deviation = 1) {
  std::vector<float> all(static_cast<std::size_t>(std::max<Index>(n, 0)));
  for (float& x : all) x = static_cast<float>(deviation * normal(random));
  return all;
}
inline std::vector<float> uniforms(SeededRandom& random, Index n, double low, double high) {
  std::vector<float> all(static_cast<std::size_t>(std::max<Index>(n, 0)));
  for (float& x : all) x = static_cast<float>(random.real(low, high));
  return all;
}

}  // namespace mixers::parameters

POSENC_NAMESPACE_END
