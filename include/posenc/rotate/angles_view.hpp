// SPDX-License-Identifier: MIT
//
// Rotation by angles that the caller gives: for each token, head and pair, where they depend on the data.
//
//   y(token, head)[pair] = R(angle(token, head, pair)) x(token, head)[pair]
//
// Selective RoPE (arXiv 2511.17388) and Mamba-3 (arXiv 2603.15569; state-spaces/mamba, ops/triton/mamba3/angle_dt.py) sum
// what each token turns by: rotate/angle_sums.hpp. Layouts, strides and elements are those of rotate(); the gradients are
// those of x and of the angles.
//
// Cosine and sine are the library's own, of the angle in double, rounded once to what is computed in: float for float and
// the 16-bit types. So they are as exact as the angles: angles in float are off by 2^-24 of their size, which sums modulo
// 2 pi keep below 2e-7. An angle that is not finite makes its two channels NaN.
#pragma once

#include <posenc/rotate/rotate.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN

/// Radians, [tokens, heads, pairs]; neighbouring heads share angles where there are fewer heads of angles (one for all,
/// or any divisor). Pairs are those of the first 2 pairs channels from rotary_offset on; other channels are copied.
template <Layout LayoutT, class A = double>
struct AnglesView {
  static_assert(std::is_same_v<A, float> || std::is_same_v<A, double>,
                "posenc: angles are float or double.");
  TensorView<const A> angles;
  Index rotary_offset = 0;

  explicit AnglesView(TensorView<const A> angles_, Index rotary_offset_ = 0)
      : angles(angles_), rotary_offset(rotary_offset_) {}
};

namespace detail {

/// Which channels of heads of this width rotate.
template <class LayoutT, class A>
Rotary channels_of_angles(const AnglesView<LayoutT, A>& by, Index width) {
  Rotary rotary{.layout = &layout_rule<LayoutT>};
  rotary.state.head_dim = width;
  rotary.state.rotary_dim = 2 * by.angles.width;
  rotary.offset = by.rotary_offset;
  return rotary;
}

/// Angles, named `what`, for vectors of this shape.
template <class LayoutT, class A, class T>
POSENC_DETAIL_COLD void check_angles(Problems& problems, const char* what,
                                     const AnglesView<LayoutT, A>& by, const TensorView<T>& x) {
  const auto& angles = by.angles;
  check_view(problems, what, angles);
  if (!problems.empty()) return;
  problems.require(angles.tokens == x.tokens, what, " are of ", angles.tokens,
                   " tokens, but the tensor has ", x.tokens, ".");
  problems.require(x.heads == 0 || (angles.heads >= 1 && x.heads % angles.heads == 0),
                   "the heads of ", what, " must divide those of the tensor, got ", angles.heads,
                   " and ", x.heads, ".");
  problems.require(by.rotary_offset >= 0 && by.rotary_offset <= x.width &&
                       angles.width <= (x.width - by.rotary_offset) / 2,
                   angles.width, " pairs from channel ", by.rotary_offset,
                   " on are not within heads of ", x.width, " channels.");
}

/// Cosines and sines of some pairs, with zeros behind them up to a whole block: the leaf multiplies these too.
template <class A, class U>
void cos_sin_of(const TensorView<const A>& angles, Index token, Index head, Index first,
                Index count, bool inverse, U* cos, U* sin) {
  Index i = 0;
  for (; i < count; ++i) {
    const auto angle = static_cast<double>(angles(token, head, first + i));
    const double s = std::sin(angle);
    cos[i] = static_cast<U>(std::cos(angle));
    sin[i] = static_cast<U>(inverse ? -s : s);
  }
  for (; i % AngleTable::pair_block != 0; ++i) cos[i] = sin[i] = 0;
}

template <class LayoutT, class A, class T>
void rotate_by_angles(const TensorView<const T>& x, const TensorView<T>& y,
                      const AnglesView<LayoutT, A>& by, const AnyExecutor& executor, RotateBy how) {
  using U = arithmetic_t<T>;
  const RotateTensors<T, 1> tensors{{{x, y, {}}}};
  Problems problems;
  check_tensors(problems, tensors, x.width);
  if (problems.empty()) check_angles(problems, "the angles", by, x);
  problems.raise_if_any(who(how));
  if (x.heads == 0) return;
  const Rotary rotary = channels_of_angles(by, x.width);
  const Index pairs = rotary.pairs(), share = x.heads / by.angles.heads;
  for_token_ranges(executor, tensors, [&](Index begin, Index end) {
    alignas(64) U cos[most_angle_pairs], sin[most_angle_pairs];
    for (Index t = begin; t < end; ++t)
      for (Index h = 0; h < by.angles.heads; ++h) {
        RotateTensors<T, 1> heads = tensors;
        heads[0].x.data = x.row(0, h * share), heads[0].x.heads = share;
        heads[0].y.data = y.row(0, h * share), heads[0].y.heads = share;
        const auto some = [&](Index first, Index count) {
          cos_sin_of(by.angles, t, h, first, count, how != RotateBy::rotation, cos, sin);
          RotateKernel<LayoutT, T, 1>::pairs_by_angles(heads, t, 1, rotary, first, count,
                                                       {cos, sin, 0});
        };
        pairs == 0 ? some(0, 0) : for_pair_chunks(pairs, some);
      }
  });
}

}  // namespace detail

/// Rotates x [tokens, heads, head_dim] into y; x and y may be the same view. Allocates nothing, and gives the same bits
/// for any number of threads. Throws Error on mismatched shapes.
template <class T, class LayoutT, class A>
void rotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
            const AnglesView<LayoutT, A>& by, const AnyExecutor& executor = {}) {
  detail::rotate_by_angles(x, y, by, executor, detail::RotateBy::rotation);
}
/// Rotates in place.
template <class T, class LayoutT, class A>
void rotate(TensorView<T> x, const AnglesView<LayoutT, A>& by, const AnyExecutor& executor = {}) {
  rotate(TensorView<const T>(x), x, by, executor);
}

/// Rotates the other way round.
template <class T, class LayoutT, class A>
void unrotate(std::type_identity_t<TensorView<const T>> x, TensorView<T> y,
              const AnglesView<LayoutT, A>& by, const AnyExecutor& executor = {}) {
  detail::rotate_by_angles(x, y, by, executor, detail::RotateBy::inverse);
}
template <class T, class LayoutT, class A>
void unrotate(TensorView<T> x, const AnglesView<LayoutT, A>& by, const AnyExecutor& executor = {}) {
  unrotate(TensorView<const T>(x), x, by, executor);
}

/// The gradient of x from that of y = rotate(x): d_x = R^T d_y. d_x may be d_y.
template <class T, class LayoutT, class A>
void rotate_backward(std::type_identity_t<TensorView<const T>> d_y, TensorView<T> d_x,
                     const AnglesView<LayoutT, A>& by, const AnyExecutor& executor = {}) {
  detail::rotate_by_angles(d_y, d_x, by, executor, detail::RotateBy::transpose);
}

/// The gradient of the angles, [tokens, heads, pairs] as they are: with y = R x and a pair of channels a and b,
/// d_angle = d_y_b y_a - d_y_a y_b, summed in double over the heads that share the angle.
template <class T, class LayoutT, class A, class D>
void angles_backward(std::type_identity_t<TensorView<const T>> x, TensorView<const T> d_y,
                     TensorView<D> d_angles, const AnglesView<LayoutT, A>& by) {
  static_assert(std::is_same_v<D, float> || std::is_same_v<D, double>,
                "posenc: gradients of angles are float or double.");
  Problems problems;
  detail::check_view(problems, "x", x);
  detail::check_view(problems, "d_y", d_y);
  detail::check_view(problems, "d_angles", d_angles);
  if (problems.empty()) {
    detail::check_angles(problems, "the angles", by, x);
    problems.require(d_y.tokens == x.tokens && d_y.heads == x.heads && d_y.width == x.width,
                     "d_y must have the shape of x, ", detail::ShapeText(x), ", got ",
                     detail::ShapeText(d_y), ".");
    problems.require(d_angles.tokens == by.angles.tokens && d_angles.heads == by.angles.heads &&
                         d_angles.width == by.angles.width,
                     "d_angles must have the shape of the angles, ", detail::ShapeText(by.angles),
                     ", got ", detail::ShapeText(d_angles), ".");
    detail::check_result(problems, "d_angles", d_angles);
    problems.require(!overlap(d_angles, x) && !overlap(d_angles, d_y) &&
                         !overlap(d_angles, by.angles),
                     "d_angles must not overlap x, d_y or the angles.");
  }
  problems.raise_if_any("posenc::angles_backward");
  if (x.heads == 0) return;
  const Index pairs = by.angles.width, share = x.heads / by.angles.heads;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < by.angles.heads; ++h)
      for (Index i = 0; i < pairs; ++i) {
        const auto angle = static_cast<double>(by.angles(t, h, i));
        const double cos = std::cos(angle), sin = std::sin(angle);
        const Index a = by.rotary_offset + LayoutT::first(i, pairs),
                    b = by.rotary_offset + LayoutT::second(i, pairs);
        double sum = 0;
        for (Index head = h * share; head < (h + 1) * share; ++head) {
          const auto xa = static_cast<double>(widen(x(t, head, a))),
                     xb = static_cast<double>(widen(x(t, head, b)));
          sum += static_cast<double>(widen(d_y(t, head, b))) * (xa * cos - xb * sin) -
                 static_cast<double>(widen(d_y(t, head, a))) * (xa * sin + xb * cos);
        }
        d_angles(t, h, i) = static_cast<D>(sum);
      }
}

POSENC_NAMESPACE_END
