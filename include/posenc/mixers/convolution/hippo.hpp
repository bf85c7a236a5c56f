// SPDX-License-Identifier: MIT
//
// HiPPO-LegS as a diagonal and a matrix of rank one.
//
//   A[n][k] = -sqrt((2n+1)(2k+1)) for n > k, -(n+1) for n = k, 0 for n < k        B[n] = sqrt(2n+1)
//   A = V (diag(lambda) - p p^*) V^*       V^* B = b = sqrt(2) p       lambda = -1/2 + i omega
//
// Gu et al., HiPPO, arXiv 2008.07669 (A, B) and S4, arXiv 2111.00396, theorem 1; state-spaces/s4,
// src/models/hippo/hippo.py: nplr. A + P P^T with P[n] = sqrt(n + 1/2) is -1/2 and a skew-symmetric matrix, so V is
// unitary. Eigenvalues come in conjugate pairs, of which the one with omega > 0 is kept; phases of V are such that
// p > 0, which no output depends on, as C is in the same basis.
//
// Neither needs a matrix. With d[n] = n + 1/2, two neighbouring rows of V's equation leave a ratio of two neighbouring
// elements of an eigenvector, (1 + i omega / d[n]) / (1 - i omega / d[n+1]) but for a sign, and the first and the last
// row close the product of all of them:
//
//   sum over n < d_state of atan(omega / d[n]) = pi (m + 1/2)  for m < d_state / 2
//   p^-2 = sum over n of d[n] / (d[n]^2 + omega^2), the derivative of the first sum
#pragma once

#include <posenc/mixers/convolution/long_convolution.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct HiPPOLegS {
  std::vector<double> omega;  ///< [d_state / 2], from the least
  std::vector<double> p;      ///< the same
};

/// Throws Error unless d_state is even and 2 to 1,024.
[[nodiscard]] HiPPOLegS hippo_legs(Index d_state);

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/hippo_definitions.hpp>
#endif
