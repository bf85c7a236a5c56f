// SPDX-License-Identifier: MIT
//
// What one would write without the library: one query token over a cache of float, token by token
// as projections leave them, [tokens][key heads][width], keys rotated before. Per query head two
// matrix-vector products and a softmax with Eigen, compiled with the project's flags.
#pragma once

#include <Eigen/Core>

#include <cmath>
#include <cstddef>

namespace baselines {

struct TokenMajorCache {
  using Index = std::ptrdiff_t;
  const float *keys, *values;
  Index tokens, kv_heads, width;
};

struct Decode {
  /// q and out [heads][width]; `scores` has room for the tokens.
  void operator()(const TokenMajorCache& cache, Eigen::Index heads, const float* q, float* out,
                  Eigen::VectorXf& scores) const {
    using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using Head = Eigen::Map<const Rows, 0, Eigen::OuterStride<>>;
    const Eigen::OuterStride<> stride(cache.kv_heads * cache.width);
    const float scale = 1 / std::sqrt(static_cast<float>(cache.width));
    for (Eigen::Index h = 0; h < heads; ++h) {
      const Eigen::Index first = h / (heads / cache.kv_heads) * cache.width;
      const Head k(cache.keys + first, cache.tokens, cache.width, stride),
          v(cache.values + first, cache.tokens, cache.width, stride);
      const Eigen::Map<const Eigen::VectorXf> query(q + h * cache.width, cache.width);
      Eigen::Map<Eigen::VectorXf> row(out + h * cache.width, cache.width);
      scores.noalias() = k * query;
      scores = ((scores.array() - scores.maxCoeff()) * scale).exp();
      row.noalias() = v.transpose() * scores;
      row /= scores.sum();
    }
  }
};

}  // namespace baselines
