// SPDX-License-Identifier: MIT
//
// Gradients where key heads turn at rates of their own: against those of one group of heads after another, which
// PI turns alike, against central differences, and the kernel against the reference.
#include "problem.hpp"

#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>

#include "../support/bind_any.hpp"

namespace rates_cases {

using namespace gradient_test;
using posenc_test::bind_any;

constexpr BindOptions heads{.num_heads = 4, .num_kv_heads = 2},
    group{.num_heads = 2, .num_kv_heads = 1};
const MsPoE ratios{.least = 1.5, .greatest = 5.5, .order = {1, 0}};
constexpr double ratio_of[] = {3.5, 1.5};  // 1.5 + 4 place / 2

/// Heads [first, first + some) of rows of `all` heads.
template <class T>
std::vector<T> heads_of(const std::vector<T>& x, Index width, Index all, Index first, Index some) {
  std::vector<T> part;
  const Index tokens = std::ssize(x) / (all * width);
  for (Index t = 0; t < tokens; ++t)
    for (Index i = 0; i < some * width; ++i)
      part.push_back(x[static_cast<std::size_t>((t * all + first) * width + i)]);
  return part;
}

/// Key head h with the query heads of its group.
template <class T>
Problem<T> group_of(const Problem<T>& x, Index h) {
  Problem<T> one({.heads = 2, .kv_heads = 1});
  one.q = heads_of(x.q, 16, 4, 2 * h, 2);
  one.d_out = heads_of(x.d_out, 16, 4, 2 * h, 2);
  one.k = heads_of(x.k, 16, 2, h, 1);
  one.v = heads_of(x.v, 16, 2, h, 1);
  return one;
}

template <class T, class Base>
void check(const Base& base, double tolerance) {
  const Problem<T> x({});
  const AnyBound bound = bind_any(base | ratios, heads);
  const Gradients<T> all = x.kernel(bound, {}, {.frequencies = true});
  const ReferenceGradients expected = x.reference(bound);
  CHECK(worst(all.q, expected.q) <= tolerance);
  CHECK(worst(all.k, expected.k) <= tolerance);
  CHECK(worst(all.v, expected.v) <= tolerance);
  CHECK(worst(all.parameters, expected.frequencies) <= 10 * tolerance);
  std::vector<double> frequencies(expected.frequencies.size());
  for (Index h = 0; h < 2; ++h) {
    const Gradients<T> one =
        group_of(x, h).kernel(bind_any(base | PI{ratio_of[h]}, group), {}, {.frequencies = true});
    CHECK(worst(heads_of(all.q, 16, 4, 2 * h, 2), one.q) <= tolerance);
    CHECK(worst(heads_of(all.k, 16, 2, h, 1), one.k) <= tolerance);
    CHECK(worst(heads_of(all.v, 16, 2, h, 1), one.v) <= tolerance);
    // One of a frequency that a head divides is a share of its own.
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      frequencies[i] += one.parameters[i] / ratio_of[h];
  }
  CHECK(worst(all.parameters, frequencies) <= 10 * tolerance);
}

template <class LayoutT>
constexpr RoPE<LayoutT> rope{.head_dim = 16};

TEST_CASE("gradients: heads that turn at rates of their own, as one group after another") {
  const auto both = [](const auto& base) {
    check<double>(base, 1e-11);
    check<float>(base, 1e-5);
  };
  both(rope<HalfSplit> | Causal{});
  both(rope<Interleaved> | RotateValues{} | Causal{});
  both(RoPE<HalfSplit>{.head_dim = 16, .rotary_dim = 8, .rotary_offset = 2} | XPos{} | Causal{});
  both(rope<HalfSplit> | ReRoPE{20} | Causal{});
  both(rope<Interleaved> | LeakyReRoPE{.window = 20, .factor = 4} | Causal{});
}

TEST_CASE("gradients: heads that turn at rates of their own, by differences") {
  const std::vector<double> w{0.9, 0.31, 0.1, 0.034, 0.012, 0.004, 0.001, 0.0004};
  const auto encoding = [](const std::vector<double>& of) {
    return bind_any(rope<HalfSplit> | FrequencyTable{of} | RotateValues{} | ratios | Causal{},
                    heads);
  };
  Problem<double> x({.queries = 12, .keys = 12});
  const AnyBound bound = encoding(w);
  const ReferenceGradients d = x.reference(bound);
  const auto loss = [&] { return x.loss(bound); };
  check_differences(x.q, d.q, loss, 7);
  check_differences(x.k, d.k, loss, 5);
  check_differences(x.v, d.v, loss, 5);
  std::vector<double> of = w;
  check_differences(of, d.frequencies, [&] { return x.loss(encoding(of)); });
}

}  // namespace rates_cases
