// SPDX-License-Identifier: MIT
//
// Compiled with -march=native (bench/CMakeLists.txt), in a file of its own: what Eigen reaches at its best.
#include "mixers/eigen.hpp"

#include <Eigen/Core>

namespace bench {

void eigen_products(long chunk, long key_dim, long value_dim, const float* q, const float* k,
                    const float* v, float* w, float* out, float* s) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Read = Eigen::Map<const Matrix>;
  using Write = Eigen::Map<Matrix>;
  const Read Q(q, chunk, key_dim), K(k, chunk, key_dim), V(v, chunk, value_dim);
  Write W(w, chunk, chunk), O(out, chunk, value_dim), S(s, key_dim, value_dim);
  W.noalias() = Q * K.transpose();
  O.noalias() = W * V;
  O.noalias() += Q * S;
  S.noalias() += K.transpose() * V;
}

}  // namespace bench
