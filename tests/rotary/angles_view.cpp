// SPDX-License-Identifier: MIT
//
// Rotation by given angles: the formula in long double for every layout, stride, element and share of heads, its
// gradients by differences, and sums of angles over long sequences.
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/levels.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/eigen.hpp>
#include <posenc/rotate/angle_sums.hpp>
#include <posenc/rotate/angles_view.hpp>

#include <cmath>
#include <limits>
#include <vector>

namespace angles_view_cases {

using namespace posenc;
using posenc_test::Random;
using posenc_test::Tensor;
using Real = long double;

/// Pair i is (i, last - i).
struct Mirrored {
  static constexpr Index first(Index pair, Index /*pairs*/) { return pair; }
  static constexpr Index second(Index pair, Index pairs) { return 2 * pairs - 1 - pair; }
};

/// The greatest error of y = R x, or of its transpose, over the size of the pair.
template <class LayoutT, class T, class A>
double worst(const TensorView<const T>& x, const TensorView<const T>& y,
             const AnglesView<LayoutT, A>& by, Real sign = 1) {
  const Index pairs = by.angles.width;
  double most = 0;
  for (Index t = 0; t < x.tokens; ++t)
    for (Index h = 0; h < x.heads; ++h) {
      std::vector<char> turned(static_cast<std::size_t>(x.width));
      for (Index i = 0; i < pairs; ++i) {
        const Real angle = by.angles(t, h / (x.heads / by.angles.heads), i);
        const Real c = std::cos(angle), s = sign * std::sin(angle);
        const Index a = by.rotary_offset + LayoutT::first(i, pairs),
                    b = by.rotary_offset + LayoutT::second(i, pairs);
        turned[static_cast<std::size_t>(a)] = turned[static_cast<std::size_t>(b)] = 1;
        const Real xa = widen(x(t, h, a)), xb = widen(x(t, h, b));
        const Real size = std::hypot(xa, xb) + 1e-30L;
        most = std::max(
            {most, static_cast<double>(std::abs(widen(y(t, h, a)) - (xa * c - xb * s)) / size),
             static_cast<double>(std::abs(widen(y(t, h, b)) - (xa * s + xb * c)) / size)});
      }
      for (Index c = 0; c < x.width; ++c)
        if (!turned[static_cast<std::size_t>(c)] && widen(y(t, h, c)) != widen(x(t, h, c)))
          most = HUGE_VAL;
    }
  return most;
}

template <class LayoutT, class T, class A>
void check_layout(double bound) {
  struct Case {
    Index heads, shared_heads, width, pairs, offset;
  };
  for (const Case& at : {Case{1, 1, 2, 1, 0}, Case{4, 2, 24, 7, 3}, Case{3, 1, 64, 16, 0},
                         Case{2, 2, 300, 150, 0}, Case{2, 1, 5, 0, 1}})
    for (const auto memory : {Tensor<T>::token_major, Tensor<T>::head_major, Tensor<T>::padded}) {
      INFO(at.heads << " heads of " << at.width << ", " << at.pairs << " pairs");
      const Index tokens = 9;
      Tensor<T> x(tokens, at.heads, at.width, memory), y(tokens, at.heads, at.width, memory);
      Tensor<A> angles(tokens, at.shared_heads, at.pairs, Tensor<A>::padded);
      Random random(static_cast<std::uint64_t>(at.width));
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < at.heads; ++h)
          for (Index c = 0; c < at.width; ++c)
            x.view()(t, h, c) = narrow<T>(static_cast<arithmetic_t<T>>(random.real(-1, 1)));
      angles.fill(Random(2), 1024);
      const AnglesView<LayoutT, A> by(angles.view(), at.offset);
      rotate(x.view(), y.view(), by);
      CHECK(worst<LayoutT, T, A>(x, y, by) <= bound);
      unrotate(x.view(), y.view(), by);
      CHECK(worst<LayoutT, T, A>(x, y, by, -1) <= bound);
      rotate_backward(x.view(), y.view(), by);
      CHECK(worst<LayoutT, T, A>(x, y, by, -1) <= bound);
      rotate(x.view(), y.view(), by, posenc_test::Backwards{3});
      rotate(x.view(), by);  // in place
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < at.heads; ++h)
          for (Index c = 0; c < at.width; ++c)
            CHECK(posenc_test::same_bits(x.view()(t, h, c), y.view()(t, h, c)));
    }
}

TEST_CASE("angles view: every layout and element turns by the formula", "[rotary]") {
  posenc_test::at_every_level([] {
    check_layout<HalfSplit, float, double>(2e-7);
    check_layout<Interleaved, float, float>(2e-7);
    check_layout<Mirrored, double, double>(4e-16);
  });
  check_layout<Interleaved, double, double>(4e-16);
  check_layout<HalfSplit, Eigen::bfloat16, double>(0x1p-8);
}

TEST_CASE("angles view: angles that are not finite are NaN, others are not touched", "[rotary]") {
  std::vector<float> x(8, 1);
  std::vector<double> angles{0, HUGE_VAL, std::nan(""), 0};
  rotate(TensorView(x.data(), 1, 1, 8),
         AnglesView<Interleaved>(TensorView<const double>(angles.data(), 1, 1, 4)));
  for (const std::size_t c : {0U, 1U, 6U, 7U}) CHECK(x[c] == 1);
  for (const std::size_t c : {2U, 3U, 4U, 5U}) CHECK(std::isnan(x[c]));
}

TEST_CASE("angles view: gradients are differences", "[rotary]") {
  const Index tokens = 3, heads = 4, width = 10, pairs = 4;
  Tensor<double> x(tokens, heads, width), d_y(tokens, heads, width), y(tokens, heads, width),
      d_x(tokens, heads, width), angles(tokens, 2, pairs), d_angles(tokens, 2, pairs);
  x.fill(Random(1)), d_y.fill(Random(2)), angles.fill(Random(3), 4);
  const AnglesView<HalfSplit> by(angles.view(), 1);
  rotate_backward(d_y.view(), d_x.view(), by);
  angles_backward(x.view(), TensorView<const double>(d_y.view()), d_angles.view(), by);
  const auto loss = [&] {
    rotate(x.view(), y.view(), by);
    double sum = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c) sum += y.view()(t, h, c) * d_y.view()(t, h, c);
    return sum;
  };
  const auto check = [&](double& at, double gradient) {
    const double before = at, step = 1e-5;
    at = before + step;
    const double above = loss();
    at = before - step;
    const double below = loss();
    at = before;
    CHECK(std::abs((above - below) / (2 * step) - gradient) < 1e-8);
  };
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < width; ++c) check(x.view()(t, h, c), d_x.view()(t, h, c));
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < 2; ++h)
      for (Index i = 0; i < pairs; ++i) check(angles.view()(t, h, i), d_angles.view()(t, h, i));

  Tensor<float> narrow_x(1, 2, 4), narrow_d(1, 2, 4), of_angles(1, 1, 2);
  narrow_x.fill(Random(5)), narrow_d.fill(Random(6));
  const std::vector<float> zero(2, 0);
  angles_backward(narrow_x.view(), TensorView<const float>(narrow_d.view()), of_angles.view(),
                  AnglesView<Interleaved, float>(TensorView<const float>(zero.data(), 1, 1, 2)));
  for (Index i = 0; i < 2; ++i) {
    Real wanted = 0;
    for (Index h = 0; h < 2; ++h)
      wanted += static_cast<Real>(narrow_d.view()(0, h, 2 * i + 1)) * narrow_x.view()(0, h, 2 * i) -
                static_cast<Real>(narrow_d.view()(0, h, 2 * i)) * narrow_x.view()(0, h, 2 * i + 1);
    CHECK(std::abs(of_angles.view()(0, 0, i) - wanted) < 1e-7L);
  }
}

TEST_CASE("angle sums: 131,072 tokens, to the last bit of a double", "[rotary]") {
  // Steps are multiples of 2^-40, so their sum is an exact integer; 2 pi is taken out in one step, in 128 bits and more.
  const Index tokens = 131'072;
  std::vector<double> steps, angles(static_cast<std::size_t>(tokens));
  Random random(7);
  for (Index t = 0; t < tokens; ++t)
    steps.push_back(std::nearbyint(random.real(-1, 3) * 0x1p40) * 0x1p-40);
  AngleSums sums(1, 1);
  sums.add(TensorView<const double>(steps.data(), tokens, 1, 1),
           TensorView<double>(angles.data(), tokens, 1, 1));
  // 2 pi as three parts of which the first two have few bits, so that products with turns are exact.
  constexpr Real first = 0x1.921fb544p+2L, second = 0x1.0b4611a6p-32L,
                 third = 0x1.3198a2e037073p-67L;
  std::int64_t sum = 0;
  double most = 0;
  for (Index t = 0; t < tokens; ++t) {
    sum += static_cast<std::int64_t>(steps[static_cast<std::size_t>(t)] * 0x1p40);
    const Real whole = static_cast<Real>(sum) * 0x1p-40L;
    const Real turns = std::nearbyint(whole / (first + second));
    const Real wanted = ((whole - turns * first) - turns * second) - turns * third;
    Real error = std::abs(angles[static_cast<std::size_t>(t)] - wanted);
    error = std::min(error, std::abs(error - (first + second)));  // -pi is pi
    most = std::max(most, static_cast<double>(error));
  }
  CHECK(most <= 0x1.01p-52);  // half a unit in the last place of pi
  CHECK(sums.angle(0, 0) == angles.back());

  // In pieces, from floats, in place; and continued from an angle.
  AngleSums pieces(1, 1);
  std::vector<double> in_place = steps;
  for (const auto& [at, count] : {std::pair<Index, Index>{0, 1000}, {1000, 0}, {1000, 3000}}) {
    const TensorView<double> part(in_place.data() + at, count, 1, 1);
    pieces.add(part, part);
  }
  for (std::size_t t = 0; t < 4000; ++t) CHECK(in_place[t] == angles[t]);
  pieces.set_angle(0, 0, 7);
  const std::vector<float> none(1, 0);
  double angle = 0;
  pieces.add(TensorView<const float>(none.data(), 1, 1, 1), TensorView<double>(&angle, 1, 1, 1));
  CHECK(std::abs(angle - (7 - 6.283185307179586)) < 1e-15);
  const float infinite = HUGE_VALF;
  pieces.add(TensorView<const float>(&infinite, 1, 1, 1), TensorView<double>(&angle, 1, 1, 1));
  CHECK(std::isnan(angle));
}

TEST_CASE("angle sums: gradients are sums from the end", "[rotary]") {
  Tensor<double> d(50, 2, 3), whole(50, 2, 3), parts(50, 2, 3);
  d.fill(Random(3));
  angle_sums_backward(TensorView<const double>(d.view()), whole.view());
  std::vector<double> later(6, 0);
  for (const Index at : {Index{20}, Index{0}})
    angle_sums_backward(TensorView<const double>(d.view().slice(at, at == 0 ? 20 : 30)),
                        parts.view().slice(at, at == 0 ? 20 : 30), later);
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 3; ++i) {
      Real sum = 0;
      for (Index t = 49; t >= 0; --t) {
        sum += d.view()(t, h, i);
        CHECK(std::abs(whole.view()(t, h, i) - sum) < 1e-15L * 50);
        CHECK(std::abs(parts.view()(t, h, i) - sum) < 1e-15L * 50);
      }
      CHECK(later[static_cast<std::size_t>(h * 3 + i)] == parts.view()(0, h, i));
    }
}

TEST_CASE("angles view: what is wrong is said in sentences", "[rotary]") {
  Tensor<float> x(2, 3, 8), y(2, 3, 6);
  Tensor<double> angles(3, 2, 4), sums(3, 2, 5);
  const AnglesView<HalfSplit> by(angles.view(), 1);
  CHECK(error_of([&] { rotate(x.view(), by); }) ==
        "posenc::rotate: 3 problems\n"
        "  - the angles are of 3 tokens, but the tensor has 2.\n"
        "  - the heads of the angles must divide those of the tensor, got 2 and 3.\n"
        "  - 4 pairs from channel 1 on are not within heads of 8 channels.");
  CHECK(
      error_of([&] { unrotate(x.view(), y.view(), by); }) ==
      "posenc::unrotate: input and output must have the same shape, got [2, 3, 8] and [2, 3, 6].");
  CHECK(error_of([&] {
          angles_backward(x.view(), TensorView<const float>(y.view()), sums.view(),
                          AnglesView<HalfSplit>(angles.view().slice(0, 2)));
        }) ==
        "posenc::angles_backward: 3 problems\n"
        "  - the heads of the angles must divide those of the tensor, got 2 and 3.\n"
        "  - d_y must have the shape of x, [2, 3, 8], got [2, 3, 6].\n"
        "  - d_angles must have the shape of the angles, [2, 2, 4], got [3, 2, 5].");
  CHECK(
      error_of([] { AngleSums(-1, 2); }) ==
      "posenc::AngleSums: heads and pairs must not be negative and must fit in memory, got -1 and "
      "2.");
  AngleSums of(2, 5);
  CHECK(
      error_of([&] { of.add(angles.view(), angles.view()); }) ==
      "posenc::AngleSums::add: these sums are of 2 heads of 5 pairs, but the steps are [3, 2, 4].");
  CHECK(
      error_of([&] { of.add(sums.view(), angles.view()); }) ==
      "posenc::AngleSums::add: the angles must have the shape of the steps, [3, 2, 5], got [3, 2, "
      "4].");
  std::vector<double> later(3);
  CHECK(error_of([&] {
          angle_sums_backward(TensorView<const double>(angles.view()), angles.view(), later);
        }) == "posenc::angle_sums_backward: later must have 2 times 4 numbers, got 3.");
}

}  // namespace angles_view_cases
