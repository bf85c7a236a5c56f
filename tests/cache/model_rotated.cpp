// SPDX-License-Identifier: MIT
//
// Caches of rotated and reduced keys against a plain list of tokens.
#include "../support/bind_any.hpp"
#include "sessions.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/dual_chunk.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/yarn.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>

namespace cache_test {
namespace model_rotated_cases {

constexpr KeyState rotated = KeyState::rotated;
constexpr BindOptions heads{.num_heads = 2, .num_kv_heads = 1};

TEST_CASE("rotated keys of float, partial rotary and YaRN: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(
        RoPE<Interleaved>{.head_dim = 8, .base = base, .rotary_dim = 6, .rotary_offset = 1} |
            YaRN{.factor = 4, .original_context = 64} | ALiBi{} |
            SlidingWindow::from_token_count(7),
        heads);
  };
  run_sessions<rotated, float>(encoding(100), encoding(10'000), {.heads = 2, .kv_heads = 1});
}

TEST_CASE("rotated keys of double, three coordinates: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 12, .base = base} |
                                     MRoPE{.sections = {2, 2, 2}, .interleaved = true} | Causal{},
                                 {.num_heads = 4, .num_kv_heads = 2});
  };
  run_sessions<rotated, double>(
      encoding(100), encoding(10'000),
      {.heads = 4, .kv_heads = 2, .head_dim = 12, .value_dim = 3, .axes = 3});
}

TEST_CASE("rotated keys of float whose heads turn at rates of their own: as a list") {
  const auto encoding = [](double base, std::vector<Index> order) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} | RotateValues{} |
                                     MsPoE{.least = 1.5, .greatest = 4, .order = std::move(order)} |
                                     Causal{},
                                 {.num_heads = 4, .num_kv_heads = 2});
  };
  run_sessions<rotated, float>(encoding(100, {}), encoding(10'000, {1, 0}),
                               {.heads = 4, .kv_heads = 2, .value_dim = 9});
}

TEST_CASE("rotated keys and values of bfloat16: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} | RotateValues{} |
                                     SlidingWindow::from_token_count(5),
                                 heads);
  };
  run_sessions<rotated, Eigen::bfloat16>(encoding(100), encoding(10'000), {.value_dim = 9});
}

TEST_CASE("rotated keys of float16 that grow: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} |
                                     XPos{.scale_base = 32'768, .centre = 10} |
                                     SlidingWindow::from_token_count(4),
                                 heads);
  };
  run_sessions<rotated, Eigen::half>(encoding(100), encoding(10'000), {});
}

TEST_CASE("reduced keys of float: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} |
                                     DualChunk{.chunk = 5, .cap = 7} |
                                     SlidingWindow::from_token_count(6),
                                 heads);
  };
  run_sessions<KeyState::reduced, float>(encoding(100), encoding(10'000), {});
}

}  // namespace model_rotated_cases
}  // namespace cache_test
