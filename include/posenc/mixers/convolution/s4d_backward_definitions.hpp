// SPDX-License-Identifier: MIT
//
// backward() of S4D's kernel; see s4d_backward.hpp.
#pragma once

#include <posenc/mixers/convolution/s4d_backward.hpp>
#include <posenc/mixers/convolution/s4d_definitions.hpp>

#include <utility>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace s4d {

/// The sums of d[l] a^l and of d[l] l a^(l - 1): by Horner's rule within pieces, so that errors do not grow with the length.
inline std::pair<Complex, Complex> sums_of_powers(const Mode& mode, std::span<const double> d) {
  constexpr Index some = 64;
  Complex values = 0, slopes = 0;
  for (Index l = 0; l < std::ssize(d); l += some) {
    Complex value = 0, slope = 0;
    for (Index i = std::min(some, std::ssize(d) - l); i-- > 0;) {
      slope = slope * mode.a + value;
      value = value * mode.a + d[static_cast<std::size_t>(l + i)];
    }
    const Complex power = mode.power(l);
    values += power * value;
    slopes += power * slope;
    if (l > 0) slopes += static_cast<double>(l) * mode.power(l - 1) * value;
  }
  return {values, slopes};
}

/// The derivative of (exp(z) - 1) / z.
inline Complex slope_of_hold(const Mode& mode) {
  if (std::abs(mode.z) > 0.5) return (mode.a - mode.hold) / mode.z;
  Complex sum = 0, term = 0.5;  // z^n / (n + 2)!
  for (double n = 0; n < 16; ++n, term *= mode.z / (n + 2)) sum += (n + 1) * term;
  return sum;
}

}  // namespace s4d

POSENC_DETAIL_CONVOLUTION void backward(std::span<const double> d_kernel, S4DGradients& to,
                                        const S4D& of) {
  Problems problems;
  of.check(problems);
  const Index channels = std::max<Index>(of.d_model, 1), taps = std::ssize(d_kernel) / channels,
              pairs = of.d_state / 2;
  problems.require(taps >= 1 && taps * channels == std::ssize(d_kernel),
                   "the gradient of a kernel must be [", of.d_model, "][taps], got ",
                   d_kernel.size(), " numbers.");
  problems.require(to.log_dt.size() == of.log_dt.size() &&
                       to.log_A_real.size() == of.log_A_real.size() &&
                       to.A_imag.size() == of.A_imag.size() && to.C.size() == of.C.size() &&
                       to.B.size() == of.B.size() && to.D.size() == of.D.size(),
                   "the gradients of what is learned are not those of this S4D.");
  problems.raise_if_any("posenc::mixers::backward");
  const auto at = [](std::vector<double>& x, Index i) -> double& {
    return x[static_cast<std::size_t>(i)];
  };
  for (Index c = 0; c < channels; ++c) {
    const auto d =
        d_kernel.subspan(static_cast<std::size_t>(c * taps), static_cast<std::size_t>(taps));
    for (Index n = 0; n < pairs; ++n) {
      using s4d::Complex;
      const s4d::Mode mode(of, c, n);
      const auto [values, slopes] = s4d::sums_of_powers(mode, d);
      const bool zoh = of.discretisation == Discretisation::zoh;
      const Complex slope_of_a = zoh ? mode.a : mode.hold * mode.hold,
                    slope_of_hold = zoh ? s4d::slope_of_hold(mode) : mode.hold * mode.hold / 2.0;
      const Complex both = 2.0 * mode.out * mode.in,
                    by_z =
                        both * mode.dt * (slope_of_hold * values + mode.hold * slope_of_a * slopes),
                    by_a = mode.dt * by_z;
      const auto add = [&](std::vector<double>& x, Complex by) {
        at(x, 2 * (c * pairs + n)) += by.real(), at(x, 2 * (c * pairs + n) + 1) -= by.imag();
      };
      add(to.C, 2.0 * mode.dt * mode.hold * mode.in * values);
      if (!of.B.empty()) add(to.B, 2.0 * mode.dt * mode.hold * mode.out * values);
      at(to.log_A_real, c * pairs + n) += mode.rate.real() * by_a.real();
      at(to.A_imag, c * pairs + n) -= by_a.imag();
      at(to.log_dt, c) += mode.dt * (both * mode.hold * values + mode.rate * by_z).real();
    }
    if (!of.D.empty()) at(to.D, c) += d[0];
  }
}

}  // namespace mixers

POSENC_NAMESPACE_END
