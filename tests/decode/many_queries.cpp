// SPDX-License-Identifier: MIT
//
// Several queries over a cache: a chunk of prompt, a draft of some tokens. Few go through the decode
// kernel and more through the tiles of prefill; either is attention() over the same tokens.
#include "../support/bind_any.hpp"
#include "../support/cases.hpp"
#include "calls.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/score/sink_logit.hpp>

namespace decode_test {
namespace many_queries_cases {

constexpr Index heads = 4, kv_heads = 2, width = 32, tokens = 300;
const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

/// Calls with 1 to 100 queries against attention(), which is given the keys as the cache rounds them.
template <KeyState State, class T, class BoundT>
void check(const BoundT& bound, Kind kind) {
  const Sequence<T> sequence(tokens, heads, kv_heads, width, 24);
  Holder<State, T> cache(kind, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  static posenc_test::Sample sample;
  for (const Index queries : {1, 7, 8, 9, 16, 100}) {
    if (!sample.next()) continue;
    const auto call = sequence.last(queries);
    const Output<arithmetic_t<T>> got = decoded(call.q, *cache, bound);
    INFO(queries << " queries, kind " << static_cast<int>(kind));
    // Rotated 16-bit keys carry a rounding of their own.
    if (State != KeyState::raw && sizeof(T) == 2) {
      const Output<arithmetic_t<T>> one = decoded(call.q.slice(queries - 1, 1), *cache, bound);
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < 24; ++c)
          CHECK(std::abs(got.out.view()(queries - 1, h, c) - one.out.view()(0, h, c)) <= 3e-6F);
      continue;
    }
    CHECK(ratio(got, call, bound) <= 1);
  }
}

template <KeyState State, class BoundT>
void check_all(const BoundT& bound) {
  for (const Kind kind : {Kind::contiguous, Kind::ring, Kind::paged}) {
    check<State, float>(bound, kind);
    check<State, Eigen::bfloat16>(bound, kind);
    check<State, Eigen::half>(bound, kind);
  }
  check<State, double>(bound, Kind::paged);
}

TEST_CASE("decode: many queries over raw keys") {
  check_all<KeyState::raw>(posenc_test::bind_any(rope | ALiBi{} | Causal{}, options));
  check_all<KeyState::raw>(posenc_test::bind_any(
      rope | ReRoPE{.window = 60} | SinkLogit{.logits = std::vector<float>(heads, 0.5F)} | Causal{},
      options));
  const RoPE<HalfSplit> narrow{.head_dim = width, .rotary_dim = 16};
  check_all<KeyState::raw>(
      posenc_test::bind_any(narrow | RotateValues{} | SlidingWindow{.left = 70}, options));
}

TEST_CASE("decode: many queries over rotated and reduced keys") {
  check_all<KeyState::rotated>(posenc_test::bind_any(rope | ALiBi{} | Causal{}, options));
  check<KeyState::reduced, float>(
      posenc_test::bind_any(rope | DualChunk::chunk_llama(64) | Causal{}, options), Kind::paged);
}

TEST_CASE("decode: many queries, sequences of different lengths, frequencies by length") {
  const auto bound =
      posenc_test::bind_any(rope | DynamicNTK{.original_context = 64} | Causal{}, options);
  using Cache = KeyValueCache<KeyState::raw, float>;
  Cache cache = Cache::contiguous(
      {.sequences = 3, .kv_heads = kv_heads, .head_dim = width, .capacity = tokens});
  std::vector<Sequence<float>> sequences;
  const std::vector<Index> lengths{150, 40, 300}, starts{0, 30, 31, 81};
  for (Index s = 0; s < 3; ++s) {
    sequences.emplace_back(tokens, heads, kv_heads, width, width,
                           10 * static_cast<std::uint64_t>(s));
    append(cache, s, sequences.back(), 0, lengths[size(s)], bound);
  }
  Tensor<float> q(81, heads, width);
  for (Index s = 0; s < 3; ++s)
    for (Index i = starts[size(s)]; i < starts[size(s) + 1]; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          q.view()(i, h, c) =
              sequences[size(s)].q.view()(lengths[size(s)] - starts[size(s) + 1] + i, h, c);
  const Output<float> got = decoded<KeyState::raw, float>(q, cache, bound, {.starts = starts});
  for (Index s = 0; s < 3; ++s) {
    const Index queries = starts[size(s) + 1] - starts[size(s)];
    const auto call = sequences[size(s)].last(queries, lengths[size(s)]);
    const Output<float> expected = attention_test::attend(call, bound);
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c)
          CHECK(std::abs(got.out.view()(starts[size(s)] + i, h, c) -
                         expected.out.view()(i, h, c)) <= 3e-6F);
  }
}

TEST_CASE("decode: queries and outputs of 16 bits") {
  const auto bound = posenc_test::bind_any(rope | Causal{}, options);
  const Sequence<Eigen::bfloat16> sequence(tokens, heads, kv_heads, width, 24);
  Holder<KeyState::raw, Eigen::bfloat16> cache(Kind::paged, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  for (const Index queries : {2, 20}) {
    std::vector<Eigen::half> q, out(size(queries * heads * 24));
    Tensor<float> exact(queries, heads, width);
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < width; ++c) {
          q.push_back(narrow<Eigen::half>(sequence.q.view()(tokens - queries + i, h, c)));
          exact.view()(i, h, c) = widen(q.back());
        }
    decode(TensorView<const Eigen::half>(q.data(), queries, heads, width), *cache,
           TensorView<Eigen::half>(out.data(), queries, heads, 24), bound);
    const Output<float> expected = decoded<KeyState::raw, Eigen::bfloat16>(exact, *cache, bound);
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < 24; ++c)
          CHECK(widen(out[size((i * heads + h) * 24 + c)]) ==
                widen(narrow<Eigen::half>(expected.out.view()(i, h, c))));
  }
}

TEST_CASE("decode: an encoding that is composed at run time") {
  const auto encoding = rope | ALiBi{} | Causal{};
  const auto bound = posenc_test::bind_any(encoding, options);
  const AnyBound any = posenc_test::bind_any(AnyEncoding(encoding), options);
  const Sequence<float> sequence(tokens, heads, kv_heads, width, 24);
  Holder<KeyState::rotated, float> cache(Kind::ring, shape_for(sequence)),
      other(Kind::ring, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  append(*other, 0, sequence, 0, tokens, any);
  for (const Index queries : {1, 8, 50}) {
    const auto q = sequence.last(queries).q;
    const Output<float> a = decoded(q, *cache, bound), b = decoded(q, *other, any);
    for (Index i = 0; i < queries; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < 24; ++c) REQUIRE(a.out.view()(i, h, c) == b.out.view()(i, h, c));
    CHECK(a.lse == b.lse);
  }
  // What the compiler refuses of a known encoding is a sentence here.
  const AnyBound map =
      posenc_test::bind_any(AnyEncoding(rope | ReRoPE{.window = 8} | Causal{}), options);
  CHECK_THROWS_WITH(decoded(sequence.last(1).q, *other, map),
                    ContainsSubstring("cannot read the keys of this cache"));
}

}  // namespace many_queries_cases
}  // namespace decode_test
