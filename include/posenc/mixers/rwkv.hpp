// SPDX-License-Identifier: MIT
//
// RWKV-5 and RWKV-6, the recurrence of their time mixing.
//
//   Peng et al., Eagle and Finch, arXiv 2404.05892; BlinkDL/RWKV-LM, RWKV-v5/src/model.py, cuda/wkv5_cuda.cu and
//   cuda/wkv6_cuda.cu.
//
//   y_t = r_t^T (S_{t-1} + diag(u) k_t v_t^T)     S_t = diag(w_t) S_{t-1} + k_t v_t^T     w = exp(-exp(decay))
//
// A token reads the state before it, and itself through the bonus u (time_faaaa). In RWKV-5 the decay is a parameter
// of each channel (time_decay), in RWKV-6 it comes by token, [tokens, num_heads, head_size]: time_decay plus a small
// network of the input, before both exponentials. In the terms of the frame q is r. Outputs are normalised head by
// head afterwards, with eps 64e-5 (head_norm), which is what version 5 reaches by dividing by 8 first.
//
// Erratum: a decay is applied before its own token is written and after the state was read, so what token m wrote
// has met the decays of m + 1 to t - 1 in y_t.
#pragma once

#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/recurrence.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN

namespace mixers {

namespace rwkv {

/// The numbers by which layer `layer` of `layers` begins, for `channels` channels.
struct Initial {
  std::vector<float> time_decay, time_faaaa;

  Initial(Index channels, Index layer, Index layers) {
    const double depth =
        layers > 1 ? static_cast<double>(layer) / static_cast<double>(layers - 1) : 0;
    for (Index n = 0; n < channels; ++n) {
      const double place =
          channels > 1 ? static_cast<double>(n) / static_cast<double>(channels - 1) : 0;
      time_decay.push_back(static_cast<float>(-6 + 5 * std::pow(place, 0.7 + 1.3 * depth)));
      const double zigzag = (static_cast<double>((n + 1) % 3) - 1) * 0.1;
      time_faaaa.push_back(static_cast<float>(depth * (1 - place) + zigzag));
    }
  }
};

inline void check(Problems& problems, const char* what, const std::vector<float>& values,
                  Index channels) {
  problems.require(std::ssize(values) == channels, what, " must have a number for each of the ",
                   channels, " channels, got ", values.size(), ".");
  if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); }))
    problems.add(what, " must be finite.");
}

}  // namespace rwkv

struct RWKV5 {
  static constexpr std::string_view name = "RWKV5";

  Index num_heads = 0;
  Index head_size = 64;
  std::vector<float> time_decay{};  ///< [num_heads][head_size]
  std::vector<float> time_faaaa{};  ///< u, the same

  [[nodiscard]] static RWKV5 initial(Index num_heads, Index layer, Index layers,
                                     Index head_size = 64) {
    rwkv::Initial numbers(num_heads * head_size, layer, layers);
    return {num_heads, head_size, std::move(numbers.time_decay), std::move(numbers.time_faaaa)};
  }

  void check(Problems& problems) const {
    rwkv::check(problems, "time_decay", time_decay, num_heads * head_size);
    rwkv::check(problems, "time_faaaa", time_faaaa, num_heads * head_size);
  }

  [[nodiscard]] Recurrence recurrence() const {
    Recurrence of{.shape = {num_heads, num_heads, head_size, head_size},
                  .decay = Decay::channel,
                  .bonus = time_faaaa};
    for (const float x : time_decay) of.log_decay.push_back(-std::exp(static_cast<double>(x)));
    return of;
  }
};

struct RWKV6 {
  static constexpr std::string_view name = "RWKV6";

  Index num_heads = 0;
  Index head_size = 64;
  std::vector<float> time_faaaa{};  ///< u, [num_heads][head_size]

  [[nodiscard]] static RWKV6 initial(Index num_heads, Index layer, Index layers,
                                     Index head_size = 64) {
    return {num_heads, head_size, rwkv::Initial(num_heads * head_size, layer, layers).time_faaaa};
  }

  void check(Problems& problems) const {
    rwkv::check(problems, "time_faaaa", time_faaaa, num_heads * head_size);
  }

  [[nodiscard]] Recurrence recurrence() const {
    return {.shape = {num_heads, num_heads, head_size, head_size},
            .decay = Decay::channel,
            .rule = &log_decay,
            .rule_gradient = &log_decay_gradient,
            .bonus = time_faaaa};
  }

 private:
  static void log_decay(const Recurrence&, Index, Index tokens, Index row, float* decay, float*) {
    leaves().minus_exponentials(tokens * row, decay, decay);
  }
  /// The derivative of -exp(x) is itself.
  static void log_decay_gradient(const Recurrence&, Index, Index tokens, Index row, float* x,
                                 float* gradient, const float*, RuleSums&) {
    leaves().minus_exponentials(tokens * row, x, x);
    leaves().multiply(tokens * row, x, gradient, gradient);
  }
};

}  // namespace mixers

POSENC_NAMESPACE_END
