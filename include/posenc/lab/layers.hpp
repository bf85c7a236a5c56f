// SPDX-License-Identifier: MIT
//
// The pieces of a transformer that are not attention, each with its gradient. Matrices have a row for each
// token.
#pragma once

#include <posenc/lab/leaves.hpp>
#include <posenc/lab/weights.hpp>

#include <cassert>
#include <cstdint>

POSENC_NAMESPACE_BEGIN

namespace lab {

using Vector = Eigen::VectorXf;

/// A matrix, or its transpose, as products read it.
struct Factor {
  Index rows, columns;
  MatrixElements elements;

  template <class M>
  Factor(const Eigen::MatrixBase<M>& x)
      : rows(x.rows()), columns(x.cols()), elements{x.derived().data(), x.cols(), 1} {}
  [[nodiscard]] Factor transposed() const {
    Factor other = *this;
    std::swap(other.rows, other.columns);
    std::swap(other.elements.row, other.elements.column);
    return other;
  }
};

/// c = a b, or c += a b.
inline void product(const Factor& a, const Factor& b, MatrixView c, bool add = false) {
  assert(a.columns == b.rows && c.rows() == a.rows && c.cols() == b.columns);
  leaves().product(a.rows, a.columns, b.columns, a.elements, b.elements, add, c.data(), c.cols());
}
inline void product(const Factor& a, const Factor& b, Matrix& c) {
  c.resize(a.rows, b.columns);
  product(a, b, MatrixView(c.data(), c.rows(), c.cols()));
}
inline void add_product(const Factor& a, const Factor& b, Matrix& c) {
  product(a, b, MatrixView(c.data(), c.rows(), c.cols()), true);
}

/// y = x / rms(x) * gain, rms(x) = sqrt(mean(x^2) + 1e-5) per row (RMSNorm, arXiv 1910.07467, equation 4).
/// `inverse` keeps 1 / rms(x).
inline void rms_norm(const Matrix& x, const ConstMatrixView& gain, Matrix& y, Vector& inverse) {
  const Leaves& leaf = leaves();
  y.resize(x.rows(), x.cols());
  inverse.resize(x.rows());
  for (Index i = 0; i < x.rows(); ++i)
    inverse[i] = leaf.norm(x.cols(), x.row(i).data(), gain.data(), y.row(i).data());
}
/// Adds to dx what comes back through y; d_gain becomes the gradient of the gain.
inline void rms_norm_backward(const Matrix& x, const ConstMatrixView& gain, const Vector& inverse,
                              const Matrix& dy, Matrix& dx, MatrixView d_gain) {
  const Leaves& leaf = leaves();
  d_gain.setZero();
  for (Index i = 0; i < x.rows(); ++i)
    leaf.norm_backward(x.cols(), x.row(i).data(), gain.data(), inverse[i], dy.row(i).data(),
                       dx.row(i).data(), d_gain.data());
}

/// 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) (GELU, arXiv 1606.08415, section 2). `slope`, its derivative,
/// is kept for the gradient.
inline void gelu(const Matrix& x, Matrix& y, Matrix& slope) {
  y.resize(x.rows(), x.cols());
  slope.resize(x.rows(), x.cols());
  leaves().gelu(x.size(), x.data(), y.data(), slope.data());
}
/// dy becomes the gradient of x.
inline void gelu_backward(const Matrix& slope, Matrix& dy) {
  leaves().multiply(dy.size(), dy.data(), slope.data());
}

/// Natural log-likelihoods: losses[i] = -log softmax(logits[i])[targets[i]].
inline void cross_entropy(const Matrix& logits, std::span<const std::uint8_t> targets,
                          std::span<float> losses, Vector& log_sum) {
  const Leaves& leaf = leaves();
  log_sum.resize(logits.rows());
  Vector weights(logits.cols());
  for (Index i = 0; i < logits.rows(); ++i) {
    const float most = logits.row(i).maxCoeff();
    log_sum[i] = most + std::log(leaf.exponentials(logits.cols(), logits.row(i).data(), most,
                                                   weights.data()));
    const auto row = static_cast<std::size_t>(i);
    losses[row] = log_sum[i] - logits(i, targets[row]);
  }
}
/// logits become the gradient of sum(weights * losses).
inline void cross_entropy_backward(Matrix& logits, std::span<const std::uint8_t> targets,
                                   std::span<const float> weights, const Vector& log_sum) {
  const Leaves& leaf = leaves();
  for (Index i = 0; i < logits.rows(); ++i) {
    const auto row = static_cast<std::size_t>(i);
    float* const at = logits.row(i).data();
    leaf.exponentials(logits.cols(), at, log_sum[i], at);
    logits.row(i) *= weights[row];
    logits(i, targets[row]) -= weights[row];
  }
}

}  // namespace lab

POSENC_NAMESPACE_END
