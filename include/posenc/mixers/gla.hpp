// SPDX-License-Identifier: MIT
//
// GLA: gated linear attention.
//
//   Yang et al., arXiv 2312.06635; fla-org/flash-linear-attention, fla/layers/gla.py, fla/ops/gla/naive.py.
//
//   S_t = diag(alpha_t) S_{t-1} + k_t v_t^T     o_t = q_t^T S_t / sqrt(key_dim)     alpha_t = sigmoid(x_t)^(1/tau)
//
// The decay by token is x, [tokens, num_heads, key_dim]: the logits of the gate, which are the caller's projection.
// With `logits` false it is log(alpha) itself, at most 0, as the kernels of flash-linear-attention take it; that also
// makes it HGRN2's recurrence (k = 1 - alpha), and any other whose decay goes by channel and token.
#pragma once

#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/recurrence.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct GLA {
  static constexpr std::string_view name = "GLA";

  Index num_heads = 0;
  Index key_dim = 0;                  ///< the layer: half of its width / num_heads
  Index value_dim = 0;                ///< the layer: its width / num_heads
  double gate_logit_normalizer = 16;  ///< tau
  bool logits = true;                 ///< false: log(alpha) is passed
  double scale = 0;                   ///< of q; 0: 1/sqrt(key_dim)

  void check(Problems& problems) const {
    problems.require(std::isfinite(gate_logit_normalizer) && gate_logit_normalizer > 0,
                     "gate_logit_normalizer must be positive, got ", gate_logit_normalizer, ".");
    problems.require(std::isfinite(scale), "scale must be finite, got ", scale, ".");
  }

  [[nodiscard]] Recurrence recurrence() const {
    return {.shape = {num_heads, num_heads, key_dim, value_dim},
            .decay = Decay::channel,
            .rule = logits ? &log_alpha : nullptr,
            .rule_gradient = logits ? &log_alpha_gradient : nullptr,
            .rates = {static_cast<float>(-1 / gate_logit_normalizer)},
            .query_scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(key_dim))};
  }

 private:
  /// log sigmoid(x) = -softplus(-x)
  static void log_alpha(const Recurrence& of, Index, Index tokens, Index row, float* decay,
                        float*) {
    leaves().softplus(tokens * row, -1, of.rates[0], decay, decay);
  }
  /// Its derivative is sigmoid(-x).
  static void log_alpha_gradient(const Recurrence& of, Index, Index tokens, Index row, float* x,
                                 float* gradient, const float*, RuleSums&) {
    for (Index i = 0; i < tokens * row; ++i) x[i] = -x[i];
    leaves().sigmoid(tokens * row, -of.rates[0], x, x);
    leaves().multiply(tokens * row, x, gradient, gradient);
  }
};

}  // namespace mixers

POSENC_NAMESPACE_END
