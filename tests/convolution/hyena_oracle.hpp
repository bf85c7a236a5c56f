// SPDX-License-Identifier: MIT
//
// Hyena's filters and its operator by their formulas, in long double, of parameters in float or in long double.
#pragma once

#include "oracle.hpp"

#include <numbers>

namespace convolution_test {

/// h [channels][taps], from the formulas of hyena_filter.hpp.
template <class Filter>
std::vector<Real> filters(const Filter& of, Index taps) {
  const Index bands = (of.emb_dim - 1) / 2;
  const auto linspace = [](Real a, Real b, Index i, Index n) {
    return n == 1 ? a : a + (b - a) * static_cast<Real>(i) / static_cast<Real>(n - 1);
  };
  const auto at = [](const auto& x, Index i) {
    return static_cast<Real>(x[static_cast<std::size_t>(i)]);
  };
  std::vector<Real> h(static_cast<std::size_t>(of.channels * taps));
  for (Index l = 0; l < taps; ++l) {
    const Real t = linspace(0, 1, l, of.l_max);
    std::vector<Real> a{t};
    for (const bool sine : {false, true})
      for (Index i = 0; i < bands; ++i) {
        const Real angle = linspace(1e-4L, static_cast<Real>(bands - 1), i, bands) * 2 *
                           std::numbers::pi_v<Real> * static_cast<Real>(l) /
                           static_cast<Real>(of.l_max);
        a.push_back(sine ? -std::sin(angle) : std::cos(angle));
      }
    const auto layer = [&](const auto& w, Index first, const auto& b, Index first_b) {
      std::vector<Real> next;
      for (Index n = 0; n < of.width; ++n) {
        Real sum = at(b, first_b + n);
        for (std::size_t k = 0; k < a.size(); ++k)
          sum += at(w, first + n * std::ssize(a) + static_cast<Index>(k)) * a[k];
        next.push_back(std::sin(at(of.freq, n) * sum));
      }
      a = next;
    };
    layer(of.in_weight, 0, of.in_bias, 0);
    for (Index i = 0; i < of.inner_layers; ++i)
      layer(of.inner_weight, i * of.width * of.width, of.inner_bias, i * of.width);
    for (Index c = 0; c < of.channels; ++c) {
      Real sum = 0;
      for (Index n = 0; n < of.width; ++n)
        sum += at(of.out_weight, c * of.width + n) * a[static_cast<std::size_t>(n)];
      const Real delta =
          linspace(std::log(static_cast<Real>(of.target)) / static_cast<Real>(of.slow_decay_pct),
                   std::log(static_cast<Real>(of.target)) / static_cast<Real>(of.fast_decay_pct), c,
                   of.channels);
      h[static_cast<std::size_t>(c * taps + l)] =
          of.modulate ? sum * (std::exp(-t * std::abs(delta)) + static_cast<Real>(of.shift)) : sum;
    }
  }
  return h;
}

/// out = D(x_0) T(h_1) D(x_1) ... v with dense products, [tokens][d_model].
template <class Layer, class T>
std::vector<Real> dense(const Layer& of, const std::vector<T>& in, Index tokens) {
  const Index D = of.d_model, M = of.order;
  const auto u = [&](Index t, Index part, Index c) {
    Real sum = static_cast<Real>(of.short_bias[static_cast<std::size_t>(part * D + c)]);
    for (Index j = 0; j < 3; ++j)
      if (t - 2 + j >= 0)
        sum +=
            static_cast<Real>(of.short_weight[static_cast<std::size_t>((part * D + c) * 3 + j)]) *
            static_cast<Real>(in[static_cast<std::size_t>(((t - 2 + j) * (M + 1) + part) * D + c)]);
    return sum;
  };
  const auto rows = [&](Index part) {
    std::vector<Real> all;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < D; ++c) all.push_back(u(t, part, c));
    return all;
  };
  const std::vector<Real> h = filters(of.filter, tokens);
  std::vector<Real> v = rows(M);
  const auto gate = [&](Index part) {
    const std::vector<Real> x = rows(part);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] *= x[i];
  };
  for (Index part = M - 1; part >= 1; --part) {
    gate(part);
    const Index first = (M - 1 - part) * D;
    const std::vector<Real> own(h.begin() + first * tokens, h.begin() + (first + D) * tokens);
    std::vector<Real> y = toeplitz(own, v, D);
    for (std::size_t i = 0; i < v.size(); ++i)
      y[i] +=
          static_cast<Real>(
              of.filter.bias[static_cast<std::size_t>(first) + i % static_cast<std::size_t>(D)]) *
          v[i];
    v = y;
  }
  gate(0);
  return v;
}

}  // namespace convolution_test
