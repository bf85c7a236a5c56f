// SPDX-License-Identifier: MIT
//
// ForgetGate in decode: a token at a time is the prompt at once, every sequence has sums of its own, and heads that
// forget read less.
#include "calls.hpp"

#include <posenc/bias/forget_gate.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/rotary/rope.hpp>

#include "../support/cases.hpp"
#include "../support/gates.hpp"
#include "../support/levels.hpp"

#include <array>

using namespace decode_test;
using posenc_test::log_gates;

namespace forget_gate_cases {

constexpr Index tokens = 700, heads = 4, kv_heads = 2, width = 16;
constexpr BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
const RoPE<HalfSplit> rope{.head_dim = width};

std::span<const double> some(const std::vector<double>& gates, Index first, Index last) {
  return std::span(gates).subspan(size(first * heads), size((last - first) * heads));
}

template <KeyState State, class T>
void check_growing(double least) {
  const std::array<Sequence<T>, 2> sequences{
      {{tokens, heads, kv_heads, width, width, 1}, {tokens, heads, kv_heads, width, width, 5}}};
  GateSums sums(heads, tokens, 2);
  const auto bound = bind(rope | ForgetGate{sums, least} | Causal{}, options);
  Holder<State, T> cache(Kind::paged, shape_for(sequences[0], 2));
  const std::vector<double> gates[] = {log_gates(tokens, heads, 1), log_gates(tokens, heads, 2)};
  Index held[] = {0, 0};
  const auto grow = [&](Index s, Index last) {
    append(*cache, s, sequences[size(s)], held[s], last, bound);
    sums.append(s, some(gates[s], held[s], last));
    held[s] = last;
  };
  posenc_test::Sample sample;
  const auto check = [&](Index queries) {
    if (!sample.next()) return;
    Tensor<arithmetic_t<T>> q(2 * queries, heads, width);
    for (Index s = 0; s < 2; ++s)
      for (Index r = 0; r < queries; ++r)
        for (Index h = 0; h < heads; ++h)
          for (Index c = 0; c < width; ++c)
            q.view()(s * queries + r, h, c) =
                sequences[size(s)].q.view()(held[s] - queries + r, h, c);
    const auto all = decoded(q.view(), *cache, bound);
    for (Index s = 0; s < 2; ++s) {
      auto call = sequences[size(s)].last(queries, held[s]);
      call.options.sequence = s;
      Output<arithmetic_t<T>> own(call);
      for (Index r = 0; r < queries; ++r)
        for (Index h = 0; h < heads; ++h) {
          own.lse[size(r * heads + h)] = all.lse[size((s * queries + r) * heads + h)];
          for (Index c = 0; c < width; ++c)
            own.out.view()(r, h, c) = all.out.view()(s * queries + r, h, c);
        }
      CHECK(ratio(own, call, bound) <= 1);
    }
  };
  grow(0, 1);
  grow(1, 9);
  check(1);
  grow(0, 130);
  grow(1, 300);
  for (const Index queries : {1, 3, 20, 130}) check(queries);
  grow(0, tokens);
  grow(1, 301);
  for (const Index queries : {1, 4, 150}) check(queries);
}
TEST_CASE("ForgetGate: decode agrees with the reference, a sequence beside another") {
  for (const double least : {-1e300, -9.0, -2.0}) {
    posenc_test::at_every_level([&] { check_growing<KeyState::raw, float>(least); });
    check_growing<KeyState::rotated, float>(least);
    check_growing<KeyState::rotated, double>(least);
  }
}

TEST_CASE("ForgetGate: a head that has forgotten all does not read, and another does") {
  // Head pair 0 forgets what is 30 tokens back, pair 1 nothing; keys and values that nobody sees hold NaN.
  Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  for (Index t = 0; t < tokens - 40; ++t)
    for (Index c = 0; c < width; ++c) sequence.k.view()(t, 0, c) = sequence.v.view()(t, 0, c) = NAN;
  GateSums sums(heads, tokens);
  for (Index t = 0; t < tokens; ++t) sums.append(0, std::vector<double>{-1, -1, 0, 0});
  const auto bound = bind(rope | ForgetGate{sums, -30} | Causal{}, options);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, tokens, bound);
  for (const Index queries : {1, 5}) {
    const auto call = sequence.last(queries);
    CHECK(ratio(decoded(call.q, *cache, bound), call, bound) <= 1);
  }
}

TEST_CASE("ForgetGate: decode refuses tokens whose gates were not appended") {
  const Sequence<float> sequence(20, heads, kv_heads, width, width);
  GateSums sums(heads, 20);
  const auto bound = bind(rope | ForgetGate{sums} | Causal{}, options);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 20, bound);
  const std::vector<double> gates = log_gates(19, heads, 1);
  sums.append(0, std::span<const double>(gates));
  CHECK_THROWS_WITH(decoded(sequence.last(1).q, *cache, bound),
                    ContainsSubstring("tokens 0 to 19 of sequence 0, but the encoding has data of "
                                      "its first 19 alone"));
}

TEST_CASE("ForgetGate: a ring keeps the last tokens, and gates of all of them") {
  // The reference sees all tokens, and a window of those that the ring holds.
  constexpr Index capacity = 150;
  const Sequence<float> sequence(tokens, heads, kv_heads, width, width);
  const std::vector<double> gates = log_gates(tokens, heads, 7);
  for (const double least : {-1e300, -4.0}) {
    GateSums sums(heads, tokens);
    const auto keys = bind(rope, options);  // which append() turns not, since they are kept raw
    const ForgetGate all{posenc_test::sums_of(gates, heads), least};
    CacheShape shape = shape_for(sequence);
    shape.capacity = capacity;
    posenc_test::at_every_level([&] {
      sums.clear(0);
      Holder<KeyState::raw, float> cache(Kind::ring, shape);
      Index held = 0;
      for (const Index last : {1, 100, 150, 151, 299, 450, 700}) {
        for (Index t = held; t < last; t += 50) {
          const Index end = std::min(last, t + 50);
          append(*cache, 0, sequence, t, end, keys);
          sums.append(0, some(gates, t, end));
        }
        held = last;
        const Index first = std::max<Index>(last - capacity, 0);
        const auto held_keys = mask([first](const Score& at) { return at.key_index >= first; });
        const auto windowed = bind(rope | all | held_keys | Causal{}, options);
        const auto bound = bind(rope | ForgetGate{sums, least} | held_keys | Causal{}, options);
        for (const Index queries : {Index{1}, Index{3}, std::min<Index>(last, 40)}) {
          if (queries > last) continue;
          const auto call = sequence.last(queries, last);
          CHECK(ratio(decoded(call.q, *cache, bound), call, windowed) <= 1);
        }
      }
    });
  }
}

TEST_CASE("ForgetGate: evicted tokens leave their gates behind") {
  const Sequence<float> sequence(60, heads, kv_heads, width, width);
  const std::vector<double> gates = log_gates(60, heads, 3);
  GateSums sums(heads, 60);
  sums.append(0, std::span<const double>(gates));
  const auto bound = bind(encoding(ForgetGate{sums}) | Causal{}, options);
  Holder<KeyState::raw, float> cache(Kind::contiguous, shape_for(sequence));
  append(*cache, 0, sequence, 0, 60, bound);
  // The same by a mask over all of them.
  const auto masked =
      bind(encoding(ForgetGate{posenc_test::sums_of(gates, heads)}) | Causal{} |
               mask([](const Score& at) { return at.key_index < 20 || at.key_index >= 45; }),
           options);
  const auto call = sequence.last(3);
  cache->evict(0, 20, 45);
  sums.evict(0, 20, 45);
  CHECK(ratio(decoded(call.q, *cache, bound), call, masked) <= 1);
}

}  // namespace forget_gate_cases
