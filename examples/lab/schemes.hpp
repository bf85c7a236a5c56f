// SPDX-License-Identifier: MIT
//
// What is trained, and how a trained RoPE model is read at other lengths.
#pragma once

#include <posenc/lab/experiment.hpp>
#include <posenc/lab/mixers.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/layer_presets.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace lab_example {

using namespace posenc;
using lab::Reading, lab::Scheme;

inline std::vector<float> floats(std::span<const double> values) {
  return {values.begin(), values.end()};
}

/// A scheme that can be named on the command line, made for a model and its trained length.
struct NamedScheme {
  const char* name;
  const char* what;
  Scheme (*make)(const lab::ModelShape& shape, Index trained);
  double with_rope = 0;  ///< share of the steps, from the first on, in which it is RoPE instead
};

/// How often a schedule of layers has its other kind: every `period` layers as published, or the last one alone in a
/// model that has fewer.
inline Index period_within(Index layers, Index period) { return std::min(layers, period); }

/// Mixers in place of attention, which where there is any has no position but theirs.
inline Scheme of_mixers(const char* name, const lab::Mixings& layers) {
  return Scheme(name, encoding(Causal{})).mixing(layers);
}

inline const std::vector<NamedScheme>& named_schemes() {
  static const std::vector<NamedScheme> all{
      {"ALiBi", "slopes 2^(-8h/H)",
       [](const lab::ModelShape&, Index) { return Scheme("ALiBi", ALiBi{} | Causal{}); }},
      {"T5", "32 buckets up to distance 128, learned from zeros",
       [](const lab::ModelShape& shape, Index) {
         return Scheme("T5", std::vector<double>(static_cast<std::size_t>(32 * shape.heads)),
                       [](std::span<const double> table) {
                         return AnyEncoding(T5Bias{.table = floats(table),
                                                   .num_buckets = 32,
                                                   .bidirectional = false,
                                                   .scaled = true} |
                                            Causal{});
                       });
       }},
      {"RoPE", "base 10000",
       [](const lab::ModelShape& shape, Index) {
         return Scheme("RoPE", RoPE<HalfSplit>{.head_dim = shape.head_dim} | Causal{});
       }},
      {"xPos", "RoPE with magnitudes, scale base 512",
       [](const lab::ModelShape& shape, Index) {
         return Scheme("xPos", RoPE<HalfSplit>{.head_dim = shape.head_dim} | XPos{} | Causal{});
       }},
      {"SmolLM3", "RoPE, every fourth layer (of fewer, the last) without position",
       [](const lab::ModelShape& shape, Index) {
         return Scheme("SmolLM3", [shape](Index layers) {
           return smol_lm3(layers, RoPE<HalfSplit>{.head_dim = shape.head_dim},
                           period_within(layers, 4));
         });
       }},
      {"CommandR7B",
       "RoPE within windows of a quarter, every fourth layer without position over all",
       [](const lab::ModelShape& shape, Index trained) {
         return Scheme("CommandR7B", [shape, trained](Index layers) {
           return command_r7b(layers, RoPE<HalfSplit>{.head_dim = shape.head_dim},
                              std::max<Position>(1, trained / 4), period_within(layers, 4));
         });
       }},
      {"Gemma3",
       "base 10000 within windows of a quarter, every sixth layer with base 1000000 over all",
       [](const lab::ModelShape& shape, Index trained) {
         return Scheme("Gemma3", [shape, trained](Index layers) {
           return gemma3(layers, shape.head_dim, std::max<Position>(1, trained / 4), 1,
                         period_within(layers, 6));
         });
       }},
      {"DroPE", "RoPE for three quarters of the steps, then no position in any layer",
       [](const lab::ModelShape&, Index) { return Scheme("DroPE", drope); }, 0.75},
      {"HWFA", "RoPE within windows, the last layer over all by log-n",
       [](const lab::ModelShape& shape, Index trained) {
         return Scheme("HWFA", [shape, trained](Index layers) {
           return hwfa(layers, RoPE<HalfSplit>{.head_dim = shape.head_dim}, trained);
         });
       }},
      {"Sinusoidal", "added, times 0.1",
       [](const lab::ModelShape& shape, Index) {
         return Scheme("Sinusoidal", encoding(Causal{}))
             .adding(Sinusoidal{.width = shape.width(), .scale = 0.1});
       }},
      {"NoPE", "the causal mask alone",
       [](const lab::ModelShape&, Index) { return Scheme("NoPE", encoding(Causal{})); }},
      {"RetNet", "in place of attention: constant decays and a rotation",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("RetNet", lab::all_layers(shape, lab::retnet_mixing));
       }},
      {"GLA", "in place of attention: decays by token",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("GLA", lab::all_layers(shape, lab::gla_mixing));
       }},
      {"RWKV6", "in place of attention: decays by token, and a bonus for the token itself",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("RWKV6", lab::all_layers(shape, lab::rwkv6_mixing));
       }},
      {"Mamba", "in place of attention: a selective scan behind a short convolution, and its gate",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("Mamba", lab::all_layers(shape, lab::mamba_mixing));
       }},
      {"Mamba2", "in place of attention: a decay of each head by token, behind a short convolution",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("Mamba2", lab::all_layers(shape, lab::mamba2_mixing));
       }},
      {"GLA-NoPE", "GLA, every fourth layer (of fewer, the last) attention without position",
       [](const lab::ModelShape& shape, Index) {
         return of_mixers("GLA-NoPE",
                          lab::some_layers(shape, lab::gla_mixing, period_within(shape.layers, 4)));
       }},
  };
  return all;
}

/// Throws posenc::Error where no scheme has the name.
inline const NamedScheme& named_scheme(const std::string& name) {
  for (const NamedScheme& known : named_schemes())
    if (name == known.name) return known;
  throw posenc::Error("lab", {"there is no scheme '" + name + "'."});
}

/// No pair of so short a training turns as often as those of large models, so the bounds of turns are lower.
inline constexpr double slow_turns = 1, fast_turns = 8;

/// Ways to read the RoPE model at `length` tokens when it was trained on `trained`.
inline std::vector<Reading> readings(const lab::ModelShape& shape, Index trained) {
  const RoPE<HalfSplit> rope{.head_dim = shape.head_dim};
  const auto factor = [trained](Index length) {
    return std::max(1.0, static_cast<double>(length) / static_cast<double>(trained));
  };
  const Position window = trained / 2;
  return {
      {"as trained", [=](Index) { return AnyEncoding(rope | Causal{}); }},
      {"PI", [=](Index n) { return AnyEncoding(rope | PI{.factor = factor(n)} | Causal{}); }},
      {"NTK", [=](Index n) { return AnyEncoding(rope | NTK{.alpha = factor(n)} | Causal{}); }},
      {"NTK by parts",
       [=](Index n) {
         return AnyEncoding(rope |
                            NTKByParts{.factor = factor(n),
                                       .original_context = trained,
                                       .beta_fast = fast_turns,
                                       .beta_slow = slow_turns} |
                            Causal{});
       }},
      {"YaRN",
       [=](Index n) {
         return AnyEncoding(rope |
                            YaRN{.factor = factor(n),
                                 .original_context = trained,
                                 .beta_fast = fast_turns,
                                 .beta_slow = slow_turns} |
                            Causal{});
       }},
      {"Leaky ReRoPE",
       [=](Index) {
         return AnyEncoding(rope | LeakyReRoPE{.window = window, .factor = 16} | Causal{});
       }},
      {"ReRoPE", [=](Index) { return AnyEncoding(rope | ReRoPE{.window = window} | Causal{}); }},
      {"ReRoPE, log-n",
       [=](Index) {
         return AnyEncoding(rope | ReRoPE{.window = window} | LogN{.base_length = trained} |
                            Causal{});
       }},
      {"SelfExtend",
       [=](Index n) {
         return AnyEncoding(rope | SelfExtend::to_length(window, trained, n) | Causal{});
       }},
  };
}

/// Ways to go on training at a longer length.
inline std::vector<Reading> extensions(const lab::ModelShape& shape, Index trained) {
  std::vector<Reading> chosen;
  for (const Reading& reading : readings(shape, trained))
    for (const char* name : {"as trained", "PI", "NTK", "YaRN"})
      if (reading.name == name) chosen.push_back(reading);
  const RoPE<HalfSplit> rope{.head_dim = shape.head_dim};
  chosen.push_back({"ABF", [=](Index) { return AnyEncoding(rope | ABF{.beta = 50} | Causal{}); }});
  return chosen;
}

}  // namespace lab_example
