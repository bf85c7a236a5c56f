// SPDX-License-Identifier: MIT
//
// Reading with chosen keys: queries see blocks that a method chooses for each of them, and nothing else.
//
// As in generation: the beginning of a text is read in full, and its last tokens choose, each for itself. (Or all tokens
// choose, as for a model whose prompt is read so too.) The first layers are read in full, and layers that see a window only;
// where a method brings distances of its own (InfLLM), layers that choose have them from the first token on.
#pragma once

#include "llama.hpp"

#include <posenc/attention/key_weights.hpp>
#include <posenc/config/selector_expression.hpp>
#include <posenc/select/choose_blocks.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

namespace evaluate {

/// A method, and who chooses by it.
struct Choosing {
  ReadSelector method;
  Index dense_layers = 2;     ///< first layers that are read in full, as in Quest's own evaluation
  bool whole_prompt = false;  ///< do all tokens choose?

  [[nodiscard]] std::string text() const {
    return method.text + " from layer " + std::to_string(dense_layers) + " on" +
           (whole_prompt ? ", all tokens" : ", last tokens");
  }
};

/// Of the keys that a query may see, those that were read; summed over queries, heads and layers.
struct KeysRead {
  double read = 0, all = 0;
  [[nodiscard]] double share() const { return all == 0 ? 1 : read / all; }
};

/// Adds the keys that queries see of the blocks that were chosen for them, up to their own.
inline void count_keys(const BlockSets& sets, KeysRead& keys) {
  const BlockSets::Sizes& s = sets.sizes();
  for (Index row = 0; row < s.queries; ++row) {
    const Index seen = s.first + row + 1;
    for (Index c = 0; c < s.choices; ++c) {
      Index read = 0;
      for (Index b = 0; b * s.block < seen; ++b)
        if (sets.contains(c, row / s.query_block, b)) read += std::min(s.block, seen - b * s.block);
      keys.read += static_cast<double>(read) / static_cast<double>(s.choices);
    }
    keys.all += static_cast<double>(seen);
  }
}

/// Layers of a model, some of which choose.
class SelectedLayers {
 public:
  /// Throws posenc::Error for an encoding whose keys the method cannot choose by.
  SelectedLayers(const LlamaShape& shape, const LayerSchedule& layers, const Choosing& choosing,
                 Index length)
      : method_(choosing.method.selector),
        heads_{.num_heads = shape.heads, .num_kv_heads = shape.kv_heads, .length = length},
        chooses_(static_cast<std::size_t>(shape.layers)), layers_(layers),
        whole_prompt_(choosing.whole_prompt) {
    for (const config::LayerKind& kind : shape.positions.layers)
      for (const Index layer : kind.layers)
        chooses_[static_cast<std::size_t>(layer)] =
            layer >= choosing.dense_layers && kind.window == 0;
    posenc::Problems problems;
    problems.require(std::find(chooses_.begin(), chooses_.end(), true) != chooses_.end(),
                     "no layer of the model chooses: of ", shape.layers, " the first ",
                     choosing.dense_layers, " are read in full, and those of a window.");
    if (const auto* inf_llm = std::get_if<InfLLM>(&method_)) {
      window_ = inf_llm->window();
      for (AnyEncoding& kind : layers_.kinds) {
        const AnyBound bound = bind(kind, heads_);
        problems.require(!bound.has_distance_map(),
                         "InfLLM reads far keys at a distance of its own: it does not go with an "
                         "encoding that has a distance map.");
        if (bound.has_rotary()) kind |= inf_llm->distances();
      }
    }
    for (const AnyEncoding& kind : layers_.kinds)
      std::visit(
          [&](const auto& selector) {
            if (problems.empty())
              posenc::detail::check_selector(problems, selector, bind(kind, heads_).answers());
          },
          method_);
    problems.raise_if_any("evaluate");
    layers_ = with_full_layers(layers_, layers);
    bound_.emplace(layers_.bind(heads_));
  }

  /// Attention of a layer over a whole sequence, whose tokens from `first` on choose.
  void attend(Index layer, Index first, TensorView<const float> q, TensorView<const float> k,
              TensorView<const float> v, TensorView<float> out, KeysRead& keys,
              const AnyExecutor& executor) const {
    const AnyBound& full = (*bound_)[layer];
    if (!chooses_[static_cast<std::size_t>(layer)])
      return attention(q, k, v, out, full, {.executor = executor});
    const Index split = whole_prompt_ ? 0 : first, n = q.tokens - split;
    attention(q.slice(0, split), k.slice(0, split), v.slice(0, split), out.slice(0, split), full,
              {.executor = executor});
    ChooseOptions options{.executor = executor};
    std::vector<double> mass;
    if (window_) {
      mass = received_within(layer, q, k, executor);
      options.mass = mass;
    }
    const ChosenBlocks chosen = std::visit(
        [&](const auto& method) {
          return choose_blocks(q.slice(split, n), k, method, full, options);
        },
        method_);
    count_keys(chosen.sets(), keys);
    AnyEncoding encoding = layers_.at(layer);
    encoding |= chosen;
    attention(q.slice(split, n), k, v, out.slice(split, n), bind(encoding, heads_),
              {.executor = executor});
  }

 private:
  /// Layers that do not choose keep the encoding that they had.
  [[nodiscard]] LayerSchedule with_full_layers(const LayerSchedule& choosing,
                                               const LayerSchedule& full) const {
    LayerSchedule all{.kinds = choosing.kinds, .of_layer = choosing.of_layer};
    all.kinds.insert(all.kinds.end(), full.kinds.begin(), full.kinds.end());
    for (std::size_t layer = 0; layer < chooses_.size(); ++layer)
      if (!chooses_[layer]) all.of_layer[layer] = choosing.kinds.size() + full.of_layer[layer];
    return all;
  }
  /// What each key received from the queries of its local window, [key][head].
  [[nodiscard]] std::vector<double> received_within(Index layer, TensorView<const float> q,
                                                    TensorView<const float> k,
                                                    const AnyExecutor& executor) const {
    AnyEncoding encoding = layers_.at(layer);
    encoding |= *window_;
    const auto within = bind(encoding, heads_);
    std::vector<float> out(static_cast<std::size_t>(q.tokens * q.heads * q.width)),
        lse(static_cast<std::size_t>(q.tokens * q.heads));
    // Only the log-sum-exps are wanted: keys stand for the values.
    attention(q, k, k, TensorView<float>(out.data(), q.tokens, q.heads, q.width), within,
              {.lse = lse, .executor = executor});
    std::vector<double> mass(static_cast<std::size_t>(k.tokens * q.heads));
    key_weights(q, k, std::span<const float>(lse), std::span<double>(mass), 1, within,
                {.executor = executor});
    return mass;
  }

  AnyKeySelector method_;
  BindOptions heads_;
  std::vector<bool> chooses_;  ///< [layer]
  LayerSchedule layers_;
  std::optional<BoundLayers> bound_;
  std::optional<SlidingWindow> window_;  ///< of methods that choose by mass
  bool whole_prompt_;
};

}  // namespace evaluate
