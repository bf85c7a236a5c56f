// SPDX-License-Identifier: MIT
//
// HyenaFilter: filters that are functions of the position.
//
//   t = l / (l_max - 1)      z = [t, cos(2 pi f l / l_max) ..., -sin(2 pi f l / l_max) ...]      (emb_dim - 1) / 2 bands
//   a = sin(freq (W_0 z + b_0));   a = sin(freq (W_i a + b_i)), i = 1, ..., inner layers;   h = W a
//   h[l] = h exp(-t |delta|) + shift h
//
// f runs evenly from 1e-4 to bands - 1, delta evenly over the channels from ln(target) / slow_decay_pct to
// ln(target) / fast_decay_pct. All layers share one freq. HazyResearch/safari, standalone_hyena.py: PositionalEmbedding,
// Sin, HyenaFilter, ExponentialModulation.
//
// t is relative to l_max, so a filter for another l_max is another function and not a part of it; one band, of f = 1e-4,
// is nearly constant. The sum with the bias is the code's fftconv: y = h * u + bias u.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/mixers/convolution/long_convolution.hpp>

#include <vector>

POSENC_NAMESPACE_BEGIN

class SeededRandom;

namespace mixers {

struct HyenaFilter {
  Index channels = 0;
  Index l_max = 0;
  Index emb_dim = 3;
  Index width = 64;  ///< filter_order, of the layers
  Index inner_layers = 2;
  std::vector<float> in_weight{};     ///< W_0 [width][emb_dim]
  std::vector<float> in_bias{};       ///< b_0 [width]
  std::vector<float> inner_weight{};  ///< W_i [inner_layers][width][width]
  std::vector<float> inner_bias{};    ///< b_i [inner_layers][width]
  std::vector<float> freq{};          ///< [width]
  std::vector<float> out_weight{};    ///< W [channels][width]
  std::vector<float> bias{};          ///< [channels]
  double fast_decay_pct = 0.3, slow_decay_pct = 1.5, target = 1e-2, shift = 0;
  bool modulate = true;  ///< by the window

  /// As the code's filter begins: PyTorch's defaults for linear layers, freq of 1, a normal bias.
  [[nodiscard]] static HyenaFilter initial(Index channels, Index l_max, SeededRandom& random,
                                           Index width = 64, Index emb_dim = 3);

  void check(Problems& problems) const;
  /// h [channels][taps] of the first taps positions, in double, without the bias.
  /// Throws Error for parameters that check() refuses, and for taps beyond l_max.
  [[nodiscard]] std::vector<double> filters(Index taps) const;
};

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_CONVOLUTION)
#include <posenc/mixers/convolution/hyena_filter_definitions.hpp>
#endif
