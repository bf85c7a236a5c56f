// SPDX-License-Identifier: MIT
//
// Heads that turn at rates of their own: every form of rotate against the same rotation of one head after
// another, by PI, whose tables know nothing of heads.
#include "axes.hpp"

#include "../support/bind_any.hpp"
#include "../support/error_of.hpp"
#include "../support/head_rates.hpp"
#include "../support/levels.hpp"

#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/rotate/backward.hpp>
#include <posenc/rotate/rotations.hpp>

namespace rates_cases {

using namespace axes_test;
using namespace head_rates;

constexpr Index tokens = 40, width = 24;

template <class T>
struct Sides {
  std::vector<T> q = noise<T>(tokens * num_heads * width, 1),
                 k = noise<T>(tokens * kv_heads * width, 2);
  TensorView<T> queries() { return {q.data(), tokens, num_heads, width}; }
  TensorView<T> keys() { return {k.data(), tokens, kv_heads, width}; }
  bool operator==(const Sides&) const = default;
};

/// f(view of one head, its ratio) for all heads of both sides.
template <class T, class F>
Sides<T> by_head(const F& f) {
  Sides<T> x;
  const auto each = [&](TensorView<T> all, Index share, Side side) {
    for (Index h = 0; h < all.heads; ++h) {
      TensorView<T> one = all;
      one.data += h * all.head_stride;
      one.heads = 1;
      f(one, ratio_of[h / share], side);
    }
  };
  each(x.queries(), num_heads / kv_heads, Side::query);
  each(x.keys(), 1, Side::key);
  return x;
}

/// By ratio: exact products with 1 / ratio need not be what PI divides to.
template <class T>
bool alike(const Sides<T>& a, const Sides<T>& b) {
  Real worst = 0;
  for (std::size_t i = 0; i < a.q.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<Real>(a.q[i]) - static_cast<Real>(b.q[i])));
  for (std::size_t i = 0; i < a.k.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<Real>(a.k[i]) - static_cast<Real>(b.k[i])));
  return worst <= (sizeof(T) == 4 ? 4e-7L : 1e-10L);
}

TEMPLATE_TEST_CASE("rates of heads: rotate turns every head at its own", "", float, double) {
  const std::vector<Position> ids = random_ids(1, tokens, -3000, 100'000, 7);
  const auto check = [&](const auto& base, const Positions& where,
                         const RotateOptions& options = {}) {
    const auto bound = bind(base | ratios, heads);
    for (int how = 0; how < 3; ++how) {
      const Sides<TestType> expected =
          by_head<TestType>([&](TensorView<TestType> x, double ratio, Side side) {
            RotateOptions own = options;
            own.side = side;
            const auto one = bind(base | PI{ratio});
            if (how == 0) rotate(x, where, one, own);
            if (how == 1) unrotate(x, where, one, own);
            if (how == 2) rotate_backward(x, where, one, own);
          });
      Sides<TestType> together, apart;
      if (how == 0) rotate(together.queries(), together.keys(), where, bound, options);
      if (how == 1) unrotate(together.queries(), together.keys(), where, bound, options);
      if (how == 2) rotate_backward(together.queries(), together.keys(), where, bound, options);
      CHECK(alike(together, expected));
      RotateOptions own = options;
      for (const Side side : {Side::query, Side::key}) {
        own.side = side;
        TensorView<TestType> x = side == Side::query ? apart.queries() : apart.keys();
        if (how == 0) rotate(x, where, bound, own);
        if (how == 1) unrotate(x, where, bound, own);
        if (how == 2) rotate_backward(x, where, bound, own);
      }
      CHECK(apart == together);
    }
  };
  check(RoPE<HalfSplit>{.head_dim = width}, Positions(ids));
  check(RoPE<Interleaved>{.head_dim = width}, Position{123});
  check(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 16, .rotary_offset = 3}, Position{-5});
  check(RoPE<Interleaved>{.head_dim = width} | YaRN{.factor = 4, .original_context = 32},
        Position{900}, {.attention_factor = false});
  check(RoPE<HalfSplit>{.head_dim = width} | XPos{.scale_base = 256}, Position{-20});
  check(RoPE<HalfSplit>{.head_dim = width} | DynamicNTK{.factor = 2, .original_context = 16},
        Position{0});
}

TEST_CASE("rates of heads: at every level, and by pair, the formula") {
  const auto bound = bind(RoPE<Interleaved>{.head_dim = width} | ByPair{}, heads);
  posenc_test::at_every_level([&] {
    Sides<double> x;
    const Sides<double> before;
    rotate(x.queries(), x.keys(), Position{70}, bound);
    Real worst = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < num_heads; ++h)
        for (Index i = 0; i < width / 2; ++i) {
          const Real angle = static_cast<Real>(70 + t) * ladder(10000, width, i) /
                             (1 + 0.25L * static_cast<Real>((h / 2) * i));
          const std::size_t at = size((t * num_heads + h) * width + 2 * i);
          const Real a = before.q[at], b = before.q[at + 1];
          worst = std::max(worst, std::abs(static_cast<Real>(x.q[at]) -
                                           (a * std::cos(angle) - b * std::sin(angle))));
        }
    CHECK(worst <= 2e-13L);
  });
}

TEST_CASE("rates of heads: Rotations and ragged batches are the same bits") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | ratios, heads);
  Sides<float> expected;
  rotate(expected.queries(), expected.keys(), Position{17}, bound);
  const Rotations at(bound, Position{17}, tokens);
  CHECK(at.rates() == kv_heads);
  CHECK(at.cos(1, 0)[3] != at.cos(1, 1)[3]);
  Sides<float> x;
  rotate(x.queries(), x.keys(), at);
  CHECK(x == expected);
  Sides<float> back = expected, also = expected;
  rotate(back.queries(), back.keys(), at.transposed());
  rotate_backward(also.queries(), also.keys(), Position{17}, bound);
  CHECK(back == also);

  const std::vector<Index> starts{0, 11, 11, tokens};
  const std::vector<Position> offsets{17, 0, 28};
  Sides<float> ragged;
  rotate(ragged.queries(), ragged.keys(), RaggedBatch{starts, offsets}, bound);
  CHECK(ragged == expected);
}

TEST_CASE("rates of heads: equal ones are PI, and ones are RoPE to the bit") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  const std::vector<Position> ids = random_ids(1, tokens, -3000, 100'000, 9);
  for (const double ratio : {1.0, 4.0}) {
    Sides<float> x, expected;
    rotate(x.queries(), x.keys(), ids,
           bind(rope | MsPoE{.least = ratio, .greatest = ratio}, heads));
    rotate(expected.queries(), expected.keys(), ids, bind(rope | PI{ratio}, heads));
    CHECK(x == expected);
  }
}

TEST_CASE("rates of heads: products see distances alone") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | ratios, heads);
  const auto products = [&](Position at) {
    Sides<double> x;
    rotate(x.queries(), x.keys(), at, bound);
    std::vector<double> all;
    for (Index h = 0; h < num_heads; ++h)
      for (Index m = 0; m < tokens; ++m) {
        double sum = 0;
        for (Index c = 0; c < width; ++c) sum += x.queries()(5, h, c) * x.keys()(m, h / 2, c);
        all.push_back(sum);
      }
    return all;
  };
  const std::vector<double> here = products(0), there = products(100'000);
  for (std::size_t i = 0; i < here.size(); ++i) CHECK(std::abs(here[i] - there[i]) <= 1e-9);
}

TEST_CASE("rates of heads: tensors of other heads are refused") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} | ratios, heads);
  std::vector<float> x(tokens * 4 * width);
  const TensorView<float> four(x.data(), tokens, 4, width);
  const std::string sentence = "it is bound to 6 query and 3 key heads, but the tensor has 4";
  CHECK(error_of([&] { rotate(four, Position{0}, bound); }).find(sentence) != std::string::npos);
  const Rotations at(bound, Position{0}, tokens);
  CHECK(error_of([&] { rotate(four, at); }).find(sentence) != std::string::npos);
  const std::vector<Index> starts{0, tokens};
  const std::vector<Position> offsets{0};
  CHECK(error_of([&] { rotate(four, RaggedBatch{starts, offsets}, bound); }).find(sentence) !=
        std::string::npos);
  CHECK(error_of([&] {
          rotate(four, Position{0}, RoPE<HalfSplit>{.head_dim = width} | MsPoE{});
        }).find("it is bound to 1 query and 1 key heads, but the tensor has 4") !=
        std::string::npos);
}

}  // namespace rates_cases
