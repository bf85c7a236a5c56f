// SPDX-License-Identifier: MIT
//
// Delta rules: what a token writes is by how much its value differs from what its key reads already.
//
//   Yang et al., Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484 (DeltaNet);
//   Yang et al., Gated Delta Networks, arXiv 2412.06464; Kimi Linear, arXiv 2510.26692 (KDA);
//   fla-org/flash-linear-attention, fla/ops/{delta_rule,gated_delta_rule,kda}/naive.py.
//
//   S' = diag(a_t) S_{t-1}      S_t = S' + beta_t k_t (v_t - S'^T k_t)^T      o_t = q_t^T S_t / sqrt(key_dim)
//
// a_t is 1 in DeltaNet, a number of each head in GatedDeltaNet and one of each channel in KDA; its logarithm, at most 0,
// is the decay by token, and beta_t, 0 to 1, is Inputs::beta. Keys have to be of length 1 (the caller's, as is the
// sigmoid of beta): then a token erases no more than there is, and the state stays bounded. Values and states may have
// more heads than queries and keys.
#pragma once

#include <posenc/mixers/recurrence.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace delta {

template <class M>
Recurrence recurrence(const M& of, Decay decay) {
  const double scale = of.scale != 0 ? of.scale : 1 / std::sqrt(static_cast<double>(of.key_dim));
  return {.shape = {of.num_heads, of.num_key_heads != 0 ? of.num_key_heads : of.num_heads,
                    of.key_dim, of.value_dim},
          .decay = decay,
          .delta = true,
          .query_scale = scale};
}
inline void check(Problems& problems, double scale) {
  problems.require(std::isfinite(scale), "scale must be finite, got ", scale, ".");
}

}  // namespace delta

struct DeltaNet {
  static constexpr std::string_view name = "DeltaNet";

  Index num_heads = 0;
  Index key_dim = 0;
  Index value_dim = 0;
  Index num_key_heads = 0;  ///< 0: num_heads
  double scale = 0;         ///< of q; 0: 1/sqrt(key_dim)

  void check(Problems& problems) const { delta::check(problems, scale); }
  [[nodiscard]] Recurrence recurrence() const { return delta::recurrence(*this, Decay::none); }
};

/// The decay by token is g = log(a), [tokens, num_heads, 1]; the layer's is -exp(A_log) softplus(x + dt_bias).
struct GatedDeltaNet {
  static constexpr std::string_view name = "GatedDeltaNet";

  Index num_heads = 0;
  Index key_dim = 0;
  Index value_dim = 0;
  Index num_key_heads = 0;  ///< 0: num_heads
  double scale = 0;         ///< of q; 0: 1/sqrt(key_dim)

  void check(Problems& problems) const { delta::check(problems, scale); }
  [[nodiscard]] Recurrence recurrence() const { return delta::recurrence(*this, Decay::head); }
};

/// Kimi Delta Attention; the decay by token is g = log(a), [tokens, num_heads, key_dim].
struct KDA {
  static constexpr std::string_view name = "KDA";

  Index num_heads = 0;
  Index key_dim = 0;
  Index value_dim = 0;
  Index num_key_heads = 0;  ///< 0: num_heads
  double scale = 0;         ///< of q; 0: 1/sqrt(key_dim)

  void check(Problems& problems) const { delta::check(problems, scale); }
  [[nodiscard]] Recurrence recurrence() const { return delta::recurrence(*this, Decay::channel); }
};

}  // namespace mixers

POSENC_NAMESPACE_END
