// SPDX-License-Identifier: MIT
//
// Gradients of long convolutions against sums in long double, which are held to differences of outputs.
#include "oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"
#include "support/cases.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/convolution/backward.hpp>

#include <limits>

namespace convolution_test::backward_cases {

using namespace posenc::mixers;

constexpr ConvolutionForm forms[] = {ConvolutionForm::automatic, ConvolutionForm::direct,
                                     ConvolutionForm::transforms};

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// y = T u pulled back, term by term: d_u[s] += h[t - s] d_y[t] and d_h[t - s] += u[s] d_y[t], of the last outputs.
struct Adjoint {
  std::vector<Real> in, filters;

  Adjoint(const std::vector<double>& h, const std::vector<float>& u,
          const std::vector<float>& d_out, Index channels)
      : in(u.size()), filters(h.size()) {
    const Index taps = std::ssize(h) / channels, tokens = std::ssize(u) / channels,
                outputs = std::ssize(d_out) / channels;
    for (Index c = 0; c < channels; ++c)
      for (Index s = 0; s < tokens; ++s)
        for (Index t = std::max(s, tokens - outputs); t < std::min(tokens, s + taps); ++t) {
          const Real d = d_out[size((t - tokens + outputs) * channels + c)];
          in[size(s * channels + c)] += static_cast<Real>(h[size(c * taps + t - s)]) * d;
          filters[size(c * taps + t - s)] += static_cast<Real>(u[size(s * channels + c)]) * d;
        }
  }
};

/// The greatest ||x||_1 ||d||_2 or ||x||_2 ||d||_2 bounds both.
double scale(const std::vector<double>& h, const std::vector<float>& u,
             const std::vector<float>& d_out) {
  double most_h = 0, of_u = 0, of_d = 0;
  for (const double x : h) most_h += std::abs(x);
  for (const float x : u) of_u += static_cast<double>(x) * static_cast<double>(x);
  for (const float x : d_out) of_d += static_cast<double>(x) * static_cast<double>(x);
  return std::max(most_h, std::sqrt(of_u)) * std::sqrt(of_d);
}

TEST_CASE("long convolution backward: the sums are slopes of the loss", "[convolution]") {
  const Index channels = 3, tokens = 9, taps = 5, outputs = 6;
  auto h = draw<double>(channels * taps, 1);
  auto u = draw<float>(channels * tokens, 2);
  const auto d_out = draw<float>(channels * outputs, 3);
  const Adjoint adjoint(h, u, d_out, channels);
  const auto loss = [&] {
    const std::vector<Real> y = toeplitz(h, u, channels);
    Real sum = 0;
    for (std::size_t i = 0; i < d_out.size(); ++i)
      sum += y[y.size() - d_out.size() + i] * static_cast<Real>(d_out[i]);
    return sum;
  };
  // Outputs are linear in either, so that differences are exact.
  const auto slope = [&](auto& x) {
    const auto was = x;
    x = was + 1;
    const Real above = loss(), by = static_cast<Real>(x);
    x = was - 1;
    const Real below = loss(), from = static_cast<Real>(x);
    x = was;
    return (above - below) / (by - from);
  };
  for (std::size_t i = 0; i < u.size(); ++i) CHECK(std::abs(slope(u[i]) - adjoint.in[i]) < 1e-12L);
  for (std::size_t i = 0; i < h.size(); ++i)
    CHECK(std::abs(slope(h[i]) - adjoint.filters[i]) < 1e-12L);
}

TEST_CASE("long convolution backward: both forms are the sums within the stated bound",
          "[convolution]") {
  std::uint64_t seed = 1;
  for (const Index tokens : {1, 2, 3, 5, 17, 63, 64, 65, 255, 257, 700, 1000})
    for (const Index taps : {1, 2, 3, 31, 64, 65, 300, 1025})
      for (const double tolerance : {0.0, 1e-4}) {
        const Index channels = 1 + static_cast<Index>(seed % 19),
                    outputs = seed % 3 == 0 ? (tokens + 1) / 2 : tokens;
        const auto h = draw<double>(channels * taps, ++seed);
        const auto u = draw<float>(channels * tokens, ++seed);
        const auto d_out = draw<float>(channels * outputs, ++seed);
        const LongConvolution of(h, channels, {.tolerance = tolerance});
        REQUIRE(of.in_float() == (tolerance > 0));
        const Adjoint expected(h, u, d_out, channels);
        INFO(tokens << " tokens, " << outputs << " outputs, " << taps << " taps, " << channels
                    << " channels, " << tolerance);
        for (const ConvolutionForm form : forms) {
          std::vector<float> d_in(u.size(), 7);
          std::vector<double> d_h(h.size(), 0.5);
          backward(view_of(u, tokens), view_of(d_out, outputs),
                   {.in = result_of(d_in, tokens), .filters = d_h}, of, {.form = form});
          for (double& x : d_h) x -= 0.5;
          const double bound =
              form == ConvolutionForm::direct ? 1e-12 : of.error_bound() * scale(h, u, d_out);
          CHECK(worst(d_in, expected.in) <= 0x1p-24 * greatest(expected.in) + 0.1 * bound + 1e-12);
          CHECK(worst(d_h, expected.filters) <= 0.1 * bound + 1e-12);
          // Taps that no token is far enough from the first to read.
          for (Index c = 0; c < channels; ++c)
            for (Index k = tokens; k < taps; ++k)
              if (d_h[size(c * taps + k)] != 0) FAIL("tap " << k);
        }
      }
}

TEST_CASE("long convolution backward: random shapes around the choice of the form",
          "[convolution]") {
  Random random(3);
  for (Index i = 0; i < posenc_test::some_of(12); ++i) {
    const Index channels = random.integer(1, 40), tokens = random.integer(200, 1500),
                taps = random.integer(200, 1500), outputs = random.integer(0, tokens);
    const auto h = draw<double>(channels * taps, static_cast<std::uint64_t>(taps));
    const auto u = draw<float>(channels * tokens, 4), d_out = draw<float>(channels * outputs, 5);
    const LongConvolution of(h, channels);
    const Adjoint expected(h, u, d_out, channels);
    std::vector<float> d_in(u.size(), 7);
    std::vector<double> d_h(h.size());
    backward(view_of(u, tokens), TensorView<const float>(d_out.data(), outputs, 1, channels),
             {.in = result_of(d_in, tokens), .filters = d_h}, of);
    INFO(tokens << " tokens, " << outputs << " outputs, " << taps << " taps");
    CHECK(worst(d_in, expected.in) <= 0x1p-23 * greatest(expected.in));
    CHECK(worst(d_h, expected.filters) <= 1e-11);
  }
}

TEST_CASE("long convolution backward: a gradient depends on no earlier output", "[convolution]") {
  const Index channels = 17, tokens = 300, taps = 130, from = 171;
  const auto h = draw<double>(channels * taps, 1);
  const auto u = draw<float>(channels * tokens, 2);
  const LongConvolution of(h, channels);
  for (const ConvolutionForm form : forms) {
    auto d_out = draw<float>(channels * tokens, 3);
    std::vector<float> before(u.size()), after(u.size());
    backward(view_of(u, tokens), view_of(d_out, tokens), {.in = result_of(before, tokens)}, of,
             {.form = form});
    for (Index i = 0; i < from * channels; ++i) d_out[size(i)] += 3;
    backward(view_of(u, tokens), view_of(d_out, tokens), {.in = result_of(after, tokens)}, of,
             {.form = form});
    double later = 0, earlier = 0;
    for (Index i = 0; i < tokens * channels; ++i)
      (i < from * channels ? earlier : later) =
          std::max(i < from * channels ? earlier : later,
                   static_cast<double>(std::abs(before[size(i)] - after[size(i)])));
    CHECK(later <= (form == ConvolutionForm::transforms ? 2e-6 : 0));
    CHECK(earlier > 1);
  }
}

TEST_CASE("long convolution backward: threads, strides, scratch and sequences change no bit",
          "[convolution]") {
  const Index heads = 3, width = 19, tokens = 210, taps = 90, channels = heads * width;
  const auto h = draw<double>(channels * taps, 1);
  const LongConvolution of(h, channels);
  const auto whole = draw<float>(channels * tokens, 2), d_whole = draw<float>(channels * tokens, 3);
  const auto by_head = [&](const std::vector<float>& x) {
    std::vector<Eigen::bfloat16> all(x.size());
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < channels; ++i)
        all[size((i / width * tokens + t) * width + i % width)] =
            narrow<Eigen::bfloat16>(x[size(t * channels + i)]);
    return all;
  };
  const auto brief = by_head(whole), d_brief = by_head(d_whole);
  auto u = whole, d_out = d_whole;
  for (auto* x : {&u, &d_out})
    for (float& one : *x) one = widen(narrow<Eigen::bfloat16>(one));
  for (const ConvolutionForm form : forms) {
    std::vector<float> d_in(u.size()), other(u.size());
    std::vector<double> d_h(h.size()), sums(h.size());
    const auto call = [&](std::vector<float>& to, std::span<double> filters,
                          const ConvolutionOptions& options) {
      backward(TensorView<const float>(u.data(), tokens, heads, width),
               TensorView<const float>(d_out.data(), tokens, heads, width),
               {.in = TensorView<float>(to.data(), tokens, heads, width), .filters = filters}, of,
               options);
    };
    call(d_in, d_h, {.form = form});
    ConvolutionScratch scratch;
    const ConvolutionOptions options{
        .executor = posenc_test::Backwards{4}, .scratch = &scratch, .form = form};
    for (int turn = 0; turn < 2; ++turn) {
      std::ranges::fill(sums, 0.0);
      const std::size_t before = posenc_test::allocations();
      call(other, sums, options);
      if (turn > 0) CHECK(posenc_test::allocations() == before);
      CHECK(posenc_test::same_bits(d_in, other));
      CHECK(posenc_test::same_bits(d_h, sums));
    }
    // A second sequence adds to the first one's sums, and each gradient may be wanted alone.
    call(other, sums, options);
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (sums[i] != 2 * d_h[i]) FAIL("tap " << i);
    std::ranges::fill(sums, 0.0);
    using Brief = TensorView<const Eigen::bfloat16>;
    const TensorView<float> backwards(other.data() + width - 1, tokens, heads, width, channels,
                                      width, -1);
    backward(Brief::head_major(brief.data(), heads, tokens, width),
             Brief::head_major(d_brief.data(), heads, tokens, width), {.in = backwards}, of,
             options);
    backward(Brief::head_major(brief.data(), heads, tokens, width),
             Brief::head_major(d_brief.data(), heads, tokens, width), {.filters = sums}, of,
             options);
    CHECK(posenc_test::same_bits(d_h, sums));
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < channels; ++i)
        if (backwards(t, i / width, i % width) != d_in[size(t * channels + i)])
          FAIL("token " << t << ", channel " << i);
  }
}

TEST_CASE("long convolution backward: what is not finite spoils what it reaches", "[convolution]") {
  const Index channels = 18, tokens = 300, taps = 200;
  const auto h = draw<double>(channels * taps, 7);
  auto u = draw<float>(channels * tokens, 8), d_out = draw<float>(channels * tokens, 9);
  const LongConvolution of(h, channels);
  const Adjoint good(h, u, d_out, channels);
  u[size(200 * channels + 4)] = std::numeric_limits<float>::infinity();
  d_out[size(130 * channels + 17)] = std::numeric_limits<float>::quiet_NaN();
  for (const ConvolutionForm form : forms) {
    std::vector<float> d_in(u.size());
    std::vector<double> d_h(h.size());
    backward(view_of(u, tokens), view_of(d_out, tokens),
             {.in = result_of(d_in, tokens), .filters = d_h}, of, {.form = form});
    for (Index c = 0; c < channels; ++c) {
      for (Index t = 0; t < tokens; ++t) {
        const float x = d_in[size(t * channels + c)];
        if (c == 17 && t <= 130 ? !std::isnan(x)
                                : std::abs(x - good.in[size(t * channels + c)]) > 1e-4L)
          FAIL("token " << t << ", channel " << c);
      }
      for (Index k = 0; k < taps; ++k) {
        const double x = d_h[size(c * taps + k)];
        if ((c == 17 && k <= 130) || (c == 4 && k <= 99)
                ? !std::isnan(x)
                : std::abs(x - good.filters[size(c * taps + k)]) > 1e-10L)
          FAIL("tap " << k << ", channel " << c);
      }
    }
  }
}

TEST_CASE("long convolution backward: no tokens, no outputs, and sentences", "[convolution]") {
  const LongConvolution of(std::vector<double>{1, 2, 3, 4}, 2);
  std::vector<float> x(12, 1), y(12, 1), to(12, 5);
  std::vector<double> filters(4, 1);
  const auto view = [](std::vector<float>& from, Index tokens, Index width = 2) {
    return TensorView<float>(from.data(), tokens, 1, width);
  };
  backward(view(x, 0), view(y, 0), {.in = view(to, 0), .filters = filters}, of);
  CHECK(to[0] == 5);
  backward(view(x, 2), view(y, 0), {.in = view(to, 2), .filters = filters}, of);
  CHECK(std::vector<float>(to.begin(), to.begin() + 5) == std::vector<float>{0, 0, 0, 0, 5});
  CHECK(filters == std::vector<double>(4, 1));

  CHECK(error_of([&] {
          backward(view(x, 2, 3), view(y, 3, 3),
                   {.in = view(to, 1, 3), .filters = std::span(filters).first(3)}, of);
        }) ==
        "posenc::mixers::backward: 4 problems\n"
        "  - d_out must have at most the 2 tokens of in, got 3.\n"
        "  - in has 1 heads of 3 channels, but the filters are of 2 channels.\n"
        "  - the gradient of in is [1, 1, 3] but must be [2, 1, 3].\n"
        "  - the gradient of filters must be [2][2], got 3 numbers.");
  CHECK(error_of([&] { backward(view(x, 2), Operand(), {.filters = filters}, of); }) ==
        "posenc::mixers::backward: d_out is missing: it must be [0, 1, 2].");
  CHECK(error_of([&] { backward(view(x, 2), view(y, 2), {.in = view(y, 2)}, of); }) ==
        "posenc::mixers::backward: the gradient of in must not overlap d_out.");
  CHECK(error_of([&] { backward(view(x, 2), view(y, 2), {.in = view(x, 2)}, of); }) ==
        "posenc::mixers::backward: the gradient of in must not overlap in.");
  CHECK(filters == std::vector<double>(4, 1));
}

}  // namespace convolution_test::backward_cases
