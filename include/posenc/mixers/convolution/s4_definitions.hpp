// SPDX-License-Identifier: MIT
//
// S4's initialisation, discretisation and kernel; see s4.hpp.
#pragma once

#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/convolution/fft.hpp>
#include <posenc/mixers/convolution/hippo.hpp>
#include <posenc/mixers/convolution/parameters.hpp>
#include <posenc/mixers/convolution/s4.hpp>

#include <Eigen/Core>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace s4 {

using Complex = std::complex<double>;

/// A channel, discretised.
struct Channel {
  const S4& of;
  double dt;
  std::vector<Complex> resolvent, output;  ///< R = (1 - (dt/2) lambda)^-1, and C
  double woodbury;                         ///< (dt/2) / (1 + (dt/2) p^* R p)

  Channel(const S4& of_, Index channel)
      : of(of_), dt(std::exp(static_cast<double>(of.log_dt[static_cast<std::size_t>(channel)]))) {
    double sum = 0;
    const std::size_t pairs = of.lambda.size();
    for (std::size_t n = 0; n < pairs; ++n) {
      resolvent.push_back(1.0 / (1.0 - dt / 2 * of.lambda[n]));
      sum += 2 * (std::norm(of.p[n]) * resolvent[n].real());
      const std::size_t at = 2 * (static_cast<std::size_t>(channel) * pairs + n);
      output.emplace_back(static_cast<double>(of.C[at]), static_cast<double>(of.C[at + 1]));
    }
    woodbury = dt / 2 / (1 + dt / 2 * sum);
  }

  /// C~ = C (1 - A_bar^n), for the pairs. On the real and the imaginary parts of the pairs, x -> X x + Y conj(x) is a
  /// real matrix, and Re(c x) a real row.
  [[nodiscard]] std::vector<Complex> truncated(const S4::Dense& dense, Index n) const {
    const Index pairs = std::ssize(output);
    Eigen::MatrixXd power(2 * pairs, 2 * pairs);
    Eigen::RowVectorXd row(2 * pairs);
    for (Index i = 0; i < pairs; ++i) {
      row[i] = output[static_cast<std::size_t>(i)].real();
      row[pairs + i] = -output[static_cast<std::size_t>(i)].imag();
      for (Index j = 0; j < pairs; ++j) {
        const Complex x = dense.A[static_cast<std::size_t>(2 * pairs * i + j)],
                      y = dense.A[static_cast<std::size_t>(2 * pairs * i + pairs + j)];
        power(i, j) = x.real() + y.real();
        power(i, pairs + j) = y.imag() - x.imag();
        power(pairs + i, j) = x.imag() + y.imag();
        power(pairs + i, pairs + j) = x.real() - y.real();
      }
    }
    const Eigen::RowVectorXd all = row;
    for (Index rest = n; rest > 0; rest /= 2) {
      if (rest % 2 == 1) row = (row * power).eval();
      if (rest > 1) power = (power * power).eval();
    }
    std::vector<Complex> c;
    for (Index i = 0; i < pairs; ++i)
      c.emplace_back(all[i] - row[i], row[pairs + i] - all[pairs + i]);
    return c;
  }

  /// The generating function of the kernel at z.
  [[nodiscard]] Complex transform(const std::vector<Complex>& c, Complex z) const {
    Complex cb = 0, cp = 0, pb = 0, pp = 0;
    const Complex from = 2 / dt * (1.0 - z), slope = 1.0 + z;
    for (std::size_t n = 0; n < c.size(); ++n) {
      const Complex p = of.p[n], b = of.b[n];
      const Complex one = 1.0 / (from - of.lambda[n] * slope),
                    other = 1.0 / (from - std::conj(of.lambda[n]) * slope);
      const auto add = [&](Complex& sum, Complex xy) { sum += xy * one + std::conj(xy) * other; };
      add(cb, c[n] * b), add(cp, c[n] * p), add(pb, std::conj(p) * b), add(pp, std::norm(p));
    }
    return 2.0 * (cb - slope * cp * pb / (1.0 + slope * pp));
  }
};

}  // namespace s4

POSENC_DETAIL_CONVOLUTION S4 S4::initial(Index d_model, std::uint64_t seed, Index d_state,
                                         double dt_min, double dt_max) {
  S4 of{.d_model = d_model, .d_state = d_state};
  const HiPPOLegS legs = hippo_legs(d_state);
  for (std::size_t n = 0; n < legs.p.size(); ++n) {
    of.lambda.emplace_back(-0.5, legs.omega[n]);
    of.p.emplace_back(legs.p[n]);
    of.b.emplace_back(std::numbers::sqrt2 * legs.p[n]);
  }
  SeededRandom random(seed);
  of.log_dt = parameters::uniforms(random, d_model, std::log(dt_min), std::log(dt_max));
  of.C = parameters::normals(random, d_model * (d_state / 2) * 2, std::sqrt(0.5));
  of.D = parameters::normals(random, d_model);
  return of;
}

POSENC_DETAIL_CONVOLUTION void S4::check(Problems& problems) const {
  const bool even = d_state % 2 == 0;
  problems.require(even, "d_state must be even, got ", d_state, ".");
  if (!parameters::check_width(problems, "d_model", d_model) ||
      !parameters::check_width(problems, "d_state", d_state) || !even)
    return;
  const Index pairs = d_state / 2;
  parameters::check(problems, "log_dt", log_dt, d_model, "one for each channel");
  parameters::check_logarithms(problems, "log_dt", log_dt);
  parameters::check(problems, "C", C, 2 * pairs * d_model, "two for each channel and pair");
  if (!D.empty()) parameters::check(problems, "D", D, d_model, "one for each channel");
  for (const auto& [what, values] : {std::pair{"lambda", &lambda}, {"p", &p}, {"b", &b}}) {
    problems.require(std::ssize(*values) == pairs, what, " must have ", pairs,
                     " numbers, one for each pair, got ", values->size(), ".");
    if (!std::ranges::all_of(*values, [](const auto& x) {
          return std::abs(x.real()) <= 1e100 && std::abs(x.imag()) <= 1e100;
        }))
      problems.add(what, " must be finite, and its parts at most 1e100.");
  }
  if (!std::ranges::all_of(lambda, [](const auto& x) { return x.real() < 0; }))
    problems.add("the real parts of lambda must be negative.");
}

POSENC_DETAIL_CONVOLUTION Modes S4::modes() const {
  Modes of{.channels = d_model, .pairs = d_state / 2, .low_rank = true};
  of.numbers.resize(static_cast<std::size_t>((d_model + 15) / 16 * of.rows() * 16));
  of.skip.assign(static_cast<std::size_t>(d_model), 0);
  std::copy(D.begin(), D.end(), of.skip.begin());
  for (Index channel = 0; channel < d_model; ++channel) {
    const s4::Channel one(*this, channel);
    of.at(channel, 0) = one.woodbury / (one.dt / 2);
    for (Index pair = 0; pair < of.pairs; ++pair) {
      const auto n = static_cast<std::size_t>(pair);
      const s4::Complex rows[] = {(1.0 + one.dt / 2 * lambda[n]) * one.resolvent[n],  // e
                                  one.resolvent[n] * p[n] * (one.dt / 2),             // f
                                  one.resolvent[n] * b[n] * one.dt,                   // g
                                  2.0 * std::conj(p[n]), 2.0 * one.output[n]};
      Index row = 1 + 10 * pair;
      for (const s4::Complex x : rows) {
        of.at(channel, row++) = x.real();
        of.at(channel, row++) = x.imag();
      }
    }
  }
  return of;
}

POSENC_DETAIL_CONVOLUTION S4::Dense S4::dense(Index channel) const {
  Problems problems;
  check(problems);
  problems.require(channel >= 0 && channel < d_model, "channel ", channel, " is not among the ",
                   d_model, " channels.");
  problems.raise_if_any("posenc::mixers::S4");
  const s4::Channel one(*this, channel);
  // All pairs, and then their conjugates.
  const auto whole = [](std::vector<s4::Complex> half) {
    const std::size_t pairs = half.size();
    for (std::size_t n = 0; n < pairs; ++n) half.push_back(std::conj(half[n]));
    return half;
  };
  const std::vector<s4::Complex> R = whole(one.resolvent), P = whole(p), L = whole(lambda),
                                 b_all = whole(b);
  // With w = (dt/2) / (1 + (dt/2) p^* R p), (1 - (dt/2) A)^-1 is R - w R p p^* R by Woodbury's identity. Of its product
  // with 1 + (dt/2) A remains (1 + (dt/2) lambda) R - 2 w R p p^* R.
  Dense to{.A = {}, .B = {}, .C = whole(one.output)};
  s4::Complex pb = 0;  // p^* R b
  for (std::size_t n = 0; n < R.size(); ++n) pb += std::conj(P[n]) * R[n] * b_all[n];
  for (std::size_t n = 0; n < R.size(); ++n) {
    for (std::size_t k = 0; k < R.size(); ++k)
      to.A.push_back(-2 * one.woodbury * R[n] * P[n] * R[k] * std::conj(P[k]));
    to.A[n * R.size() + n] += (1.0 + one.dt / 2 * L[n]) * R[n];
    to.B.push_back(one.dt * R[n] * (b_all[n] - one.woodbury * P[n] * pb));
  }
  return to;
}

POSENC_DETAIL_CONVOLUTION std::vector<double> S4::kernel(Index taps,
                                                         const AnyExecutor& executor) const {
  parameters::check_kernel(*this, d_model, taps);
  std::vector<double> all(static_cast<std::size_t>(d_model * taps));
  const Index n = posenc::detail::transform_length(taps);
  const Index workers = std::min(d_model, executor.concurrency());
  struct Worker {
    posenc::detail::RealFFT<double> fft;
    std::vector<double> spectrum, h;
  };
  std::vector<Worker> some(static_cast<std::size_t>(workers));
  for (Worker& worker : some) {
    worker.fft.prepare(n);
    worker.spectrum.resize(static_cast<std::size_t>(n + 2));
    worker.h.resize(static_cast<std::size_t>(n));
  }
  posenc::detail::run_tasks(executor, workers, d_model, [&](Index w) {
    return [&, w](Index channel) {
      Worker& worker = some[static_cast<std::size_t>(w)];
      const s4::Channel one(*this, channel);
      const std::vector<s4::Complex> c = one.truncated(dense(channel), n);
      for (Index i = 0; i <= n / 2; ++i) {
        const double angle =
            -2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n);
        const s4::Complex y = one.transform(c, std::polar(1.0, angle)) / static_cast<double>(n);
        worker.spectrum[static_cast<std::size_t>(2 * i)] = y.real();
        worker.spectrum[static_cast<std::size_t>(2 * i + 1)] = y.imag();
      }
      worker.fft.inverse(n, worker.spectrum.data(), worker.h.data());
      std::copy_n(worker.h.begin(), taps, all.begin() + channel * taps);
      if (!D.empty())
        all[static_cast<std::size_t>(channel * taps)] +=
            static_cast<double>(D[static_cast<std::size_t>(channel)]);
    };
  });
  return all;
}

}  // namespace mixers

POSENC_NAMESPACE_END
