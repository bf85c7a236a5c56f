// SPDX-License-Identifier: MIT
//
// The gradient of head_norm(). With n = (x - mean) f, f = 1 / sqrt(var + eps), over the channels that are normalised
// together:
//
//   dx = f (dn - mean(dn) - n mean(dn n))          the mean is subtracted where it is of x: `centred`
//   silu'(g) = s (1 + g (1 - s)),  s = 1 / (1 + exp(-g))
#pragma once

#include <posenc/mixers/head_norm.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

namespace mixers {

/// Where the gradients of head_norm go: of x and of the gate they are overwritten, of what is learned, [heads of
/// x][width] as weight and bias are, added to. Those that are empty are not wanted.
struct HeadNormGradients {
  TensorView<float> x;
  TensorView<float> gate{};
  std::span<double> weight{}, bias{};
};

/// From x as it was before head_norm(x, by, gate), and the gradient of what it became. `to.x` may be `d_y`.
/// Throws Error for shapes that do not fit together.
inline void head_norm_backward(const TensorView<const float>& x, const HeadNorm& by,
                               const TensorView<const float>& gate,
                               const TensorView<const float>& d_y, const HeadNormGradients& to) {
  Problems problems;
  norm::check(problems, x, by, gate);
  const auto fits = [&](const char* what, const auto& view) {
    problems.require(view.tokens == x.tokens && view.heads == x.heads && view.width == x.width,
                     what, " must have the shape of x, ", posenc::detail::ShapeText(x), ", got ",
                     posenc::detail::ShapeText(view), ".");
  };
  fits("the gradient of the result", d_y), fits("the gradient of x", to.x);
  const bool gated = gate.data != nullptr;
  if (to.gate.data) fits("the gradient of the gate", to.gate);
  problems.require(gated || !to.gate.data, "there is no gate, so it has no gradient.");
  for (const auto& [name, values] : {std::pair{"weight", to.weight}, std::pair{"bias", to.bias}})
    problems.require(values.empty() || std::ssize(values) == x.heads * x.width,
                     "the gradient of the ", name, " must have ", x.heads * x.width,
                     " numbers, got ", values.size(), ".");
  problems.raise_if_any("posenc::mixers::head_norm_backward");

  const Index count = by.heads * x.width;
  std::vector<double> in(static_cast<std::size_t>(count)), s = in, slope = in, dn = in;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index first = 0; first < x.heads; first += by.heads) {
      const auto for_all = [&](const auto& f) {
        for (Index i = 0; i < count; ++i)
          f(static_cast<std::size_t>(i), first + i / x.width, i % x.width);
      };
      double mean = 0, squares = 0;
      for_all([&](std::size_t i, Index h, Index c) {
        const double g = gated ? static_cast<double>(gate(t, h, c)) : 0;
        const double open = 1 / (1 + std::exp(-g));
        s[i] = gated ? g * open : 1;
        slope[i] = open * (1 + g * (1 - open));
        in[i] = static_cast<double>(x(t, h, c)) * (by.gate_first ? s[i] : 1);
        if (by.centred) mean += in[i] / static_cast<double>(count);
      });
      for (const double one : in) squares += (one - mean) * (one - mean);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(count) + by.eps);
      double of_mean = 0, of_factor = 0;
      for_all([&](std::size_t i, Index h, Index c) {
        const auto at = static_cast<std::size_t>(h * x.width + c);
        const double n = (in[i] - mean) * factor, dy = static_cast<double>(d_y(t, h, c));
        const double d = by.gate_first ? dy : dy * s[i];
        const double weight = by.weight.empty() ? 1 : static_cast<double>(by.weight[at]);
        const double bias = by.bias.empty() ? 0 : static_cast<double>(by.bias[at]);
        if (!to.weight.empty()) to.weight[at] += d * n;
        if (!to.bias.empty()) to.bias[at] += d;
        if (to.gate.data && !by.gate_first)
          to.gate(t, h, c) = static_cast<float>(dy * (n * weight + bias) * slope[i]);
        dn[i] = d * weight;
        if (by.centred) of_mean += dn[i] / static_cast<double>(count);
        of_factor += dn[i] * n / static_cast<double>(count);
      });
      for_all([&](std::size_t i, Index h, Index c) {
        const double d = factor * (dn[i] - of_mean - (in[i] - mean) * factor * of_factor);
        if (to.gate.data && by.gate_first)
          to.gate(t, h, c) = static_cast<float>(d * static_cast<double>(x(t, h, c)) * slope[i]);
        to.x(t, h, c) = static_cast<float>(by.gate_first ? d * s[i] : d);
      });
    }
}

}  // namespace mixers

POSENC_NAMESPACE_END
