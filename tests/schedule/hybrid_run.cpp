// SPDX-License-Identifier: MIT
//
// A prompt through all kinds of layers of a hybrid, one behind another: at once, by definitions and tensors, and in pieces
// with states and caches behind them. Both must be the same up to rounding.
#include <posenc/mixers/mixers.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/hybrid_schedule.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"
#include "../support/tensor.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

using namespace posenc;

namespace hybrid_run_cases {

using posenc_test::Random;
using posenc_test::Tensor;

constexpr Index width = 32, heads = 2, dim = 16, most_tokens = 200;

/// What a layer remembers.
struct Memory {
  std::optional<mixers::State> state, inputs;
  std::optional<mixers::Mamba3State> trapezoidal;
  std::optional<KeyValueCache<KeyState::rotated>> cache;
};

/// A layer between random projections of its own. `at_once` takes the whole sequence, by the definition where there is one.
struct Layer {
  const Tensor<float>& x;
  Index index;
  bool at_once;
  Memory& memory;

  /// The tokens times weights that depend on the layer and on `which`, within (-1, 1).
  [[nodiscard]] Tensor<float> project(unsigned which, Index h = heads, Index n = dim) const {
    Random random(1000 + 100 * static_cast<std::uint64_t>(index) + which);
    std::vector<double> weight(static_cast<std::size_t>(h * n * width));
    for (double& w : weight) w = random.real(-0.3, 0.3);
    Tensor<float> to(x.view().tokens, h, n);
    for (Index t = 0; t < x.view().tokens; ++t)
      for (Index i = 0; i < h * n; ++i) {
        double sum = 0;
        for (Index c = 0; c < width; ++c)
          sum += weight[static_cast<std::size_t>(i * width + c)] * x.view()(t, 0, c);
        to.view()(t, i / n, i % n) = static_cast<float>(std::tanh(sum));
      }
    return to;
  }
  template <class F>
  static Tensor<float> mapped(Tensor<float> of, const F& f) {
    const auto view = of.view();
    for (Index t = 0; t < view.tokens; ++t)
      for (Index h = 0; h < view.heads; ++h)
        for (Index c = 0; c < view.width; ++c) view(t, h, c) = f(view(t, h, c));
    return of;
  }
  static Tensor<float> normalised(Tensor<float> of) {
    const auto view = of.view();
    for (Index t = 0; t < view.tokens; ++t)
      for (Index h = 0; h < view.heads; ++h) {
        double sum = 0;
        for (Index c = 0; c < view.width; ++c) sum += view(t, h, c) * view(t, h, c);
        for (Index c = 0; c < view.width; ++c) view(t, h, c) /= static_cast<float>(std::sqrt(sum));
      }
    return of;
  }
  [[nodiscard]] bool is_step() const { return x.view().tokens == 1; }

  Tensor<float> operator()(const AnyBound& bound) const {
    const Tensor<float> q = project(0), k = project(1), v = project(2);
    Tensor<float> out(x.view().tokens, heads, dim);
    if (at_once) {
      attention(q.view(), k.view(), v.view(), out.view(), bound);
      return out;
    }
    if (!memory.cache)
      memory.cache.emplace(KeyValueCache<KeyState::rotated>::contiguous(
          {.kv_heads = heads, .head_dim = dim, .capacity = most_tokens}));
    memory.cache->append(0, k.view(), v.view(), bound);
    decode(q.view(), *memory.cache, out.view(), bound);
    return out;
  }
  Tensor<float> operator()(const mixers::Mixer& mixer) const {
    const mixers::Shape& shape = mixer.shape();
    const Tensor<float> q = project(0, shape.key_heads, shape.key_dim),
                        k = normalised(project(1, shape.key_heads, shape.key_dim)),
                        v = project(2, shape.heads, shape.value_dim),
                        decay = mapped(project(3, shape.heads, 1), [](float d) { return d - 1; }),
                        beta =
                            mapped(project(4, shape.heads, 1), [](float b) { return (1 + b) / 2; });
    Tensor<float> out(x.view().tokens, shape.heads, shape.value_dim);
    mixers::Inputs in{.q = q.view(), .k = k.view(), .v = v.view(), .decay = decay.view()};
    if (mixer.recurrence().delta) in.beta = beta.view();
    if (!memory.state) memory.state.emplace(mixer);
    if (at_once)
      mixers::parallel(in, out.view(), mixer, *memory.state);
    else if (is_step())
      mixers::step(in, out.view(), mixer, *memory.state);
    else
      mixers::chunked(in, out.view(), mixer, *memory.state);
    return out;
  }
  Tensor<float> operator()(const mixers::SelectiveScan& scan) const {
    std::vector<float> weight(static_cast<std::size_t>(width * 4));
    Random random(7);
    for (float& w : weight) w = static_cast<float>(random.real(-1, 1));
    const mixers::ShortConvolution convolution({.channels = width, .weight = weight});
    if (!memory.state) memory.state = scan.state(), memory.inputs = convolution.state();
    Tensor<float> u = project(0, 1, width), out(x.view().tokens, 1, width);
    const Tensor<float> dt = project(1, 1, width), B = project(2, 1, scan.d_state()),
                        C = project(3, 1, scan.d_state()), z = project(4, 1, width);
    mixers::convolve(u.view(), u.view(), convolution, *memory.inputs);
    const mixers::ScanInputs in{
        .u = u.view(), .dt = dt.view(), .B = B.view(), .C = C.view(), .z = z.view()};
    if (at_once)
      mixers::parallel(in, out.view(), scan, *memory.state);
    else if (is_step())
      mixers::step(in, out.view(), scan, *memory.state);
    else
      mixers::scan(in, out.view(), scan, *memory.state);
    return out;
  }
  Tensor<float> operator()(const mixers::WKV& wkv) const {
    const Tensor<float> r = project(0, 1, width), k = project(1, 1, width),
                        v = project(2, 1, width);
    Tensor<float> out(x.view().tokens, 1, width);
    if (!memory.state) memory.state = wkv.state();
    const mixers::Inputs in{.q = r.view(), .k = k.view(), .v = v.view()};
    if (is_step())
      mixers::step(in, out.view(), wkv, *memory.state);
    else
      mixers::prefill(in, out.view(), wkv, *memory.state);
    return out;
  }
  Tensor<float> operator()(const mixers::TrapezoidalScan& scan) const {
    const mixers::Mamba3& of = scan.parameters();
    const Tensor<float> v = project(0, of.nheads, of.headdim), B = project(1, 1, of.d_state),
                        C = project(2, 1, of.d_state),
                        dt = mapped(project(3, of.nheads, 1), [](float d) { return 1 + d; }),
                        decay = mapped(project(4, of.nheads, 1), [](float d) { return d - 1; }),
                        trap = project(5, of.nheads, 1), angles = project(6, 1, of.pairs());
    Tensor<float> out(x.view().tokens, of.nheads, of.headdim);
    if (!memory.trapezoidal) memory.trapezoidal.emplace(scan);
    const mixers::Mamba3Inputs in{.x = v.view(),
                                  .B = B.view(),
                                  .C = C.view(),
                                  .dt = dt.view(),
                                  .decay = decay.view(),
                                  .trap = trap.view(),
                                  .angles = angles.view()};
    if (is_step())
      mixers::step(in, out.view(), scan, *memory.trapezoidal);
    else
      mixers::chunked(in, out.view(), scan, *memory.trapezoidal);
    return out;
  }
  Tensor<float> operator()(NoMixing) const { return project(0, 1, width); }
};

/// The next tokens through all layers, each of which adds to them.
void run(const BoundHybridLayers& layers, Tensor<float>& x, std::vector<Memory>& memories,
         bool at_once) {
  for (Index i = 0; i < layers.size(); ++i) {
    const Tensor<float> out =
        std::visit(Layer{x, i, at_once, memories[static_cast<std::size_t>(i)]}, layers[i]);
    for (Index t = 0; t < x.view().tokens; ++t)
      for (Index c = 0; c < width; ++c)
        x.view()(t, 0, c) += out.view()(t, c / out.view().width, c % out.view().width);
  }
}

TEST_CASE("HybridSchedule: a prompt in pieces is the prompt at once, through all kinds of layers") {
  const HybridSchedule schedule{
      .kinds = {mixers::Mamba::initial(width / 2, 1, 2, 8), mixers::GatedDeltaNet{heads, dim, dim},
                RoPE<HalfSplit>{.head_dim = dim, .rotary_dim = 8} | Causal{},
                mixers::Mamba2::initial(width, 2, 1, dim, dim), mixers::RWKV4::initial(width, 0, 2),
                Causal{}, mixers::Mamba3::initial(width, 1, dim, dim), NoMixing{}},
      .of_layer = {0, 1, 2, 3, 1, 4, 5, 6, 7}};
  const BoundHybridLayers layers = schedule.bind({.num_heads = heads});
  const auto memories = [&] {
    return std::vector<Memory>(static_cast<std::size_t>(layers.size()));
  };

  const Tensor<float> prompt = std::move(Tensor<float>(most_tokens, 1, width).fill(Random(3)));
  const auto piece = [&](Index first, Index count) {
    Tensor<float> x(count, 1, width);
    for (Index t = 0; t < count; ++t)
      for (Index c = 0; c < width; ++c) x.view()(t, 0, c) = prompt.view()(first + t, 0, c);
    return x;
  };
  Tensor<float> whole = piece(0, most_tokens);
  std::vector<Memory> none = memories();
  run(layers, whole, none, true);

  for (const bool forgets : {false, true}) {
    std::vector<Memory> kept = memories();
    double worst = 0, greatest = 0;
    Index first = 0;
    for (const Index count : {64, 37, 1, 1, 70, 2, 1, 24}) {
      Tensor<float> x = piece(first, count);
      run(layers, x, kept, false);
      for (Index t = 0; t < count; ++t)
        for (Index c = 0; c < width; ++c) {
          const double expected = whole.view()(first + t, 0, c);
          worst = std::max(worst, std::abs(x.view()(t, 0, c) - expected));
          greatest = std::max(greatest, std::abs(expected));
          REQUIRE(std::isfinite(x.view()(t, 0, c)));
        }
      first += count;
      if (forgets && first == 102) kept[4].state->clear();  // of a single layer
    }
    REQUIRE(first == most_tokens);
    CAPTURE(worst, greatest);
    CHECK((worst <= 1e-4 * greatest) == !forgets);
  }
}

}  // namespace hybrid_run_cases
