// SPDX-License-Identifier: MIT
//
// AdamW (arXiv 1711.05101, algorithm 2), with the rate that warms up and falls by a cosine.
//
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
//   w -= rate (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + 1e-8) + decay w)
//
// Matrices decay; norms and what a scheme learns do not. What a scheme learns has a rate of its own: it has few
// numbers, each with the gradient of all tokens, and in a short run it would hardly move.
#pragma once

#include <posenc/lab/weights.hpp>

POSENC_NAMESPACE_BEGIN

namespace lab {

struct OptimizerOptions {
  double rate = 2e-3;        ///< of the weights, at its highest
  double learned_rate = 20;  ///< of what a scheme learns, in multiples of that
  double beta1 = 0.9, beta2 = 0.95;
  double decay = 0.1;
  double clip = 1;      ///< greatest norm of a step's gradient; infinity: none
  Index warm_up = 40;   ///< steps over which the rate rises
  double at_end = 0.1;  ///< the rate of the last step, in multiples of the highest

  void check(Problems& problems) const {
    const auto positive = [&](const char* what, double x) {
      problems.require(x > 0, what, " must be positive, got ", x, ".");
    };
    positive("rate", rate);
    positive("learned_rate", learned_rate);
    positive("clip", clip);
    problems.require(std::isfinite(rate) && std::isfinite(learned_rate),
                     "rates must be finite, got ", rate, " and ", learned_rate, ".");
    problems.require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
                     "beta1 and beta2 must lie within [0, 1), got ", beta1, " and ", beta2, ".");
    problems.require(std::isfinite(decay) && decay >= 0,
                     "decay must be finite and not negative, got ", decay, ".");
    problems.require(warm_up >= 0, "warm_up must not be negative, got ", warm_up, ".");
    problems.require(at_end >= 0 && at_end <= 1, "at_end must lie within [0, 1], got ", at_end,
                     ".");
  }

  /// The rate of step `step` of `steps`, from 0 on.
  [[nodiscard]] double rate_at(Index step, Index steps) const {
    if (step < warm_up) return rate * static_cast<double>(step + 1) / static_cast<double>(warm_up);
    const double share = static_cast<double>(step - warm_up + 1) /
                         static_cast<double>(std::max<Index>(steps - warm_up, 1));
    return rate * (at_end + (1 - at_end) * 0.5 * (1 + std::cos(std::numbers::pi * share)));
  }
};

/// First and second moments of some numbers, which step() moves.
template <class U>
struct Moments {
  std::vector<U> first, second;

  explicit Moments(std::size_t count) : first(count), second(count) {}

  /// Moves values [from, from + count). The gradient is multiplied by `shrink`, t counts from 1.
  void step(std::span<U> values, std::span<const U> gradient, std::size_t from, std::size_t count,
            Index t, double rate, double decay, double shrink, const OptimizerOptions& options) {
    using Array = Eigen::Map<Eigen::Array<U, Eigen::Dynamic, 1>>;
    const auto size = static_cast<Index>(count);
    Array x(values.data() + from, size), m(first.data() + from, size),
        v(second.data() + from, size);
    const Eigen::Map<const Eigen::Array<U, Eigen::Dynamic, 1>> g(gradient.data() + from, size);
    const auto as = [](double number) { return static_cast<U>(number); };
    const double b1 = options.beta1, b2 = options.beta2;
    const U to_m = as(1 / (1 - std::pow(b1, static_cast<double>(t))));
    const U to_v = as(1 / (1 - std::pow(b2, static_cast<double>(t))));
    m = as(b1) * m + as((1 - b1) * shrink) * g;
    v = as(b2) * v + as((1 - b2) * shrink * shrink) * g.square();
    x -= as(rate) * (m * to_m / ((v * to_v).sqrt() + as(1e-8)) + as(decay) * x);
  }
};

}  // namespace lab

POSENC_NAMESPACE_END
