// SPDX-License-Identifier: MIT
//
// S4: a state space of diagonal plus rank one for each channel, discretised by the bilinear rule.
//
//   x' = (diag(lambda) - p p^*) x + b u      y = 2 Re(C x) + D u      one of each of d_state / 2 conjugate pairs
//
// Gu et al., Efficiently Modeling Long Sequences with Structured State Spaces, arXiv 2111.00396, equations 3 and 5,
// theorem 3 and appendix C.3; state-spaces/s4, models/s4/s4.py. All channels share lambda, p and b, as the code's
// n_ssm = 1 does; a layer begins with HiPPO-LegS.
//
// A step takes O(d_state), by Woodbury's identity: with z = x + dt/2 (lambda x - p (p^* x)) + dt b u and
// R = 1 / (1 - dt lambda / 2)
//
//   x_t = R z - R p (dt/2) (p^* R z) / (1 + (dt/2) p^* R p)
//
// The kernel is the inverse transform of its generating function at the roots of unity z, sums of Cauchy's kind, with
// C~ = C (1 - A_bar^n) for the n that the transform has:
//
//   h^(z) = 2 (r(C~, b) - (1 + z) r(C~, p) r(p^*, b) / (1 + (1 + z) r(p^*, p)))
//   r(x, y) = sum over all d_state of x y / (2/dt (1 - z) - lambda (1 + z))
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>
#include <posenc/mixers/convolution/modes.hpp>

#include <complex>
#include <cstdint>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
struct S4 {
  static constexpr std::string_view name = "S4";

  Index d_model = 0;
  Index d_state = 64;
  std::vector<float> log_dt{};                 ///< [d_model]
  std::vector<std::complex<double>> lambda{};  ///< [d_state / 2]
  std::vector<std::complex<double>> p{}, b{};  ///< the same
  std::vector<float> C{};  ///< [d_model][d_state / 2][2], real and imaginary parts
  std::vector<float> D{};  ///< [d_model]; empty: no skip

  /// As a layer begins: HiPPO-LegS, dt log-uniform in [dt_min, dt_max], C and D normal, the parts of C with variance 1/2.
  /// Throws Error when d_state is not what hippo_legs() takes.
  [[nodiscard]] static S4 initial(Index d_model, std::uint64_t seed, Index d_state = 64,
                                  double dt_min = 0.001, double dt_max = 0.1);

  void check(Problems& problems) const;
  [[nodiscard]] Modes modes() const;
  /// h of every channel, [d_model][taps], D included; O(taps d_state + d_state^3 log taps) for each.
  /// Throws Error for parameters that check() refuses, or taps that are less than 1 or do not fit in memory.
  [[nodiscard]] std::vector<double> kernel(Index taps, const AnyExecutor& executor = {}) const;

  /// The discretised matrices of a channel as they stand, row by row: d_state / 2 pairs and then their conjugates.
  struct Dense {
    std::vector<std::complex<double>> A;  ///< [d_state][d_state]
    std::vector<std::complex<double>> B;  ///< [d_state]
    std::vector<std::complex<double>> C;  ///< the same: y = C x
  };
  [[nodiscard]] Dense dense(Index channel) const;
};
// NOLINTEND(readability-identifier-naming)

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/s4_definitions.hpp>
#endif
