// SPDX-License-Identifier: MIT
//
// Attention whose key heads turn at rates of their own: against one group of heads after another, which PI turns
// alike; of tensors, ragged batches and caches.
#include "../support/bind_any.hpp"
#include "../support/head_rates.hpp"
#include "../support/levels.hpp"
#include "calls.hpp"

#include <posenc/attention/decode.hpp>
#include <posenc/attention/key_weights.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/score/log_n.hpp>

using namespace posenc;
using namespace attention_test;
using posenc_test::bind_any;

namespace rates_cases {

using namespace head_rates;

constexpr Index group = 2, width = 16, value_dim = 20;
constexpr BindOptions of_group{.num_heads = group, .num_kv_heads = 1};
template <class T>
TensorView<T> heads_of(TensorView<T> x, Index first, Index some) {
  x.data += first * x.head_stride;
  x.heads = some;
  return x;
}

/// Greatest difference of the rows of a group, outputs and lse.
template <class T>
double off_group(const Output<T>& all, const Output<T>& one, Index h) {
  const TensorView<const T> x = all.out, y = one.out;
  double worst = 0;
  const auto add = [&](T a, T b) {
    const double d = std::abs(static_cast<double>(a) - static_cast<double>(b));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  };
  for (Index r = 0; r < x.tokens; ++r)
    for (Index g = 0; g < group; ++g) {
      for (Index c = 0; c < x.width; ++c) add(x(r, h * group + g, c), y(r, g, c));
      add(all.lse[size(r * num_heads + h * group + g)], one.lse[size(r * group + g)]);
    }
  return worst;
}

template <class T, class Base>
void check(const Base& base, Index queries = 70, AttentionOptions<T> options = {}) {
  Inputs<T> in(queries, 150, num_heads, kv_heads, width, value_dim);
  in.options = options;
  const AnyBound bound = bind_any(base | ratios, heads);
  const Output<T> all = attend_in_nan(in.call(), bound);
  const ReferenceResult reference =
      reference_attention(in.call().q, in.call().k, in.call().v, bound, in.options);
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
  double worst = 0;
  const TensorView<const T> out = all.out;
  for (Index r = 0; r < queries; ++r)
    for (Index h = 0; h < num_heads; ++h)
      for (Index c = 0; c < value_dim; ++c)
        worst = std::max(worst, std::abs(static_cast<double>(out(r, h, c)) -
                                         reference.out[size((r * num_heads + h) * value_dim + c)]));
  CHECK(worst <= tolerance);
  for (Index h = 0; h < kv_heads; ++h) {
    Arguments<T> one = in.call();
    one.q = heads_of(one.q, h * group, group);
    one.k = heads_of(one.k, h, 1);
    one.v = heads_of(one.v, h, 1);
    CHECK(off_group(all, attend_in_nan(one, bind_any(base | PI{ratio_of[h]}, of_group)), h) <=
          tolerance);
  }
}

TEST_CASE("attention: heads that turn at rates of their own, as one group after another") {
  const auto both = [](const auto& base) {
    check<double>(base);
    check<float>(base);
    check<float>(base, 1);
  };
  both(RoPE<HalfSplit>{.head_dim = width} | Causal{});
  both(RoPE<Interleaved>{.head_dim = width} | YaRN{.factor = 4, .original_context = 32} | Causal{});
  both(RoPE<HalfSplit>{.head_dim = width, .rotary_dim = 8, .rotary_offset = 3} | RotateValues{} |
       Causal{});
  both(RoPE<Interleaved>{.head_dim = width} | XPos{} | SlidingWindow{.left = 40});
  both(RoPE<HalfSplit>{.head_dim = width} | ReRoPE{20} | Causal{});
  both(RoPE<HalfSplit>{.head_dim = width} | LeakyReRoPE{.window = 20, .factor = 4} |
       LogN{.base_length = 16} | Causal{});
  both(RoPE<HalfSplit>{.head_dim = width} | DynamicNTK{.factor = 2, .original_context = 16} |
       Causal{});
}

TEST_CASE("attention: heads of equal rates are PI, and of one RoPE, to the bit") {
  const Inputs<float> in(40, 90, num_heads, kv_heads, width, value_dim);
  const RoPE<HalfSplit> rope{.head_dim = width};
  for (const double ratio : {1.0, 4.0}) {
    const MsPoE equal{.least = ratio, .greatest = ratio};
    CHECK(differing_rows(attend_in_nan(in.call(), bind_any(rope | equal | Causal{}, heads)),
                         attend_in_nan(in.call(), bind_any(rope | PI{ratio} | Causal{}, heads))) ==
          0);
  }
}

TEST_CASE("attention: a component of a user's own turns pairs of heads") {
  posenc_test::at_every_level([] {
    const auto encoding = RoPE<Interleaved>{.head_dim = width} | ByPair{} | Causal{};
    const Inputs<float> in(33, 90, num_heads, kv_heads, width, value_dim);
    CHECK(kernel_ratio(in.call(), bind(encoding, heads)) <= 1);
    CHECK(differing_rows(attend_in_nan(in.call(), bind(encoding, heads)),
                         attend_in_nan(in.call(), bind_any(encoding, heads))) == 0);
  });
}

TEST_CASE("attention: heads that turn at rates of their own see distances alone") {
  Inputs<double> in(40, 90, num_heads, kv_heads, width, value_dim);
  const AnyBound bound = bind_any(RoPE<HalfSplit>{.head_dim = width} | ratios | Causal{}, heads);
  const Output<double> here = attend_in_nan(in.call(), bound);
  in.options.key_offset = 500'000;
  in.options.query_offset = 500'050;
  const Output<double> there = attend_in_nan(in.call(), bound);
  for (std::size_t i = 0; i < here.lse.size(); ++i)
    CHECK(std::abs(here.lse[i] - there.lse[i]) <= 1e-8);
}

TEST_CASE("attention: a ragged batch of heads that turn at rates of their own") {
  const Inputs<float> in(100, 100, num_heads, kv_heads, width, value_dim);
  const Arguments<float> call = in.call();
  const AnyBound bound = bind_any(RoPE<HalfSplit>{.head_dim = width} | ratios | Causal{}, heads);
  const std::vector<Index> starts{0, 30, 31, 100};
  std::vector<float> out(size(100 * num_heads * value_dim), NAN);
  const TensorView<float> y(out.data(), 100, num_heads, value_dim);
  attention(call.q, call.k, call.v, y, {.starts = starts}, bound);
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const Index first = starts[i], tokens = starts[i + 1] - first;
    const Output<float> one =
        attend_in_nan(Arguments<float>{call.q.slice(first, tokens), call.k.slice(first, tokens),
                                       call.v.slice(first, tokens)},
                      bound);
    double worst = 0;
    const TensorView<const float> expected = one.out;
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < num_heads; ++h)
        for (Index c = 0; c < value_dim; ++c)
          worst = std::max(worst,
                           static_cast<double>(std::abs(y(first + t, h, c) - expected(t, h, c))));
    CHECK(worst <= 2e-6);
  }
}

/// The last queries over a cache, as over tensors.
template <KeyState State, class T, class Base>
void check_decode(const Base& base) {
  const Index tokens = 150;
  const Inputs<T> in(tokens, tokens, num_heads, kv_heads, width, value_dim);
  const Arguments<T> call = in.call();
  const auto bound = bind(base | ratios, heads);
  const Output<T> all = attend_in_nan(call, bound);
  auto cache = KeyValueCache<State, T>::contiguous(
      {.kv_heads = kv_heads, .head_dim = width, .value_dim = value_dim, .capacity = tokens});
  const TensorView<const T> expected = all.out;
  for (Index first = 0; first < tokens;) {
    const Index some = std::min<Index>(first == 0 ? 140 : 3, tokens - first);
    if constexpr (State == KeyState::raw)
      cache.append(0, call.k.slice(first, some), call.v.slice(first, some));
    else
      cache.append(0, call.k.slice(first, some), call.v.slice(first, some), bound);
    std::vector<T> out(size(some * num_heads * value_dim), T(NAN));
    const TensorView<T> y(out.data(), some, num_heads, value_dim);
    decode(call.q.slice(first, some), cache, y, bound);
    double worst = 0;
    for (Index t = 0; t < some; ++t)
      for (Index h = 0; h < num_heads; ++h)
        for (Index c = 0; c < value_dim; ++c)
          worst = std::max(worst, std::abs(static_cast<double>(y(t, h, c)) -
                                           static_cast<double>(expected(first + t, h, c))));
    CHECK(worst <= (sizeof(T) == 4 ? 5e-6 : 1e-12));
    first += some;
  }
}

TEST_CASE("decode: heads that turn at rates of their own, over raw and rotated keys") {
  const RoPE<HalfSplit> rope{.head_dim = width};
  check_decode<KeyState::raw, float>(rope | Causal{});
  check_decode<KeyState::raw, double>(rope | RotateValues{} | Causal{});
  check_decode<KeyState::raw, float>(rope | LeakyReRoPE{.window = 20, .factor = 4} | Causal{});
  check_decode<KeyState::rotated, float>(rope | Causal{});
  check_decode<KeyState::rotated, double>(RoPE<Interleaved>{.head_dim = width} | XPos{} |
                                          RotateValues{} | Causal{});
}

TEST_CASE("MsPoE: heads are ordered by the weights of the last query, before anything turns") {
  // Head 0 sees all keys alike; head 1 sees one of 64 much; head 2 sees eight of them.
  constexpr Index keys = 64;
  std::vector<float> q(3 * 4), k(keys * 3 * 4), out(3 * 4), lse(3);
  for (Index h = 0; h < 3; ++h) q[size(4 * h)] = 8;
  for (Index t = 0; t < keys; ++t) {
    if (t == 40) k[size((t * 3 + 1) * 4)] = 1;
    if (t % 8 == 0) k[size((t * 3 + 2) * 4)] = 1;
  }
  const TensorView<float> query(q.data(), 1, 3, 4), key(k.data(), keys, 3, 4),
      y(out.data(), 1, 3, 4);
  const auto plain = bind(encoding(Causal{}), {.num_heads = 3, .head_dim = 4});
  attention(query, key, key, y, plain, {.lse = lse});
  std::vector<double> weights(keys * 3);
  key_weights(query, key, lse, weights, 1, plain);
  const std::vector<double> shares = MsPoE::outliers(weights, 3, 3);
  CHECK(shares == std::vector<double>{0, 1.0 / 64, 8.0 / 64});
  CHECK(MsPoE::order_of(shares) == std::vector<Index>{2, 1, 0});
}

}  // namespace rates_cases
