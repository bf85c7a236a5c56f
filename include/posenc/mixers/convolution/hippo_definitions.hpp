// SPDX-License-Identifier: MIT
//
// The eigenvalues of HiPPO-LegS; see hippo.hpp.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/convolution/hippo.hpp>

#include <cmath>
#include <numbers>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_CONVOLUTION HiPPOLegS hippo_legs(Index d_state) {
  Problems problems;
  problems.require(d_state >= 2 && d_state <= 1024 && d_state % 2 == 0,
                   "d_state must be even and 2 to 1024, got ", d_state, ".");
  problems.raise_if_any("posenc::mixers::hippo_legs");
  HiPPOLegS of;
  double omega = 0;
  for (Index m = 0; m < d_state / 2; ++m) {
    // Newton's method from the last solution: the sum is concave, so steps rise to the next one and never pass it, until
    // they are rounding.
    double step = 0, slope = 0;
    do {
      double rest = std::numbers::pi * (static_cast<double>(m) + 0.5);
      slope = 0;
      for (Index n = 0; n < d_state; ++n) {
        const double d = static_cast<double>(n) + 0.5;
        rest -= std::atan(omega / d);
        slope += d / (d * d + omega * omega);
      }
      step = rest / slope;
      omega += step;
    } while (step > 1e-12 * omega);
    of.omega.push_back(omega);
    of.p.push_back(1 / std::sqrt(slope));
  }
  return of;
}

}  // namespace mixers

POSENC_NAMESPACE_END
