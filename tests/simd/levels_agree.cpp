// SPDX-License-Identifier: MIT
//
// What a rotated element depends on: its pair, its position, the encoding, and in the last bits the
// level. Not on strides, other heads, other tokens, other tensors of the call or threads.
#include <posenc/eigen.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotate/ragged.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/rotate/rotations.hpp>

#include "../support/backwards.hpp"
#include "../support/catch.hpp"
#include "rotation.hpp"

#include <algorithm>
#include <vector>

using namespace posenc;
using posenc_test::Backwards;

namespace {

/// Widths whose pairs fill whole steps of some levels and not of others, and more than one piece of
/// 128 pairs; the first channel and those from `dim` + 1 on do not rotate.
template <class F>
void for_each_encoding(const F& f) {
  for (const Index dim : {2, 14, 38, 64, 128, 300}) {
    CAPTURE(dim);
    f(bind(RoPE<HalfSplit>{.head_dim = dim + 3, .rotary_dim = dim, .rotary_offset = 1}));
    f(bind(RoPE<Interleaved>{.head_dim = dim + 3, .rotary_dim = dim, .rotary_offset = 1}));
  }
}

/// Contiguous [tokens, heads, width] that owns its memory.
template <class T>
struct Tensor {
  Index tokens, heads, width;
  std::vector<T> memory = noise<T>(tokens * heads * width, 21);

  [[nodiscard]] TensorView<T> view() { return {memory.data(), tokens, heads, width}; }
  [[nodiscard]] TensorView<const T> view() const { return {memory.data(), tokens, heads, width}; }
};

/// Positions that do not come in order: some twice, some next to each other, some at the far side
/// of a table's digit, some negative.
const std::vector<Position> scattered{5,     4,  1000000, 5,       -3,      31,       32,
                                      0,     63, -3,      1 << 20, 1 << 24, 999'999,  1 << 25,
                                      -1024, 6,  7,       8,       5,       123456789};

template <class A, class B>
void copy_elements(const A& from, const B& to) {
  for (Index t = 0; t < to.tokens; ++t)
    for (Index h = 0; h < to.heads; ++h)
      for (Index c = 0; c < to.width; ++c) to(t, h, c) = from(t, h, c);
}

template <class A, class B>
void check_same_bits(const A& got, const B& expected) {
  Tally tally;
  for (Index t = 0; t < expected.tokens; ++t)
    for (Index h = 0; h < expected.heads; ++h)
      for (Index c = 0; c < expected.width; ++c)
        tally.require(bits_of(got(t, h, c)) == bits_of(expected(t, h, c)), "token ", t, ", head ",
                      h, ", channel ", c, ": ", value_of(got(t, h, c)), " instead of ",
                      value_of(expected(t, h, c)));
  CHECK(tally.complaint() == "");
}

}  // namespace

TEMPLATE_TEST_CASE("rotate: every level agrees with the portable one", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Index width = bound.rotary().state.head_dim;
    const Tensor<TestType> x{std::ssize(scattered), 2, width};
    Tensor<TestType> portable = x;
    {
      const simd::ForcedLevel forced(simd::Level::scalar);
      rotate(portable.view(), scattered, bound);
    }
    at_every_level([&] {
      Tensor<TestType> y = x;
      rotate(y.view(), scattered, bound);
      Tally tally;
      for (std::size_t i = 0; i < y.memory.size(); ++i) {
        // Both are within the tolerance of the formula, and elements of [-1, 1] have norms up to
        // sqrt 2. An element of 16 bits may fall on the other side of a tie.
        const Real slack = 2 * tolerance<TestType>(0) * 1.415L;
        const TestType got = y.memory[i], expected = portable.memory[i];
        const Real difference =
            static_cast<Real>(value_of(got)) - static_cast<Real>(value_of(expected));
        tally.require(std::abs(difference) <= slack ||
                          (sizeof(TestType) == 2 && std::abs(rank(got) - rank(expected)) <= 1),
                      "element ", i, ": ", value_of(got), " and ", value_of(expected));
      }
      CHECK(tally.complaint() == "");
    });
  });
}

TEMPLATE_TEST_CASE("rotate: levels with a fused multiply-add give the same bits", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Tensor<TestType> x{std::ssize(scattered), 2, bound.rotary().state.head_dim};
    std::vector<Tensor<TestType>> results;
    for (const simd::Level level : simd::available_levels()) {
      if (level == simd::Level::scalar) continue;
      const simd::ForcedLevel forced(level);
      CAPTURE(simd::name(level));
      results.push_back(x);
      rotate(results.back().view(), scattered, bound);
      check_same_bits(results.back().view(), results.front().view());
    }
  });
}

TEMPLATE_TEST_CASE("rotate: 16-bit elements are rotated in float and rounded once", "",
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Tensor<TestType> x{std::ssize(scattered), 3, bound.rotary().state.head_dim};
    Tensor<float> wide{x.tokens, x.heads, x.width};
    std::ranges::transform(x.memory, wide.memory.begin(), value_of<TestType>);
    at_every_level([&] {
      Tensor<TestType> y = x;
      Tensor<float> rotated = wide;
      rotate(y.view(), scattered, bound);
      rotate(rotated.view(), scattered, bound);
      Tensor<TestType> expected = x;
      std::ranges::transform(rotated.memory, expected.memory.begin(), nearest<TestType, float>);
      check_same_bits(y.view(), expected.view());
    });
  });
}

TEMPLATE_TEST_CASE("rotate: the same bits whatever the strides are", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Index tokens = 5, heads = 3, width = bound.rotary().state.head_dim;
    Tensor<TestType> x{tokens, heads, width};
    for (Index row = 0; row < tokens * heads; ++row)  // where nothing rotates
      for (const Index channel : {Index{0}, width - 1})
        x.memory[static_cast<std::size_t>(row * width + channel)] = signaling_nan<TestType>();
    // Where element (0, 0, 0) lies, and the distances between tokens, heads and channels.
    struct Strides {
      Index origin, token, head, channel;
    };
    const Index row = heads * width, all = tokens * row;
    const std::vector<Strides> ways{{0, row, width, 1},
                                    {0, width, tokens * width, 1},   // head-major
                                    {0, 2 * row, 2 * width, 2},      // every other one
                                    {0, 1, tokens, heads * tokens},  // channel-major
                                    {all - 1, -row, -width, -1},     // backwards
                                    {row - width, row, -width, 1},   // heads backwards
                                    {width - 1, row, width, -1},     // channels backwards
                                    {3, row + 19, width + 2, 1}};    // with room
    at_every_level([&] {
      Tensor<TestType> expected = x;
      rotate(expected.view(), scattered[0], bound);
      for (const Strides& from : ways)
        for (const Strides& to : ways) {
          CAPTURE(from.origin, from.token, from.head, from.channel);
          CAPTURE(to.origin, to.token, to.head, to.channel);
          std::vector<TestType> memory_in(static_cast<std::size_t>(2 * all + 100));
          std::vector<TestType> memory_out = memory_in;
          const auto view = [&](std::vector<TestType>& memory, const Strides& way) {
            return TensorView<TestType>(memory.data() + way.origin, tokens, heads, width, way.token,
                                        way.head, way.channel);
          };
          const auto in = view(memory_in, from), out = view(memory_out, to);
          copy_elements(x.view(), in);
          rotate(TensorView<const TestType>(in), out, scattered[0], bound);
          check_same_bits(out, expected.view());
          rotate(in, scattered[0], bound);
          check_same_bits(in, expected.view());
        }
    });
  });
}

TEMPLATE_TEST_CASE("rotate: a head and a token alone, and in any company", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Index heads = 3, width = bound.rotary().state.head_dim;
    const Tensor<TestType> x{std::ssize(scattered), heads, width};
    at_every_level([&] {
      Tensor<TestType> together = x;
      rotate(together.view(), scattered, bound);

      Tensor<TestType> alone = x;
      for (Index t = 0; t < x.tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          rotate(TensorView<TestType>(alone.view().row(t, h), 1, 1, width),
                 scattered[static_cast<std::size_t>(t)], bound);
      check_same_bits(alone.view(), together.view());

      // In two calls, as real numbers, and with the tokens in the opposite order.
      Tensor<TestType> parts = x;
      const Positions ids(scattered);
      rotate(parts.view().slice(0, 7), ids.first(7), bound);
      rotate(parts.view().slice(7, x.tokens - 7),
             ids.subspan(7, static_cast<std::size_t>(x.tokens) - 7), bound);
      check_same_bits(parts.view(), together.view());

      Tensor<TestType> real = x;
      rotate(real.view(),
             Positions::borrowed(std::vector<double>(scattered.begin(), scattered.end())), bound);
      check_same_bits(real.view(), together.view());

      Tensor<TestType> opposite = x;
      const std::vector<Position> last_first(scattered.rbegin(), scattered.rend());
      const auto forward = opposite.view();
      rotate(TensorView<TestType>(forward.row(x.tokens - 1, 0), x.tokens, heads, width,
                                  -forward.token_stride, width),
             last_first, bound);
      check_same_bits(opposite.view(), together.view());
    });
  });
}

TEMPLATE_TEST_CASE("rotate: a sequence is its tokens", "", float, Eigen::bfloat16) {
  // Across the digits of the angle table, and through zero.
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 38});
  for (const Position start :
       {Position{-70}, Position{0}, Position{990}, (Position{1} << 25) - 40}) {
    CAPTURE(start);
    const Tensor<TestType> x{100, 1, 38};
    at_every_level([&] {
      Tensor<TestType> together = x, alone = x;
      rotate(together.view(), start, bound);
      for (Index t = 0; t < x.tokens; ++t) rotate(alone.view().slice(t, 1), start + t, bound);
      check_same_bits(alone.view(), together.view());
    });
  }
}

TEMPLATE_TEST_CASE("rotate: queries and keys in one call are as in two", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([](const auto& bound) {
    const Index tokens = std::ssize(scattered), width = bound.rotary().state.head_dim;
    const Tensor<TestType> q{tokens, 8, width}, k{tokens, 2, width};
    at_every_level([&] {
      Tensor<TestType> q_alone = q, k_alone = k, q_both = q, k_both = k;
      rotate(q_alone.view(), scattered, bound);
      rotate(k_alone.view(), scattered, bound);
      rotate(q_both.view(), k_both.view(), scattered, bound);
      check_same_bits(q_both.view(), q_alone.view());
      check_same_bits(k_both.view(), k_alone.view());

      // Packed as [tokens][q heads | k heads].
      std::vector<TestType> packed(static_cast<std::size_t>(tokens * 10 * width));
      const TensorView<TestType> q_view(packed.data(), tokens, 8, width, 10 * width, width);
      const TensorView<TestType> k_view(packed.data() + 8 * width, tokens, 2, width, 10 * width,
                                        width);
      copy_elements(q.view(), q_view);
      copy_elements(k.view(), k_view);
      rotate(q_view, k_view, scattered, bound);
      check_same_bits(q_view, q_alone.view());
      check_same_bits(k_view, k_alone.view());

      // Beside keys without heads, which need no memory.
      Tensor<TestType> q_only = q;
      rotate(q_only.view(), TensorView<TestType>(nullptr, tokens, 0, width, width, width),
             scattered, bound);
      check_same_bits(q_only.view(), q_alone.view());

      unrotate(q_both.view(), k_both.view(), scattered, bound);
      unrotate(q_alone.view(), scattered, bound);
      unrotate(k_alone.view(), scattered, bound);
      check_same_bits(q_both.view(), q_alone.view());
      check_same_bits(k_both.view(), k_alone.view());
    });
  });
}

TEMPLATE_TEST_CASE("rotate: the same bits on any number of threads", "", float, Eigen::half) {
  // Long enough to be worth several.
  const auto bound = bind(RoPE<Interleaved>{.head_dim = 128});
  const Tensor<TestType> x{800, 8, 128};
  at_every_level([&] {
    Tensor<TestType> serial = x;
    rotate(serial.view(), -400, bound, {.executor = Serial{}});
    for (const Index threads : {2, 3, 7}) {
      Tensor<TestType> parallel = x;
      rotate(parallel.view(), -400, bound, {.executor = Backwards{threads}});
      check_same_bits(parallel.view(), serial.view());
    }
  });
}

TEMPLATE_TEST_CASE("a head of 16-bit elements is rotated into floats as floats are", "",
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([]<class E>(const Bound<E>& bound) {
    const Index width = bound.rotary().state.head_dim;
    Tensor<TestType> x{1, 1, width};
    Tensor<float> expected{1, 1, width}, y = expected;
    at_every_level([&] {
      std::ranges::transform(x.memory, expected.memory.begin(), value_of<TestType>);
      rotate(expected.view(), 321, bound);
      simd::dispatch<TestType>([&]<class Level>(Level) {
        detail::rotate_rows<Level, AnyLayout>(bound.rotary(), bound.rotary().angles, {}, 321,
                                              TensorView<const TestType>(x.view()), y.view());
      });
      check_same_bits(y.view(), expected.view());
    });
  });
}

TEMPLATE_TEST_CASE("rotate: by angles at hand, and sequence by sequence", "", float, double,
                   Eigen::bfloat16, Eigen::half) {
  for_each_encoding([]<class E>(const Bound<E>& bound) {
    using Angles = Rotations<typename Bound<E>::layout, arithmetic_t<TestType>>;
    const Tensor<TestType> x{std::ssize(scattered), 2, bound.rotary().state.head_dim};
    const std::vector<Index> starts{0, 1, 1, 9, x.tokens};
    const std::vector<Position> offsets{77, 0, -4, 1 << 20};
    at_every_level([&] {
      Tensor<TestType> direct = x, by_angles = x;
      rotate(direct.view(), scattered, bound);
      rotate(by_angles.view(), Angles(bound, scattered, x.tokens));
      check_same_bits(by_angles.view(), direct.view());

      Tensor<TestType> ragged = x, one_by_one = x;
      rotate(ragged.view(), RaggedBatch{starts, offsets}, bound);
      for (std::size_t i = 0; i < offsets.size(); ++i)
        rotate(one_by_one.view().slice(starts[i], starts[i + 1] - starts[i]), offsets[i], bound);
      check_same_bits(ragged.view(), one_by_one.view());
    });
  });
}
