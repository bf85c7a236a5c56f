// SPDX-License-Identifier: MIT
//
// Gradients of Hyena's operator and of its filters against differences of the dense form in long double.
#include "hyena_oracle.hpp"
#include "support/allocations.hpp"
#include "support/backwards.hpp"
#include "support/bits.hpp"

#include <posenc/eigen.hpp>
#include <posenc/mixers/convolution/hyena_backward.hpp>
#include <posenc/mixers/convolution/hyena_filter_backward.hpp>
#include <posenc/schedule/random.hpp>

#include <limits>

namespace convolution_test::hyena_backward_cases {

using namespace posenc::mixers;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

std::vector<Real> wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// The parameters of a filter and of an operator in long double, by the same names.
struct WideFilter {
  Index channels, l_max, emb_dim, width, inner_layers;
  std::vector<Real> in_weight, in_bias, inner_weight, inner_bias, freq, out_weight, bias;
  double fast_decay_pct, slow_decay_pct, target, shift;
  bool modulate;

  explicit WideFilter(const HyenaFilter& of)
      : channels(of.channels), l_max(of.l_max), emb_dim(of.emb_dim), width(of.width),
        inner_layers(of.inner_layers), in_weight(wide(of.in_weight)), in_bias(wide(of.in_bias)),
        inner_weight(wide(of.inner_weight)), inner_bias(wide(of.inner_bias)), freq(wide(of.freq)),
        out_weight(wide(of.out_weight)), bias(wide(of.bias)), fast_decay_pct(of.fast_decay_pct),
        slow_decay_pct(of.slow_decay_pct), target(of.target), shift(of.shift),
        modulate(of.modulate) {}

  template <class F>
  void each(const HyenaFilterGradients& gradients, const F& f) {
    f("in_weight", in_weight, gradients.in_weight), f("in_bias", in_bias, gradients.in_bias);
    f("inner_weight", inner_weight, gradients.inner_weight);
    f("inner_bias", inner_bias, gradients.inner_bias), f("freq", freq, gradients.freq);
    f("out_weight", out_weight, gradients.out_weight), f("bias", bias, gradients.bias);
  }
};
struct WideHyena {
  Index d_model, order;
  std::vector<Real> short_weight, short_bias;
  WideFilter filter;

  explicit WideHyena(const Hyena& of)
      : d_model(of.d_model), order(of.order), short_weight(wide(of.short_weight)),
        short_bias(wide(of.short_bias)), filter(of.filter) {}
};

constexpr Real far = 1e-4L;

/// The slope of a loss that moved(by) takes after a move, over four points.
template <class Moved>
Real slope_of(const Moved& moved) {
  return (8 * (moved(far) - moved(-far)) - (moved(2 * far) - moved(-2 * far))) / (12 * far);
}
/// Holds the gradient by each number of x to differences of the loss.
template <class T, class Loss>
void check_slopes(const char* name, std::vector<Real>& x, const std::vector<T>& gradient,
                  double tolerance, const Loss& loss) {
  REQUIRE(x.size() == gradient.size());
  std::vector<Real> slopes;
  for (Real& one : x) {
    const Real was = one;
    slopes.push_back(slope_of([&](Real by) {
      one = was + by;
      return loss();
    }));
    one = was;
  }
  INFO(name << ", greatest " << greatest(slopes));
  CHECK(worst(gradient, slopes) <= tolerance * (greatest(slopes) + 1e-3));
}

template <class A, class B>
Real dot(const std::vector<A>& a, const std::vector<B>& b) {
  Real sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<Real>(a[i]) * static_cast<Real>(b[i]);
  return sum;
}

TEST_CASE("Hyena backward: gradients of taps become those of the network", "[convolution]") {
  SeededRandom random(3);
  for (const Index l_max : {1, 2, 40})
    for (const Index inner_layers : {0, 1, 2})
      for (const bool modulate : {false, true}) {
        HyenaFilter of = HyenaFilter::initial(3, l_max, random, 5, 5);
        of.inner_layers = inner_layers;
        of.inner_weight.resize(size(inner_layers * 25)),
            of.inner_bias.resize(size(5 * inner_layers));
        of.freq = draw<float>(5, 9, 0.5, 3);
        of.shift = 0.125, of.modulate = modulate;
        const Index taps = (l_max + 1) / 2;
        const auto d = draw<double>(3 * taps, 7);
        HyenaFilterGradients gradients(of);
        backward(d, gradients, of);
        WideFilter numbers(of);
        INFO(taps << " taps, " << inner_layers << " inner layers");
        numbers.each(gradients, [&](const char* name, std::vector<Real>& x, const auto& gradient) {
          check_slopes(name, x, gradient, 1e-10, [&] {
            std::vector<Real> h = filters(numbers, taps);
            for (Index c = 0; c < 3; ++c) h[size(c * taps)] += numbers.bias[size(c)];
            return dot(h, d);
          });
        });
      }
}

TEST_CASE("Hyena backward: more taps than the network takes at a time add up", "[convolution]") {
  SeededRandom random(4);
  const HyenaFilter of = HyenaFilter::initial(2, 700, random, 6);
  const auto d = draw<double>(2 * 600, 7);
  HyenaFilterGradients gradients(of), directions(of);
  backward(d, gradients, of);
  WideFilter numbers(of);
  numbers.each(gradients, [&](const char* name, std::vector<Real>& x, const auto& gradient) {
    const std::vector<Real> was = x, way = draw<Real>(std::ssize(x), 8);
    const Real slope = slope_of([&](Real by) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = was[i] + by * way[i];
      std::vector<Real> h = filters(numbers, 600);
      for (Index c = 0; c < 2; ++c) h[size(c * 600)] += numbers.bias[size(c)];
      return dot(h, d);
    });
    x = was;
    INFO(name);
    CHECK(std::abs(dot(gradient, way) - slope) <= 1e-9L * (1 + std::abs(slope)));
  });
}

Hyena layer_of(Index width, Index l_max, Index order) {
  Hyena of = Hyena::initial(width, l_max, 5, order, 4);
  of.short_weight = draw<float>(std::ssize(of.short_weight), 6);
  return of;
}

/// Everything that a call gives.
struct Backward {
  std::vector<float> in;
  HyenaGradients learned;
};
Backward backward_of(const HyenaOperator& by, const std::vector<float>& in,
                     const std::vector<float>& d_out, const ConvolutionOptions& options = {}) {
  const Index width = by.d_model(), tokens = std::ssize(d_out) / width;
  Backward result{std::vector<float>(in.size(), 7), HyenaGradients(by)};
  backward(TensorView<const float>(in.data(), tokens, by.order() + 1, width),
           TensorView<const float>(d_out.data(), tokens, 1, width),
           {.in = TensorView<float>(result.in.data(), tokens, by.order() + 1, width),
            .learned = &result.learned},
           by, options);
  return result;
}

TEST_CASE("Hyena backward: every gradient is the slope of the loss", "[convolution]") {
  for (const Index order : {2, 3})
    for (const Index tokens : {1, 2, 3, 11}) {
      const Index width = 2;
      const Hyena of = layer_of(width, 12, order);
      const HyenaOperator by(of);
      const auto in = draw<float>(tokens * (order + 1) * width, 1);
      const auto d_out = draw<float>(tokens * width, 2);
      const Backward result = backward_of(by, in, d_out);
      HyenaFilterGradients network(of.filter);
      backward(result.learned.filters, network, of.filter);

      WideHyena numbers(of);
      std::vector<Real> x = wide(in);
      const auto loss = [&] { return dot(dense(numbers, x, tokens), d_out); };
      INFO("order " << order << ", " << tokens << " tokens");
      check_slopes("in", x, result.in, 2e-6, loss);
      check_slopes("short_weight", numbers.short_weight, result.learned.short_weight, 2e-6, loss);
      check_slopes("short_bias", numbers.short_bias, result.learned.short_bias, 2e-6, loss);
      numbers.filter.each(network, [&](const char* name, std::vector<Real>& of_network,
                                       const std::vector<double>& gradient) {
        check_slopes(name, of_network, gradient, 2e-6, loss);
      });
    }
}

TEST_CASE("Hyena backward: by transforms, along random ways", "[convolution]") {
  for (const Index tokens : {700, 300}) {
    const Index order = 3, width = 2;
    const Hyena of = layer_of(width, 700, order);
    const HyenaOperator by(of);
    const auto in = draw<float>(tokens * (order + 1) * width, 1);
    const auto d_out = draw<float>(tokens * width, 2);
    for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::transforms}) {
      const Backward result = backward_of(by, in, d_out, {.form = form});
      HyenaFilterGradients network(of.filter);
      backward(result.learned.filters, network, of.filter);
      WideHyena numbers(of);
      std::vector<Real> x = wide(in);
      const auto check = [&](const char* name, std::vector<Real>& moves, const auto& gradient) {
        const std::vector<Real> was = moves, way = draw<Real>(std::ssize(moves), 3);
        const Real slope = slope_of([&](Real by_far) {
          for (std::size_t i = 0; i < moves.size(); ++i) moves[i] = was[i] + by_far * way[i];
          return dot(dense(numbers, x, tokens), d_out);
        });
        moves = was;
        Real sizes = 0;
        for (std::size_t i = 0; i < way.size(); ++i)
          sizes += std::abs(static_cast<Real>(gradient[i]) * way[i]);
        INFO(name << ", slope " << slope << ", terms " << sizes);
        CHECK(std::abs(dot(gradient, way) - slope) <= 1e-6L * sizes);
      };
      check("in", x, result.in);
      check("short_weight", numbers.short_weight, result.learned.short_weight);
      check("short_bias", numbers.short_bias, result.learned.short_bias);
      check("freq", numbers.filter.freq, network.freq);
      check("in_weight", numbers.filter.in_weight, network.in_weight);
      check("bias", numbers.filter.bias, network.bias);
    }
  }
}

TEST_CASE("Hyena backward: threads, strides, 16 bits and scratch change no bit", "[convolution]") {
  const Index order = 3, width = 23, tokens = 130;
  const HyenaOperator by(layer_of(width, 200, order));
  auto in = draw<float>(tokens * (order + 1) * width, 1), d_out = draw<float>(tokens * width, 2);
  std::vector<Eigen::bfloat16> brief(in.size());
  for (Index t = 0; t < tokens; ++t)
    for (Index i = 0; i < (order + 1) * width; ++i) {
      float& x = in[size(t * (order + 1) * width + i)];
      const auto rounded = narrow<Eigen::bfloat16>(x);
      brief[size((i / width * tokens + t) * width + i % width)] = rounded, x = widen(rounded);
    }
  const Backward expected = backward_of(by, in, d_out);
  ConvolutionScratch scratch;
  const ConvolutionOptions options{.executor = posenc_test::Backwards{3}, .scratch = &scratch};
  HyenaGradients learned(by);
  std::vector<float> d_in(in.size());
  for (int turn = 0; turn < 2; ++turn) {
    learned = HyenaGradients(by);
    const std::size_t before = posenc_test::allocations();
    backward(TensorView<const Eigen::bfloat16>::head_major(brief.data(), order + 1, tokens, width),
             view_of(d_out, tokens),
             {.in = TensorView<float>::head_major(d_in.data(), order + 1, tokens, width),
              .learned = &learned},
             by, options);
    if (turn > 0) CHECK(posenc_test::allocations() == before);
    CHECK(posenc_test::same_bits(learned.short_weight, expected.learned.short_weight));
    CHECK(posenc_test::same_bits(learned.short_bias, expected.learned.short_bias));
    CHECK(posenc_test::same_bits(learned.filters, expected.learned.filters));
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < (order + 1) * width; ++i)
        if (d_in[size((i / width * tokens + t) * width + i % width)] !=
            expected.in[size(t * (order + 1) * width + i)])
          FAIL("token " << t << ", channel " << i);
  }
  // The same without what is learned, and sums of two sequences.
  std::vector<float> alone(in.size());
  const TensorView<const float> view(in.data(), tokens, order + 1, width);
  const TensorView<float> to(alone.data(), tokens, order + 1, width);
  backward(view, view_of(d_out, tokens), {.in = to}, by, options);
  CHECK(posenc_test::same_bits(alone, expected.in));
  backward(view, view_of(d_out, tokens), {.in = to, .learned = &learned}, by, options);
  for (std::size_t i = 0; i < learned.filters.size(); ++i)
    if (learned.filters[i] != 2 * expected.learned.filters[i]) FAIL("tap " << i);
}

TEST_CASE("Hyena backward: a gradient depends on no earlier output; not finite, sentences",
          "[convolution]") {
  const Index order = 2, width = 3, tokens = 60, from = 31;
  const HyenaOperator by(layer_of(width, 60, order));
  const auto in = draw<float>(tokens * (order + 1) * width, 1);
  auto d_out = draw<float>(tokens * width, 2);
  const Backward before = backward_of(by, in, d_out);
  for (Index i = 0; i < from * width; ++i) d_out[size(i)] += 2;
  const Backward after = backward_of(by, in, d_out);
  const auto later = [&](const std::vector<float>& x) {
    return std::vector<float>(x.begin() + from * (order + 1) * width, x.end());
  };
  CHECK(posenc_test::same_bits(later(before.in), later(after.in)));
  CHECK(worst(before.in, after.in) > 0.1);

  d_out[size(20 * width + 1)] = std::numeric_limits<float>::quiet_NaN();
  const Backward spoiled = backward_of(by, in, d_out);
  CHECK(posenc_test::same_bits(later(after.in), later(spoiled.in)));
  // The gate behind the filter hands it to three tokens of its own projection, the filter to all before it.
  for (Index t = 0; t < tokens; ++t)
    for (Index i = 0; i < (order + 1) * width; ++i)
      if (std::isnan(spoiled.in[size(t * (order + 1) * width + i)]) !=
          (i % width == 1 && t <= 20 && (i >= width || t >= 18)))
        FAIL("token " << t << ", channel " << i);
  CHECK(std::isnan(spoiled.learned.short_bias[1]));
  CHECK(std::isfinite(spoiled.learned.short_bias[0]));

  HyenaGradients others{HyenaOperator(layer_of(width, 61, order))};
  std::vector<float> x(61 * 9), y(61 * 3), d_in(61 * 9);
  CHECK(error_of([&] {
          backward(TensorView<const float>(x.data(), 61, 3, 3),
                   TensorView<const float>(y.data(), 60, 1, 3),
                   {.in = TensorView<float>(d_in.data(), 61, 2, 3), .learned = &others}, by);
        }) ==
        "posenc::mixers::backward: 4 problems\n"
        "  - d_out is [60, 1, 3] but must be [61, 1, 3].\n"
        "  - the gradient of in is [61, 2, 3] but must be [61, 3, 3].\n"
        "  - the filters are of l_max = 60 positions, got 61 tokens.\n"
        "  - the gradients of what is learned are not those of this operator.");
  CHECK(error_of([&] {
          backward(TensorView<const float>(x.data(), 6, 3, 3),
                   TensorView<const float>(y.data(), 6, 1, 3),
                   {.in = TensorView<float>(x.data(), 6, 3, 3)}, by);
        }) == "posenc::mixers::backward: the gradient of in must not overlap in.");
  CHECK(error_of([&] {
          HyenaFilterGradients network(by.parameters().filter);
          backward(std::span<const double>(), network, by.parameters().filter);
        }) ==
        "posenc::mixers::backward: the gradient of filters must be [3][taps] with 1 to l_max "
        "= 60 taps, got 0 numbers.");
  backward(TensorView<const float>(x.data(), 0, 3, 3), TensorView<const float>(y.data(), 0, 1, 3),
           {.in = TensorView<float>(d_in.data(), 0, 3, 3)}, by);
}

}  // namespace convolution_test::hyena_backward_cases
