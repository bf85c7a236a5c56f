// SPDX-License-Identifier: MIT
//
// What is trained, and how a trained RoPE model is read at other lengths.
#pragma once

#include <posenc/lab/experiment.hpp>
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
};

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
  };
  return all;
}

/// Ways to read the RoPE model at `length` tokens when it was trained on `trained`.
inline std::vector<Reading> readings(const lab::ModelShape& shape, Index trained) {
  const RoPE<HalfSplit> rope{.head_dim = shape.head_dim};
  const auto factor = [trained](Index length) {
    return std::max(1.0, static_cast<double>(length) / static_cast<double>(trained));
  };
  // No pair of so short a training turns as often as those of large models, so the bounds of turns are lower.
  const double slow = 1, fast = 8;
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
                                       .beta_fast = fast,
                                       .beta_slow = slow} |
                            Causal{});
       }},
      {"YaRN",
       [=](Index n) {
         return AnyEncoding(rope |
                            YaRN{.factor = factor(n),
                                 .original_context = trained,
                                 .beta_fast = fast,
                                 .beta_slow = slow} |
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
         Position group = 2;  // the least power of two with which no distance is a new one
         while (group < window && (n - window) / group + window >= trained) group *= 2;
         return AnyEncoding(rope | SelfExtend{.window = window, .group = group} | Causal{});
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
