// SPDX-License-Identifier: MIT
//
// S4D's initialisation, discretisation and kernel; see s4d.hpp.
#pragma once

#include <posenc/mixers/convolution/hippo.hpp>
#include <posenc/mixers/convolution/parameters.hpp>
#include <posenc/mixers/convolution/s4d.hpp>

#include <complex>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace s4d {

using Complex = std::complex<double>;

/// A pair of a channel as x_t = a x_{t-1} + u_t, y_t = Re(c x_t), with a = exp(log_a), and what it comes from:
/// z = dt A, and c = 2 C B dt hold with hold = B_bar / (dt B).
struct Mode {
  double dt;
  Complex rate, z, in, out, hold, log_a, a, c;  // A, z, B, C

  Mode(const S4D& of, Index channel, Index pair) {
    const Index pairs = of.d_state / 2, at = channel * pairs + pair;
    const auto number = [](const std::vector<float>& x, Index i) {
      return static_cast<double>(x[static_cast<std::size_t>(i)]);
    };
    const auto pair_of = [&](const std::vector<float>& x) {
      return Complex(number(x, 2 * at), number(x, 2 * at + 1));
    };
    dt = std::exp(number(of.log_dt, channel));
    rate = Complex(-std::exp(number(of.log_A_real, at)), number(of.A_imag, at));
    z = dt * rate;
    in = of.B.empty() ? Complex(1) : pair_of(of.B);
    out = pair_of(of.C);
    if (of.discretisation == Discretisation::zoh) {
      log_a = z;
      a = std::exp(z);
      hold = exp_minus_1_over(z, a);
    } else {
      hold = 1.0 / (1.0 - z / 2.0);
      a = (1.0 + z / 2.0) * hold;
      log_a = std::log(a);
    }
    c = 2.0 * out * (dt * hold * in);
  }
  /// a^l, with a rounding that does not grow with l.
  [[nodiscard]] Complex power(Index l) const {
    return l == 0 ? Complex(1) : std::exp(log_a * static_cast<double>(l));
  }

 private:
  /// (exp(z) - 1) / z, which is 1 for z of 0.
  static Complex exp_minus_1_over(Complex z, Complex exp_z) {
    if (std::abs(z) > 0.02) return (exp_z - 1.0) / z;
    Complex sum = 1;
    for (double n = 8; n >= 2; --n) sum = 1.0 + sum * z / n;
    return sum;
  }
};

}  // namespace s4d

POSENC_DETAIL_CONVOLUTION S4D S4D::initial(Index d_model, std::uint64_t seed, S4DInit init,
                                           Index d_state, double dt_min, double dt_max) {
  S4D of{.d_model = d_model, .d_state = d_state};
  SeededRandom random(seed);
  of.log_dt = parameters::uniforms(random, d_model, std::log(dt_min), std::log(dt_max));
  const std::vector<double> legs =
      init == S4DInit::legs ? hippo_legs(d_state).omega : std::vector<double>{};
  constexpr double pi = std::numbers::pi;
  for (Index c = 0; c < d_model; ++c)
    for (Index n = 0; n < d_state / 2; ++n) {
      const auto N = static_cast<double>(d_state), i = static_cast<double>(n);
      of.log_A_real.push_back(static_cast<float>(std::log(0.5)));
      of.A_imag.push_back(static_cast<float>(init == S4DInit::lin ? pi * i
                                             : init == S4DInit::inv
                                                 ? N / pi * (N / (2 * i + 1) - 1)
                                                 : legs[static_cast<std::size_t>(n)]));
    }
  of.C = parameters::normals(random, d_model * (d_state / 2) * 2, std::sqrt(0.5));
  of.D = parameters::normals(random, d_model);
  return of;
}

POSENC_DETAIL_CONVOLUTION void S4D::check(Problems& problems) const {
  const bool even = d_state % 2 == 0;
  problems.require(even, "d_state must be even, got ", d_state, ".");
  if (!parameters::check_width(problems, "d_model", d_model) ||
      !parameters::check_width(problems, "d_state", d_state) || !even)
    return;
  const Index pairs = d_state / 2 * d_model;
  parameters::check(problems, "log_dt", log_dt, d_model, "one for each channel");
  parameters::check(problems, "log_A_real", log_A_real, pairs, "one for each channel and pair");
  parameters::check_logarithms(problems, "log_dt", log_dt);
  parameters::check_logarithms(problems, "log_A_real", log_A_real);
  parameters::check(problems, "A_imag", A_imag, pairs, "one for each channel and pair");
  parameters::check(problems, "C", C, 2 * pairs, "two for each channel and pair");
  if (!B.empty()) parameters::check(problems, "B", B, 2 * pairs, "two for each channel and pair");
  if (!D.empty()) parameters::check(problems, "D", D, d_model, "one for each channel");
}

POSENC_DETAIL_CONVOLUTION Modes S4D::modes() const {
  Modes of{.channels = d_model, .pairs = d_state / 2};
  of.numbers.resize(static_cast<std::size_t>((d_model + 15) / 16 * of.rows() * 16));
  of.skip.assign(static_cast<std::size_t>(d_model), 0);
  std::copy(D.begin(), D.end(), of.skip.begin());
  double slowest = -1e300;
  for (Index c = 0; c < d_model; ++c)
    for (Index n = 0; n < of.pairs; ++n) {
      const s4d::Mode mode(*this, c, n);
      of.at(c, 4 * n) = mode.a.real(), of.at(c, 4 * n + 1) = mode.a.imag();
      of.at(c, 4 * n + 2) = mode.c.real(), of.at(c, 4 * n + 3) = mode.c.imag();
      slowest = std::max(slowest, mode.log_a.real());
    }
  const double tokens = 64 * std::numbers::ln2 / -slowest;
  if (tokens > 0 && tokens < 1e15) of.reach = static_cast<Index>(tokens) + 1;
  return of;
}

POSENC_DETAIL_CONVOLUTION std::vector<double> S4D::kernel(Index taps) const {
  parameters::check_kernel(*this, d_model, taps);
  std::vector<double> all(static_cast<std::size_t>(d_model * taps));
  constexpr Index some =
      64;  // powers by products, so that their errors do not grow with the length
  for (Index c = 0; c < d_model; ++c) {
    double* const h = all.data() + c * taps;
    for (Index n = 0; n < d_state / 2; ++n) {
      const s4d::Mode mode(*this, c, n);
      for (Index l = 0; l < taps; l += some) {
        s4d::Complex now = mode.c * mode.power(l);
        if (now == 0.0) break;
        for (Index i = l; i < std::min(taps, l + some); ++i, now *= mode.a) h[i] += now.real();
      }
    }
    if (!D.empty()) h[0] += static_cast<double>(D[static_cast<std::size_t>(c)]);
  }
  return all;
}

}  // namespace mixers

POSENC_NAMESPACE_END
