// SPDX-License-Identifier: MIT
//
// The gradient of S4D's kernel against differences of kernels in long double, and of outputs behind the convolution.
#include "oracle.hpp"

#include <posenc/mixers/convolution/backward.hpp>
#include <posenc/mixers/convolution/s4d_backward.hpp>

#include <complex>

namespace convolution_test::s4d_backward_cases {

using namespace posenc::mixers;
using Complex = std::complex<Real>;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// Parameters, or their gradients, in long double.
struct Numbers {
  std::vector<Real> log_dt, log_rate, imaginary, out, in, skip;

  explicit Numbers(const S4D& of)
      : log_dt(of.log_dt.begin(), of.log_dt.end()),
        log_rate(of.log_A_real.begin(), of.log_A_real.end()),
        imaginary(of.A_imag.begin(), of.A_imag.end()), out(of.C.begin(), of.C.end()),
        in(of.B.begin(), of.B.end()), skip(of.D.begin(), of.D.end()) {}

  template <class F>
  void each(const S4DGradients& gradients, const F& f) {
    f("log_dt", log_dt, gradients.log_dt), f("log_A_real", log_rate, gradients.log_A_real);
    f("A_imag", imaginary, gradients.A_imag), f("C", out, gradients.C);
    f("B", in, gradients.B), f("D", skip, gradients.D);
  }

  /// The formulas of the paper, each tap for itself.
  [[nodiscard]] std::vector<Real> kernel(Index taps, Discretisation rule) const {
    const Index channels = std::ssize(log_dt), pairs = std::ssize(log_rate) / channels;
    std::vector<Real> h(size(channels * taps));
    for (Index c = 0; c < channels; ++c)
      for (Index n = 0; n < pairs; ++n) {
        const std::size_t i = size(c * pairs + n);
        const Real dt = std::exp(log_dt[size(c)]);
        const Complex a(-std::exp(log_rate[i]), imaginary[i]), half = dt * a / Real{2};
        const Complex b = in.empty() ? Complex(1) : Complex(in[2 * i], in[2 * i + 1]);
        const Complex a_bar =
            rule == Discretisation::zoh ? std::exp(dt * a) : (Real{1} + half) / (Real{1} - half);
        const Complex b_bar =
            rule == Discretisation::zoh ? (a_bar - Real{1}) / a * b : dt / (Real{1} - half) * b;
        for (Index l = 0; l < taps; ++l)
          h[size(c * taps + l)] +=
              2 * (Complex(out[2 * i], out[2 * i + 1]) * b_bar * std::pow(a_bar, l)).real();
      }
    for (Index c = 0; !skip.empty() && c < channels; ++c) h[size(c * taps)] += skip[size(c)];
    return h;
  }
};

/// Holds gradients to differences of a loss of numbers, over four points.
template <class Loss>
void check_slopes(Numbers numbers, const S4DGradients& gradients, double tolerance,
                  const Loss& loss) {
  numbers.each(gradients, [&](const char* name, std::vector<Real>& x,
                              const std::vector<double>& gradient) {
    REQUIRE(x.size() == gradient.size());
    std::vector<Real> slopes;
    constexpr Real far = 1e-5L;
    for (Real& one : x) {
      const Real was = one;
      const auto moved = [&](Real by) {
        one = was + by;
        return loss(numbers);
      };
      slopes.push_back((8 * (moved(far) - moved(-far)) - (moved(2 * far) - moved(-2 * far))) /
                       (12 * far));
      one = was;
    }
    INFO(name << ", greatest " << greatest(slopes));
    CHECK(worst(gradient, slopes) <= tolerance * (greatest(slopes) + 1e-4));
  });
}

S4D random_layer(Index channels, Index states, Discretisation rule, bool all, std::uint64_t seed) {
  S4D of{.d_model = channels, .d_state = states, .discretisation = rule};
  const Index pairs = channels * states / 2;
  of.log_dt = draw<float>(channels, seed, -6, 0.5);
  of.log_A_real = draw<float>(pairs, seed + 1, -3, 1);
  of.A_imag = draw<float>(pairs, seed + 2, -6, 6);
  of.C = draw<float>(2 * pairs, seed + 3);
  if (all) of.B = draw<float>(2 * pairs, seed + 4), of.D = draw<float>(channels, seed + 5);
  return of;
}

constexpr Discretisation rules[] = {Discretisation::zoh, Discretisation::bilinear};

TEST_CASE("S4D backward: gradients of taps become those of parameters", "[convolution]") {
  std::uint64_t seed = 1;
  for (const Discretisation rule : rules)
    for (const Index taps : {1, 2, 63, 64, 65, 200})
      for (const bool all : {false, true}) {
        const Index channels = 1 + static_cast<Index>(++seed % 3), states = all ? 2 : 6;
        const S4D of = random_layer(channels, states, rule, all, 10 * seed);
        const auto d = draw<double>(channels * taps, seed);
        S4DGradients gradients(of);
        backward(d, gradients, of);
        INFO(taps << " taps, " << channels << " channels");
        check_slopes(Numbers(of), gradients, 1e-9, [&](const Numbers& x) {
          const std::vector<Real> h = x.kernel(taps, rule);
          Real sum = 0;
          for (std::size_t i = 0; i < h.size(); ++i) sum += h[i] * static_cast<Real>(d[i]);
          return sum;
        });
        // A second call adds as much again.
        S4DGradients twice = gradients;
        backward(d, twice, of);
        for (std::size_t i = 0; i < twice.C.size(); ++i) CHECK(twice.C[i] == 2 * gradients.C[i]);
        CHECK(std::abs(twice.log_dt[0] - 2 * gradients.log_dt[0]) <= 1e-12);
      }
}

TEST_CASE("S4D backward: steps from tiny to great, and decays from none to all", "[convolution]") {
  for (const Discretisation rule : rules)
    for (const float log_dt : {-12.0F, -4.0F, -0.7F, 0.0F, 3.0F})
      for (const float log_rate : {-20.0F, -0.7F, 2.0F}) {
        S4D of = random_layer(1, 2, rule, true, 3);
        of.log_dt = {log_dt}, of.log_A_real = {log_rate}, of.A_imag = {0.4F};
        const auto d = draw<double>(90, 4);
        S4DGradients gradients(of);
        backward(d, gradients, of);
        INFO("log dt " << log_dt << ", log rate " << log_rate);
        check_slopes(Numbers(of), gradients, 1e-7, [&](const Numbers& x) {
          const std::vector<Real> h = x.kernel(90, rule);
          Real sum = 0;
          for (std::size_t i = 0; i < h.size(); ++i) sum += h[i] * static_cast<Real>(d[i]);
          return sum;
        });
      }
}

TEST_CASE("S4D backward: from outputs through the convolution to parameters", "[convolution]") {
  const Index channels = 2, tokens = 150;
  const S4D of = random_layer(channels, 4, Discretisation::zoh, true, 5);
  const auto u = draw<float>(channels * tokens, 6), d_out = draw<float>(channels * tokens, 7);
  std::vector<double> d_h(size(channels * tokens));
  backward(view_of(u, tokens), view_of(d_out, tokens), {.filters = d_h},
           LongConvolution(of.kernel(tokens), channels));
  S4DGradients gradients(of);
  backward(d_h, gradients, of);
  check_slopes(Numbers(of), gradients, 1e-9, [&](const Numbers& x) {
    const std::vector<Real> y = toeplitz(x.kernel(tokens, of.discretisation), u, channels);
    Real sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * static_cast<Real>(d_out[i]);
    return sum;
  });
}

TEST_CASE("S4D backward: what is not finite is passed on, and sentences", "[convolution]") {
  const S4D of = random_layer(2, 2, Discretisation::zoh, true, 8);
  std::vector<double> d(2 * 70, 1);
  d[69] = NAN;
  S4DGradients gradients(of);
  backward(d, gradients, of);
  CHECK(std::isnan(gradients.log_dt[0]));
  CHECK(std::isnan(gradients.C[1]));
  CHECK(std::isfinite(gradients.log_dt[1]));
  CHECK(std::isfinite(gradients.D[0]));
  S4DGradients others(random_layer(2, 2, Discretisation::zoh, false, 8));
  CHECK(error_of([&] { backward(std::span(d).first(3), others, of); }) ==
        "posenc::mixers::backward: 2 problems\n"
        "  - the gradient of a kernel must be [2][taps], got 3 numbers.\n"
        "  - the gradients of what is learned are not those of this S4D.");
  CHECK(error_of([&] { backward(std::span(d).first(0), gradients, of); }) ==
        "posenc::mixers::backward: the gradient of a kernel must be [2][taps], got 0 numbers.");
  S4D odd = of;
  odd.d_state = 3;
  CHECK(error_of([&] { backward(d, gradients, odd); }) ==
        "posenc::mixers::backward: d_state must be even, got 3.");
}

}  // namespace convolution_test::s4d_backward_cases
