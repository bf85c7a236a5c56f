// SPDX-License-Identifier: MIT
//
// The eigenvalues of HiPPO-LegS; see hippo.hpp.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/convolution/hippo.hpp>

#include <Eigen/Eigenvalues>

#include <cmath>
#include <complex>

POSENC_NAMESPACE_BEGIN

namespace mixers {

POSENC_DETAIL_CONVOLUTION HiPPOLegS hippo_legs(Index d_state) {
  Problems problems;
  problems.require(d_state >= 2 && d_state <= 1024 && d_state % 2 == 0,
                   "d_state must be even and 2 to 1024, got ", d_state, ".");
  problems.raise_if_any("posenc::mixers::hippo_legs");
  Eigen::VectorXd root(d_state);
  for (Index n = 0; n < d_state; ++n) root[n] = std::sqrt(static_cast<double>(n) + 0.5);
  // -i times the skew-symmetric part, which is Hermitian with the eigenvalues omega.
  Eigen::MatrixXcd hermitian = Eigen::MatrixXcd::Zero(d_state, d_state);
  for (Index n = 0; n < d_state; ++n)
    for (Index k = 0; k < n; ++k) {
      hermitian(n, k) = std::complex<double>(0, root[n] * root[k]);
      hermitian(k, n) = std::conj(hermitian(n, k));
    }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXcd> eigen(hermitian);
  HiPPOLegS of;
  for (Index n = d_state / 2; n < d_state;
       ++n) {  // eigenvalues rise, and the first half is negative
    of.omega.push_back(eigen.eigenvalues()[n]);
    of.p.push_back(std::abs(eigen.eigenvectors().col(n).dot(root.cast<std::complex<double>>())));
  }
  return of;
}

}  // namespace mixers

POSENC_NAMESPACE_END
