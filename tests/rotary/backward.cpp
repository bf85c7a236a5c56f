// SPDX-License-Identifier: MIT
//
// rotate_backward against the transpose of the formula, and against the rotation that it is the gradient
// of: <rotate(x), d> = <x, rotate_backward(d)>.
#include <posenc/bind/any.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/rotate/backward.hpp>
#include <posenc/rotate/rotations.hpp>

#include "axes.hpp"

namespace rotate_backward_cases {

using namespace axes_test;

const RotateOptions as_query{.side = Side::query};
const RotateOptions as_key{.side = Side::key};

template <class T, class Where, class BoundT>
std::vector<T> backward(std::vector<T> d, Index tokens, const Where& where, const BoundT& bound,
                        const RotateOptions& options = {}) {
  const Index width = bound.rotary().state.head_dim;
  rotate_backward(TensorView<T>(d.data(), tokens, heads_of(std::ssize(d), tokens, width), width),
                  where, bound, options);
  return d;
}

/// The transpose of a pair's rotation by an angle is the rotation by its negative.
Turned transposed(Turned turned) { return {-turned.angle, turned.magnitude}; }

TEMPLATE_TEST_CASE("rotate_backward: the transpose, scaled once more", "", float, double) {
  const Index tokens = 7, dim = 12;
  const std::vector<Position> ids{0, 1, -1, 4095, 131071, 77, 5};
  const std::vector<TestType> d = noise<TestType>(tokens * 2 * 20, 1);
  FrequencyTable table{.attention_factor = 1.25};
  for (Index i = 0; i < dim / 2; ++i)
    table.inv_freq.push_back(static_cast<double>(ladder(10000, dim, i)));
  const auto check = [&](const auto& rope) {
    const auto bound = bind(rope | table);
    for (const bool factor : {true, false}) {
      const RotateOptions options{.attention_factor = factor};
      const std::vector<TestType> d_x = backward(d, tokens, ids, bound, options);
      CHECK(worst_ratio(d, d_x, tokens, bound.rotary(), [&](Index i, Index t) {
              return transposed(
                  {static_cast<Real>(ids[size(t)]) * ladder(10000, dim, i), factor ? 1.25L : 1.0L});
            }) <= 1);
      CHECK((d_x == unrotated(d, tokens, ids, bound, options)) == !factor);
    }
  };
  check(RoPE<HalfSplit>{.head_dim = 20, .rotary_dim = dim, .rotary_offset = 3});
  check(RoPE<Interleaved>{.head_dim = 20, .rotary_dim = dim, .rotary_offset = 3});
}

TEMPLATE_TEST_CASE("rotate_backward: XPos keeps the magnitude of the side", "", float, double) {
  const Index tokens = 12, width = 32;
  const auto bound = bind(RoPE<Interleaved>{.head_dim = width} | XPos{.scale_base = 256});
  const std::vector<Position> ids = random_ids(1, tokens, -600, 600, 41);
  const std::vector<TestType> d = noise<TestType>(tokens * width, 42);
  for (const RotateOptions& options : {as_query, as_key})
    CHECK(worst_ratio(d, backward(d, tokens, ids, bound, options), tokens, bound.rotary(),
                      [&](Index i, Index t) {
                        const auto n = static_cast<Real>(ids[size(t)]);
                        const Real zeta =
                            (2 * static_cast<Real>(i) / static_cast<Real>(width) + 0.4L) / 1.4L;
                        return transposed(
                            {n * ladder(10000, width, i),
                             std::pow(zeta, options.side == Side::query ? n / 256 : -n / 256)});
                      }) <= 1);
}

TEST_CASE("rotate_backward: the adjoint of rotate, for every kind of rotation") {
  const Index tokens = 9, width = 16;
  const std::vector<double> x = noise<double>(tokens * 3 * width, 1),
                            d = noise<double>(tokens * 3 * width, 2);
  const auto check = [&](const auto& bound, const Positions& positions,
                         const RotateOptions& options = {}) {
    CHECK_THAT(dot(rotated(x, tokens, positions, bound, options), d),
               WithinAbs(dot(x, backward(d, tokens, positions, bound, options)), 1e-11));
  };
  const RoPE<HalfSplit> half{.head_dim = width};
  const RoPE<Interleaved> interleaved{.head_dim = width, .rotary_dim = 8, .rotary_offset = 6};
  const YaRN yarn{.factor = 8, .original_context = 64};
  check(bind(half), 100);
  check(bind(interleaved), -5);
  REQUIRE(bind(half | yarn).rotary().state.attention_factor > 1);
  check(bind(half | yarn), 1'000);
  check(bind(half | yarn, {.angles = Angles::huggingface}), 1'000);
  check(bind(AnyEncoding(interleaved) | yarn), 1'000);
  const DynamicNTK dynamic{.original_context = 64, .form = DynamicNTKForm::paper};
  check(bind(half | dynamic), 200);
  check(bind(half | dynamic, {.length = 400}), 200);
  const auto xpos = bind(half | XPos{.scale_base = 64, .centre = 40} | yarn);
  check(xpos, 90, as_query);
  check(xpos, 90, as_key);

  const std::vector<double> between = noise<double>(tokens, 3, -100, 100);
  check(bind(half), between);
  check(xpos, between, as_key);
  const std::vector<Position> ids = random_ids(3, tokens, 0, 500, 4);
  check(bind(half | MRoPE{.sections = {2, 3, 3}}), Positions(ids, 3));
  const std::vector<Position> rows = random_ids(2, tokens, 0, 60, 5);
  check(bind(half | Axial2D{}), Positions(rows, 2));
}

TEST_CASE("rotate_backward: out of place, of two tensors and by value, the same bits") {
  const Index tokens = 9, width = 16;
  const auto encoding = RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 8} |
                        YaRN{.factor = 8, .original_context = 64};
  const auto bound = bind(encoding);
  const auto xpos = bind(RoPE<HalfSplit>{.head_dim = width} | XPos{});
  std::vector<float> d_q = noise<float>(tokens * 4 * width, 1),
                     d_k = noise<float>(tokens * 2 * width, 2);
  const std::vector<float> before = d_q;
  const std::vector<float> expected = backward(d_q, tokens, 50, bound);
  std::vector<float> apart(d_q.size(), 9), by_value = d_q;
  rotate_backward(TensorView<const float>(d_q.data(), tokens, 4, width),
                  TensorView<float>(apart.data(), tokens, 4, width), 50, bound);
  CHECK(d_q == before);
  CHECK(apart == expected);
  rotate_backward(TensorView<float>(by_value.data(), tokens, 4, width), 50, encoding);
  CHECK(by_value == expected);

  const std::vector<float> of_q = backward(d_q, tokens, 50, xpos, as_query),
                           of_k = backward(d_k, tokens, 50, xpos, as_key);
  rotate_backward(TensorView<float>(d_q.data(), tokens, 4, width),
                  TensorView<float>(d_k.data(), tokens, 2, width), 50, xpos);
  CHECK(d_q == of_q);
  CHECK(d_k == of_k);
}

TEMPLATE_TEST_CASE("rotate_backward: elements of 16 bits are rounded once", "", Eigen::bfloat16,
                   Eigen::half) {
  const Index tokens = 6, width = 24;
  const auto bound =
      bind(RoPE<Interleaved>{.head_dim = width} | YaRN{.factor = 8, .original_context = 64});
  const std::vector<TestType> d = noise<TestType>(tokens * width, 1);
  std::vector<double> wide;
  for (const TestType& element : d) wide.push_back(static_cast<double>(widen(element)));
  const std::vector<double> expected = backward(wide, tokens, 30, bound);
  const std::vector<TestType> got = backward(d, tokens, 30, bound);
  const double unit = std::is_same_v<TestType, Eigen::half> ? 0x1p-11 : 0x1p-8;
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(widen(got[i])) - expected[i]) /
                                (unit * std::abs(expected[i]) + 1e-6));
  CHECK(worst <= 1);
}

TEST_CASE("rotate_backward: a ragged batch, each sequence by its own length") {
  const Index width = 16, context = 8;
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = width} |
                          DynamicNTK{.original_context = context, .form = DynamicNTKForm::paper});
  const std::vector<Index> starts{0, 5, 5, 17, 20};
  const std::vector<Position> offsets{0, 3, 10, 100};
  const RaggedBatch batch{starts, offsets};
  const Index tokens = 20;
  const std::vector<double> d = noise<double>(tokens * 2 * width, 1);
  const std::vector<double> d_x = backward(d, tokens, batch, bound);
  const auto sequence_of = [&](Index t) {
    return std::upper_bound(starts.begin(), starts.end(), t) - starts.begin() - 1;
  };
  CHECK(worst_ratio(d, d_x, tokens, bound.rotary(), [&](Index i, Index t) {
          const Index s = sequence_of(t);
          const Position offset = offsets[size(s)];
          const auto length = static_cast<Real>(offset + starts[size(s + 1)] - starts[size(s)]);
          const Real base = 10000 * std::pow(std::max(1.0L, length / context), 16.0L / 14);
          return transposed(
              {static_cast<Real>(offset + t - starts[size(s)]) * ladder(base, width, i)});
        }) <= 1);

  const TensorView<const double> view(d.data(), tokens, 2, width);
  std::vector<double> apart(d.size()), q = d, k = d, one = d, q_own = d, k_own = d;
  const auto of = [&](std::vector<double>& memory) {
    return TensorView<double>(memory.data(), tokens, 2, width);
  };
  rotate_backward(view, of(apart), batch, bound);
  CHECK(apart == d_x);
  rotate_backward(of(q), of(k), batch, bound);
  CHECK(q == d_x);
  CHECK(k == d_x);
  using OneBound = std::remove_const_t<decltype(bound)>;
  const std::vector<OneBound> bounds{bound.at_length(5), bound, bound.at_length(22),
                                     bound.at_length(103)};
  rotate_backward(of(one), batch, std::span<const OneBound>(bounds));
  CHECK(one == d_x);
  rotate_backward(of(q_own), of(k_own), batch, std::span<const OneBound>(bounds));
  CHECK(q_own == d_x);
  CHECK(k_own == d_x);
}

TEST_CASE("rotate_backward: through Rotations, the same bits") {
  const Index tokens = 11, width = 288;  // more than one piece of pairs
  const RoPE<HalfSplit> rope{.head_dim = width, .rotary_dim = 276};
  const auto check = [&](const auto& bound, const RotateOptions& options) {
    const std::vector<float> d = noise<float>(tokens * 2 * width, 1);
    const Rotations at(bound, -3, tokens, options);
    const Rotations back = at.transposed();
    std::vector<float> d_x = d, again = d;
    rotate(TensorView<float>(d_x.data(), tokens, 2, width), back);
    CHECK(d_x == backward(d, tokens, -3, bound, options));
    rotate(TensorView<float>(again.data(), tokens, 2, width), back.transposed());
    CHECK(again == rotated(d, tokens, -3, bound, options));
  };
  check(bind(rope | YaRN{.factor = 8, .original_context = 64}), {});
  check(bind(rope | XPos{}), as_query);
  check(bind(rope | XPos{}), as_key);
}

/// A user's own scheme.
struct Silence {
  void transform(RotaryState& state) const { state.attention_factor = 0; }
};

TEST_CASE("rotate_backward: an attention factor of zero leaves no gradient, and nothing to undo") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8} | Silence{});
  const std::vector<float> d = noise<float>(8, 1);
  CHECK(backward(d, 1, 3, bound) == std::vector<float>(8, 0.0F));
  CHECK_THAT(complaint([&] { (void)unrotated(d, 1, 3, bound); }),
             ContainsSubstring("the attention factor is 0, so it cannot be undone"));
}

TEST_CASE("rotate_backward: what does not fit is refused by its own name") {
  const auto bound = bind(RoPE<HalfSplit>{.head_dim = 8});
  const auto xpos = bind(RoPE<HalfSplit>{.head_dim = 8} | XPos{});
  std::vector<float> memory(64), other(64);
  const TensorView<float> d(memory.data(), 4, 2, 8);
  const auto says = [](const auto& call, const std::string& sentence) {
    const std::string why = complaint(call);
    CHECK_THAT(why, StartsWith("posenc::rotate_backward: "));
    CHECK_THAT(why, ContainsSubstring(sentence));
  };
  says([&] { rotate_backward(TensorView<float>(memory.data(), 4, 2, 6), 0, bound); },
       "the encoding rotates heads of 8 channels, but these have 6");
  says(
      [&] {
        rotate_backward(TensorView<const float>(d), TensorView<float>(other.data(), 4, 1, 8), 0,
                        bound);
      },
      "must have the same shape, got [4, 2, 8] and [4, 1, 8]");
  says([&] { rotate_backward(d, Positions::borrowed(std::vector<Position>{1, 2, 3}), bound); },
       "tokens: got 3 position ids for 4 tokens");
  says([&] { rotate_backward(d, 0, xpos); }, "say which this is with RotateOptions::side");
  says([&] { rotate_backward(d, 0, bind(AnyEncoding())); }, "no rotary base");
  const std::vector<Index> starts{0, 3};
  says([&] { rotate_backward(d, RaggedBatch{.starts = starts}, bound); },
       "starts must go from 0 to the 4 tokens");
  CHECK(memory == std::vector<float>(64));
}

}  // namespace rotate_backward_cases
