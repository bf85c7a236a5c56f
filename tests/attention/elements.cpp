// SPDX-License-Identifier: MIT
//
// Tensors of 16-bit elements, and mixtures: computed in float32 and rounded once, so the result is that
// of a call with the same numbers in float, to the last bit before rounding.
#include <posenc/attention/attention.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/attention/reference.hpp>
#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>

#include "../support/catch.hpp"
#include "../support/random.hpp"
#include "../support/tensor.hpp"

#include <cstring>
#include <vector>

namespace elements_cases {

using namespace posenc;
using posenc_test::noise;
using bf16 = Eigen::bfloat16;
using fp16 = Eigen::half;

constexpr Index tokens = 90, heads = 4, kv_heads = 2, width = 20, value_dim = 28;

/// Numbers that are exact in T, as T and as floats, with strides of their own.
template <class T>
struct Numbers {
  std::vector<T> stored;
  std::vector<float> floats;
  TensorView<const T> view;
  TensorView<const float> as_floats;

  Numbers(Index heads_, Index width_, unsigned seed, bool apart) {
    const Index step = apart ? 2 : 1, n = tokens * heads_ * width_ * step;
    for (const float x : noise<float, float>(n, seed, -2, 2)) {
      stored.push_back(narrow<T>(x));
      floats.push_back(widen(stored.back()));
    }
    const Index row = heads_ * width_ * step;
    view = {stored.data(), tokens, heads_, width_, row, width_ * step, step};
    as_floats = {floats.data(), tokens, heads_, width_, row, width_ * step, step};
  }
};

template <class O>
struct Out {
  std::vector<O> data = std::vector<O>(static_cast<std::size_t>(tokens * heads * value_dim));
  std::vector<float> lse = std::vector<float>(static_cast<std::size_t>(tokens * heads));
  TensorView<O> view{data.data(), tokens, heads, value_dim};
};

template <class Q, class K, class V, class O>
void check(const AnyBound& bound, bool apart) {
  const Numbers<Q> q(heads, width, 1, apart);
  const Numbers<K> k(kv_heads, width, 2, apart);
  const Numbers<V> v(kv_heads, value_dim, 3, apart);
  Out<O> got;
  attention(q.view, k.view, v.view, got.view, bound, {.lse = got.lse});
  Out<float> expected;
  attention(q.as_floats, k.as_floats, v.as_floats, expected.view, bound, {.lse = expected.lse});
  CHECK(got.lse == expected.lse);
  int wrong = 0;
  for (std::size_t i = 0; i < got.data.size(); ++i)
    wrong += std::memcmp(&got.data[i], std::vector<O>{narrow<O>(expected.data[i])}.data(),
                         sizeof(O)) != 0;
  CHECK(wrong == 0);

  // And right: within float's error and half a unit of the element, of the dense reference in double.
  const ReferenceResult dense = reference_attention(q.view, k.view, v.view, bound);
  const double unit = std::is_same_v<O, float> ? 0 : std::is_same_v<O, bf16> ? 0x1p-8 : 0x1p-11;
  double worst = 0;
  for (std::size_t i = 0; i < got.data.size(); ++i) {
    const double off = std::abs(static_cast<double>(widen(got.data[i])) - dense.out[i]);
    worst = std::max(worst, off / (1e-5 + unit * (1e-5 + std::abs(dense.out[i]))));
  }
  CHECK(worst <= 1);

  // The sequences of a ragged batch, each as a call of its own.
  const std::vector<Index> starts{0, 31, 31, tokens};
  Out<O> ragged;
  attention(q.view, k.view, v.view, ragged.view, RaggedBatch{.starts = starts}, bound,
            {.lse = ragged.lse});
  Out<O> one;
  attention(q.view.slice(0, 31), k.view.slice(0, 31), v.view.slice(0, 31), one.view.slice(0, 31),
            bound, {.lse = std::span(one.lse).first(31 * heads)});
  CHECK(std::memcmp(ragged.data.data(), one.data.data(),
                    sizeof(O) * static_cast<std::size_t>(31 * heads * value_dim)) == 0);
}

std::vector<AnyBound> encodings() {
  const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
  const RoPE<HalfSplit> rope{.head_dim = width};
  DeBERTa deberta{.position_buckets = 16, .max_position = 64};
  deberta.keys = deberta.queries =
      noise<float, float>(2 * deberta.span() * heads * width, 9, -1, 1);
  return {bind(AnyEncoding(Causal{}), options),
          bind(AnyEncoding(rope | ALiBi{} | SlidingWindow{.left = 40}), options),
          bind(AnyEncoding(RoPE<Interleaved>{.head_dim = width} | ReRoPE{.window = 24} | Causal{}),
               options),
          bind(AnyEncoding(rope | RotateValues{} | Causal{}), options),
          bind(AnyEncoding(rope | deberta | Causal{}), options)};
}

TEMPLATE_TEST_CASE("attention: 16-bit tensors are computed in float and rounded once", "", bf16,
                   fp16) {
  for (const AnyBound& bound : encodings()) {
    check<TestType, TestType, TestType, TestType>(bound, false);
    check<TestType, TestType, TestType, TestType>(bound, true);
  }
}

TEST_CASE("attention: any mixture of elements in one call") {
  for (const AnyBound& bound : encodings()) {
    check<float, bf16, fp16, float>(bound, false);
    check<bf16, float, float, fp16>(bound, true);
    check<fp16, fp16, bf16, bf16>(bound, false);
  }
}

TEST_CASE("attention: rotated keys of 16 bits") {
  const auto rope = RoPE<HalfSplit>{.head_dim = width} | Causal{};
  const auto bound = bind(rope, {.num_heads = heads, .num_kv_heads = kv_heads});
  const Numbers<bf16> q(heads, width, 1, false), k(kv_heads, width, 2, false),
      v(kv_heads, value_dim, 3, false);
  Out<bf16> got;
  attention(q.view, RotatedKeys{k.view}, v.view, got.view, bound);
  Out<float> expected;
  attention(q.as_floats, RotatedKeys{k.as_floats}, v.as_floats, expected.view, bound);
  for (std::size_t i = 0; i < got.data.size(); ++i)
    REQUIRE(widen(got.data[i]) == widen(narrow<bf16>(expected.data[i])));
}

TEST_CASE("attention: results do not overwrite queries of another size") {
  std::vector<float> memory(2 * 4 * 8, 0.0F);
  const TensorView<const bf16> q(reinterpret_cast<const bf16*>(memory.data()), 2, 4, 8);
  std::vector<float> k(2 * 4 * 8);
  const TensorView keys(k.data(), 2, 4, 8);
  CHECK_THROWS_WITH(attention(q, keys, keys, TensorView(memory.data(), 2, 4, 8),
                              bind(Causal{}, {.num_heads = 4})),
                    ContainsSubstring("must be the same view as q or must not overlap"));
}

TEST_CASE("attention: 16-bit values that are not finite reach those who see them alone") {
  const auto bound = bind(Causal{}, {.num_heads = heads, .num_kv_heads = kv_heads});
  const Numbers<fp16> q(heads, width, 1, false), k(kv_heads, width, 2, false);
  Numbers<fp16> v(kv_heads, value_dim, 3, false);
  v.stored[static_cast<std::size_t>(50 * kv_heads * value_dim)] =
      narrow<fp16>(std::numeric_limits<float>::infinity());
  Out<float> got;
  attention(q.view, k.view, v.view, got.view, bound);
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < heads; ++h)
      CHECK(std::isfinite(got.view(t, h, 0)) == (t < 50 || h >= heads / kv_heads));
}

}  // namespace elements_cases
