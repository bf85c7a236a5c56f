// SPDX-License-Identifier: MIT
//
// Dual: a number and its derivative. A function of one number that is written for any number type
// becomes its own derivative when it is called with a Dual: f(Dual{x, 1}) is {f(x), f'(x)}.
//
//   score_map([](auto x) { return x / (1 + abs(x)); })
//
// Functions are found as for numbers of one's own: without std::, or after `using std::tanh;`.
// Comparisons compare values, so a branch is differentiated where it goes; at a kink the derivative is
// that of the branch taken.
#pragma once

#include <posenc/core/elementwise.hpp>

#include <cmath>
#include <compare>
#include <concepts>

POSENC_NAMESPACE_BEGIN

template <std::floating_point T>
struct Dual {
  T value{};
  T derivative{};

  constexpr Dual() = default;
  /// Constants have no derivative.
  template <class N>
    requires std::convertible_to<N, T>
  constexpr Dual(N constant) : value(static_cast<T>(constant)) {}
  constexpr Dual(T value_, T derivative_) : value(value_), derivative(derivative_) {}

  friend constexpr Dual operator+(Dual a) { return a; }
  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.derivative}; }
  friend constexpr Dual operator+(Dual a, Dual b) {
    return {a.value + b.value, a.derivative + b.derivative};
  }
  friend constexpr Dual operator-(Dual a, Dual b) {
    return {a.value - b.value, a.derivative - b.derivative};
  }
  friend constexpr Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.derivative * b.value + a.value * b.derivative};
  }
  friend constexpr Dual operator/(Dual a, Dual b) {
    const T ratio = a.value / b.value;
    return {ratio, (a.derivative - ratio * b.derivative) / b.value};
  }
  constexpr Dual& operator+=(Dual b) { return *this = *this + b; }
  constexpr Dual& operator-=(Dual b) { return *this = *this - b; }
  constexpr Dual& operator*=(Dual b) { return *this = *this * b; }
  constexpr Dual& operator/=(Dual b) { return *this = *this / b; }

  friend constexpr bool operator==(Dual a, Dual b) { return a.value == b.value; }
  friend constexpr auto operator<=>(Dual a, Dual b) { return a.value <=> b.value; }

  friend Dual abs(Dual a) { return a.value < 0 ? -a : a; }
  friend Dual fabs(Dual a) { return abs(a); }
  friend Dual min(Dual a, Dual b) { return b.value < a.value ? b : a; }
  friend Dual max(Dual a, Dual b) { return a.value < b.value ? b : a; }
  friend Dual sqrt(Dual a) {
    const T root = std::sqrt(a.value);
    return {root, a.derivative / (2 * root)};
  }
  friend Dual exp(Dual a) {
    const T power = std::exp(a.value);
    return {power, a.derivative * power};
  }
  friend Dual exp2(Dual a) {
    const T power = std::exp2(a.value);
    return {power, a.derivative * power * static_cast<T>(0.693147180559945309417232121458)};
  }
  friend Dual expm1(Dual a) { return {std::expm1(a.value), a.derivative * std::exp(a.value)}; }
  friend Dual log(Dual a) { return {std::log(a.value), a.derivative / a.value}; }
  friend Dual log1p(Dual a) { return {std::log1p(a.value), a.derivative / (1 + a.value)}; }
  friend Dual pow(Dual a, T power) {
    return {std::pow(a.value, power), a.derivative * power * std::pow(a.value, power - 1)};
  }
  friend Dual sin(Dual a) { return {std::sin(a.value), a.derivative * std::cos(a.value)}; }
  friend Dual cos(Dual a) { return {std::cos(a.value), -a.derivative * std::sin(a.value)}; }
  friend Dual tanh(Dual a) {
    const T y = std::tanh(a.value);
    return {y, a.derivative * (1 - y * y)};
  }
  friend Dual elementwise_tanh(Dual a) {
    const T y = posenc::elementwise_tanh(a.value);
    return {y, a.derivative * (1 - y * y)};
  }
  friend Dual elementwise_clamp(Dual a, T bound) {
    return {posenc::elementwise_clamp(a.value, bound),
            std::abs(a.value) > bound ? T{0} : a.derivative};
  }
};

POSENC_NAMESPACE_END
