// SPDX-License-Identifier: MIT
//
// rotate() where numbers end, at every level: infinities, NaN, zeros of either sign, numbers below
// the normal range and results beyond the greatest number.
#include <posenc/eigen.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/catch.hpp"
#include "rotation.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace posenc;

namespace {

/// Pairs of a head: two pieces of 128 and 118, which take every kind of step of every level.
constexpr Index pairs = 246, head_dim = 2 * pairs;
constexpr double base = 10000;

template <class T>
using Pair = std::array<T, 2>;

/// The pairs of a head after rotate() in a layout.
template <class LayoutT, class T>
std::vector<Pair<T>> rotated_in(const std::vector<Pair<T>>& x, Position position) {
  static const auto bound = bind(RoPE<LayoutT>{.head_dim = head_dim, .base = base});
  std::vector<T> memory(static_cast<std::size_t>(head_dim));
  const auto at = [&](Index i, bool second) -> T& {
    return memory[static_cast<std::size_t>(second ? LayoutT::second(i, pairs)
                                                  : LayoutT::first(i, pairs))];
  };
  for (Index i = 0; i < pairs; ++i)
    for (const bool second : {false, true}) at(i, second) = x[static_cast<std::size_t>(i)][second];
  rotate(TensorView<T>(memory.data(), 1, 1, head_dim), position, bound);
  std::vector<Pair<T>> y;
  for (Index i = 0; i < pairs; ++i) y.push_back({at(i, false), at(i, true)});
  return y;
}

/// Rotates a head of these pairs at several positions, in both layouts, at every level, and calls
/// check(tally, position, pair's index, result) for every pair.
template <class T, class Check>
void for_each_result(const std::vector<Pair<T>>& x, const std::vector<Position>& positions,
                     const Check& check) {
  REQUIRE(std::ssize(x) == pairs);
  at_every_level([&] {
    Tally tally;
    for (const Position position : positions) {
      const auto all = [&](const std::vector<Pair<T>>& y) {
        for (Index i = 0; i < pairs; ++i) check(tally, position, i, y[static_cast<std::size_t>(i)]);
      };
      all(rotated_in<HalfSplit>(x, position));
      all(rotated_in<Interleaved>(x, position));
    }
    CHECK(tally.complaint() == "");
  });
}

const std::vector<Position> some_positions{0, 1, 2, 100, -7, 12345, 1 << 24};

/// The formula in double: for what does not depend on rounding.
Pair<double> formula(const Pair<double>& x, Position position, Index pair) {
  const auto [cosine, sine] = turn(static_cast<Real>(position), pair, head_dim, base);
  const auto c = static_cast<double>(cosine), s = static_cast<double>(sine);
  return {x[0] * c - x[1] * s, x[0] * s + x[1] * c};
}

/// The formula for a pair, and how far from it a result may be before it is stored.
struct Exact {
  Pair<Real> value;
  Real slack;
};

template <class T>
Exact exact(const Pair<T>& pair, Position position, Index i) {
  const Real x0 = value_of(pair[0]), x1 = value_of(pair[1]), n = static_cast<Real>(position);
  const auto [c, s] = turn(n, i, head_dim, base);
  return {{x0 * c - x1 * s, x0 * s + x1 * c},
          tolerance<T>(2 * std::abs(n) * 0x1p-53L) * std::sqrt(x0 * x0 + x1 * x1)};
}

}  // namespace

TEMPLATE_TEST_CASE("rotate: infinities and NaN stay within their pair and do what the formula does",
                   "", float, double, Eigen::bfloat16, Eigen::half) {
  const auto one = nearest<TestType>(1.0), minus = nearest<TestType>(-2.5);
  const TestType inf = infinity<TestType>(), nan = signaling_nan<TestType>();
  const TestType minus_inf = nearest<TestType>(-value_of(inf));
  std::vector<Pair<TestType>> x;
  // At position 0 an infinity makes NaN of its partner: infinity times a sine of 0.
  const std::vector<Pair<TestType>> kinds{{inf, one},       {one, inf},         {minus_inf, minus},
                                          {one, one},       {minus, minus_inf}, {inf, inf},
                                          {inf, minus_inf}, {nan, one},         {one, nan},
                                          {minus, one},     {nan, nan},         {nan, inf},
                                          {one, minus}};
  for (Index i = 0; i < pairs; ++i) x.push_back(kinds[static_cast<std::size_t>(i) % kinds.size()]);
  for_each_result(x, some_positions, [&](Tally& tally, Position position, Index i, const auto& y) {
    const Pair<TestType>& pair = x[static_cast<std::size_t>(i)];
    const Pair<double> expected = formula({value_of(pair[0]), value_of(pair[1])}, position, i);
    for (const bool second : {false, true}) {
      const double e = expected[second], got = value_of(y[second]);
      const bool right = std::isnan(e)   ? std::isnan(got)
                         : std::isinf(e) ? got == e
                                         : std::isfinite(got) && std::abs(got - e) < 0.02;
      tally.require(right, "pair ", i, " at ", position, ", second ", second, ": expected ", e,
                    ", got ", got);
    }
  });
}

TEMPLATE_TEST_CASE("rotate: zeros have the signs that the formula gives them", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  // At position 0 that is not always their own: -0 becomes 0 as the first of a pair whose second is
  // below zero or -0, and as the second of a pair whose first is not.
  const auto zero = nearest<TestType>(0.0), minus_zero = nearest<TestType>(-0.0);
  const auto one = nearest<TestType>(1.0), minus_one = nearest<TestType>(-1.0);
  const std::vector<TestType> values{zero, minus_zero, one, minus_one};
  std::vector<Pair<TestType>> x;
  for (std::size_t i = 0; i < static_cast<std::size_t>(pairs); ++i)
    x.push_back({values[i % 4], values[i / 4 % 4]});
  for_each_result(x, some_positions, [&](Tally& tally, Position position, Index i, const auto& y) {
    const Pair<TestType>& pair = x[static_cast<std::size_t>(i)];
    const Pair<double> expected = formula({value_of(pair[0]), value_of(pair[1])}, position, i);
    for (const bool second : {false, true})
      if (expected[second] == 0)
        tally.require(bits_of(y[second]) == bits_of(nearest<TestType>(expected[second])), "pair (",
                      value_of(pair[0]), ", ", value_of(pair[1]), ") at ", position, ", second ",
                      second, ": expected ", expected[second], ", got ", value_of(y[second]));
  });
}

TEMPLATE_TEST_CASE("rotate: numbers below the normal range are rounded like all others", "", float,
                   double, Eigen::bfloat16, Eigen::half) {
  // bfloat16 has the range of float, so with it the arithmetic is below the normal range too: two
  // products and a sum are each off by half of the spacing of subnormals.
  constexpr Real underflow = 1.5L * std::numeric_limits<arithmetic_t<TestType>>::denorm_min();
  std::mt19937 random(31);
  constexpr int sign_bit = Format<TestType>::fraction_bits + Format<TestType>::exponent_bits;
  for (const int bits : {Format<TestType>::fraction_bits, Format<TestType>::fraction_bits + 2, 3}) {
    CAPTURE(bits);
    // Patterns of so many bits: only subnormals, some normal ones too, the very smallest.
    const auto small = [&] {
      const auto drawn = bits_of(random_bits<TestType>(random));
      const std::uint64_t magnitude = drawn & ((std::uint64_t{1} << bits) - 1);
      const std::uint64_t sign = std::uint64_t{drawn} >> sign_bit << sign_bit;
      return std::bit_cast<TestType>(static_cast<Bits<TestType>>(magnitude | sign));
    };
    std::vector<Pair<TestType>> x;
    for (Index i = 0; i < pairs; ++i) x.push_back({small(), small()});
    long long all = 0, right = 0;
    for_each_result(
        x, some_positions, [&](Tally& tally, Position position, Index i, const auto& y) {
          const Pair<TestType>& pair = x[static_cast<std::size_t>(i)];
          const auto [expected, slack] = exact(pair, position, i);
          for (const bool second : {false, true}) {
            tally.require(is_rounded(y[second], expected[second], slack + underflow), "pair ", i,
                          " at ", position, ", second ", second, ": expected ", expected[second],
                          ", got ", value_of(y[second]));
            if (position == 0)
              tally.require(value_of(y[second]) == value_of(pair[second]), "pair ", i, ": ",
                            value_of(pair[second]), " became ", value_of(y[second]));
            ++all;
            right += rank(y[second]) == rank(nearest<TestType>(expected[second]));
          }
        });
    // Rounding twice, to float and to 16 bits, differs from rounding once only near a tie.
    if (sizeof(TestType) == 2)
      CHECK(static_cast<double>(right) >= 0.999 * static_cast<double>(all));
  }
}

TEMPLATE_TEST_CASE("rotate: what is too large becomes an infinity, and only that", "", float,
                   double, Eigen::bfloat16, Eigen::half) {
  // Within a factor of 2 of the greatest number: some pairs fit when they are rotated, some do not.
  const TestType inf = infinity<TestType>();
  const auto greatest = std::bit_cast<TestType>(static_cast<Bits<TestType>>(bits_of(inf) - 1));
  std::mt19937 random(32);
  const auto large = [&] {
    const double share = 0.5 + static_cast<double>(random()) * 0x1p-33;
    return nearest<TestType>((random() % 2 == 0 ? 1 : -1) * share * value_of(greatest));
  };
  std::vector<Pair<TestType>> x;
  for (Index i = 0; i < pairs; ++i) x.push_back({large(), large()});
  x[0] = x[1] = x[200] = x[245] = {greatest, greatest};
  bool some_fit = false, some_do_not = false;
  for_each_result(x, some_positions, [&](Tally& tally, Position position, Index i, const auto& y) {
    const Pair<TestType>& pair = x[static_cast<std::size_t>(i)];
    const auto [expected, slack] = exact(pair, position, i);
    // Beyond the middle between the greatest number and the next power of two.
    const Real half_unit =
        std::ldexp(static_cast<Real>(value_of(greatest)), -Format<TestType>::fraction_bits - 2);
    const Real end = static_cast<Real>(value_of(greatest)) + half_unit;
    for (const bool second : {false, true}) {
      const Real e = expected[second];
      const double got = value_of(y[second]);
      const bool too_large = std::isinf(got) && std::signbit(got) == std::signbit(e);
      some_do_not = some_do_not || too_large;
      some_fit = some_fit || std::isfinite(got);
      if (std::abs(e) > end + slack + half_unit)
        tally.require(too_large, "expected infinity for ", e, ", got ", got);
      else if (std::abs(e) < static_cast<Real>(value_of(greatest)) - slack)
        tally.require(is_rounded(y[second], e, slack), "expected ", e, ", got ", got);
      else
        tally.require(too_large || std::isfinite(got), "expected ", e, ", got ", got);
    }
  });
  CHECK(some_fit);
  CHECK(some_do_not);
}
