// SPDX-License-Identifier: MIT
//
// Self-Extend, dual chunk attention and FIRE in the kernel: float against the reference attention,
// with a causal mask and without, on more tokens than a window, a few groups and several chunks.
#include <posenc/posenc.hpp>

#include "../support/bind_any.hpp"
#include "../support/cases.hpp"
#include "../support/catch.hpp"
#include "../support/levels.hpp"
#include "../support/oracle.hpp"

namespace attention_test {
namespace extensions_cases {

constexpr Index tokens = 200, heads = 4, kv_heads = 2, width = 32;

posenc_test::Sample sample;

/// The greatest error over its bound, with or without the causal mask.
template <class EncodingT>
void check(const EncodingT& encoding, Position first_position = 0) {
  if (!sample.next()) return;
  Tensor<float> q(tokens, heads, width), k(tokens, kv_heads, width), v(tokens, kv_heads, width);
  q.fill(Random(1)), k.fill(Random(2)), v.fill(Random(3));
  Arguments<float> call{q, k, v};
  call.options.query_positions = first_position;
  call.options.key_positions = first_position;
  const BindOptions options{.num_heads = heads, .num_kv_heads = kv_heads};
  CHECK(kernel_ratio(call, posenc_test::bind_any(encoding | Causal{}, options)) <= 1);
  CHECK(kernel_ratio(call, posenc_test::bind_any(encoding, options)) <= 1);
}

const RoPE<HalfSplit> rope{.head_dim = width};

Fire random_fire() {
  Random random(4);
  const auto values = [&](Index n) {
    std::vector<float> x;
    for (Index i = 0; i < n; ++i) x.push_back(static_cast<float>(random.real(-1, 1)));
    return x;
  };
  return {.hidden_weight = values(32),
          .hidden_bias = values(32),
          .output_weight = values(32 * heads),
          .output_bias = values(heads),
          .threshold = 64};
}

TEST_CASE("SelfExtend: kernel and reference agree") {
  for (const SelfExtend map : {SelfExtend{32, 4}, {48, 16}, {7, 7}, {64, 1}, {256, 8}}) {
    check(rope | map);
    check(rope | map, -90);
  }
}

TEST_CASE("DualChunk: kernel and reference agree") {
  for (const DualChunk map : {DualChunk{32, 48}, {20, 24}, {25, 60}, {64, 64}, {256, 300}}) {
    check(rope | map);
    check(rope | map, -90);
  }
}

TEST_CASE("STRING: kernel and reference agree") {
  for (const STRING map : {STRING{32, 4}, {20, 0}, {25, 25}, {1, 0}, {256, 128}}) {
    check(rope | map);
    check(rope | map, -90);
  }
}

TEST_CASE("Fire: kernel and reference agree, alone and beside a rotation") {
  check(encoding(random_fire()));
  check(rope | random_fire());
  check(rope | SelfExtend{.window = 32, .group = 8} | random_fire());
}

TEST_CASE("Fire: kernel and reference agree at every level, whatever a tile's pieces") {
  posenc_test::at_every_level([] {
    for (const Index units : {1, 8, 32, 100}) {
      CAPTURE(units);
      Fire fire{.output_bias = std::vector<float>(heads, 0.5F), .threshold = 64};
      for (Index k = 0; k < units; ++k) {  // breakpoints all over (0, 1)
        const float weight = k % 2 == 0 ? 1.5F : -2.0F;
        fire.hidden_weight.push_back(weight);
        fire.hidden_bias.push_back(-weight * (static_cast<float>(k) + 0.5F) /
                                   static_cast<float>(units));
      }
      for (Index i = 0; i < units * heads; ++i)
        fire.output_weight.push_back(static_cast<float>(i % 7 - 3) / static_cast<float>(units));
      check(encoding(fire));
      check(encoding(fire), -90);
      fire.cached_distances = 150;
      check(encoding(fire));
    }
  });
}

}  // namespace extensions_cases
}  // namespace attention_test
