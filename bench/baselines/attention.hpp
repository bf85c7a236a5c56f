// SPDX-License-Identifier: MIT
//
// What one would write without the library: float, contiguous [tokens][heads][width], as many key
// heads as query heads, compiled with the project's flags.
//
//   Dense       softmax(Q K^T / sqrt(width)) V with Eigen, all scores of a head in memory
//   Products    Q K^T and (Q K^T) V with OpenBLAS, and nothing else: what two products that are not
//               fused cost at best, before any softmax
//
// Both do all pairs, whatever a mask hides.
#pragma once

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <limits>

#if defined(BENCH_HAS_OPENBLAS)
#include <cblas.h>
#endif

namespace baselines {

using Index = std::ptrdiff_t;

/// The part of one head of [tokens][heads][width].
struct AttentionHead {
  const float *q, *k, *v;
  float* out;
  Index tokens, width, stride;  ///< stride: from token to token
};

using Scores = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct Dense {
  bool causal;

  void operator()(const AttentionHead& head, Scores& scores) const {
    using Stride = Eigen::OuterStride<>;
    using Input = Eigen::Map<const Scores, 0, Stride>;
    const Stride stride(head.stride);
    const Input q(head.q, head.tokens, head.width, stride),
        k(head.k, head.tokens, head.width, stride), v(head.v, head.tokens, head.width, stride);
    Eigen::Map<Scores, 0, Stride> out(head.out, head.tokens, head.width, stride);

    scores.noalias() = q * k.transpose();
    const float scale = 1 / std::sqrt(static_cast<float>(head.width));
    for (Index i = 0; i < head.tokens; ++i) {
      const Index seen = causal ? i + 1 : head.tokens;
      auto row = scores.row(i).head(seen).array();
      row = ((row - row.maxCoeff()) * scale).exp();
      row /= row.sum();
      scores.row(i).tail(head.tokens - seen).setZero();
    }
    out.noalias() = scores * v;
  }
};

#if defined(BENCH_HAS_OPENBLAS)
struct Products {
  void operator()(const AttentionHead& head, Scores& scores) const {
    const auto tokens = static_cast<blasint>(head.tokens), width = static_cast<blasint>(head.width),
               stride = static_cast<blasint>(head.stride);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, tokens, width, 1, head.q, stride,
                head.k, stride, 0, scores.data(), tokens);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, tokens, width, tokens, 1, scores.data(),
                tokens, head.v, stride, 0, head.out, stride);
  }
};
#endif

}  // namespace baselines
