// SPDX-License-Identifier: MIT
//
// Published schedules of layers. A model's `rope` is its rotary base with its frequencies, for example
// RoPE<HalfSplit>{...} or RoPE<HalfSplit>{...} | YaRN{...}. Lengths and periods that a publication fixes are
// arguments with its values, so that small models can have the same schedule.
#pragma once

#include <posenc/distance/rerope.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/schedule/layer_schedule.hpp>
#include <posenc/score/log_n.hpp>
#include <posenc/score/step_temperature.hpp>

#include <cmath>
#include <span>

POSENC_NAMESPACE_BEGIN

/// SmolLM3 (huggingface/transformers, configuration_smollm3.py): every fourth layer without position.
[[nodiscard]] inline LayerSchedule smol_lm3(Index layers, const AnyEncoding& rope,
                                            Index period = 4) {
  return LayerSchedule::every(layers, period, rope | Causal{}, Causal{});
}

/// Llama 4 (meta-llama/llama-models, models/llama4/model.py; "iRoPE"): three layers with rotation within chunks
/// of 8,192 tokens, then one without position over all, whose temperature steps with the position.
[[nodiscard]] inline LayerSchedule llama4(Index layers, const AnyEncoding& rope,
                                          Position chunk = 8192, Index period = 4) {
  return LayerSchedule::every(layers, period, rope | ChunkedCausal{chunk},
                              encoding(StepTemperature{.context = chunk} | Causal{}));
}

/// Command R7B (huggingface/transformers, configuration_cohere2.py): three layers with rotation and a window of
/// 4,096 tokens, then one without position over all.
[[nodiscard]] inline LayerSchedule command_r7b(Index layers, const AnyEncoding& rope,
                                               Position window = 4096, Index period = 4) {
  return LayerSchedule::every(layers, period, rope | SlidingWindow::from_token_count(window),
                              Causal{});
}

/// Gemma 3 (arXiv 2503.19786, section 2): five layers with base 10,000 and a window, then one over all with base
/// 1,000,000, whose positions are divided by 8 from 4B parameters on (factor 1: they are not).
[[nodiscard]] inline LayerSchedule gemma3(Index layers, Index head_dim, Position window = 1024,
                                          double factor = 8, Index period = 6) {
  const AnyEncoding local =
      RoPE<HalfSplit>{.head_dim = head_dim} | SlidingWindow::from_token_count(window);
  const RoPE<HalfSplit> global{.head_dim = head_dim, .base = 1e6};
  return LayerSchedule::every(layers, period, local,
                              factor == 1 ? AnyEncoding(global | Causal{})
                                          : AnyEncoding(global | PI{.factor = factor} | Causal{}));
}

/// DroPE (Gelberg et al., arXiv 2512.12167; SakanaAI/DroPE): trained with rotation, which is then dropped from
/// all layers, and trained a little more. What the softmax scale becomes is BindOptions::scale.
[[nodiscard]] inline LayerSchedule drope(Index layers) {
  return LayerSchedule::uniform(layers, Causal{});
}

/// The greatest window with which `layers` - 1 layers of it see no further than a share `alpha` of the trained
/// length: (w - 1)(layers - 1) + 1 <= alpha N. Throws Error.
[[nodiscard]] inline Position hwfa_window(Position trained_length, Index layers,
                                          double alpha = 0.75) {
  Problems problems;
  problems.require(layers >= 2, "HWFA needs at least two layers, got ", layers, ".");
  problems.require(alpha > 0 && alpha <= 1, "alpha must lie within (0, 1], got ", alpha, ".");
  problems.require(trained_length <= greatest_position,
                   "the trained length must lie within 2^52, got ", trained_length, ".");
  // 0.29 of 100 is 29, which a product of doubles misses by its last bit.
  const double reach = std::floor(alpha * static_cast<double>(trained_length) * (1 + 1e-12));
  problems.require(reach >= 1, "a share of ", alpha, " of ", trained_length,
                   " tokens is not a token.");
  problems.raise_if_any("posenc::hwfa_window");
  return static_cast<Position>(reach - 1) / (layers - 1) + 1;
}

/// HWFA, hybrid window and full attention (Su, kexue.fm/archives/9603): windows with rotation in all layers but
/// the last, which sees everything without position, by a temperature that grows with the logarithm of the
/// number of keys. Trained like this, it reads any length.
[[nodiscard]] inline LayerSchedule hwfa(Index layers, const AnyEncoding& rope,
                                        Position trained_length, double alpha = 0.75) {
  return LayerSchedule::every(
      layers, layers,
      rope | SlidingWindow::from_token_count(hwfa_window(trained_length, layers, alpha)),
      encoding(LogN{.base_length = trained_length} | Causal{}));
}

/// HWFA with ReRoPE (Su, kexue.fm/archives/9731): windows with rotation, and some layers over all, which rotate
/// in training and are read with ReRoPE. There the windows are 2 to 4 times trained_length / layers, the full
/// layers stand in the middle or at a third and two thirds, and `rerope_window` is half the trained length.
/// Throws Error where a full layer is none of the model's.
[[nodiscard]] inline LayerSchedule hwfa_rerope(Index layers, const AnyEncoding& rope,
                                               Position window, std::span<const Index> full_layers,
                                               Position rerope_window, bool in_training) {
  LayerSchedule schedule =
      LayerSchedule::uniform(layers, rope | SlidingWindow::from_token_count(window));
  schedule.kinds.push_back(in_training ? rope | Causal{} : rope | ReRoPE{rerope_window} | Causal{});
  Problems problems;
  for (const Index layer : full_layers) {
    problems.require(layer >= 0 && layer < layers, "full layer ", layer, " is none of the ", layers,
                     " layers.");
    if (layer >= 0 && layer < layers) schedule.of_layer[static_cast<std::size_t>(layer)] = 1;
  }
  problems.raise_if_any("posenc::hwfa_rerope");
  return schedule;
}

POSENC_NAMESPACE_END
