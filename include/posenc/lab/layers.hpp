// SPDX-License-Identifier: MIT
//
// The pieces of a transformer that are not attention, each with its gradient. Matrices have a row for each
// token.
#pragma once

#include <posenc/lab/weights.hpp>

#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace lab {

using Vector = Eigen::VectorXf;

/// y = x / rms(x) * gain, rms(x) = sqrt(mean(x^2) + 1e-5) per row (RMSNorm, arXiv 1910.07467, equation 4).
/// `inverse` keeps 1 / rms(x).
inline void rms_norm(const Matrix& x, const ConstMatrixView& gain, Matrix& y, Vector& inverse) {
  inverse = (x.array().square().rowwise().mean() + 1e-5F).rsqrt();
  y = (x.array().colwise() * inverse.array()).rowwise() * gain.row(0).array();
}
/// Adds to dx what comes back through y, and to d_gain its own.
inline void rms_norm_backward(const Matrix& x, const ConstMatrixView& gain, const Vector& inverse,
                              const Matrix& dy, Matrix& dx, MatrixView d_gain) {
  const auto width = static_cast<float>(x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    const auto xs = x.row(i).array(), ds = dy.row(i).array();
    d_gain.row(0).array() += ds * xs * inverse[i];
    const float along = (ds * gain.row(0).array() * xs).sum() * inverse[i] * inverse[i] / width;
    dx.row(i).array() += inverse[i] * (ds * gain.row(0).array() - along * xs);
  }
}

/// 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) (GELU, arXiv 1606.08415, section 2). `tanh_u` is kept for
/// the gradient.
inline void gelu(const Matrix& x, Matrix& y, Matrix& tanh_u) {
  constexpr float a = 0.7978845608F, b = 0.044715F;
  const auto xs = x.array();
  tanh_u = (a * xs * (1.0F + b * xs.square())).tanh();
  y = 0.5F * xs * (1.0F + tanh_u.array());
}
/// dy becomes the gradient of x.
inline void gelu_backward(const Matrix& x, const Matrix& tanh_u, Matrix& dy) {
  constexpr float a = 0.7978845608F, b = 0.044715F;
  const auto xs = x.array(), t = tanh_u.array();
  dy.array() *=
      0.5F * (1.0F + t) + 0.5F * a * xs * (1.0F - t.square()) * (1.0F + 3.0F * b * xs.square());
}

/// Natural log-likelihoods: losses[i] = -log softmax(logits[i])[targets[i]].
inline void cross_entropy(const Matrix& logits, std::span<const std::uint8_t> targets,
                          std::span<float> losses, Vector& log_sum) {
  log_sum.resize(logits.rows());
  for (Index i = 0; i < logits.rows(); ++i) {
    const float most = logits.row(i).maxCoeff();
    log_sum[i] = most + std::log((logits.row(i).array() - most).exp().sum());
    const auto row = static_cast<std::size_t>(i);
    losses[row] = log_sum[i] - logits(i, targets[row]);
  }
}
/// logits become the gradient of sum(weights * losses).
inline void cross_entropy_backward(Matrix& logits, std::span<const std::uint8_t> targets,
                                   std::span<const float> weights, const Vector& log_sum) {
  for (Index i = 0; i < logits.rows(); ++i) {
    const auto row = static_cast<std::size_t>(i);
    logits.row(i) = weights[row] * (logits.row(i).array() - log_sum[i]).exp().matrix();
    logits(i, targets[row]) -= weights[row];
  }
}

}  // namespace lab

POSENC_NAMESPACE_END
