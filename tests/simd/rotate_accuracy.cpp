// SPDX-License-Identifier: MIT
//
// rotate() against the formula, at every level: how exact it is, and that it writes nothing else.
#include <posenc/eigen.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/cases.hpp"
#include "../support/catch.hpp"
#include "rotation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

using namespace posenc;
using posenc_test::same_bits;

namespace {

struct Amplified {
  double factor;
  void transform(RotaryState& state) const { state.attention_factor = factor; }
};

struct Shape {
  Index heads, head_dim, rotary_dim, offset;
};

struct Numbers {
  double base = 500'000, amplitude = 1;
  bool exact_frequencies = false;  ///< in double, and so their products with positions

  [[nodiscard]] Real angle_error(Real position) const {
    return exact_frequencies ? 0 : 2 * std::abs(position) * 0x1p-53L;
  }
};

/// Each width of head that is even in some way of its own: whole steps of every level, and what is
/// left over; blocks of some of the channels, at odd places too.
const std::vector<Shape> shapes{
    {3, 2, 2, 0},      {1, 4, 4, 0},     {2, 6, 6, 0},     {8, 10, 10, 0},    {3, 16, 16, 0},
    {1, 24, 24, 0},    {2, 40, 40, 0},   {8, 48, 48, 0},   {3, 64, 64, 0},    {1, 80, 80, 0},
    {2, 96, 96, 0},    {8, 128, 128, 0}, {3, 130, 130, 0}, {1, 256, 256, 0},  {2, 258, 258, 0},
    {1, 300, 300, 0},  {2, 512, 512, 0}, {8, 3, 2, 1},     {2, 17, 6, 5},     {3, 64, 32, 1},
    {1, 80, 16, 64},   {2, 96, 24, 0},   {3, 128, 64, 63}, {1, 192, 64, 128}, {1, 300, 258, 41},
    {2, 301, 130, 171}};

/// Over all elements of a test.
struct Accuracy {
  Real worst = 0;  ///< greatest error of float and double, as a share of the pair's norm
  long long elements = 0, correctly_rounded = 0;  ///< of 16 bits
};

struct Expected {
  Real value;
  double norm;
};

/// The formula for a tensor [tokens, heads, head_dim] that lies without gaps; channels that do not
/// rotate get a norm of -1.
template <class T>
std::vector<Expected> formula(const std::vector<T>& x, const Shape& shape, const Block& block,
                              double amplitude, const std::vector<std::array<Real, 2>>& turned) {
  std::vector<Expected> y(x.size(), {0, -1});
  const Index pairs = block.dim / 2, tokens = std::ssize(turned) / pairs;
  for (Index row = 0; row < tokens * shape.heads; ++row)
    for (Index i = 0; i < pairs; ++i) {
      const auto [a, b] = block.channels(i);
      const auto begin = static_cast<std::size_t>(row * shape.head_dim);
      const double x0 = value_of(x[begin + a]), x1 = value_of(x[begin + b]);
      const auto [c, s] = turned[static_cast<std::size_t>(row / shape.heads * pairs + i)];
      const double norm = std::abs(amplitude) * std::sqrt(x0 * x0 + x1 * x1);
      y[begin + a] = {amplitude * (x0 * c - x1 * s), norm};
      y[begin + b] = {amplitude * (x0 * s + x1 * c), norm};
    }
  return y;
}

/// Noise where channels rotate, any bits elsewhere.
template <class T>
std::vector<T> input(Index tokens, const Shape& shape, unsigned seed) {
  std::vector<T> x = noise<T>(tokens * shape.heads * shape.head_dim, seed);
  std::mt19937 random(seed);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Index channel = static_cast<Index>(i) % shape.head_dim - shape.offset;
    if (channel < 0 || channel >= shape.rotary_dim) x[i] = random_bits<T>(random);
  }
  return x;
}

template <class T>
void copy(const std::vector<T>& from, const TensorView<T>& to) {
  auto next = from.begin();
  for (Index t = 0; t < to.tokens; ++t)
    for (Index h = 0; h < to.heads; ++h, next += to.width)
      std::copy_n(next, to.width, to.row(t, h));
}

template <class T>
std::vector<T> elements_of(const TensorView<T>& view) {
  std::vector<T> all;
  for (Index t = 0; t < view.tokens; ++t)
    for (Index h = 0; h < view.heads; ++h)
      all.insert(all.end(), view.row(t, h), view.row(t, h) + view.width);
  return all;
}

/// One shape in one layout: out of place and in place, there and back.
template <class LayoutT, class T, class P>
void check_shape(const Shape& shape, const std::vector<P>& positions, const Numbers& numbers,
                 const std::vector<std::array<Real, 2>>& turned, Accuracy& accuracy) {
  const Block block{std::is_same_v<LayoutT, Interleaved>, shape.rotary_dim, shape.offset};
  CAPTURE(block.interleaved, shape.heads, shape.head_dim, shape.rotary_dim, shape.offset);
  CAPTURE(numbers.base, numbers.amplitude);
  const auto bound = bind(RoPE<LayoutT>{.head_dim = shape.head_dim,
                                        .base = numbers.base,
                                        .rotary_dim = shape.rotary_dim,
                                        .rotary_offset = shape.offset} |
                          Amplified{numbers.amplitude});
  const Index tokens = std::ssize(positions);
  const std::vector<T> x = input<T>(tokens, shape, 7);
  const std::vector<Expected> expected = formula(x, shape, block, numbers.amplitude, turned);
  const auto position_of = [&](std::size_t i) {
    return static_cast<Real>(positions[i / static_cast<std::size_t>(shape.heads * shape.head_dim)]);
  };

  at_every_level([&] {
    Guarded<T> in(tokens, shape.heads, shape.head_dim, 1);
    Guarded<T> out(tokens, shape.heads, shape.head_dim, 3);
    copy(x, in.view());
    rotate(TensorView<const T>(in.view()), out.view(), positions, bound);
    const std::vector<T> y = elements_of(out.view());
    CHECK(in.untouched_around());
    CHECK(out.untouched_around());
    CHECK(same_bits(elements_of(in.view()), x));

    Tally tally;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto [value, norm] = expected[i];
      if (norm < 0) {
        tally.require(bits_of(y[i]) == bits_of(x[i]), "element ", i, " does not rotate, but ",
                      bits_of(x[i]), " became ", bits_of(y[i]));
        continue;
      }
      const Real slack = tolerance<T>(numbers.angle_error(position_of(i))) * norm;
      tally.require(is_rounded(y[i], value, slack), "element ", i, " at ", position_of(i),
                    ": expected ", value, " +- ", slack, ", got ", value_of(y[i]));
      if constexpr (sizeof(T) == 2) {
        const T rounded = nearest<T>(value);
        ++accuracy.elements;
        accuracy.correctly_rounded += rank(y[i]) == rank(rounded);
        // More than one unit off is possible only where a pair all but cancels.
        tally.require(std::abs(rank(y[i]) - rank(rounded)) <= 1 || std::abs(value) < norm / 1024 ||
                          slack > 0x1p-22L * norm,
                      "element ", i, ": expected ", value, ", got ", value_of(y[i]));
      } else if (norm > 0) {
        accuracy.worst = std::max(accuracy.worst, std::abs(static_cast<Real>(y[i]) - value) / norm);
      }
    }
    CHECK(tally.complaint() == "");

    // In place, in memory that ends where the tensor ends.
    std::vector<T> tight(x.size() + 1);
    const TensorView<T> place(tight.data() + 1, tokens, shape.heads, shape.head_dim);
    copy(x, place);
    rotate(place, positions, bound);
    CHECK(same_bits(elements_of(place), y));

    // And back: an error of the same size again, and that of storing in between.
    unrotate(place, positions, bound);
    const std::vector<T> back = elements_of(place);
    const Real stored = sizeof(T) > 2 ? 0 : std::ldexp(0.75L, -Format<T>::fraction_bits);
    Tally inverse;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Real norm = expected[i].norm / std::abs(numbers.amplitude);
      inverse.require(
          norm < 0
              ? bits_of(back[i]) == bits_of(x[i])
              : is_rounded(back[i], value_of(x[i]),
                           (2 * tolerance<T>(numbers.angle_error(position_of(i))) + stored) * norm),
          "element ", i, ": ", value_of(x[i]), " came back as ", value_of(back[i]));
    }
    CHECK(inverse.complaint() == "");
  });
}

template <class T, class P>
void check_both_layouts(const Shape& shape, const std::vector<P>& positions, const Numbers& numbers,
                        Accuracy& accuracy) {
  const auto turned = turns(positions, shape.rotary_dim, numbers.base);
  check_shape<HalfSplit, T>(shape, positions, numbers, turned, accuracy);
  check_shape<Interleaved, T>(shape, positions, numbers, turned, accuracy);
}

/// What was measured, with a little room, at positions within `farthest`; the bounds of each
/// element are derived and wider.
template <class T>
void check_accuracy(const Accuracy& accuracy, Real farthest = 0x1p24L) {
  if constexpr (sizeof(T) == 2) {
    REQUIRE(accuracy.elements > 0);
    CHECK(static_cast<double>(accuracy.correctly_rounded) >=
          0.999 * static_cast<double>(accuracy.elements));
  } else {
    CHECK(accuracy.worst > 0);
    CHECK(accuracy.worst <=
          (std::is_same_v<T, float> ? 1.35L * 0x1p-23L : 3.5L * 0x1p-52L + farthest * 0x1p-53L));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("rotate: every shape, at every level", "", float, double, Eigen::bfloat16,
                   Eigen::half) {
  std::mt19937 random(11);
  Accuracy accuracy;
  for (const Shape& shape : shapes) {
    std::vector<Position> positions{0, 1, -1};
    for (Index i = 0; i < posenc_test::some_of(12); ++i)
      positions.push_back(static_cast<Position>(random() % (1U << 25)) - (1 << 24));
    check_both_layouts<TestType>(shape, positions, {}, accuracy);
  }
  check_accuracy<TestType>(accuracy);
}

TEMPLATE_TEST_CASE("rotate: every size of position, at every level", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  const Shape shape{1, 128, 128, 0};
  Accuracy accuracy;
  SECTION("around powers of two") {
    std::vector<Position> positions;
    for (int k = 0; k <= 24; ++k)
      for (const Position beside : {-1, 0, 1})
        positions.push_back(((Position{1} << k) + beside) * (k % 3 == 1 ? -1 : 1));
    check_both_layouts<TestType>(shape, positions, {}, accuracy);
    check_accuracy<TestType>(accuracy);
  }
  SECTION("any up to 2^24") {
    std::mt19937 random(12);
    std::vector<Position> positions;
    for (int i = 0; i < 100; ++i)
      positions.push_back(static_cast<Position>(random() % (1U << 25)) - (1 << 24));
    check_both_layouts<TestType>(shape, positions, {}, accuracy);
    check_accuracy<TestType>(accuracy);
  }
  SECTION("beyond the digits of the table") {
    std::mt19937_64 random(13);
    std::vector<Position> positions;
    for (int k = 25; k <= 40; ++k) {
      for (const Position beside : {-1, 0, 1})
        positions.push_back(((Position{1} << k) + beside) * (k % 3 == 1 ? -1 : 1));
      positions.push_back(static_cast<Position>((1ULL << k) + random() % (1ULL << k)));
    }
    check_both_layouts<TestType>(shape, positions, {}, accuracy);
  }
  SECTION("where nothing but the pairs is rounded") {
    // Frequencies of 2^-i: every angle is exact, so results are as good at 2^52 as at 1.
    std::mt19937_64 random(14);
    std::vector<Position> positions{0, 1, -1, greatest_position, -greatest_position};
    for (int k = 1; k <= 51; ++k)
      positions.push_back(static_cast<Position>((1ULL << k) + random() % (1ULL << k)));
    check_both_layouts<TestType>(shape, positions, {.base = 0x1p64, .exact_frequencies = true},
                                 accuracy);
    check_accuracy<TestType>(accuracy, 0);
  }
  SECTION("between the integers") {
    std::mt19937 random(15);
    std::vector<double> positions{0.5, -0.5, 0x1p-30, 3, 4095.75, -131071.5, 0x1p24 + 0.5};
    for (int i = 0; i < 20; ++i) positions.push_back(static_cast<double>(random()) * 0x1p-10);
    check_both_layouts<TestType>(shape, positions, {}, accuracy);
    check_accuracy<TestType>(accuracy);
  }
}

TEMPLATE_TEST_CASE("rotate: the attention factor, at every level", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  Accuracy accuracy;
  const std::vector<Position> positions{0, 1, -77, 4095, 131071, 1 << 24};
  for (const double amplitude : {1.3465735902799727, 0.1, -2.5})
    for (const Shape& shape : {Shape{2, 128, 128, 0}, Shape{3, 37, 26, 3}, Shape{1, 300, 258, 41}})
      check_both_layouts<TestType>(shape, positions, {.amplitude = amplitude}, accuracy);
  check_accuracy<TestType>(accuracy);
}
