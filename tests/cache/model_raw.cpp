// SPDX-License-Identifier: MIT
//
// Caches of raw keys against a plain list of tokens.
#include "../support/bind_any.hpp"
#include "sessions.hpp"

#include <posenc/bias/alibi.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/eigen.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/xpos.hpp>

namespace cache_test {
namespace model_raw_cases {

constexpr KeyState raw = KeyState::raw;
constexpr BindOptions heads{.num_heads = 2, .num_kv_heads = 1};

TEST_CASE("raw keys of float, rectified distances: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} |
                                     ReRoPE{.window = 4} | SinkWindow{.sinks = 2, .window = 9},
                                 heads);
  };
  run_sessions<raw, float>(encoding(100), encoding(10'000), {});
}

TEST_CASE("raw keys of bfloat16, three coordinates: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<Interleaved>{.head_dim = 8, .base = base} |
                                     MRoPE{.sections = {2, 1, 1}} |
                                     SlidingWindow::from_token_count(5),
                                 {.num_heads = 6, .num_kv_heads = 2});
  };
  run_sessions<raw, Eigen::bfloat16>(encoding(100), encoding(10'000),
                                     {.heads = 6, .kv_heads = 2, .value_dim = 5, .axes = 3});
}

TEST_CASE("raw keys of float16, by length: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(
        RoPE<HalfSplit>{.head_dim = 8, .base = base} |
            DynamicNTK{.original_context = 8, .form = DynamicNTKForm::paper} | ALiBi{} | Causal{},
        heads);
  };
  run_sessions<raw, Eigen::half>(encoding(100), encoding(10'000), {});
}

TEST_CASE("raw keys and values of double, growth and turned values: as a list") {
  const auto encoding = [](double base) {
    return posenc_test::bind_any(RoPE<HalfSplit>{.head_dim = 8, .base = base} |
                                     XPos{.scale_base = 4'096, .centre = 10} | RotateValues{} |
                                     Causal{},
                                 heads);
  };
  run_sessions<raw, double>(encoding(100), encoding(10'000), {.value_dim = 8});
}

}  // namespace model_raw_cases
}  // namespace cache_test
