// SPDX-License-Identifier: MIT
//
// Mamba-2: state space duality (SSD).
//
//   Dao and Gu, arXiv 2405.21060; state-spaces/mamba, modules/mamba2.py, modules/ssd_minimal.py.
//
//   S_t = exp(Delta_t A) S_{t-1} + Delta_t B_t x_t^T     y_t = C_t^T S_t + D x_t
//
// A = -exp(A_log) and D are one number for each head, Delta_t = softplus(dt_t + dt_bias) within dt_limit, and B and C
// are shared by the heads of a group. In the terms of the frame q is C, k is B, v is x, and the decay by token is dt,
// [tokens, nheads, 1], as it leaves the projection: Mamba2::inputs(). The state is the transpose of the reference's,
// whose rows are the channels of x.
//
// Around it stand, in this order, a projection to [z, x, B, C, dt], a causal convolution of x, B and C together, this
// operator, head_norm() of y gated by z, and a projection: modules/mamba2.py.
#pragma once

#include <posenc/mixers/leaves.hpp>
#include <posenc/mixers/recurrence.hpp>
#include <posenc/mixers/tensors.hpp>
#include <posenc/schedule/random.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

POSENC_NAMESPACE_BEGIN

namespace mixers {

// NOLINTBEGIN(readability-identifier-naming): the paper's names
struct Mamba2 {
  static constexpr std::string_view name = "Mamba2";

  Index nheads = 0;
  Index headdim = 64;
  Index d_state = 128;
  Index ngroups = 1;
  std::vector<float> A_log{};    ///< [nheads]
  std::vector<float> dt_bias{};  ///< [nheads]
  std::vector<float> D{};        ///< [nheads]; empty: no skip
  double dt_min = 0, dt_max = std::numeric_limits<double>::infinity();  ///< dt_limit

  /// As a layer of this width begins: expand d_model / headdim heads, A uniform in [1, 16], Delta log-uniform in
  /// [0.001, 0.1] where dt is 0, D of 1.
  [[nodiscard]] static Mamba2 initial(Index d_model, std::uint64_t seed, Index expand = 2,
                                      Index headdim = 64, Index d_state = 128) {
    Mamba2 mixer{.nheads = headdim > 0 ? expand * d_model / headdim : 0,
                 .headdim = headdim,
                 .d_state = d_state};
    SeededRandom random(seed);
    for (Index h = 0; h < mixer.nheads; ++h) {
      const double dt = std::max(std::exp(random.real(std::log(1e-3), std::log(1e-1))), 1e-4);
      mixer.dt_bias.push_back(
          static_cast<float>(dt + std::log(-std::expm1(-dt))));  // softplus of it is dt
      mixer.A_log.push_back(static_cast<float>(std::log(random.real(1, 16))));
      mixer.D.push_back(1);
    }
    return mixer;
  }

  /// The tensors of a call by the names of the paper.
  [[nodiscard]] static Inputs inputs(const Operand& x, const Operand& dt, const Operand& B,
                                     const Operand& C) {
    return {.q = C, .k = B, .v = x, .decay = dt};
  }

  void check(Problems& problems) const {
    problems.require(std::ssize(A_log) == nheads && std::ssize(dt_bias) == nheads,
                     "A_log and dt_bias must have a number for each of the ", nheads,
                     " heads, got ", A_log.size(), " and ", dt_bias.size(), ".");
    problems.require(dt_min >= 0 && dt_max >= dt_min,
                     "dt_limit must be a range of numbers from 0 on, got [", dt_min, ", ", dt_max,
                     "].");
    for (const std::vector<float>* values : {&A_log, &dt_bias})
      if (!std::ranges::all_of(*values, [](float x) { return std::isfinite(x); }))
        problems.add("A_log and dt_bias must be finite.");
  }

  [[nodiscard]] Recurrence recurrence() const {
    Recurrence of{.shape = {nheads, ngroups, d_state, headdim},
                  .decay = Decay::head,
                  .rule = &discretise,
                  .rule_gradient = &discretise_gradient,
                  .biases = dt_bias,
                  .skip = D};
    for (const float a : A_log) of.rates.push_back(-std::exp(a));
    for (const double limit : {dt_min, dt_max}) of.rates.push_back(static_cast<float>(limit));
    return of;
  }

 private:
  /// Delta A, and Delta as the factor of B. The input is discretised as by Euler; the paper's text says otherwise.
  static void discretise(const Recurrence& of, Index head, Index tokens, Index row, float* decay,
                         float* write) {
    const auto at = static_cast<std::size_t>(head),
               heads = static_cast<std::size_t>(of.shape.heads);
    const float bias = of.biases[at], rate = of.rates[at], least = of.rates[heads],
                most = of.rates[heads + 1];
    const Index n = (tokens + 15) / 16 * 16;
    for (Index t = 0; t < tokens; ++t) write[t] = decay[t * row] + bias;
    leaves().softplus(n, 1, 1, write, write);
    for (Index t = 0; t < tokens; ++t) {
      write[t] = std::min(std::max(write[t], least), most);
      decay[t * row] = rate * write[t];
    }
  }
  /// Back through A Delta and Delta to dt; the rate is A, whose derivative by A_log is A again.
  static void discretise_gradient(const Recurrence& of, Index head, Index tokens, Index row,
                                  float* passed, float* gradient, const float* of_write,
                                  RuleSums& sums) {
    const auto at = static_cast<std::size_t>(head),
               heads = static_cast<std::size_t>(of.shape.heads);
    for (Index t = 0; t < tokens; ++t) {
      const double x = static_cast<double>(passed[t * row]) + static_cast<double>(of.biases[at]);
      const double delta = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
      const double least = of.rates[heads], most = of.rates[heads + 1];
      const double of_log = gradient[t * row];
      const double slope = delta > least && delta < most ? 1 / (1 + std::exp(-x)) : 0;
      const double of_dt =
          slope * (of_log * static_cast<double>(of.rates[at]) + static_cast<double>(of_write[t]));
      sums.rate += of_log * std::clamp(delta, least, most);
      sums.bias += of_dt;
      gradient[t * row] = static_cast<float>(of_dt);
    }
  }
};
// NOLINTEND(readability-identifier-naming)

}  // namespace mixers

POSENC_NAMESPACE_END
