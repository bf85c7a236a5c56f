// SPDX-License-Identifier: MIT
//
// Linear attention.
//
//   Katharopoulos et al., Transformers are RNNs, arXiv 2006.16236.
//
//   S_t = S_{t-1} + k_t v_t^T     o_t = q_t^T S_t / (q_t^T z_t + eps),  z_t = z_{t-1} + k_t
//
// q and k come through a feature map that is the caller's (the paper's is elu_plus_one). Without `normalise` there is
// no quotient; then features may have any sign.
#pragma once

#include <posenc/mixers/recurrence.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// elu(x) + 1, the paper's feature map: positive, so that weights are.
[[nodiscard]] inline float elu_plus_one(float x) { return x > 0 ? x + 1 : std::exp(x); }

struct LinearAttention {
  static constexpr std::string_view name = "LinearAttention";

  Index num_heads = 0;
  Index key_dim = 0;
  Index value_dim = 0;
  double scale = 1;  ///< of q; without effect where `normalise` divides by it again, but for eps
  bool normalise = true;  ///< divides by <q, z>
  double eps = 1e-6;

  void check(Problems& problems) const {
    problems.require(std::isfinite(scale) && scale != 0, "scale must be finite and not 0, got ",
                     scale, ".");
    problems.require(std::isfinite(eps) && eps >= 0, "eps must not be negative, got ", eps, ".");
  }

  [[nodiscard]] Recurrence recurrence() const {
    Recurrence of{.shape = {num_heads, num_heads, key_dim, value_dim}, .query_scale = scale};
    if (!normalise) return of;
    of.keeps_sum = true;
    of.biases = {static_cast<float>(eps)};
    of.normaliser = [](const Recurrence& its, Index, Position, float sum) {
      return 1 / (sum + its.biases[0]);
    };
    of.normaliser_slope = [](const Recurrence& its, Index, Position, float sum) {
      const float factor = 1 / (sum + its.biases[0]);
      return -factor * factor;
    };
    return of;
  }
};

}  // namespace mixers

POSENC_NAMESPACE_END
