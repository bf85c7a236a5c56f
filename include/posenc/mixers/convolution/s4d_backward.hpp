// SPDX-License-Identifier: MIT
//
// The gradient of S4D's kernel (s4d.hpp). With h[l] = 2 Re sum of C B_bar A_bar^l, and d_h that of the taps, as backward() of
// the convolution gives it, each pair has two sums, S = sum of d_h[l] A_bar^l and S' = sum of d_h[l] l A_bar^(l - 1). With
// w = B_bar / (dt B), z = dt A and derivatives by z as everywhere, of holomorphic functions,
//
//   by C    2 dt w B S         by z    2 C B dt (w' S + w A_bar' S')         by A         dt times that by z
//   by B    2 dt w C S         by D    d_h[0]                                by log_dt    dt (2 C B w S + A times that by z)
//
// zoh: A_bar' = A_bar, w' = (A_bar - w) / z.  bilinear: A_bar' = w^2, w' = w^2 / 2.  The derivatives by the real and imaginary
// part of what is complex are the real part and minus the imaginary part. In double, O(taps) for each pair.
#pragma once

#include <posenc/mixers/convolution/s4d.hpp>

#include <span>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
/// The gradients of what an S4D has learned, which backward() adds to; each as the parameter of its name.
struct S4DGradients {
  explicit S4DGradients(const S4D& of)
      : log_dt(of.log_dt.size()), log_A_real(of.log_A_real.size()), A_imag(of.A_imag.size()),
        C(of.C.size()), B(of.B.size()), D(of.D.size()) {}

  std::vector<double> log_dt, log_A_real, A_imag, C;
  std::vector<double> B, D;  ///< empty where the S4D has none
};
// NOLINTEND(readability-identifier-naming)

/// From the gradient of kernel(taps), [d_model][taps]. Throws Error for parameters that check() refuses and for sizes that
/// are not those of the kernel and of the parameters.
void backward(std::span<const double> d_kernel, S4DGradients& to, const S4D& of);

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/s4d_backward_definitions.hpp>
#endif
