// SPDX-License-Identifier: MIT
//
// AngleSums: angles that tokens add up, for rotations that depend on the data.
//
//   angle_t = angle_{t-1} + step_t   modulo 2 pi, within [-pi, pi]
//
// Sums are of two doubles, and so is 2 pi, so a sum over 131,072 tokens is off by less than 1e-24 before it is rounded to
// the double that is returned: it depends neither on the length nor on how a sequence is cut into pieces. (In float, as
// kernels for GPUs have it, 131,072 steps are off by about 1e-3; floats that are not reduced by more.)
#pragma once

#include <posenc/core/overlap.hpp>

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// A sum of doubles as two doubles, the second less than half a unit in the last place of the first.
struct TwoDoubles {
  double high = 0, low = 0;

  /// Adds x + more, where `more` is far smaller than x or the sum.
  void add(double x, double more = 0) {
    const double sum = high + x, part = sum - high;
    const double error = (high - (sum - part)) + (x - part) + (low + more);
    high = sum + error;
    low = error - (high - sum);
  }
  /// The same angle within [-pi, pi].
  void reduce() {
    constexpr double turn = 6.283185307179586, rest = 2.4492935982947064e-16;  // 2 pi
    if (std::abs(high) <= turn / 2) return;
    const double turns = -std::nearbyint(high / turn), whole = turns * turn;
    add(whole, std::fma(turns, turn, -whole) + turns * rest);
  }
};

template <class A>
POSENC_DETAIL_COLD void check_sums(Problems& problems, const TensorView<const A>& steps,
                                   const auto& sums, const char* input, const char* result) {
  check_view(problems, input, steps);
  check_view(problems, result, sums);
  if (!problems.empty()) return;
  problems.require(
      steps.tokens == sums.tokens && steps.heads == sums.heads && steps.width == sums.width, result,
      " must have the shape of ", input, ", ", ShapeText(steps), ", got ", ShapeText(sums), ".");
  check_result(problems, result, sums);
  problems.require(same_elements(steps, sums) || !overlap(steps, sums), input, " and ", result,
                   " must be the same view or must not overlap.");
}

}  // namespace detail

class AngleSums {
 public:
  /// No angle yet: all are 0. Throws Error for negative sizes.
  AngleSums(Index heads, Index pairs) : heads_(heads), pairs_(pairs) {
    Problems problems;
    Index all = 0;
    problems.require(heads >= 0 && pairs >= 0 && multiply(heads, pairs, all) &&
                         multiply(all, Index{sizeof(detail::TwoDoubles)}, all),
                     "heads and pairs must not be negative and must fit in memory, got ", heads,
                     " and ", pairs, ".");
    problems.raise_if_any("posenc::AngleSums");
    clear();
  }

  /// The next tokens of the sequence: adds their steps, [tokens, heads, pairs] in radians, and writes the angle of each
  /// token, its own step included. Steps of double may be overwritten by their angles. A step that is not finite makes its
  /// pair's angles NaN from there on. Throws Error on mismatched shapes.
  template <class A>
  void add(TensorView<const A> steps, TensorView<double> angles) {
    Problems problems;
    detail::check_sums(problems, steps, angles, "the steps", "the angles");
    problems.require(steps.heads == heads_ && steps.width == pairs_, "these sums are of ", heads_,
                     " heads of ", pairs_, " pairs, but the steps are ", detail::ShapeText(steps),
                     ".");
    problems.raise_if_any("posenc::AngleSums::add");
    for (Index t = 0; t < steps.tokens; ++t)
      for (Index h = 0; h < heads_; ++h)
        for (Index i = 0; i < pairs_; ++i) {
          detail::TwoDoubles& sum = sums_[at(h, i)];
          sum.add(static_cast<double>(steps(t, h, i)));
          sum.reduce();
          angles(t, h, i) = sum.high;
        }
  }
  template <class A>
  void add(TensorView<A> steps, TensorView<double> angles) {
    add(TensorView<const A>(steps), angles);
  }

  [[nodiscard]] Index heads() const { return heads_; }
  [[nodiscard]] Index pairs() const { return pairs_; }
  /// The angle of the last token; set_angle continues from another.
  [[nodiscard]] double angle(Index head, Index pair) const { return sums_[at(head, pair)].high; }
  void set_angle(Index head, Index pair, double radians) {
    detail::TwoDoubles sum{radians, 0};
    sum.reduce();
    sums_[at(head, pair)] = sum;
  }
  [[nodiscard]] std::size_t bytes() const { return sums_.size() * sizeof(detail::TwoDoubles); }
  void clear() { sums_.assign(static_cast<std::size_t>(heads_ * pairs_), {}); }

 private:
  [[nodiscard]] std::size_t at(Index head, Index pair) const {
    return static_cast<std::size_t>(head * pairs_ + pair);
  }

  Index heads_, pairs_;
  std::vector<detail::TwoDoubles> sums_;
};

/// The gradient of the steps from that of the angles: d_step_t = the sum of d_angle_s over s >= t. d_steps may be d_angles.
/// `later` [heads][pairs] is what tokens behind these have added, and becomes what these and they have; empty: 0.
/// Throws Error on mismatched shapes.
template <class A>
void angle_sums_backward(TensorView<const A> d_angles, TensorView<A> d_steps,
                         std::span<double> later = {}) {
  Problems problems;
  detail::check_sums(problems, d_angles, d_steps, "d_angles", "d_steps");
  problems.require(later.empty() || std::ssize(later) == d_angles.heads * d_angles.width,
                   "later must have ", d_angles.heads, " times ", d_angles.width, " numbers, got ",
                   later.size(), ".");
  problems.raise_if_any("posenc::angle_sums_backward");
  for (Index h = 0; h < d_angles.heads; ++h)
    for (Index i = 0; i < d_angles.width; ++i) {
      const auto at = static_cast<std::size_t>(h * d_angles.width + i);
      detail::TwoDoubles sum{later.empty() ? 0 : later[at], 0};
      for (Index t = d_angles.tokens; t-- > 0;) {
        sum.add(static_cast<double>(d_angles(t, h, i)));
        d_steps(t, h, i) = static_cast<A>(sum.high);
      }
      if (!later.empty()) later[at] = sum.high;
    }
}

POSENC_NAMESPACE_END
