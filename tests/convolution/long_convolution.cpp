// SPDX-License-Identifier: MIT
//
// Both forms of a long convolution against Toeplitz matrices in long double.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>

#include <limits>

namespace convolution_test::long_convolution_cases {

using namespace posenc::mixers;

constexpr ConvolutionForm forms[] = {ConvolutionForm::automatic, ConvolutionForm::direct,
                                     ConvolutionForm::transforms};

/// ||h||_1 ||u||_2 of the channel where it is greatest.
double scale(const std::vector<double>& h, const std::vector<float>& u, Index channels) {
  const Index taps = std::ssize(h) / channels, tokens = std::ssize(u) / channels;
  double most = 0;
  for (Index c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (Index k = 0; k < taps; ++k) sum += std::abs(h[static_cast<std::size_t>(c * taps + k)]);
    for (Index t = 0; t < tokens; ++t)
      squares += std::pow(static_cast<double>(u[static_cast<std::size_t>(t * channels + c)]), 2);
    most = std::max(most, sum * std::sqrt(squares));
  }
  return most;
}

TEST_CASE("long convolution: both forms are the Toeplitz product within the stated bound",
          "[convolution]") {
  std::uint64_t seed = 1;
  for (const Index tokens : {1, 2, 3, 5, 16, 17, 63, 64, 65, 127, 255, 256, 257, 1000})
    for (const Index taps : {1, 2, 3, 31, 64, 65, 300, 1025})
      for (const double tolerance : {0.0, 1e-4}) {
        const Index channels = 1 + static_cast<Index>(seed % 19);
        const auto h = draw<double>(channels * taps, ++seed);
        const auto u = draw<float>(channels * tokens, ++seed);
        const LongConvolution by(h, channels, {.tolerance = tolerance});
        REQUIRE(by.in_float() == (tolerance > 0));
        CHECK(by.error_bound() <= std::max(tolerance, 4e-14));
        const auto expected = toeplitz(h, u, channels);
        INFO(tokens << " tokens, " << taps << " taps, " << channels << " channels, " << tolerance);
        for (const ConvolutionForm form : forms) {
          std::vector<float> y(u.size());
          convolve(view_of(u, tokens), result_of(y, tokens), by, {.form = form});
          const double rounding = 0x1p-24 * greatest(expected);
          const double bound =
              form == ConvolutionForm::direct ? 1e-12 : by.error_bound() * scale(h, u, channels);
          CHECK(worst(y, expected) <= rounding + bound);
          // Errors are random, so in fact they are far below the bound.
          CHECK(worst(y, expected) <= rounding + 0.1 * bound + 1e-12);
        }
      }
}

TEST_CASE("long convolution: outputs of the last tokens are those of all", "[convolution]") {
  const Index channels = 21, tokens = 150;
  const auto u = draw<float>(channels * tokens, 1);
  for (const Index taps : {1, 7, 100, 150, 400}) {
    const auto h = draw<double>(channels * taps, 2);
    const LongConvolution by(h, channels);
    const auto expected = toeplitz(h, u, channels);
    for (const ConvolutionForm form : forms)
      for (const Index outputs : {0, 1, 2, 13, 149, 150}) {
        std::vector<float> y(static_cast<std::size_t>(outputs * channels));
        convolve(view_of(u, tokens), TensorView<float>(y.data(), outputs, 1, channels), by,
                 {.form = form});
        const std::vector<Real> last(expected.end() - outputs * channels, expected.end());
        CHECK(worst(y, last) <= 1e-5);
      }
  }
}

TEST_CASE("long convolution: threads do not change a bit, and scratch is allocated once",
          "[convolution]") {
  const Index heads = 3, width = 19, tokens = 500;
  const auto h = draw<double>(heads * width * tokens, 1);
  const auto u = draw<float>(heads * width * tokens, 2);
  const LongConvolution by(h, heads * width);
  const LongConvolution again(h, heads * width,
                              {.executor = AnyExecutor(posenc_test::Backwards{3})});
  const TensorView<const float> in(u.data(), tokens, heads, width);
  for (const ConvolutionForm form : forms) {
    std::vector<float> first(u.size()), second(u.size());
    convolve(in, TensorView<float>(first.data(), tokens, heads, width), by, {.form = form});
    ConvolutionScratch scratch;
    const ConvolutionOptions options{
        .executor = posenc_test::Backwards{4}, .scratch = &scratch, .form = form};
    for (int turn = 0; turn < 2; ++turn) {
      const std::size_t before = posenc_test::allocations();
      convolve(in, TensorView<float>(second.data(), tokens, heads, width), again, options);
      if (turn > 0) CHECK(posenc_test::allocations() == before);
      CHECK(posenc_test::same_bits(first, second));
    }
    // Channels are independent of their neighbours.
    const Index c = heads * width - 1;
    const LongConvolution alone(std::span<const double>(h).last(static_cast<std::size_t>(tokens)),
                                1);
    std::vector<float> u_c, y_c(static_cast<std::size_t>(tokens)), expected;
    for (Index t = 0; t < tokens; ++t) {
      u_c.push_back(u[static_cast<std::size_t>(t * heads * width + c)]);
      expected.push_back(first[static_cast<std::size_t>(t * heads * width + c)]);
    }
    convolve(view_of(u_c, tokens), result_of(y_c, tokens), alone, {.form = form});
    CHECK(posenc_test::same_bits(y_c, expected));
  }
}

TEST_CASE("long convolution: any strides and 16-bit elements", "[convolution]") {
  const Index heads = 5, width = 7, tokens = 90, channels = heads * width;
  const auto h = draw<double>(channels * tokens, 3);
  const LongConvolution by(h, channels);
  const auto numbers = draw<float>(channels * tokens, 4);
  std::vector<Eigen::bfloat16> brief;
  std::vector<float> u;
  for (const float x : numbers)
    brief.push_back(narrow<Eigen::bfloat16>(x)), u.push_back(widen(brief.back()));
  const auto expected = toeplitz(h, u, channels);
  // Head by head, and channels backwards in the output.
  std::vector<Eigen::bfloat16> by_head(brief.size());
  for (Index t = 0; t < tokens; ++t)
    for (Index i = 0; i < heads; ++i)
      for (Index c = 0; c < width; ++c)
        by_head[static_cast<std::size_t>((i * tokens + t) * width + c)] =
            brief[static_cast<std::size_t>(t * channels + i * width + c)];
  for (const ConvolutionForm form : forms) {
    std::vector<float> y(u.size());
    const TensorView<float> out(y.data() + width - 1, tokens, heads, width, channels, width, -1);
    convolve(TensorView<const Eigen::bfloat16>::head_major(by_head.data(), heads, tokens, width),
             out, by, {.form = form});
    double most = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < channels; ++i)
        most = std::max(most, static_cast<double>(
                                  std::abs(out(t, i / width, i % width) -
                                           expected[static_cast<std::size_t>(t * channels + i)])));
    CHECK(most <= 4e-6);
    std::vector<Eigen::bfloat16> rounded(u.size());
    convolve(TensorView<const Eigen::bfloat16>::head_major(by_head.data(), heads, tokens, width),
             TensorView<Eigen::bfloat16>(rounded.data(), tokens, heads, width), by, {.form = form});
    for (std::size_t i = 0; i < rounded.size(); ++i) {
      const auto exact = static_cast<double>(expected[i]);
      if (std::abs(static_cast<double>(widen(rounded[i])) - exact) >
          0.00391 * std::abs(exact) + 1e-5)
        FAIL("place " << i);
    }
  }
}

TEST_CASE("long convolution: causal, linear, and one tap is a factor", "[convolution]") {
  const Index channels = 3, tokens = 700, s = 431;
  const auto h = draw<double>(channels * tokens, 5);
  auto u = draw<float>(channels * tokens, 6);
  const LongConvolution by(h, channels);
  for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::transforms}) {
    std::vector<float> y(u.size()), changed(u.size()), other(u.size()), sum(u.size());
    convolve(view_of(u, tokens), result_of(y, tokens), by, {.form = form});
    auto v = u;
    for (auto i = static_cast<std::size_t>(s * channels); i < v.size(); ++i) v[i] = -3 * v[i] + 1;
    convolve(view_of(v, tokens), result_of(changed, tokens), by, {.form = form});
    double before = 0, after = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      (i < static_cast<std::size_t>(s * channels) ? before : after) =
          std::max(i < static_cast<std::size_t>(s * channels) ? before : after,
                   static_cast<double>(std::abs(y[i] - changed[i])));
    // A rounding of the output, where the two sums fall on different sides of a tie.
    CHECK(before <= (form == ConvolutionForm::direct ? 0.0 : 4e-6));
    CHECK(after > 1);

    auto w = u;
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.5F * u[i] + 0.25F * v[i];
    convolve(view_of(w, tokens), result_of(sum, tokens), by, {.form = form});
    double off = 0;
    for (std::size_t i = 0; i < w.size(); ++i)
      off = std::max(off, std::abs(0.5 * static_cast<double>(y[i]) +
                                   0.25 * static_cast<double>(changed[i]) -
                                   static_cast<double>(sum[i])));
    CHECK(off <= 1e-5);

    const LongConvolution factor(std::vector<double>{2, -1, 0.5}, channels);
    convolve(view_of(u, tokens), result_of(y, tokens), factor, {.form = form});
    for (std::size_t i = 0; i < y.size(); ++i)
      other[i] = u[i] * (i % 3 == 0 ? 2.0F : i % 3 == 1 ? -1.0F : 0.5F);
    CHECK(worst(y, other) <= 1e-6);
  }
}

TEST_CASE("long convolution: what is not finite spoils its channel from there on",
          "[convolution]") {
  const Index channels = 18, tokens = 300;
  const auto h = draw<double>(channels * 64, 7);
  const auto clean = draw<float>(channels * tokens, 8);
  const LongConvolution by(h, channels);
  auto u = clean;
  u[static_cast<std::size_t>(200 * channels + 4)] = std::numeric_limits<float>::infinity();
  u[static_cast<std::size_t>(100 * channels + 17)] = std::numeric_limits<float>::quiet_NaN();
  for (const ConvolutionForm form : forms) {
    std::vector<float> y(u.size()), good(u.size());
    convolve(view_of(clean, tokens), result_of(good, tokens), by, {.form = form});
    convolve(view_of(u, tokens), result_of(y, tokens), by, {.form = form});
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < channels; ++c) {
        const auto i = static_cast<std::size_t>(t * channels + c);
        const bool spoiled = (c == 4 && t >= 200) || (c == 17 && t >= 100);
        if (std::isnan(y[i]) != spoiled) FAIL("token " << t << ", channel " << c);
        if (!spoiled && std::abs(y[i] - good[i]) > 1e-5F) FAIL("token " << t << ", channel " << c);
      }
  }
}

TEST_CASE("long convolution: 131,072 tokens", "[convolution]") {
  const Index tokens = 131'072;
  const auto h = draw<double>(tokens, 9), few = std::vector<double>(h.begin(), h.begin() + 40);
  const auto u = draw<float>(tokens, 10);
  for (const double tolerance : {0.0, 1e-4}) {
    const LongConvolution by(h, 1, {.tolerance = tolerance});
    CHECK(convolution_form(by, tokens, tokens) == ConvolutionForm::transforms);
    CHECK(convolution_form(by, tokens, 1) == ConvolutionForm::direct);
    std::vector<float> y(u.size());
    convolve(view_of(u, tokens), result_of(y, tokens), by);
    CHECK(std::ranges::all_of(y, [](float x) { return std::isfinite(x); }));
    for (const Index t : {Index{0}, Index{1}, tokens / 2, tokens - 1}) {
      Real sum = 0;
      for (Index k = 0; k <= t; ++k)
        sum += static_cast<Real>(h[static_cast<std::size_t>(k)]) *
               static_cast<Real>(u[static_cast<std::size_t>(t - k)]);
      const double off = std::abs(static_cast<double>(y[static_cast<std::size_t>(t)] - sum));
      CHECK(off <= (tolerance > 0 ? 1e-3 : 1e-5));
    }
  }
  const LongConvolution by(few, 1);
  std::vector<float> y(u.size()), blocks(u.size());
  convolve(view_of(u, tokens), result_of(y, tokens), by, {.form = ConvolutionForm::direct});
  convolve(view_of(u, tokens), result_of(blocks, tokens), by,
           {.form = ConvolutionForm::transforms});
  CHECK(worst(y, blocks) <= 2e-6);
}

TEST_CASE("long convolution: what is wrong is said in one sentence each", "[convolution]") {
  CHECK(
      error_of([] { LongConvolution(std::vector<double>{1, 2, 3}, 2, {.tolerance = -1}); }) ==
      "posenc::mixers::LongConvolution: 2 problems\n"
      "  - filters must be [channels][taps] with at least 1 channel and 1 to 268435456 taps, got 3 "
      "numbers for 2 channels.\n"
      "  - tolerance must not be negative, got -1.");
  CHECK(error_of([] { LongConvolution(std::vector<double>{}, 0); }) ==
        "posenc::mixers::LongConvolution: filters must be [channels][taps] with at least 1 channel "
        "and 1 to 268435456 taps, got 0 numbers for 0 channels.");
  CHECK(error_of([] { LongConvolution(std::vector<double>{1, HUGE_VAL}, 1); }) ==
        "posenc::mixers::LongConvolution: filters must be finite.");
  const LongConvolution by(std::vector<double>{1, 2, 3, 4}, 2);
  std::vector<float> x(12), y(12);
  CHECK(error_of([&] {
          convolve(TensorView<const float>(x.data(), 2, 1, 3), TensorView<float>(y.data(), 3, 1, 3),
                   by);
        }) ==
        "posenc::mixers::convolve: 2 problems\n"
        "  - out must have at most the 2 tokens of in, got 3.\n"
        "  - in has 1 heads of 3 channels, but the filters are of 2 channels.");
  CHECK(error_of([&] { convolve(TensorView<const float>(x.data(), 2, 1, 2), Result(), by); }) ==
        "posenc::mixers::convolve: out is missing: it must be [0, 1, 2].");
  CHECK(error_of([&] {
          convolve(TensorView<const float>(x.data(), 2, 1, 2), TensorView<float>(x.data(), 2, 1, 2),
                   by);
        }) == "posenc::mixers::convolve: out must not overlap in.");
  CHECK(error_of([&] {
          convolve(TensorView<const float>(x.data(), 2, 1, 2),
                   TensorView<float>(y.data(), 2, 1, 2, 0, 0), by);
        }) ==
        "posenc::mixers::convolve: two places of out share an element (strides 0, 0, 1), so it "
        "cannot hold a result.");
  convolve(TensorView<const float>(x.data(), 0, 1, 2), TensorView<float>(y.data(), 0, 1, 2), by);
}

}  // namespace convolution_test::long_convolution_cases
