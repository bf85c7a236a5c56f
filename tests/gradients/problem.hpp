// SPDX-License-Identifier: MIT
//
// A call of attention and of its gradient with tensors of random numbers, and what it is compared with.
#pragma once

#include <posenc/attention/attention.hpp>
#include <posenc/attention/backward.hpp>
#include <posenc/attention/reference_backward.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace gradient_test {

using namespace posenc;
using posenc_test::noise;

struct Sizes {
  Index queries = 70, keys = 70, heads = 4, kv_heads = 2, width = 16, value_width = 16;
};

template <class T>
struct Gradients {
  std::vector<T> q, k, v;
  std::vector<double> parameters;
  bool operator==(const Gradients&) const = default;
};

/// Tensors [tokens][heads][width] of one call.
template <class T>
struct Problem {
  Sizes n;
  std::vector<T> q, k, v, d_out;

  explicit Problem(Sizes sizes, unsigned seed = 1)
      : n(sizes), q(noise<T>(n.queries * n.heads * n.width, seed, -1.5, 1.5)),
        k(noise<T>(n.keys * n.kv_heads * n.width, seed + 1, -1.5, 1.5)),
        v(noise<T>(n.keys * n.kv_heads * n.value_width, seed + 2)),
        d_out(noise<T>(n.queries * n.heads * n.value_width, seed + 3)) {}

  [[nodiscard]] TensorView<const T> queries() const {
    return {q.data(), n.queries, n.heads, n.width};
  }
  [[nodiscard]] TensorView<const T> keys() const { return {k.data(), n.keys, n.kv_heads, n.width}; }
  [[nodiscard]] TensorView<const T> values() const {
    return {v.data(), n.keys, n.kv_heads, n.value_width};
  }
  [[nodiscard]] TensorView<const T> out_gradient() const {
    return {d_out.data(), n.queries, n.heads, n.value_width};
  }

  template <class BoundT>
  [[nodiscard]] Gradients<T> kernel(const BoundT& bound, AttentionOptions<T> options = {},
                                    const ParameterOptions& learned = {}) const {
    std::vector<T> out(d_out.size()), lse(static_cast<std::size_t>(n.queries * n.heads));
    const TensorView<T> y(out.data(), n.queries, n.heads, n.value_width);
    options.lse = lse;
    attention(queries(), keys(), values(), y, bound, options);
    options.lse = {};
    // Whatever was in the results is overwritten.
    Gradients<T> d{std::vector<T>(q.size(), T{7}),
                   std::vector<T>(k.size(), T(NAN)),
                   std::vector<T>(v.size(), T{-7}),
                   {}};
    ParameterGradients parameters(bound, learned);
    attention_backward<T>({queries(), keys(), values(), y, lse}, out_gradient(),
                          {{d.q.data(), n.queries, n.heads, n.width},
                           {d.k.data(), n.keys, n.kv_heads, n.width},
                           {d.v.data(), n.keys, n.kv_heads, n.value_width},
                           &parameters},
                          bound, options);
    d.parameters.assign(parameters.values().begin(), parameters.values().end());
    return d;
  }

  template <class BoundT>
  [[nodiscard]] ReferenceGradients reference(const BoundT& bound,
                                             const AttentionOptions<T>& options = {}) const {
    return reference_attention_backward(queries(), keys(), values(), out_gradient(), bound,
                                        options);
  }

  /// L = <d_out, out>, whose gradients the functions above return.
  template <class BoundT>
  [[nodiscard]] double loss(const BoundT& bound, const AttentionOptions<T>& options = {}) const {
    const ReferenceResult y = reference_attention(queries(), keys(), values(), bound, options);
    double sum = 0;
    for (std::size_t i = 0; i < y.out.size(); ++i) sum += static_cast<double>(d_out[i]) * y.out[i];
    return sum;
  }
};

/// Greatest difference as a share of the greatest number expected, or of 1; infinite for NaN.
template <class A, class B>
double worst(const std::vector<A>& got, const std::vector<B>& expected) {
  if (got.size() != expected.size()) return HUGE_VAL;
  double off = 0, size = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double g = static_cast<double>(got[i]), e = static_cast<double>(expected[i]);
    const double d = g == e ? 0 : std::abs(g - e);
    off = std::isnan(d) ? HUGE_VAL : std::max(off, d);
    if (std::isfinite(e)) size = std::max(size, std::abs(e));
  }
  return off / size;
}

/// A row's gradients of scores sum to zero, so sums of them times distances lose digits: parameters of
/// biases by far distances have a tolerance of their own.
template <class T>
void check_same(const Gradients<T>& got, const ReferenceGradients& expected, double tolerance,
                double of_parameters = 0) {
  CHECK(worst(got.q, expected.q) <= tolerance);
  CHECK(worst(got.k, expected.k) <= tolerance);
  CHECK(worst(got.v, expected.v) <= tolerance);
  CHECK(worst(got.parameters, expected.parameters) <= std::max(tolerance, of_parameters));
}

/// The central difference of f over x, at some of its elements, against `gradient`.
template <class F>
void check_differences(std::vector<double>& x, const std::vector<double>& gradient, const F& f,
                       std::size_t stride = 1) {
  constexpr double h = 1e-5;
  double size = 1, off = 0;
  for (const double g : gradient) size = std::max(size, std::abs(g));
  REQUIRE(x.size() == gradient.size());
  for (std::size_t i = 0; i < x.size(); i += stride) {
    const double before = x[i];
    x[i] = before + h;
    const double more = f();
    x[i] = before - h;
    const double less = f();
    x[i] = before;
    const double d = std::abs((more - less) / (2 * h) - gradient[i]);
    off = d <= off ? off : d;  // NaN stays
  }
  // h^2 times the third derivative, and the rounding of a sum of some hundred terms over 2 h.
  CHECK(off <= 2e-8 * size);
}

}  // namespace gradient_test
