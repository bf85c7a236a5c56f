// SPDX-License-Identifier: MIT
//
// RetNet: multi-scale retention.
//
//   Sun et al., Retentive Network, arXiv 2307.08621; microsoft/torchscale, component/multiscale_retention.py and
//   architecture/retnet.py.
//
//   S_n = gamma_h S_{n-1} + k_n v_n^T     o_n = q_n^T S_n / sqrt(key_dim)     gamma_h = 1 - 2^(-5-h)
//
// q and k are rotated first, by rotate() with rotation(): interleaved pairs of frequencies 10000^(-i / (pairs - 1)).
// Erratum: that is not RoPE's 10000^(-i / pairs), and there is no scale by channel as in xPos: gamma plays that part.
// Outputs are normalised head by head afterwards (head_norm), which removes every positive factor of a row, so the
// normalisers change nothing but how far eps is from what it is added to, and the range of 16-bit outputs.
#pragma once

#include <posenc/core/pipeline.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/mixers/recurrence.hpp>
#include <posenc/rotary/rope.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// By what the outputs of retention are divided before their norm.
enum class Retention {
  plain,  ///< nothing
  row,    ///< sqrt(sum of gamma^(n-m) over m <= n): what the recurrence of torchscale does
  absolute,  ///< and by max(|sum of the row's weights|, 1), as in the paper and in torchscale's parallel form
};

struct RetNet {
  static constexpr std::string_view name = "RetNet";

  Index num_heads = 0;
  Index key_dim = 0;
  Index value_dim = 0;  ///< the paper: 2 key_dim
  Retention normaliser = Retention::plain;

  /// log(gamma_h), exact where gamma is near 1.
  [[nodiscard]] static double log_gamma(Index head) {
    return std::log1p(-std::ldexp(1.0, static_cast<int>(-5 - head)));
  }

  /// The rotation of q and k, for rotate().
  [[nodiscard]] Encoding<RoPE<Interleaved>, FrequencyTable> rotation() const {
    FrequencyTable table;
    const Index pairs = key_dim / 2;
    for (Index i = 0; i < pairs; ++i)
      table.inv_freq.push_back(std::pow(
          10000.0, -static_cast<double>(i) / static_cast<double>(std::max<Index>(pairs - 1, 1))));
    return RoPE<Interleaved>{.head_dim = key_dim} | table;
  }

  void check(Problems& problems) const {
    problems.require(key_dim % 2 == 0,
                     "channels of keys rotate in pairs, so key_dim must be even, got ", key_dim,
                     ".");
    problems.require(num_heads <= 1000, "num_heads must be at most 1000, got ", num_heads, ".");
  }

  [[nodiscard]] Recurrence recurrence() const {
    Recurrence of{.shape = {num_heads, num_heads, key_dim, value_dim},
                  .decay = Decay::head,
                  .query_scale = 1 / std::sqrt(static_cast<double>(key_dim)),
                  .keeps_sum = normaliser == Retention::absolute};
    for (Index h = 0; h < num_heads; ++h) of.log_decay.push_back(log_gamma(h));
    if (normaliser != Retention::plain) of.normaliser = &factor;
    if (of.keeps_sum) of.normaliser_slope = &slope;
    return of;
  }

 private:
  static double norm(const Recurrence& of, Index head, Position token) {
    // The sum of gamma^i over i <= token is (1 - gamma^(token + 1)) / (1 - gamma), and 1 - gamma is 2^(-5-h).
    const double log_gamma = of.log_decay[static_cast<std::size_t>(head)];
    return std::sqrt(std::ldexp(-std::expm1(static_cast<double>(token + 1) * log_gamma),
                                static_cast<int>(5 + head)));
  }
  static float factor(const Recurrence& of, Index head, Position token, float sum) {
    return static_cast<float>(1 /
                              std::max(std::abs(static_cast<double>(sum)), norm(of, head, token)));
  }
  static float slope(const Recurrence& of, Index head, Position token, float sum) {
    const double divisor = sum;
    return std::abs(divisor) > norm(of, head, token)
               ? static_cast<float>(-1 / (divisor * std::abs(divisor)))
               : 0;
  }
};

}  // namespace mixers

POSENC_NAMESPACE_END
