// SPDX-License-Identifier: MIT
//
// The inputs and parameters of golden cases, drawn as make_mixers.py and make_mixer_gradients.py draw them.
#pragma once

#include <posenc/mixers/mixers.hpp>

#include "support/draw.hpp"

#include <string>
#include <vector>

namespace mixers_test::golden_cases {

using namespace posenc;
using namespace posenc::mixers;
using posenc_test::Draw;

struct Case {
  Mixer mixer;
  std::vector<float> q, k, v, decay, state, beta{}, removal{};
};

/// Rows of K numbers of length 1, up to the rounding of a float.
inline std::vector<float> unit_rows(std::vector<float> x, Index K) {
  for (std::size_t at = 0; at < x.size(); at += static_cast<std::size_t>(K)) {
    double squares = 0;
    for (std::size_t c = 0; c < static_cast<std::size_t>(K); ++c)
      squares += static_cast<double>(x[at + c]) * static_cast<double>(x[at + c]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(K); ++c)
      x[at + c] = static_cast<float>(static_cast<double>(x[at + c]) / std::sqrt(squares));
  }
  return x;
}

/// Inputs and parameters in the order in which the script draws them.
inline Case make(const std::string& name, std::uint64_t seed, Index T, Index K, Index V) {
  constexpr Index H = 2;
  Draw draw(seed);
  if (name.starts_with("LinearAttention")) {
    const bool normalise = name == "LinearAttention";
    auto q = draw(T * H * K, 0.5, 0.625), k = draw(T * H * K, 0.5, 0.625), v = draw(T * H * V);
    auto state = draw(H * K * V, normalise ? 0 : 1);
    return {Mixer(LinearAttention{H, K, V, 1, normalise, 1e-10}), q, k, v, {}, state};
  }
  if (name.starts_with("RetNet")) {
    auto q = draw(T * H * K), k = draw(T * H * K), v = draw(T * H * V), state = draw(H * K * V, 0);
    const Retention normaliser = name == "RetNet"        ? Retention::plain
                                 : name == "RetNet, row" ? Retention::row
                                                         : Retention::absolute;
    return {Mixer(RetNet{H, K, V, normaliser}), q, k, v, {}, state};
  }
  if (name.starts_with("GLA")) {
    const bool logits = name == "GLA";
    auto q = draw(T * H * K), k = draw(T * H * K), v = draw(T * H * V);
    auto decay = logits ? draw(T * H * K, 8) : draw(T * H * K, 2, -2);
    auto state = draw(H * K * V);
    return {Mixer(GLA{.num_heads = H, .key_dim = K, .value_dim = V, .logits = logits}),
            q,
            k,
            v,
            decay,
            state};
  }
  if (name == "Mamba2") {
    auto C = draw(T * K), B = draw(T * K), x = draw(T * H * V), dt = draw(T * H, 2);
    Mamba2 mixer{.nheads = H, .headdim = V, .d_state = K};
    mixer.A_log = draw(H, 1, 1), mixer.dt_bias = draw(H, 2, -2), mixer.D = draw(H);
    auto state = draw(H * K * V);
    return {Mixer(mixer), C, B, x, dt, state};
  }
  if (name == "DeltaNet" || name == "GatedDeltaNet" || name == "KDA") {
    auto q = draw(T * H * K), v = draw(T * H * V), x = draw(T * H * K, 1, -1),
         beta = draw(T * H, 0.5, 0.5);
    const auto k = unit_rows(draw(T * H * K), K), state = draw(H * K * V);
    if (name == "DeltaNet") return {Mixer(DeltaNet{H, K, V}), q, k, v, {}, state, beta};
    if (name == "KDA") return {Mixer(KDA{H, K, V}), q, k, v, x, state, beta};
    std::vector<float> of_heads;
    for (std::size_t at = 0; at < x.size(); at += static_cast<std::size_t>(K))
      of_heads.push_back(x[at]);
    return {Mixer(GatedDeltaNet{H, K, V}), q, k, v, of_heads, state, beta};
  }
  if (name == "RWKV7") {
    auto r = draw(T * H * K), k = draw(T * H * K), v = draw(T * H * K), w = draw(T * H * K, 3),
         a = draw(T * H * K, 0.5, 0.5);
    const auto kk = unit_rows(draw(T * H * K), K), state = draw(H * K * K);
    return {Mixer(RWKV7{H, K}), r, k, v, w, state, a, kk};
  }
  auto r = draw(T * H * K), k = draw(T * H * K), v = draw(T * H * K), w = draw(T * H * K, 3, -2);
  auto time_decay = draw(H * K, 3, -2), u = draw(H * K), state = draw(H * K * K);
  if (name == "RWKV5") return {Mixer(RWKV5{H, K, time_decay, u}), r, k, v, {}, state};
  return {Mixer(RWKV6{H, K, u}), r, k, v, w, state};
}

}  // namespace mixers_test::golden_cases
