// SPDX-License-Identifier: MIT
//
// Keys and values of 16 bits: what is stored is read as it is, so raw caches keep the bound of
// float.
#include "../support/bind_any.hpp"
#include "shapes.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/eigen.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/rotate/rotate.hpp>

namespace decode_test {
namespace elements_cases {

const auto biased = [](Index) { return ALiBi{} | Causal{}; };
const auto rotary = [](Index width) {
  return RoPE<Interleaved>{.head_dim = width, .rotary_dim = width / 2 * 2 - 2, .rotary_offset = 1} |
         Causal{};
};
const std::vector<Shape> shapes{{1, 1, 7, 1}, {3, 1, 11, 5}, {8, 2, 34, 17}, {7, 1, 64, 64}};

TEST_CASE("decode: bfloat16") {
  check_shapes<KeyState::raw, Eigen::bfloat16>(biased, shapes);
  check_shapes<KeyState::raw, Eigen::bfloat16>(rotary, shapes);
}
TEST_CASE("decode: float16") {
  check_shapes<KeyState::raw, Eigen::half>(biased, shapes);
  check_shapes<KeyState::raw, Eigen::half>(rotary, shapes);
}

// Rotated keys are rounded once more, to their element: an error of at most u |k| each, which is
// that of a cache of raw keys that hold the rounded ones rotated back.
TEST_CASE("decode: rotated keys of 16 bits are rounded once") {
  const auto check = [&]<class T>(T) {
    constexpr Index tokens = 130, heads = 4, width = 34;
    const Sequence<T> sequence(tokens, heads, 2, width, 17);
    const auto bound =
        posenc_test::bind_any(rotary(width), {.num_heads = heads, .num_kv_heads = 2});
    Holder<KeyState::rotated, T> cache(Kind::contiguous, shape_for(sequence));
    append(*cache, 0, sequence, 0, tokens, bound);
    Sequence<T> turned(tokens, heads, 2, width, 17);
    const TensorView<float> k = turned.k.view();
    for (Index t = 0; t < tokens; ++t)
      for (Index h = 0; h < 2; ++h)
        for (Index c = 0; c < width; ++c) k(t, h, c) = widen(cache->key(0, t, h)[size(c)]);
    unrotate(k, Positions(0), bound, {.attention_factor = false});
    auto call = sequence.last(9);
    call.k = k;
    CHECK(ratio(decoded(call.q, *cache, bound), call, bound) <= 2);
    double off = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < width; ++c)
        off = std::max(off, std::abs(static_cast<double>(k(t, 0, c) - sequence.k.view()(t, 0, c))));
    CHECK(off > 1e-5);  // or nothing was rounded
    CHECK(off <= 1.5 * std::sqrt(2) * (std::is_same_v<T, Eigen::half> ? 0x1p-11 : 0x1p-8));
  };
  check(Eigen::bfloat16{});
  check(Eigen::half{});
}

}  // namespace elements_cases
}  // namespace decode_test
