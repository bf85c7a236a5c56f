// SPDX-License-Identifier: MIT
//
// S4D and S4: recurrence, convolution and dense matrices in long double agree, in any pieces, from any state.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"

#include <posenc/mixers/convolution/hippo.hpp>
#include <posenc/mixers/convolution/s4.hpp>
#include <posenc/mixers/convolution/s4d.hpp>
#include <posenc/mixers/convolution/state_space.hpp>

#include <complex>
#include <limits>

namespace convolution_test::state_space_cases {

using namespace posenc::mixers;
using Complex = std::complex<Real>;
using Matrix = std::vector<std::vector<Complex>>;

/// A channel as x = A x + B u, y = Re(C x) + D u, in long double.
struct Dense {
  Matrix A;
  std::vector<Complex> B, C;
  Real D;
  std::vector<Complex> scale;  ///< x of the library is x / scale

  Real step(std::vector<Complex>& x, Real u) const {
    std::vector<Complex> next(x.size());
    Complex y = 0;
    for (std::size_t n = 0; n < x.size(); ++n) {
      next[n] = B[n] * u;
      for (std::size_t k = 0; k < x.size(); ++k) next[n] += A[n][k] * x[k];
      y += C[n] * next[n];
    }
    x = next;
    return y.real() + D * u;
  }
};

/// X of L X = R, by elimination with pivots.
Matrix solve(Matrix L, Matrix R) {
  const std::size_t n = L.size();
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t p = i;
    for (std::size_t j = i; j < n; ++j)
      if (std::abs(L[j][i]) > std::abs(L[p][i])) p = j;
    std::swap(L[i], L[p]), std::swap(R[i], R[p]);
    for (std::size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      const Complex factor = L[j][i] / L[i][i];
      for (std::size_t c = i; c < n; ++c) L[j][c] -= factor * L[i][c];
      for (std::size_t c = 0; c < R[j].size(); ++c) R[j][c] -= factor * R[i][c];
    }
  }
  for (std::size_t i = 0; i < n; ++i)
    for (Complex& x : R[i]) x /= L[i][i];
  return R;
}

Dense dense(const S4D& of, Index channel) {
  const auto pairs = static_cast<std::size_t>(of.d_state / 2),
             c = static_cast<std::size_t>(channel);
  Dense to{.A = Matrix(pairs, std::vector<Complex>(pairs)),
           .B{},
           .C{},
           .D = of.D.empty() ? 0 : static_cast<Real>(of.D[c]),
           .scale{}};
  const Real dt = std::exp(static_cast<Real>(of.log_dt[c]));
  for (std::size_t n = 0; n < pairs; ++n) {
    const std::size_t at = c * pairs + n;
    const Complex A(-std::exp(static_cast<Real>(of.log_A_real[at])),
                    static_cast<Real>(of.A_imag[at]));
    const Complex B = of.B.empty() ? Complex(1) : Complex(of.B[2 * at], of.B[2 * at + 1]);
    const bool zoh = of.discretisation == Discretisation::zoh;
    to.A[n][n] = zoh ? std::exp(dt * A) : (Real(1) + dt / 2 * A) / (Real(1) - dt / 2 * A);
    to.B.push_back(zoh ? (std::exp(dt * A) - Real(1)) / A * B : dt * B / (Real(1) - dt / 2 * A));
    to.C.push_back(Real(2) * Complex(of.C[2 * at], of.C[2 * at + 1]));
    to.scale.push_back(to.B.back());
  }
  return to;
}

Dense dense(const S4& of, Index channel) {
  const auto pairs = static_cast<std::size_t>(of.d_state / 2),
             c = static_cast<std::size_t>(channel);
  const Real dt = std::exp(static_cast<Real>(of.log_dt[c]));
  const std::size_t N = 2 * pairs;
  const auto of_all = [&](const std::vector<std::complex<double>>& half, std::size_t n) {
    const Complex x(half[n % pairs].real(), half[n % pairs].imag());
    return n < pairs ? x : std::conj(x);
  };
  Matrix left(N, std::vector<Complex>(N)), right(N, std::vector<Complex>(N + 1));
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < N; ++k) {
      const Complex A = (n == k ? of_all(of.lambda, n) : Complex(0)) -
                        of_all(of.p, n) * std::conj(of_all(of.p, k));
      left[n][k] = Real(n == k) - dt / 2 * A, right[n][k] = Real(n == k) + dt / 2 * A;
    }
    right[n][N] = dt * of_all(of.b, n);
  }
  const Matrix solved = solve(left, right);
  Dense to{.A = Matrix(N, std::vector<Complex>(N)),
           .B{},
           .C{},
           .D = of.D.empty() ? 0 : static_cast<Real>(of.D[c]),
           .scale{}};
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < N; ++k) to.A[n][k] = solved[n][k];
    to.B.push_back(solved[n][N]);
    const std::size_t at = 2 * (c * pairs + n % pairs);
    const Complex C(of.C[at], of.C[at + 1]);
    to.C.push_back(n < pairs ? C : std::conj(C));
    to.scale.emplace_back(1);
  }
  return to;
}

/// Random parameters, with B and D in every other case.
S4D some_s4d(Index channels, Index d_state, std::uint64_t seed) {
  S4D of = S4D::initial(channels, seed, static_cast<S4DInit>(seed % 3), d_state);
  of.discretisation = static_cast<Discretisation>(seed % 2);
  if (seed % 4 < 2)
    of.D.clear();
  else
    of.B = draw<float>(std::ssize(of.C), seed + 1, 0.5, 1.5);
  return of;
}

template <class M>
void check_forms(const M& of, Index tokens, std::uint64_t seed) {
  const StateSpace by(of);
  const Index channels = of.d_model, pairs = of.d_state / 2;
  INFO(M::name << " of " << channels << " channels, " << pairs << " pairs, " << tokens
               << " tokens");
  const auto u = draw<float>(tokens * channels, seed);
  // A random state for the library and for the matrices, whose conjugates follow.
  StateSpaceState begin(by), last(by);
  std::vector<Real> expected(u.size());
  const auto numbers =
      draw<double>(2 * channels * pairs, seed + 1, seed % 3 == 0 ? 0 : -1, seed % 3 == 0 ? 0 : 1);
  for (Index c = 0; c < channels; ++c) {
    const Dense matrices = dense(of, c);
    std::vector<Complex> x(matrices.B.size());
    for (Index n = 0; n < pairs; ++n) {
      const auto at = static_cast<std::size_t>(2 * (c * pairs + n)),
                 i = static_cast<std::size_t>(n);
      begin.set(0, c, n, {numbers[at], numbers[at + 1]});
      x[i] = Complex(numbers[at], numbers[at + 1]) * matrices.scale[i];
      if (x.size() > static_cast<std::size_t>(pairs))
        x[i + static_cast<std::size_t>(pairs)] = std::conj(x[i]);
    }
    for (Index t = 0; t < tokens; ++t) {
      const auto at = static_cast<std::size_t>(t * channels + c);
      expected[at] = matrices.step(x, static_cast<Real>(u[at]));
    }
    for (Index n = 0; n < pairs; ++n) {
      const auto i = static_cast<std::size_t>(n);
      const Complex now = x[i] / matrices.scale[i];
      last.set(0, c, n, {static_cast<double>(now.real()), static_cast<double>(now.imag())});
    }
  }
  const double bound = 3e-7 * (greatest(expected) + 1);
  const auto check_state = [&](const StateSpaceState& state) {
    double off = 0, most = 1;
    for (Index c = 0; c < channels; ++c)
      for (Index n = 0; n < pairs; ++n) {
        off = std::max(off, std::abs(state.get(0, c, n) - last.get(0, c, n)));
        most = std::max(most, std::abs(last.get(0, c, n)));
      }
    CHECK(off <= 1e-10 * most);
  };
  std::vector<float> y(u.size());
  const auto in = [&](Index first, Index count) { return view_of(u, tokens).slice(first, count); };
  const auto out = [&](Index first, Index count) {
    return result_of(y, tokens).slice(first, count);
  };

  StateSpaceState state = begin;
  recurrent(in(0, tokens), out(0, tokens), by, state);
  CHECK(worst(y, expected) <= bound);
  check_state(state);

  // In pieces of steps and recurrences, the same bits.
  const auto whole = y;
  state = begin;
  for (Index t = 0; t < tokens;) {
    const Index some = t % 3 == 0 ? 1 : std::min<Index>(t, tokens - t);
    if (some == 1)
      step(in(t, 1), out(t, 1), by, state);
    else
      recurrent(in(t, some), out(t, some), by, state, 0, posenc_test::Backwards{2});
    t += some;
  }
  CHECK(posenc_test::same_bits(y, whole));
  check_state(state);

  // By convolution, whole and in two pieces.
  const std::vector<double> h = of.kernel(tokens);
  const LongConvolution kernel(h, channels);
  for (const Index cut : {Index{0}, tokens / 3, tokens})
    for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::transforms}) {
      state = begin;
      convolved(in(0, cut), out(0, cut), by, kernel, state, 0, {.form = form});
      convolved(in(cut, tokens - cut), out(cut, tokens - cut), by, kernel, state, 0,
                {.executor = posenc_test::Backwards{3}, .form = form});
      CHECK(worst(y, expected) <= bound);
      check_state(state);
    }
  // And the kernel is what an impulse leaves.
  for (Index c = 0; c < channels; ++c) {
    const Dense matrices = dense(of, c);
    std::vector<Complex> x(matrices.B.size());
    for (Index t = 0; t < tokens; ++t) {
      const Real impulse = matrices.step(x, t == 0 ? 1 : 0);
      const double off = std::abs(static_cast<double>(
          impulse - static_cast<Real>(h[static_cast<std::size_t>(c * tokens + t)])));
      if (!(off <= 1e-11)) FAIL("channel " << c << ", tap " << t << " is off by " << off);
    }
  }
}

TEST_CASE("S4D: recurrence, convolution and matrices agree", "[convolution]") {
  std::uint64_t seed = 1;
  for (const Index tokens : {1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 700})
    for (const Index d_state : {2, 6, 16}) {
      ++seed;
      check_forms(some_s4d(1 + static_cast<Index>(seed % 18), d_state, seed), tokens, seed);
    }
}

TEST_CASE("S4: recurrence, convolution and matrices agree", "[convolution]") {
  std::uint64_t seed = 50;
  for (const Index tokens : {1, 2, 3, 16, 17, 63, 64, 65, 200})
    for (const Index d_state : {2, 8}) {
      ++seed;
      check_forms(S4::initial(1 + static_cast<Index>(seed % 18), seed, d_state), tokens, seed);
    }
}

TEST_CASE("S4: the dense matrices are the solved ones", "[convolution]") {
  const S4 of = S4::initial(2, 4, 16);
  for (Index c = 0; c < 2; ++c) {
    const Dense expected = dense(of, c);
    const S4::Dense got = of.dense(c);
    double off = 0;
    for (std::size_t n = 0; n < 16; ++n) {
      for (std::size_t k = 0; k < 16; ++k)
        off = std::max(
            off, static_cast<double>(std::abs(expected.A[n][k] - Complex(got.A[n * 16 + k]))));
      off = std::max(off, static_cast<double>(std::abs(expected.B[n] - Complex(got.B[n]))));
      off = std::max(off, static_cast<double>(std::abs(expected.C[n] - Complex(got.C[n]))));
    }
    CHECK(off <= 1e-13);
  }
}

TEST_CASE("HiPPO-LegS: what a resolvent makes of it is that of the triangular matrix",
          "[convolution]") {
  for (const Index N : {2, 4, 16, 64}) {
    const HiPPOLegS legs = hippo_legs(N);
    REQUIRE(std::ssize(legs.omega) == N / 2);
    CHECK(std::ranges::is_sorted(legs.omega));
    for (const Real z : {Real(0.5), Real(3), Real(20)}) {
      // B^T (z - A)^-1 B by substitution, in the basis of the polynomials.
      std::vector<Real> x;
      Real expected = 0;
      for (Index n = 0; n < N; ++n) {
        const Real b = std::sqrt(static_cast<Real>(2 * n + 1));
        Real sum = b;
        for (Index k = 0; k < n; ++k)
          sum -= b * std::sqrt(static_cast<Real>(2 * k + 1)) * x[static_cast<std::size_t>(k)];
        x.push_back(sum / (z + static_cast<Real>(n + 1)));
        expected += b * x.back();
      }
      // b^* (z - lambda + p p^*)^-1 b with b = sqrt(2) p, by the sum over one of each pair.
      Real sum = 0;
      for (std::size_t n = 0; n < legs.p.size(); ++n) {
        const Complex lambda(-0.5L, legs.omega[n]);
        sum +=
            2 * (static_cast<Real>(legs.p[n]) * static_cast<Real>(legs.p[n]) / (z - lambda)).real();
      }
      CHECK(std::abs(static_cast<double>(2 * sum / (1 + sum) - expected)) <= 1e-11);
    }
  }
  CHECK(error_of([] { static_cast<void>(hippo_legs(3)); }) ==
        "posenc::mixers::hippo_legs: d_state must be even and 2 to 1024, got 3.");
}

TEST_CASE("S4D: initialisations are the published ones", "[convolution]") {
  const S4D lin = S4D::initial(3, 1), inv = S4D::initial(3, 1, S4DInit::inv);
  CHECK(lin.d_state == 64);
  CHECK(lin.A_imag[33] == Approx(3.14159265));
  CHECK(inv.A_imag[0] == Approx(64 / 3.14159265 * 63));
  CHECK(inv.A_imag[31] == Approx(64 / 3.14159265 * (64.0 / 63 - 1)));
  for (const float x : lin.log_A_real) CHECK(x == Approx(std::log(0.5)));
  for (const float x : S4D::initial(200, 3).log_dt) {
    CHECK(x >= std::log(0.001F) - 1e-6F);
    CHECK(x <= std::log(0.1F) + 1e-6F);
  }
  double squares = 0;
  const S4D many = S4D::initial(200, 3);
  for (const float x : many.C) squares += static_cast<double>(x * x);
  CHECK(squares / static_cast<double>(many.C.size()) == Approx(0.5).epsilon(0.05));
  // The greatest imaginary part of LegS is about N^2 / pi, as the paper says.
  CHECK(hippo_legs(64).omega.back() == Approx(64 * 64 / 3.14159265).epsilon(0.05));
}

TEST_CASE("state spaces: long sequences, and dt that goes to its limits", "[convolution]") {
  const Index tokens = 131'072, channels = 2;
  const auto u = draw<float>(tokens * channels, 3);
  S4D of = S4D::initial(channels, 5);
  of.log_dt = {std::log(0.001F), std::log(0.1F)};
  const StateSpace by(of);
  CHECK(by.modes().reach < tokens);
  StateSpaceState one(by), other(by);
  std::vector<float> y(u.size()), z(u.size());
  recurrent(view_of(u, tokens), result_of(y, tokens), by, one);
  const LongConvolution kernel(of.kernel(tokens), channels);
  convolved(view_of(u, tokens), result_of(z, tokens), by, kernel, other);
  CHECK(worst(y, z) <= 1e-6 * (1 + greatest(y)));
  CHECK(greatest(y) < HUGE_VAL);
  for (Index c = 0; c < channels; ++c)
    for (Index n = 0; n < by.pairs(); ++n)
      CHECK(std::abs(one.get(0, c, n) - other.get(0, c, n)) <=
            1e-9 * (1 + std::abs(one.get(0, c, n))));
  // A step of nearly nothing: h is dt C B everywhere, and exact in its leading digits.
  of.log_dt = {-60, -60};
  of.D.clear();
  for (const Discretisation rule : {Discretisation::zoh, Discretisation::bilinear}) {
    of.discretisation = rule;
    const std::vector<double> h = of.kernel(4);
    double sum = 0;
    for (std::size_t n = 0; n < 32; ++n) sum += 2 * static_cast<double>(of.C[2 * n]);
    for (std::size_t l = 0; l < 4; ++l) CHECK(h[l] == Approx(std::exp(-60.0) * sum).epsilon(1e-12));
  }
  // And of a very long one: nothing is left after a token (zoh).
  of.log_dt = {60, 60};
  of.discretisation = Discretisation::zoh;
  CHECK(greatest(of.kernel(4)) < HUGE_VAL);
  CHECK(of.kernel(4)[2] == 0);
}

TEST_CASE("state spaces: sequences, threads, memory and what is not finite", "[convolution]") {
  const Index channels = 37, tokens = 130;
  const S4D of = S4D::initial(channels, 2, S4DInit::lin, 8);
  const StateSpace by(of);
  StateSpaceState state(by, 3), single(by);
  const auto u = draw<float>(3 * channels, 1);
  std::vector<float> y(u.size()), z(u.size());
  const std::size_t before = posenc_test::allocations();
  step(view_of(u, 3), result_of(y, 3), by, state, posenc_test::Backwards{2});
  recurrent(view_of(u, 3), result_of(z, 3), by, single);
  CHECK(posenc_test::allocations() == before);
  for (Index c = 0; c < channels;
       ++c) {  // from an empty state a token is what the first of three is
    single.clear();
    CHECK(state.get(2, c, 1).real() == Approx(u[static_cast<std::size_t>(2 * channels + c)]));
  }
  // In place, the same bits.
  auto same = u;
  state.clear();
  step(view_of(same, 3), result_of(same, 3), by, state);
  CHECK(posenc_test::same_bits(same, y));

  auto spoiled = draw<float>(tokens * channels, 4);
  spoiled[static_cast<std::size_t>(20 * channels + 5)] = std::numeric_limits<float>::quiet_NaN();
  const LongConvolution kernel(of.kernel(tokens), channels);
  std::vector<float> a(spoiled.size()), b(spoiled.size());
  StateSpaceState one(by), other(by);
  recurrent(view_of(spoiled, tokens), result_of(a, tokens), by, one);
  convolved(view_of(spoiled, tokens), result_of(b, tokens), by, kernel, other);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool bad = i % 37 == 5 && i / 37 >= 20;
    if (std::isnan(a[i]) != bad || std::isnan(b[i]) != bad) FAIL("place " << i);
    if (!bad && std::abs(a[i] - b[i]) > 1e-5F) FAIL("place " << i);
  }
  CHECK(std::isnan(one.get(0, 5, 0).real()));
  CHECK(std::isnan(other.get(0, 5, 0).real()));
  CHECK(!std::isnan(other.get(0, 6, 0).real()));
}

TEST_CASE("state spaces: what is wrong is said in one sentence each", "[convolution]") {
  CHECK(error_of([] { StateSpace(S4D{.d_model = 1, .d_state = 3}); }) ==
        "posenc::mixers::S4D: d_state must be even, got 3.");
  CHECK(error_of([] { StateSpace(S4D{.d_model = 0}); }) ==
        "posenc::mixers::S4D: d_model must be 1 to 16777216, got 0.");
  CHECK(error_of([] {
          StateSpace(S4D{.d_model = 1,
                         .d_state = 2,
                         .log_dt = {90},
                         .log_A_real = {0, 0},
                         .A_imag = {HUGE_VALF},
                         .C = {1, 1},
                         .D = {1, 2}});
        }) ==
        "posenc::mixers::S4D: 4 problems\n"
        "  - log_A_real must have 1 numbers, one for each channel and pair, got 2.\n"
        "  - log_dt must be within [-80, 80].\n"
        "  - A_imag must be finite.\n"
        "  - D must have 1 numbers, one for each channel, got 2.");
  S4 s4 = S4::initial(1, 1, 4);
  s4.lambda = {{0.5, 1}, {-0.5, 2}};
  s4.p.pop_back();
  CHECK(error_of([&] { StateSpace{s4}; }) ==
        "posenc::mixers::S4: 2 problems\n"
        "  - p must have 2 numbers, one for each pair, got 1.\n"
        "  - the real parts of lambda must be negative.");
  CHECK(error_of([] { static_cast<void>(S4::initial(1, 1, 4).dense(1)); }) ==
        "posenc::mixers::S4: channel 1 is not among the 1 channels.");
  const S4D of = S4D::initial(2, 1, S4DInit::lin, 4);
  CHECK(error_of([&] { static_cast<void>(of.kernel(0)); }) ==
        "posenc::mixers::S4D: a kernel must have at least 1 tap and fit in memory, got 0 taps of 2 "
        "channels.");
  const StateSpace by(of), wider(S4D::initial(3, 1, S4DInit::lin, 4));
  CHECK(error_of([&] { StateSpaceState(by, -1); }) ==
        "posenc::mixers::StateSpaceState: the number of sequences must not be negative and states "
        "must fit in "
        "memory, got -1 sequences of 2 channels with 2 pairs.");
  StateSpaceState state(by), other(wider);
  std::vector<float> x(6), y(6);
  const TensorView<const float> in(x.data(), 3, 1, 2);
  const TensorView<float> out(y.data(), 3, 1, 2);
  CHECK(error_of([&] { step(in, out, by, state); }) ==
        "posenc::mixers::step: in has 3 tokens, but the state is of 1 sequences, and each takes "
        "one.");
  CHECK(error_of([&] { recurrent(in, out, by, other, 1); }) ==
        "posenc::mixers::recurrent: 2 problems\n"
        "  - the state is of 3 channels with 2 pairs, but S4D has 2 channels with 2.\n"
        "  - sequence 1 is not among the 1 sequences of the state.");
  CHECK(error_of([&] { recurrent(in, TensorView<float>(x.data() + 1, 2, 1, 2), by, state); }) ==
        "posenc::mixers::recurrent: out is [2, 1, 2] but must be [3, 1, 2].");
  CHECK(error_of([&] {
          convolved(in, TensorView<float>(x.data(), 3, 1, 2), by, LongConvolution(of.kernel(2), 2),
                    state);
        }) ==
        "posenc::mixers::convolved: 2 problems\n"
        "  - out must not overlap in.\n"
        "  - the kernel has 2 taps of 2 channels, but the call has 3 tokens of 2.");
  CHECK(error_of([&] { static_cast<void>(state.get(0, 2, 0)); }) ==
        "posenc::mixers::StateSpaceState: pair 0 of channel 2 is not among the 2 pairs of 2 "
        "channels.");
}

}  // namespace convolution_test::state_space_cases
