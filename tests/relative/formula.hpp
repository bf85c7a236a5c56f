// SPDX-License-Identifier: MIT
//
// Attention from a formula, in long double, for the few tokens of a test; the formula of the scores
// and of what is summed is written out in each test.
#pragma once

#include "../attention/calls.hpp"
#include "../support/levels.hpp"

#include <cmath>
#include <functional>

namespace relative_test {

using namespace posenc;
using namespace attention_test;
using posenc_test::at_every_level;
using Real = long double;

/// Numbers in [-gain, gain).
inline std::vector<float> noise(Index n, std::uint64_t seed, double gain = 1) {
  Random random(seed);
  std::vector<float> values(size(n));
  for (float& x : values) x = static_cast<float>(random.real(-gain, gain));
  return values;
}

inline Real real(float x) { return static_cast<Real>(x); }

/// sum over c of a(c) b(c).
template <class A, class B>
Real dot(Index width, const A& a, const B& b) {
  Real sum = 0;
  for (Index c = 0; c < width; ++c) sum += static_cast<Real>(a(c)) * static_cast<Real>(b(c));
  return sum;
}

/// One call whose query row r stands at `first_query + r` and whose keys begin at 0.
struct Formula {
  /// score(r, j, h), of query row r and key row j; what(r, j, h, c), what is summed of it
  std::function<Real(Index, Index, Index)> score;
  std::function<Real(Index, Index, Index, Index)> what;
  std::function<bool(Index, Index)> visible = [](Index, Index) { return true; };
};

/// The greatest difference of kernel and reference from the formula, over outputs and log-sum-exps.
template <class T, class BoundT>
std::pair<double, double> differences(const Arguments<T>& call, const BoundT& bound,
                                      const Formula& formula) {
  const Output<T> got = attend_in_nan(call, bound);
  const ReferenceResult reference =
      reference_attention(call.q, call.k, call.v, bound, call.options);
  std::pair<double, double> worst{};
  const auto differ = [](double& most, Real a, Real b) {
    const Real off = std::abs(a - b);
    most = std::isnan(off) ? HUGE_VAL : std::max(most, static_cast<double>(off));
  };
  const TensorView<const T> out = got.out;
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < out.heads; ++h) {
      Real sum = 0;
      std::vector<Real> expected(size(out.width));
      for (Index j = 0; j < call.k.tokens; ++j) {
        if (!formula.visible(r, j)) continue;
        const Real weight = std::exp(formula.score(r, j, h));
        sum += weight;
        for (Index c = 0; c < out.width; ++c)
          expected[size(c)] += weight * formula.what(r, j, h, c);
      }
      const std::size_t row = size(r * out.heads + h);
      for (Index c = 0; c < out.width; ++c) {
        const Real value = expected[size(c)] / sum;
        differ(worst.first, static_cast<Real>(out(r, h, c)), value);
        differ(worst.second, static_cast<Real>(reference.out[row * size(out.width) + size(c)]),
               value);
      }
      differ(worst.first, static_cast<Real>(got.lse[row]), std::log(sum));
      differ(worst.second, static_cast<Real>(reference.lse[row]), std::log(sum));
    }
  return worst;
}

/// Kernel and reference equal the formula.
template <class T, class BoundT>
void check_formula(const Arguments<T>& call, const BoundT& bound, const Formula& formula) {
  const auto [kernel, reference] = differences(call, bound, formula);
  CHECK(kernel <= (sizeof(T) == sizeof(float) ? 3e-6 : 1e-14));
  CHECK(reference <= 1e-14);
}

/// The greatest difference of the kernel from the reference, in units of the greatest output and of
/// the greatest log-sum-exp above 1. Rows that see nothing must be the same.
template <class T, class BoundT>
double off_reference(const Arguments<T>& call, const BoundT& bound,
                     const ReferenceResult& expected) {
  const Output<T> got = attend_in_nan(call, bound);
  double worst = 0, out_scale = 1e-3, lse_scale = 1;
  for (const double x : expected.out) out_scale = std::max(out_scale, std::abs(x));
  for (const double x : expected.lse)
    if (std::isfinite(x)) lse_scale = std::max(lse_scale, std::abs(x));
  const auto compare = [&](double a, double b, double scale) {
    if (a == b) return;
    const double off = std::abs(a - b) / scale;
    worst = std::isnan(off) ? HUGE_VAL : std::max(worst, off);
  };
  const TensorView<const T> out = got.out;
  for (Index r = 0; r < out.tokens; ++r)
    for (Index h = 0; h < out.heads; ++h) {
      const std::size_t row = size(r * out.heads + h);
      for (Index c = 0; c < out.width; ++c)
        compare(static_cast<double>(out(r, h, c)), expected.out[row * size(out.width) + size(c)],
                out_scale);
      compare(static_cast<double>(got.lse[row]), expected.lse[row], lse_scale);
    }
  return worst;
}
template <class T, class BoundT>
double off_reference(const Arguments<T>& call, const BoundT& bound) {
  return off_reference(call, bound,
                       reference_attention(call.q, call.k, call.v, bound, call.options));
}

template <class T>
constexpr double close = sizeof(T) == sizeof(float) ? 5e-6 : 2e-14;

/// Each token decoded alone, with the keys up to it, as among all.
template <class BoundT>
void check_decode(const Inputs<float>& inputs, const BoundT& bound) {
  const Arguments<float> call = inputs.call();
  const Output<float> all = attend(call, bound);
  const TensorView<const float> x = all.out;
  for (const Index token : {Index{0}, x.tokens / 2, x.tokens - 1}) {
    const Arguments<float> one{call.q.slice(token, 1), call.k.slice(0, token + 1),
                               call.v.slice(0, token + 1)};
    const Output<float> row = attend(one, bound);
    const TensorView<const float> y = row.out;
    for (Index h = 0; h < x.heads; ++h)
      for (Index c = 0; c < x.width; ++c) CHECK(std::abs(y(0, h, c) - x(token, h, c)) <= 2e-6F);
  }
}

/// The sentences of an Error that f() throws.
template <class F>
std::string sentences_thrown(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    std::string all;
    for (const std::string& sentence : error.problems()) all += sentence + "\n";
    return all;
  }
  return "nothing thrown";
}

}  // namespace relative_test
