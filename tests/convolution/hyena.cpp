// SPDX-License-Identifier: MIT
//
// Hyena against its definition with dense matrices in long double.
#include "hyena_oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"

#include <posenc/mixers/convolution/hyena.hpp>
#include <posenc/schedule/random.hpp>

#include <limits>

namespace convolution_test::hyena_cases {

using namespace posenc::mixers;

TensorView<const float> in_of(const std::vector<float>& x, const Hyena& of, Index first,
                              Index count) {
  return {x.data() + first * (of.order + 1) * of.d_model, count, of.order + 1, of.d_model};
}
TensorView<float> out_of(std::vector<float>& y, const Hyena& of, Index first, Index count) {
  return {y.data() + first * of.d_model, count, 1, of.d_model};
}

TEST_CASE("Hyena: filters are their formula", "[convolution]") {
  SeededRandom random(3);
  for (const Index l_max : {1, 2, 300})
    for (const Index emb_dim : {3, 5, 33}) {
      HyenaFilter of = HyenaFilter::initial(7, l_max, random, 16, emb_dim);
      of.freq = draw<float>(16, 9, 0.5, 10);
      of.shift = 0.125;
      for (const bool modulate : {true, false}) {
        of.modulate = modulate;
        CHECK(worst(of.filters(l_max), filters(of, l_max)) <= 1e-12);
      }
      // A part of them is their beginning.
      const Index some = (l_max + 1) / 2;
      CHECK(worst(of.filters(some), filters(of, some)) <= 1e-12);
    }
}

TEST_CASE("Hyena: prefill, pieces and steps are the dense product", "[convolution]") {
  std::uint64_t seed = 0;
  for (const Index order : {2, 3, 4})
    for (const Index tokens : {1, 2, 3, 16, 17, 64, 65, 200}) {
      const Index width = 1 + static_cast<Index>(++seed % 18);
      const Index l_max = tokens + static_cast<Index>(seed % 3) * 20;
      const Hyena of = Hyena::initial(width, l_max, seed, order, 16);
      const HyenaOperator by(of);
      const auto in = draw<float>(tokens * (order + 1) * width, seed, -2, 2);
      const auto expected = dense(of, in, tokens);
      INFO("order " << order << ", " << tokens << " tokens of " << width << ", l_max " << l_max);
      const double bound = 1e-6 * (1 + greatest(expected));
      for (const ConvolutionForm form :
           {ConvolutionForm::automatic, ConvolutionForm::direct, ConvolutionForm::transforms}) {
        std::vector<float> y(static_cast<std::size_t>(tokens * width)), z = y;
        HyenaState state(by), other(by, tokens);
        hyena(in_of(in, of, 0, tokens), out_of(y, of, 0, tokens), by, state, {.form = form});
        CHECK(worst(y, expected) <= bound);
        CHECK(state.tokens() == tokens);
        hyena(in_of(in, of, 0, tokens), out_of(z, of, 0, tokens), by, other,
              {.executor = posenc_test::Backwards{3}, .form = form});
        CHECK(posenc_test::same_bits(y, z));
        // Again from the beginning, in pieces of 1, 2, 3, ... and alone.
        for (const bool alone : {false, true}) {
          state.clear();
          for (Index t = 0, some = 1; t < tokens; t += some, some = alone ? 1 : some + 1) {
            some = std::min(some, tokens - t);
            hyena(in_of(in, of, t, some), out_of(y, of, t, some), by, state, {.form = form});
          }
          CHECK(worst(y, expected) <= bound);
        }
      }
    }
}

TEST_CASE("Hyena: causal, linear in v, pure gates", "[convolution]") {
  const Index tokens = 300, width = 5, s = 123;
  Hyena of = Hyena::initial(width, tokens, 7);
  const HyenaOperator by(of);
  const auto in = draw<float>(tokens * 3 * width, 1);
  const auto run = [&](const HyenaOperator& with, const std::vector<float>& x) {
    HyenaState state(with);
    std::vector<float> y(static_cast<std::size_t>(tokens * width));
    hyena(in_of(x, of, 0, tokens), out_of(y, of, 0, tokens), with, state,
          {.form = ConvolutionForm::transforms});
    return y;
  };
  const auto y = run(by, in);
  auto changed = in;
  for (auto i = static_cast<std::size_t>(s * 3 * width); i < changed.size(); ++i) changed[i] *= -2;
  const auto z = run(by, changed);
  const auto border = static_cast<std::ptrdiff_t>(s * width);
  CHECK(worst(std::vector<float>(y.begin(), y.begin() + border),
              std::vector<float>(z.begin(), z.begin() + border)) <= 1e-6 * greatest(y));
  CHECK(worst(y, z) > 0.01);

  // v alone is doubled, where the short filter has no bias for it.
  std::fill(of.short_bias.end() - width, of.short_bias.end(), 0.0F);
  const HyenaOperator unbiased(of);
  auto doubled = in;
  for (std::size_t i = 0; i < doubled.size(); ++i)
    if (i % (3 * width) >= 2 * width) doubled[i] *= 2;
  const auto one = run(unbiased, in), two = run(unbiased, doubled);
  for (std::size_t i = 0; i < one.size(); ++i)
    if (std::abs(two[i] - 2 * one[i]) > 1e-6F) FAIL("place " << i);

  // No filter but a bias of 1, and a short filter that takes the token itself: x_0 x_1 v.
  std::fill(of.filter.out_weight.begin(), of.filter.out_weight.end(), 0.0F);
  std::fill(of.filter.bias.begin(), of.filter.bias.end(), 1.0F);
  std::fill(of.short_bias.begin(), of.short_bias.end(), 0.0F);
  for (std::size_t i = 0; i < of.short_weight.size(); ++i) of.short_weight[i] = i % 3 == 2 ? 1 : 0;
  const auto gates = run(HyenaOperator(of), in);
  for (Index t = 0; t < tokens; ++t)
    for (Index c = 0; c < width; ++c) {
      const auto x = [&](Index part) {
        return in[static_cast<std::size_t>((t * 3 + part) * width + c)];
      };
      if (std::abs(gates[static_cast<std::size_t>(t * width + c)] - x(0) * x(1) * x(2)) > 1e-6F)
        FAIL("token " << t);
    }
}

TEST_CASE("Hyena: memory, long sequences and what is not finite", "[convolution]") {
  const Hyena of = Hyena::initial(2, 131'072, 1, 2, 8);
  const HyenaOperator by(of);
  HyenaState state(by);
  CHECK(state.bytes() == (131'072 * 2 + 2 * 3 * 2) * sizeof(float));
  auto in = draw<float>(131'072 * 6, 1);
  std::vector<float> y(131'072 * 2);
  hyena(in_of(in, of, 0, 131'072), out_of(y, of, 0, 131'072), by, state);
  CHECK(greatest(y) < HUGE_VAL);
  CHECK(std::ranges::none_of(y, [](float x) { return std::isnan(x); }));

  // A step with scratch allocates nothing, and gives the output of the whole.
  state.clear();
  ConvolutionScratch scratch;
  const ConvolutionOptions options{.scratch = &scratch};
  hyena(in_of(in, of, 0, 400), out_of(y, of, 0, 400), by, state, options);
  const auto whole = y;
  state.clear();
  hyena(in_of(in, of, 0, 398), out_of(y, of, 0, 398), by, state, options);
  HyenaState copy = state;
  hyena(in_of(in, of, 398, 1), out_of(y, of, 398, 1), by, copy, options);
  const std::size_t before = posenc_test::allocations();
  hyena(in_of(in, of, 398, 1), out_of(y, of, 398, 1), by, state, options);
  CHECK(posenc_test::allocations() == before);
  hyena(in_of(in, of, 399, 1), out_of(y, of, 399, 1), by, state, options);
  CHECK(worst(std::vector<float>(y.begin(), y.begin() + 800),
              std::vector<float>(whole.begin(), whole.begin() + 800)) <=
        1e-6 * (1 + greatest(whole)));

  // A NaN spoils its channel from there on, and nothing before or beside it.
  in[50 * 6 + 3] = std::numeric_limits<float>::quiet_NaN();  // x_1 of channel 1
  for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::transforms}) {
    state.clear();
    hyena(in_of(in, of, 0, 200), out_of(y, of, 0, 200), by, state, {.form = form});
    for (std::size_t i = 0; i < 400; ++i)
      if (std::isnan(y[i]) != (i % 2 == 1 && i >= 100)) FAIL("place " << i);
  }
}

TEST_CASE("Hyena: what is wrong is said in one sentence each", "[convolution]") {
  Hyena of = Hyena::initial(2, 10, 1);
  of.order = 1;
  CHECK(error_of([&] { HyenaOperator{of}; }) ==
        "posenc::mixers::Hyena: the order must be 2 to 64, got 1.");
  of = Hyena::initial(2, 10, 1);
  of.short_bias.pop_back();
  of.filter.emb_dim = 4;
  of.filter.channels = 3;
  CHECK(error_of([&] { HyenaOperator{of}; }) ==
        "posenc::mixers::Hyena: 3 problems\n"
        "  - short_bias must have 6 numbers, [order + 1][d_model], got 5.\n"
        "  - filters must be of (order - 1) d_model = 2 channels, got 3.\n"
        "  - emb_dim must be odd and at least 3 (time, cosines and sines), got 4.");
  of = Hyena::initial(2, 10, 1);
  of.filter.freq[0] = HUGE_VALF;
  of.filter.target = 0;
  CHECK(error_of([&] { HyenaOperator{of}; }) ==
        "posenc::mixers::Hyena: 2 problems\n"
        "  - freq must be finite.\n"
        "  - the window needs a target in (0, 1] and decays above 0, got 0, 0.3 and 1.5.");
  of = Hyena::initial(2, 10, 1);
  CHECK(error_of([&] { static_cast<void>(of.filter.filters(11)); }) ==
        "posenc::mixers::HyenaFilter: filters have 1 to l_max = 10 taps, got 11.");
  const HyenaOperator by(of);
  CHECK(error_of([&] { HyenaState(by, 11); }) ==
        "posenc::mixers::HyenaState: a state holds up to l_max = 10 tokens, got 11.");
  HyenaState state(by, 4);
  std::vector<float> x(100), y(100);
  CHECK(error_of([&] { hyena(in_of(x, of, 0, 5), out_of(y, of, 0, 4), by, state); }) ==
        "posenc::mixers::hyena: 2 problems\n"
        "  - out is [4, 1, 2] but must be [5, 1, 2].\n"
        "  - the state holds 4 tokens and has 0, so 5 more do not fit.");
  CHECK(error_of([&] { hyena(in_of(x, of, 0, 4), out_of(x, of, 0, 4), by, state); }) ==
        "posenc::mixers::hyena: out must not overlap in.");
  const HyenaOperator third(Hyena::initial(2, 10, 1, 3));
  CHECK(error_of([&] {
          hyena(TensorView<const float>(x.data(), 1, 4, 2), out_of(y, of, 0, 1), third, state);
        }) ==
        "posenc::mixers::hyena: the state is of order 2 and 2 channels, but the operator of order "
        "3 and 2.");
  hyena(in_of(x, of, 0, 0), out_of(y, of, 0, 0), by, state);
  CHECK(state.tokens() == 0);
}

}  // namespace convolution_test::hyena_cases
