// SPDX-License-Identifier: MIT
//
// Gradients of the short convolution and of token shift against adjoints in long double, which are held to central
// differences.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/levels.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>
#include <posenc/mixers/token_shift_backward.hpp>

namespace mixers_test::convolution_backward_cases {

using namespace posenc;
using posenc_test::numbers;
using posenc_test::Random;
using posenc_test::Tensor;

std::vector<float> drawn(Index n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> all;
  for (Index i = 0; i < n; ++i) all.push_back(static_cast<float>(random.real(-1, 1)));
  return all;
}
std::vector<Real> reals(const std::vector<float>& x) { return {x.begin(), x.end()}; }
std::vector<float> floats(const std::vector<double>& x) { return {x.begin(), x.end()}; }

/// Gradients, or the sizes of their terms.
struct Slopes {
  std::vector<Real> x, before, weight, bias;
};

/// The loss sum of d_out f(z) + sum of d_state (the last inputs), of one sequence.
struct Formula {
  Index tokens, channels, width;
  bool silu;
  std::vector<Real> x, before, weight, bias, d_out, d_state;

  [[nodiscard]] Real& input(std::vector<Real>& of_x, std::vector<Real>& of_before, Index t,
                            Index c) const {
    return t >= 0 ? of_x[size(t * channels + c)] : of_before[size((t + width - 1) * channels + c)];
  }
  [[nodiscard]] Real sum(Index t, Index c) {
    Real z = bias[size(c)];
    for (Index i = 0; i < width; ++i)
      z += weight[size(c * width + i)] * input(x, before, t - width + 1 + i, c);
    return z;
  }
  [[nodiscard]] Real loss() {
    Real all = 0;
    for (Index c = 0; c < channels; ++c) {
      for (Index t = 0; t < tokens; ++t) {
        const Real z = sum(t, c);
        all += d_out[size(t * channels + c)] * (silu ? z / (1 + std::exp(-z)) : z);
      }
      for (Index i = 0; i + 1 < width; ++i)
        all += d_state[size(i * channels + c)] * input(x, before, tokens - width + 1 + i, c);
    }
    return all;
  }
  void gradient(Slopes& to, Slopes& terms) {
    to = {std::vector<Real>(x.size()), std::vector<Real>(before.size()),
          std::vector<Real>(weight.size()), std::vector<Real>(bias.size())};
    terms = to;
    const auto add = [](Real& value, Real& of_terms, Real one) {
      value += one, of_terms += std::abs(one);
    };
    for (Index c = 0; c < channels; ++c) {
      const auto to_input = [&](Index t, Real one) {
        add(input(to.x, to.before, t, c), input(terms.x, terms.before, t, c), one);
      };
      for (Index t = 0; t < tokens; ++t) {
        const Real z = sum(t, c), open = 1 / (1 + std::exp(-z));
        const Real g =
            d_out[size(t * channels + c)] * (silu ? open * (1 + z * (1 - open)) : Real{1});
        add(to.bias[size(c)], terms.bias[size(c)], g);
        for (Index i = 0; i < width; ++i) {
          const Index from = t - width + 1 + i, at = c * width + i;
          add(to.weight[size(at)], terms.weight[size(at)], g * input(x, before, from, c));
          to_input(from, g * weight[size(at)]);
        }
      }
      for (Index i = 0; i + 1 < width; ++i)
        to_input(tokens - width + 1 + i, d_state[size(i * channels + c)]);
    }
  }
};

/// A call with random numbers.
struct Call {
  Index tokens, channels, width;
  mixers::ShortConv parameters;
  mixers::ShortConvolution of;
  Tensor<float> x, d_out, d_x;
  mixers::State before, d_state;
  mixers::ShortConvGradients learned;

  static mixers::ShortConv drawn_parameters(Index channels, Index width, bool silu, bool bias) {
    mixers::ShortConv all{
        .channels = channels, .width = width, .weight = drawn(channels * width, 1), .silu = silu};
    if (bias) all.bias = drawn(channels, 2);
    return all;
  }
  Call(Index n, Index channels_, Index width_, bool silu, bool bias = true,
       Tensor<float>::Memory memory = Tensor<float>::token_major)
      : tokens(n), channels(channels_), width(width_),
        parameters(drawn_parameters(channels_, width_, silu, bias)), of(parameters),
        x(n, 1, channels_, memory), d_out(n, 1, channels_, memory), d_x(n, 1, channels_, memory),
        before(of.state()), d_state(of.state()), learned(of) {
    x.fill(Random(3), 2), d_out.fill(Random(4));
    fill(before, 5), fill(d_state, 6);
  }
  void fill(mixers::State& state, unsigned seed) const {
    Random random(seed);
    for (Index i = 0; i + 1 < width; ++i)
      for (Index c = 0; c < channels; ++c)
        state.matrices()(i, 0, c) = static_cast<float>(random.real(-1, 1));
  }
  void run(const mixers::Options& options = {}) {
    mixers::backward(x.view(), d_out.view(), before, d_state, {d_x.view(), &learned}, of, options);
  }
  [[nodiscard]] Formula formula() const {
    return {tokens,
            channels,
            width,
            parameters.silu,
            reals(numbers(x)),
            reals(numbers(before.matrices())),
            reals(parameters.weight),
            parameters.bias.empty() ? std::vector<Real>(size(channels)) : reals(parameters.bias),
            reals(numbers(d_out)),
            reals(numbers(d_state.matrices()))};
  }
  [[nodiscard]] std::vector<float> results() const {
    std::vector<float> all = numbers(d_x);
    for (const std::vector<float>& more :
         {numbers(d_state.matrices()), floats(learned.weight), floats(learned.bias)})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

void check(Call& call) {
  Formula formula = call.formula();
  Slopes wanted, terms;
  formula.gradient(wanted, terms);
  call.run();
  const auto compare = [&](const char* what, const auto& got, const std::vector<Real>& value,
                           const std::vector<Real>& of_terms) {
    REQUIRE(std::size(got) == value.size());
    Real worst = 0;
    for (std::size_t i = 0; i < value.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<Real>(got[i]) - value[i]) /
                                  (of_terms[i] * 0x1p-24L * 100 + 1e-6L));
    INFO("the gradient of " << what);
    CHECK(worst <= 1);
  };
  compare("x", numbers(call.d_x), wanted.x, terms.x);
  compare("the state", numbers(call.d_state.matrices()), wanted.before, terms.before);
  compare("weight", call.learned.weight, wanted.weight, terms.weight);
  compare("bias", call.learned.bias, wanted.bias, terms.bias);
}

TEST_CASE("short convolution: the adjoint of the oracle is central differences of its loss",
          "[mixers]") {
  for (const bool silu : {true, false})
    for (const Index tokens : {2, 6}) {
      const Call call(tokens, 3, 4, silu);
      Formula formula = call.formula();
      Slopes wanted, terms;
      formula.gradient(wanted, terms);
      for (const auto& [numbers_of, slopes] : {std::pair{&formula.x, &wanted.x},
                                               {&formula.before, &wanted.before},
                                               {&formula.weight, &wanted.weight},
                                               {&formula.bias, &wanted.bias}})
        for (std::size_t i = 0; i < slopes->size(); ++i) {
          const Real at = (*numbers_of)[i], step = 1e-6L;
          (*numbers_of)[i] = at + step;
          const Real more = formula.loss();
          (*numbers_of)[i] = at - step;
          const Real slope = (more - formula.loss()) / (2 * step);
          (*numbers_of)[i] = at;
          CHECK(std::abs((*slopes)[i] - slope) <= 1e-9L * (1 + std::abs(slope)));
        }
    }
}

TEST_CASE("short convolution: gradients agree with the adjoint at every length and width",
          "[mixers]") {
  posenc_test::at_every_level([] {
    for (const Index width : {2, 4, 16})
      for (const Index tokens : {0, 1, 3, 16, 31, 32, 33, 75})
        for (const bool silu : {true, false}) {
          INFO(tokens << " tokens, width " << width);
          Call call(tokens, tokens == 33 ? 130 : 21, width, silu, width != 2);
          check(call);
        }
  });
}

TEST_CASE("short convolution: gradients do not depend on strides, threads, pieces or memory",
          "[mixers]") {
  constexpr Index T = 75, E = 300, W = 4;
  Call plain(T, E, W, true);
  plain.run();
  const std::vector<float> wanted = plain.results();
  for (const auto memory : {Tensor<float>::head_major, Tensor<float>::padded}) {
    Call apart(T, E, W, true, true, memory);
    apart.run();
    CHECK(posenc_test::same_bits(apart.results(), wanted));
  }
  for (const Index threads : {2, 3, 7}) {
    Call call(T, E, W, true);
    const AnyExecutor executor(posenc_test::Backwards{threads});
    const std::size_t before = posenc_test::allocations();
    call.run({.executor = executor});
    CHECK(posenc_test::allocations() == before);
    CHECK(posenc_test::same_bits(call.results(), wanted));
  }
  // In place of d_out, and elements of 16 bits.
  Call over(T, E, W, true);
  mixers::backward(over.x.view(), over.d_out.view(), over.before, over.d_state,
                   {over.d_out.view(), &over.learned}, over.of);
  CHECK(posenc_test::same_bits(numbers(over.d_out), numbers(plain.d_x)));
  Call rounded(T, E, W, true), half(T, E, W, true);
  std::vector<Eigen::half> halves;
  for (Index t = 0; t < T; ++t)
    for (Index c = 0; c < E; ++c) {
      halves.push_back(narrow<Eigen::half>(rounded.x.view()(t, 0, c)));
      rounded.x.view()(t, 0, c) = widen(halves.back());
    }
  rounded.run();
  mixers::backward(TensorView(halves.data(), T, 1, E), half.d_out.view(), half.before, half.d_state,
                   {half.d_x.view(), &half.learned}, half.of);
  CHECK(posenc_test::same_bits(half.results(), rounded.results()));
  // In pieces, the last one first; cut between blocks of 32, so the sums are the same bits.
  Call pieces(T, E, W, true);
  mixers::State middle = pieces.before;
  Tensor<float> out(32, 1, E);
  mixers::convolve(pieces.x.view().slice(0, 32), out.view(), pieces.of, middle);
  const auto piece = [&](Index first, Index count, const mixers::State& before) {
    mixers::backward(pieces.x.view().slice(first, count), pieces.d_out.view().slice(first, count),
                     before, pieces.d_state,
                     {pieces.d_x.view().slice(first, count), &pieces.learned}, pieces.of);
  };
  piece(32, T - 32, middle), piece(0, 32, pieces.before);
  const std::vector<float> d_x = numbers(pieces.d_x);
  for (std::size_t i = 0; i < d_x.size(); ++i) CHECK(std::abs(d_x[i] - wanted[i]) < 1e-5F);
  CHECK(posenc_test::same_bits(floats(pieces.learned.weight), floats(plain.learned.weight)));
  CHECK(posenc_test::same_bits(numbers(pieces.d_state.matrices()),
                               numbers(plain.d_state.matrices())));
  // Sequences of a batch, each as it is alone.
  Call batch(T, E, W, true), alone(T, E, W, true);
  const std::vector<Index> starts{0, 0, 2, T}, slots{2, 1, 0};
  mixers::State before = batch.of.state(3), d_state = before;
  for (Index i = 0; i < 3; ++i) before.copy(batch.before, 0, i), d_state.copy(batch.d_state, 0, i);
  mixers::backward(batch.x.view(), batch.d_out.view(), before, d_state,
                   {batch.d_x.view(), &batch.learned}, RaggedBatch{.starts = starts}, batch.of,
                   {.executor = posenc_test::Backwards{3}, .slots = slots});
  for (std::size_t i = 0; i < 3; ++i) {
    const Index first = starts[i], count = starts[i + 1] - first;
    mixers::State own = alone.d_state;
    mixers::backward(alone.x.view().slice(first, count), alone.d_out.view().slice(first, count),
                     alone.before, own, {alone.d_x.view().slice(first, count), &alone.learned},
                     alone.of);
    CHECK(posenc_test::same_bits(numbers(own.matrices()), numbers(d_state.matrices(slots[i]))));
  }
  CHECK(posenc_test::same_bits(numbers(batch.d_x), numbers(alone.d_x)));
  CHECK(posenc_test::same_bits(floats(batch.learned.weight), floats(alone.learned.weight)));
}

TEST_CASE("short convolution: what is wrong with a call of backward is said in sentences",
          "[mixers]") {
  Call call(5, 6, 3, true);
  const Call other(5, 7, 3, true);
  mixers::ShortConvGradients learned(other.of);
  const mixers::State wrong = other.of.state();
  CHECK(error_of([&] {
          mixers::backward(call.x.view(), call.d_out.view().slice(0, 4), wrong, call.d_state,
                           {{}, &learned}, call.of);
        }) ==
        "posenc::mixers::backward: 4 problems\n"
        "  - d_out is [4, 1, 6] but must be [5, 1, 6].\n"
        "  - the gradient of x is missing: it must be [5, 1, 6].\n"
        "  - the state is of 1 heads of [2, 7], but this convolution has one of [2, 6]: make it by "
        "ShortConvolution::state().\n"
        "  - the gradients of what is learned are not those of this convolution.");
  CHECK(error_of([&] {
          mixers::backward(call.x.view().slice(0, 4), call.d_out.view().slice(0, 4), call.d_state,
                           call.d_state, {call.d_out.view().slice(1, 4)}, call.of);
        }) ==
        "posenc::mixers::backward: 2 problems\n"
        "  - the gradient of x must not overlap d_out, unless it is d_out.\n"
        "  - the gradient of the state must not be the state.");
}

/// A call of token_shift_backward() with two projections, one of each kind.
struct ShiftCall {
  Index tokens, channels;
  std::vector<float> mixes[2];
  Tensor<float> x, d_first, d_second, d_x;
  std::vector<double> d_mixes[2];
  mixers::State before, d_state;
  std::vector<float> comes;  ///< the gradient of the state, as it comes

  ShiftCall(Index n, Index width, Tensor<float>::Memory memory = Tensor<float>::token_major)
      : tokens(n), channels(width), mixes{drawn(width, 1), drawn(width, 2)}, x(n, 1, width, memory),
        d_first(n, 1, width, memory), d_second(n, 1, width, memory), d_x(n, 1, width, memory),
        d_mixes{std::vector<double>(size(width)), std::vector<double>(size(width))},
        before(mixers::token_shift_state(width)), d_state(before) {
    x.fill(Random(3)), d_first.fill(Random(4)), d_second.fill(Random(5));
    Random random(6);
    for (Index c = 0; c < width; ++c) {
      before.matrices()(0, 0, c) = static_cast<float>(random.real(-1, 1));
      d_state.matrices()(0, 0, c) = static_cast<float>(random.real(-1, 1));
    }
    comes = numbers(d_state.matrices());
  }
  [[nodiscard]] std::array<mixers::ShiftedGradient, 2> from(Index first, Index count) {
    return {{{mixes[0], d_first.view().slice(first, count), false, d_mixes[0]},
             {mixes[1], d_second.view().slice(first, count), true, d_mixes[1]}}};
  }
  void run(Index first, Index count, const mixers::State& from_state) {
    mixers::token_shift_backward(x.view().slice(first, count), from(first, count), from_state,
                                 d_state, d_x.view().slice(first, count));
  }
  /// The loss of token_shift() in long double, with one number moved: of x, the token before (at -1), or of a mix.
  [[nodiscard]] Real loss(Index token, Index channel, int mix, Real step) const {
    Real all = 0;
    for (Index c = 0; c < channels; ++c) {
      const auto at = [&](Index t) {
        const Real own = t < 0 ? before.matrices()(0, 0, c) : x.view()(t, 0, c);
        return own + (t == token && c == channel && mix < 0 ? step : 0);
      };
      const auto share = [&](int i) {
        return static_cast<Real>(mixes[i][size(c)]) + (i == mix && c == channel ? step : 0);
      };
      for (Index t = 0; t < tokens; ++t) {
        all += d_first.view()(t, 0, c) * (share(0) * at(t) + (1 - share(0)) * at(t - 1));
        all += d_second.view()(t, 0, c) * ((1 - share(1)) * at(t) + share(1) * at(t - 1));
      }
      all += comes[size(c)] * at(tokens - 1);
    }
    return all;
  }
};

TEST_CASE("token shift: gradients are central differences of its formula", "[mixers]") {
  for (const Index tokens : {0, 1, 2, 9}) {
    ShiftCall call(tokens, 5);
    call.run(0, tokens, call.before);
    // The loss is linear in each number.
    const auto slope = [&](Index t, Index c, int mix) {
      return (call.loss(t, c, mix, 1) - call.loss(t, c, mix, -1)) / 2;
    };
    for (Index c = 0; c < 5; ++c) {
      for (Index t = 0; t < tokens; ++t)
        CHECK(std::abs(call.d_x.view()(t, 0, c) - slope(t, c, -1)) < 1e-6L);
      CHECK(std::abs(call.d_state.matrices()(0, 0, c) - slope(-1, c, -1)) < 1e-6L);
      for (const int mix : {0, 1})
        CHECK(std::abs(static_cast<Real>(call.d_mixes[mix][size(c)]) - slope(-2, c, mix)) < 1e-6L);
    }
  }
}

TEST_CASE("token shift: gradients in pieces, batches, strides and 16 bits", "[mixers]") {
  constexpr Index T = 40, E = 300;
  ShiftCall plain(T, E), pieces(T, E), apart(T, E, Tensor<float>::padded);
  plain.run(0, T, plain.before), apart.run(0, T, apart.before);
  CHECK(posenc_test::same_bits(numbers(apart.d_x), numbers(plain.d_x)));
  mixers::State middle = pieces.before;
  mixers::token_shift(pieces.x.view().slice(0, 13), {}, middle);
  pieces.run(13, T - 13, middle), pieces.run(0, 13, pieces.before);
  CHECK(posenc_test::same_bits(numbers(pieces.d_x), numbers(plain.d_x)));
  CHECK(pieces.d_mixes[0] == plain.d_mixes[0]);
  CHECK(pieces.d_mixes[1] == plain.d_mixes[1]);
  CHECK(posenc_test::same_bits(numbers(pieces.d_state.matrices()),
                               numbers(plain.d_state.matrices())));

  ShiftCall batch(T, E), alone(T, E);
  const std::vector<Index> starts{0, 15, T}, slots{2, 0};
  mixers::State before = mixers::token_shift_state(E, 3), d_state = before;
  for (const Index slot : slots)
    before.copy(batch.before, 0, slot), d_state.copy(batch.d_state, 0, slot);
  mixers::token_shift_backward(batch.x.view(), batch.from(0, T), before, d_state, batch.d_x.view(),
                               RaggedBatch{.starts = starts}, {.slots = slots});
  for (std::size_t i = 0; i < 2; ++i) {
    alone.d_state = batch.d_state;
    alone.run(starts[i], starts[i + 1] - starts[i], alone.before);
    CHECK(posenc_test::same_bits(numbers(alone.d_state.matrices()),
                                 numbers(d_state.matrices(slots[i]))));
  }
  CHECK(posenc_test::same_bits(numbers(alone.d_x), numbers(batch.d_x)));
  CHECK(alone.d_mixes[1] == batch.d_mixes[1]);

  ShiftCall call(T, E);
  std::array<mixers::ShiftedGradient, 2> from = call.from(0, T);
  from[0].mix = std::span(call.mixes[0]).first(3);
  from[1].d_mix = std::span(call.d_mixes[1]).first(4);
  CHECK(error_of([&] {
          mixers::token_shift_backward(call.x.view(), from, call.before, call.before,
                                       call.d_x.view().slice(0, 2));
        }) ==
        "posenc::mixers::token_shift_backward: 4 problems\n"
        "  - the gradient of x is [2, 1, 300] but must be [40, 1, 300].\n"
        "  - mix must have a number for each of the 300 channels, got 3.\n"
        "  - the gradient of mix must have a number for each of the 300 channels, got 4.\n"
        "  - the gradient of the state must not be the state.");
  CHECK(error_of([&] {
          mixers::token_shift_backward(call.x.view(), call.from(0, T), call.before, call.d_state,
                                       call.d_second.view());
        }) == "posenc::mixers::token_shift_backward: the gradient of x must not overlap d_out.");
}

}  // namespace mixers_test::convolution_backward_cases
