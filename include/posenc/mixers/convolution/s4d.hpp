// SPDX-License-Identifier: MIT
//
// S4D: a diagonal state space for each channel.
//
//   x' = A x + B u      y = 2 Re(C x) + D u        d_state / 2 conjugate pairs, of which one of each is kept
//
//   zoh        A_bar = exp(dt A)                       B_bar = (A_bar - 1) / A B
//   bilinear   A_bar = (1 + dt A / 2) / (1 - dt A / 2) B_bar = dt / (1 - dt A / 2) B
//
//   as a recurrence     x_t = A_bar x_{t-1} + B_bar u_t,  y_t = 2 Re(C x_t) + D u_t
//   as a convolution    h[l] = 2 Re sum of C B_bar A_bar^l, and D added to h[0]
//
// Gu et al., On the Parameterization and Initialization of Diagonal State Space Models, arXiv 2206.11893, equations 2 to
// 4 and section 4; state-spaces/s4, models/s4/s4d.py and src/models/sequence/kernels/dplr.py. A is -exp(log_A_real) +
// i A_imag and dt is exp(log_dt); the code's dplr.py has the other conjugate, -i A_imag, with the same outputs for the
// conjugate C.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>
#include <posenc/mixers/convolution/modes.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

enum class Discretisation { zoh, bilinear };

/// Imaginary parts of A as a layer begins, for n from 0 on and N = d_state; the real part is -1/2.
enum class S4DInit {
  lin,   ///< pi n
  inv,   ///< N / pi (N / (2n + 1) - 1)
  legs,  ///< eigenvalues of HiPPO-LegS without its part of rank one, from the least
};

// NOLINTBEGIN(readability-identifier-naming): the paper's names
struct S4D {
  static constexpr std::string_view name = "S4D";

  Index d_model = 0;
  Index d_state = 64;
  Discretisation discretisation = Discretisation::zoh;
  std::vector<float> log_dt{};      ///< [d_model]
  std::vector<float> log_A_real{};  ///< [d_model][d_state / 2]
  std::vector<float> A_imag{};      ///< the same
  std::vector<float> C{};           ///< [d_model][d_state / 2][2], real and imaginary parts
  std::vector<float> B{};           ///< the same; empty: 1
  std::vector<float> D{};           ///< [d_model]; empty: no skip

  /// As a layer begins: dt log-uniform in [dt_min, dt_max], C and D normal, the parts of C with variance 1/2.
  /// Throws Error when d_state is not what hippo_legs() takes.
  [[nodiscard]] static S4D initial(Index d_model, std::uint64_t seed, S4DInit init = S4DInit::lin,
                                   Index d_state = 64, double dt_min = 0.001, double dt_max = 0.1);

  void check(Problems& problems) const;
  [[nodiscard]] Modes modes() const;
  /// h of every channel, [d_model][taps], D included.
  /// Throws Error for parameters that check() refuses, or taps that are less than 1 or do not fit in memory.
  [[nodiscard]] std::vector<double> kernel(Index taps) const;
};
// NOLINTEND(readability-identifier-naming)

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/s4d_definitions.hpp>
#endif
