// SPDX-License-Identifier: MIT
//
// Gradients of rotary frequencies: central differences of the loss over the frequencies themselves, and
// the kernel against the reference.
#include "problem.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/distance/self_extend.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/score/soft_cap.hpp>

#include "../support/backwards.hpp"
#include "../support/levels.hpp"

namespace frequencies_cases {

using namespace gradient_test;

constexpr BindOptions heads{.num_heads = 4, .num_kv_heads = 2};
constexpr ParameterOptions learned{.frequencies = true};

template <class T, class BoundT>
std::vector<double> frequencies(const Problem<T>& x, const BoundT& bound,
                                const AttentionOptions<T>& options = {}) {
  const Gradients<T> d = x.kernel(bound, options, learned);
  const std::size_t of_components = ParameterGradients(bound).values().size();
  return {d.parameters.begin() + static_cast<std::ptrdiff_t>(of_components), d.parameters.end()};
}

/// make(frequencies) is the encoding with these.
template <class Make>
void check_frequencies(const Make& make, const AttentionOptions<double>& options = {},
                       std::vector<double> w = {0.9, 0.31, 0.1, 0.034, 0.012, 0.004, 0.0, 0.0004}) {
  const Problem<double> x({});
  const auto bound = bind(make(w), heads);
  const ReferenceGradients expected = x.reference(bound, options);
  CHECK(worst(frequencies(x, bound, options), expected.frequencies) <= 1e-10);
  CHECK(worst(frequencies(Problem<float>({}), bind(make(w), heads)),
              Problem<float>({}).reference(bind(make(w), heads)).frequencies) <= 2e-4);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double h = 1e-6, before = w[i];
    const auto loss = [&](double at) {
      w[i] = at;
      return x.loss(bind(make(w), heads), options);
    };
    // Frequencies are not negative, so beside zero by a formula of one side.
    const double d = before >= h ? (loss(before + h) - loss(before - h)) / (2 * h)
                                 : (4 * loss(h) - loss(2 * h) - 3 * loss(0)) / (2 * h);
    w[i] = before;
    CHECK(std::abs(d - expected.frequencies[i]) <= 1e-5 * std::max(1.0, std::abs(d)));
  }
}

template <class LayoutT>
constexpr RoPE<LayoutT> rope{.head_dim = 16};

TEST_CASE("gradients: frequencies of both layouts, with an amplitude and with magnitudes") {
  using W = std::vector<double>;
  check_frequencies([](const W& w) { return rope<HalfSplit> | FrequencyTable{w} | Causal{}; });
  check_frequencies([](const W& w) {
    return rope<Interleaved> | FrequencyTable{w, 1.3} | ALiBi{} | SoftCap{4} |
           SlidingWindow{.left = 20};
  });
  check_frequencies(
      [](const W& w) { return rope<HalfSplit> | FrequencyTable{w} | XPos{} | Causal{}; });
  check_frequencies(
      [](const W& w) {
        return RoPE<HalfSplit>{.head_dim = 16, .rotary_dim = 8} | FrequencyTable{w} | Causal{};
      },
      {.key_offset = 1000}, {0.9, 0.1, 0.01, 0.001});
}

TEST_CASE("gradients: frequencies where distances are rewritten") {
  using W = std::vector<double>;
  check_frequencies(
      [](const W& w) { return rope<HalfSplit> | FrequencyTable{w} | ReRoPE{20} | Causal{}; });
  check_frequencies([](const W& w) {
    return rope<Interleaved> | FrequencyTable{w} | LeakyReRoPE{.window = 20, .factor = 4} |
           Causal{};
  });
  check_frequencies([](const W& w) {
    return rope<HalfSplit> | FrequencyTable{w} | SelfExtend{.window = 21, .group = 3} | Causal{};
  });
}

TEST_CASE("gradients: frequencies of every other map of distances") {
  using W = std::vector<double>;
  check_frequencies([](const W& x) {
    return rope<HalfSplit> | FrequencyTable{x} | DualChunk{.chunk = 24, .cap = 30} | Causal{};
  });
  check_frequencies([](const W& x) {
    return rope<HalfSplit> | FrequencyTable{x} | LMInfinite{.window = 20} | Causal{};
  });
}

TEST_CASE("gradients: frequencies at far positions, in single precision") {
  const auto bound = bind(rope<HalfSplit> | ReRoPE{20} | Causal{}, heads);
  const auto plain = bind(rope<Interleaved> | RotateValues{} | Causal{}, heads);
  const Problem<float> x({});
  const AttentionOptions<float> far{.key_offset = 1'000'000};
  CHECK(worst(frequencies(x, bound, far), x.reference(bound, far).frequencies) <= 1e-3);
  CHECK(worst(frequencies(x, plain, far), x.reference(plain, far).frequencies) <= 1e-3);
}

TEST_CASE("gradients: frequencies from rows that see nothing, whatever their gradients are") {
  Problem<double> x({.queries = 8, .keys = 8});
  const auto bound = bind(rope<HalfSplit> | RotateValues{} | Causal{}, heads);
  const AttentionOptions<double> late{.query_offset = 0, .key_offset = 4};
  const std::vector<double> expected = frequencies(x, bound, late);
  std::fill_n(x.d_out.begin(), 4 * 4 * 16, NAN);
  CHECK(worst(frequencies(x, bound, late), expected) <= 1e-14);
}

TEST_CASE("gradients: frequencies that turn values too, and queries with a bias") {
  using W = std::vector<double>;
  check_frequencies(
      [](const W& w) { return rope<HalfSplit> | FrequencyTable{w} | RotateValues{} | Causal{}; });
  check_frequencies([](const W& w) {
    return rope<HalfSplit> | FrequencyTable{w} |
           ShawKeys{.table = noise<float>(7 * 16, 6U), .clip = 3} |
           TransformerXL{.head_dim = 16,
                         .rows = noise<float>(150 * 4 * 16, 6U),
                         .u = noise<float>(64, 7U),
                         .v = noise<float>(64, 8U)} |
           Causal{};
  });
}

TEST_CASE("gradients: frequencies of several coordinates, and those that follow the length") {
  std::vector<Position> place;
  for (Index axis = 0; axis < 2; ++axis)
    for (Index t = 0; t < 70; ++t) place.push_back(axis == 0 ? t / 10 : t % 10);
  const Problem<double> x({});
  const auto check = [&](const auto& bound, const AttentionOptions<double>& at) {
    CHECK(worst(frequencies(x, bound, at), x.reference(bound, at).frequencies) <= 1e-10);
  };
  const Positions axes(place, 2);
  check(bind(rope<HalfSplit> | Axial2D{} | SoftCap{5}, heads),
        {.query_positions = axes, .key_positions = axes});
  check(bind(rope<HalfSplit> | DynamicNTK{.factor = 2, .original_context = 32} | Causal{}, heads),
        {});
  check(bind(rope<HalfSplit> | YaRN{.factor = 4, .original_context = 32} | Causal{}, heads), {});
}

TEST_CASE("gradients: frequencies at every level, with any number of threads, beside parameters") {
  const auto bound = bind(rope<HalfSplit> | ALiBi{} | ReRoPE{50} | Causal{}, heads);
  const Problem<float> x({.queries = 300, .keys = 300});
  const ReferenceGradients expected = x.reference(bound);
  posenc_test::at_every_level([&] {
    const Gradients<float> d = x.kernel(bound, {}, learned), without = x.kernel(bound);
    CHECK(d.q == without.q);
    CHECK(std::equal(without.parameters.begin(), without.parameters.end(), d.parameters.begin()));
    CHECK(worst(frequencies(x, bound), expected.frequencies) <= 1e-4);
    CHECK(d == x.kernel(bound, {.executor = posenc_test::Backwards{3}}, learned));
  });
}

TEST_CASE("gradients: frequencies that an encoding does not have") {
  CHECK_THROWS_WITH(ParameterGradients(bind(ALiBi{} | Causal{}, heads), learned),
                    ContainsSubstring("has no rotary base, so it has no frequencies to learn"));
  CHECK_THROWS_WITH(
      ParameterGradients(bind(rope<HalfSplit> | RotateValues{} |
                                  ShawValues{.table = noise<float>(7 * 16, 6U), .clip = 3},
                              heads),
                         learned),
      ContainsSubstring("values both rotate (RotateValues) and have vectors by distance"));
  const Problem<double> x({});
  const auto wide = bind(rope<HalfSplit> | Causal{}, heads);
  CHECK(frequencies(x, wide).size() == 8);
}

}  // namespace frequencies_cases
