// SPDX-License-Identifier: MIT
//
// What 16-bit elements are read as and rounded to: by widen() and narrow() in portable code, and by
// the instructions of every level within rotate().
#include <posenc/core/element.hpp>
#include <posenc/eigen.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/rotate.hpp>

#include "../support/cases.hpp"
#include "../support/catch.hpp"
#include "numbers.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

using namespace posenc;

namespace {

/// Types of somebody else, with the bits of the 16-bit formats and nothing more.
struct OwnBfloat16 {
  std::uint16_t bits;
};
struct OwnFloat16 {
  std::uint16_t bits;
};

}  // namespace

template <>
struct posenc::ElementTraits<OwnBfloat16> : posenc::ElementIs<posenc::ElementFormat::bfloat16> {};
template <>
struct posenc::ElementTraits<OwnFloat16> : posenc::ElementIs<posenc::ElementFormat::float16> {};

namespace {

/// An attention factor and nothing else.
struct Amplified {
  double factor;
  void transform(RotaryState& state) const { state.attention_factor = factor; }
};

/// Pairs of a head: two pieces of 128 and 118, so that every level walks through its longest steps,
/// its shorter ones and what is left over.
constexpr Index pairs = 246;

/// factor * x, as rotate() at position 0 computes it: x in one channel of each pair, and in the
/// other the zero that leaves a zero's sign alone: +0 beside a first, -0 beside a second channel.
template <class LayoutT, class T>
std::vector<T> scaled(const std::vector<T>& x, bool in_second, float factor) {
  const Index count = std::ssize(x), tokens = (count + pairs - 1) / pairs;
  const T zero = std::bit_cast<T>(static_cast<std::uint16_t>(in_second ? 0x8000U : 0U));
  std::vector<T> memory(static_cast<std::size_t>(tokens * 2 * pairs), zero);
  const TensorView<T> view(memory.data(), tokens, 1, 2 * pairs);
  const auto element = [&](Index i) -> T& {
    const Index pair = i % pairs;
    return view(i / pairs, 0,
                in_second ? LayoutT::second(pair, pairs) : LayoutT::first(pair, pairs));
  };
  for (Index i = 0; i < count; ++i) element(i) = x[static_cast<std::size_t>(i)];

  const std::vector<Position> origin(static_cast<std::size_t>(tokens));
  rotate(view, origin, RoPE<LayoutT>{.head_dim = 2 * pairs} | Amplified{factor});
  std::vector<T> y;
  for (Index i = 0; i < count; ++i) y.push_back(element(i));
  return y;
}

/// What every level makes of factor * x, in both layouts and both channels of a pair.
template <class T>
void check_scaled(const std::vector<T>& x, float factor, const std::vector<T>& expected) {
  CAPTURE(factor);
  at_every_level([&] {
    const auto check = [&](const std::vector<T>& y) {
      Tally tally;
      for (std::size_t i = 0; i < x.size(); ++i)
        tally.require(same(y[i], expected[i]), "pattern ", bits_of(x[i]), ", ", value_of(x[i]),
                      ": expected ", value_of(expected[i]), ", got ", value_of(y[i]));
      CHECK(tally.complaint() == "");
    };
    for (const bool in_second : {false, true}) {
      CAPTURE(in_second);
      check(scaled<HalfSplit>(x, in_second, factor));
      check(scaled<Interleaved>(x, in_second, factor));
    }
  });
}

/// Every number of T, every point halfway to the next one, and the floats beside them: where
/// rounding is decided. Subnormals are among them, and the point halfway to what would come after
/// the greatest.
template <class T>
std::vector<float> boundaries() {
  const std::vector<double>& values = values_from_zero<T>();
  constexpr float far = std::numeric_limits<float>::infinity();
  std::vector<float> all;
  for (std::size_t i = 0; i + 1 < values.size(); ++i)
    for (const double point : {values[i], (values[i] + values[i + 1]) / 2})
      for (const float sign : {1.0F, -1.0F}) {
        const auto exact = static_cast<float>(point);
        for (const float near : {exact, std::nextafter(exact, far), std::nextafter(exact, -far)})
          all.push_back(sign * near);
      }
  return all;
}

/// Infinities, the ends of float, and NaN with every payload of one bit, of all bits and some
/// others.
std::vector<float> extremes() {
  using Float = std::numeric_limits<float>;
  std::mt19937 random(2);
  std::vector<float> all;
  for (const float end : {Float::infinity(), Float::max(), Float::min(), Float::denorm_min(), 0.0F})
    for (const float sign : {1.0F, -1.0F}) all.push_back(sign * end);
  for (const std::uint32_t bits : {0x7f800000U, 0xff800000U}) {
    for (int bit = 0; bit < 23; ++bit) all.push_back(std::bit_cast<float>(bits | 1U << bit));
    all.push_back(std::bit_cast<float>(bits | 0x7fffffU));
    for (int i = 0; i < 1000; ++i)
      all.push_back(
          std::bit_cast<float>(bits | (bits_of(random_bits<float>(random)) & 0x7fffffU) | 1U));
  }
  return all;
}

std::vector<float> any_floats(Index count) {
  std::mt19937 random(3);
  std::vector<float> all;
  for (int i = 0; i < count; ++i) all.push_back(random_bits<float>(random));
  return all;
}

/// Floats between two numbers of T that are neighbours.
template <class T>
std::vector<float> floats_within(Index count) {
  std::mt19937 random(4);
  const std::vector<double>& values = values_from_zero<T>();
  std::vector<float> all;
  for (int i = 0; i < count; ++i) {
    const std::size_t at = random() % (values.size() - 1);
    const double share = static_cast<double>(random()) * 0x1p-32;
    all.push_back(static_cast<float>(values[at] + share * (values[at + 1] - values[at])));
  }
  return all;
}

template <class T>
bool is_narrowed(float x, T y) {
  return std::isnan(x) ? is_nan(y) : bits_of(y) == bits_of(nearest<T>(x));
}

/// x as T, by a rotation at position 0 from floats into T: as scaled() above.
template <class Level, class LayoutT, class T>
std::vector<T> stored(const std::vector<float>& x, bool in_second) {
  const auto bound = bind(RoPE<LayoutT>{.head_dim = 2 * pairs});
  std::vector<T> y;
  for (std::size_t done = 0; done < x.size(); done += pairs) {
    const Index count = std::min(pairs, static_cast<Index>(x.size() - done));
    const auto channel = [&](Index i) {
      return static_cast<std::size_t>(in_second ? LayoutT::second(i, pairs)
                                                : LayoutT::first(i, pairs));
    };
    std::vector<float> from(2 * pairs, in_second ? -0.0F : 0.0F);
    std::vector<T> to(2 * pairs);
    for (Index i = 0; i < count; ++i) from[channel(i)] = x[done + static_cast<std::size_t>(i)];
    detail::rotate_rows<Level, AnyLayout>(bound.rotary(), bound.rotary().angles, {}, 0,
                                          TensorView<const float>(from.data(), 1, 1, 2 * pairs),
                                          TensorView<T>(to.data(), 1, 1, 2 * pairs));
    for (Index i = 0; i < count; ++i) y.push_back(to[channel(i)]);
  }
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("widen: every 16-bit pattern is the number that its format defines", "",
                   Eigen::bfloat16, Eigen::half) {
  Tally tally;
  for (const TestType element : all_patterns<TestType>()) {
    const float wide = widen(element);
    const double exact = value_of(element);
    tally.require(std::isnan(exact) ? std::isnan(wide) : static_cast<double>(wide) == exact,
                  "pattern ", bits_of(element), " reads as ", wide);
    tally.require(std::signbit(wide) == std::signbit(exact), "sign of pattern ", bits_of(element));
  }
  CHECK(tally.complaint() == "");
}

TEMPLATE_TEST_CASE("narrow: undoes widen for every pattern, and NaN stays NaN", "", Eigen::bfloat16,
                   Eigen::half) {
  Tally tally;
  for (const TestType element : all_patterns<TestType>())
    tally.require(same(narrow<TestType>(widen(element)), element), "pattern ", bits_of(element));
  CHECK(tally.complaint() == "");
}

TEST_CASE("narrow and widen leave float and double alone") {
  std::mt19937 random(1);
  Tally tally;
  for (int i = 0; i < 1000; ++i) {
    const float single = random_bits<float>(random);
    const double twice = random_bits<double>(random);
    tally.require(same(narrow<float>(widen(single)), single), single);
    tally.require(same(narrow<double>(widen(twice)), twice), twice);
  }
  CHECK(tally.complaint() == "");
}

TEMPLATE_TEST_CASE("narrow: to the nearest, ties to even; NaN stays NaN", "", Eigen::bfloat16,
                   Eigen::half) {
  Tally tally;
  const auto check = [&](const std::vector<float>& all) {
    for (const float x : all) {
      const TestType y = narrow<TestType>(x);
      tally.require(is_narrowed(x, y), x, " became ", value_of(y));
    }
  };
  check(boundaries<TestType>());
  check(extremes());
  check(any_floats(posenc_test::some_of(1'000'000)));
  check(floats_within<TestType>(posenc_test::some_of(1'000'000)));
  CHECK(tally.complaint() == "");
}

TEMPLATE_TEST_CASE("every level stores floats as narrow does", "", Eigen::bfloat16, Eigen::half) {
  const auto check = [](const std::vector<float>& x) {
    at_every_level([&] {
      for (const bool in_second : {false, true})
        simd::dispatch<TestType>([&]<class Level>(Level) {
          CAPTURE(in_second);
          const auto half_split = stored<Level, HalfSplit, TestType>(x, in_second);
          const auto interleaved = stored<Level, Interleaved, TestType>(x, in_second);
          Tally tally;
          for (std::size_t i = 0; i < x.size(); ++i)
            for (const TestType y : {half_split[i], interleaved[i]})
              tally.require(is_narrowed(x[i], y), x[i], " became ", value_of(y));
          CHECK(tally.complaint() == "");
        });
    });
  };
  check(boundaries<TestType>());
  check(extremes());
  check(any_floats(posenc_test::some_of(100'000)));
}

TEMPLATE_TEST_CASE("rotation by nothing is the identity on every pattern, at every level", "",
                   Eigen::bfloat16, Eigen::half) {
  // Zeros keep their sign here; beside a zero of the other sign they need not, see
  // special_values.cpp. NaN may come back as another NaN.
  const std::vector<TestType> x = all_patterns<TestType>();
  check_scaled(x, 1, x);
}

TEMPLATE_TEST_CASE("every level rounds to the nearest, ties to even", "", Eigen::bfloat16,
                   Eigen::half) {
  // Halves and quarters of odd subnormals are ties; so are products of odd numbers with
  // 1 + 1/256 and 1 + 1/2048.
  std::vector<float> factors{0.5F,        0.25F,        0.75F,    0x1.8p-10F, 1024,
                             1 + 0x1p-8F, 1 + 0x1p-11F, 0x1p-20F, 3,          1 - 0x1p-24F};
  std::mt19937 random(5);
  for (int i = 0; i < 6; ++i)
    factors.push_back(std::ldexp(1 + static_cast<float>(random() >> 9) * 0x1p-23F,
                                 static_cast<int>(random() % 24) - 16));

  const std::vector<TestType> x = all_patterns<TestType>();
  posenc_test::Sample sample;
  for (const float factor : factors) {
    if (!sample.next()) continue;
    std::vector<TestType> expected;
    for (const TestType element : x) {
      const float product = static_cast<float>(value_of(element)) * factor;
      expected.push_back(std::isnan(product) ? element : nearest<TestType>(product));
    }
    check_scaled(x, factor, expected);
  }
}

TEMPLATE_TEST_CASE("a type of one's own with the same bits is rotated to the same bits", "",
                   (std::pair<OwnBfloat16, Eigen::bfloat16>),
                   (std::pair<OwnFloat16, Eigen::half>)) {
  using Own = typename TestType::first_type;
  using Known = typename TestType::second_type;
  std::mt19937 random(6);
  std::vector<Known> known;
  for (Index i = 0; i < 4 * pairs; ++i)
    known.push_back(nearest<Known>(static_cast<double>(random()) * 0x1p-31 - 1));
  const auto check = [&]<class LayoutT>(LayoutT) {
    const auto bound = bind(RoPE<LayoutT>{.head_dim = 2 * pairs});
    at_every_level([&] {
      std::vector<Own> own;
      for (const Known element : known) own.push_back(std::bit_cast<Own>(element));
      std::vector<Known> expected = known;
      rotate(TensorView<Own>(own.data(), 2, 1, 2 * pairs), 1000, bound);
      rotate(TensorView<Known>(expected.data(), 2, 1, 2 * pairs), 1000, bound);
      Tally tally;
      for (std::size_t i = 0; i < own.size(); ++i)
        tally.require(own[i].bits == bits_of(expected[i]), "element ", i);
      CHECK(tally.complaint() == "");
    });
  };
  check(HalfSplit{});
  check(Interleaved{});
}
