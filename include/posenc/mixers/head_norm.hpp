// SPDX-License-Identifier: MIT
//
// Norms and gates of the outputs of a mixer, head by head, as the published blocks have them between the operator and
// the last projection:
//
//   RetNet          x = rms(x) silu(g)                     .eps = 1e-6
//   GLA             x = rms(x) w silu(g)                   .eps = 1e-5, .weight
//   RWKV-5, 6       x = (groupnorm(x) w + b) silu(g)       .eps = 64e-5, .centred = true, .weight, .bias
//   Mamba-2         x = rms(x silu(z)) w                   .eps = 1e-5, .weight, .gate_first = true, .heads = nheads / ngroups
//
// rms(x) = x / sqrt(mean(x^2) + eps), groupnorm(x) = (x - mean) / sqrt(var + eps), over the channels of `heads`
// neighbouring heads; silu(g) = g / (1 + exp(-g)). Sums are in double; 16-bit elements are rounded once.
#pragma once

#include <posenc/core/element.hpp>
#include <posenc/core/overlap.hpp>

#include <cmath>
#include <span>
#include <type_traits>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace mixers {

struct HeadNorm {
  double eps = 1e-5;
  bool centred = false;             ///< subtracts the mean, as group norm does
  Index heads = 1;                  ///< neighbouring heads that are normalised together
  std::span<const float> weight{};  ///< [heads of x][width]; for RetNet none
  std::span<const float> bias{};    ///< the same
  bool gate_first = false;  ///< the gate multiplies what is normalised, not what comes of it
};

namespace norm {

inline double silu(double x) { return x / (1 + std::exp(-x)); }

template <class T, class G>
void check(Problems& problems, const TensorView<T>& x, const HeadNorm& by,
           const TensorView<G>& gate) {
  posenc::detail::check_view(problems, "x", x);
  posenc::detail::check_result(problems, "x", x);
  const bool fits = gate.tokens == x.tokens && gate.heads == x.heads && gate.width == x.width;
  problems.require(gate.data == nullptr || fits, "the gate must have the shape of x, ",
                   posenc::detail::ShapeText(x), ", got ", posenc::detail::ShapeText(gate), ".");
  problems.require(by.heads >= 1 && x.heads % by.heads == 0,
                   "heads that are normalised together must divide the ", x.heads,
                   " heads of x, got ", by.heads, ".");
  problems.require(by.eps >= 0 && std::isfinite(by.eps), "eps must not be negative, got ", by.eps,
                   ".");
  for (const auto& [name, values] : {std::pair{"weight", by.weight}, std::pair{"bias", by.bias}})
    problems.require(values.empty() || std::ssize(values) == x.heads * x.width, name, " must have ",
                     x.heads * x.width, " numbers, got ", values.size(), ".");
}

}  // namespace norm

/// Normalises the rows of x in place, and multiplies by silu(gate) where there is one.
/// Throws Error for shapes that do not fit together.
template <Element T, class G>
  requires Element<std::remove_const_t<G>>
void head_norm(const TensorView<T>& x, const HeadNorm& by, const TensorView<G>& gate) {
  Problems problems;
  norm::check(problems, x, by, gate);
  problems.raise_if_any("posenc::mixers::head_norm");
  const bool gated = gate.data != nullptr;
  const auto silu = [&](Index t, Index h, Index c) {
    return norm::silu(static_cast<double>(widen<std::remove_const_t<G>>(gate(t, h, c))));
  };
  for (Index t = 0; t < x.tokens; ++t)
    for (Index first = 0; first < x.heads; first += by.heads) {
      const auto for_all = [&](const auto& f) {
        for (Index h = first; h < first + by.heads; ++h)
          for (Index c = 0; c < x.width; ++c) {
            const double value = static_cast<double>(widen<T>(x(t, h, c)));
            f(h, c, gated && by.gate_first ? value * silu(t, h, c) : value);
          }
      };
      const auto n = static_cast<double>(by.heads * x.width);
      double mean = 0, squares = 0;
      if (by.centred) for_all([&](Index, Index, double value) { mean += value / n; });
      for_all([&](Index, Index, double value) { squares += (value - mean) * (value - mean); });
      const double factor = 1 / std::sqrt(squares / n + by.eps);
      for_all([&](Index h, Index c, double value) {
        const auto at = static_cast<std::size_t>(h * x.width + c);
        double y = (value - mean) * factor;
        if (!by.weight.empty()) y *= static_cast<double>(by.weight[at]);
        if (!by.bias.empty()) y += static_cast<double>(by.bias[at]);
        if (gated && !by.gate_first) y *= silu(t, h, c);
        x(t, h, c) = narrow<T>(static_cast<arithmetic_t<T>>(y));
      });
    }
}
template <Element T>
void head_norm(const TensorView<T>& x, const HeadNorm& by) {
  head_norm(x, by, TensorView<T>());
}

}  // namespace mixers

POSENC_NAMESPACE_END
