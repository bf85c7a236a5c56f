// SPDX-License-Identifier: MIT
#pragma once

namespace bench {

/// The four products of a chunk of a head, by Eigen, for the instruction set of this machine: Q K^T, W V, Q S and
/// K^T V, added to S; row-major, [chunk][key_dim], [chunk][value_dim], [key_dim][value_dim].
void eigen_products(long chunk, long key_dim, long value_dim, const float* q, const float* k,
                    const float* v, float* w, float* out, float* s);

}  // namespace bench
