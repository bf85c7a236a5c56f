// SPDX-License-Identifier: MIT
//
// Reading with chosen keys: queries see blocks that a method chooses for each of them, and nothing else.
//
// As in generation: the beginning of a text is read in full, and its last tokens choose, each for itself. (Or all tokens
// choose, as for a model whose prompt is read so too.) The first layers are read in full, and layers that see a window only;
// where a method brings distances of its own (InfLLM), layers that choose have them from the first token on.
#pragma once

#include "llama.hpp"

#include <posenc/config/selector_expression.hpp>
#include <posenc/select/attend_chosen.hpp>
#include <posenc/select/attend_long_heads.hpp>

#include <algorithm>
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

/// Layers of a model, some of which choose.
class SelectedLayers {
 public:
  /// Throws posenc::Error for an encoding whose keys the method cannot choose by.
  SelectedLayers(const LlamaShape& shape, const LayerSchedule& layers, const Choosing& choosing,
                 Index length)
      : method_(choosing.method.selector), chooses_(static_cast<std::size_t>(shape.layers)),
        whole_prompt_(choosing.whole_prompt) {
    for (const config::LayerKind& kind : shape.positions.layers)
      for (const Index layer : kind.layers)
        chooses_[static_cast<std::size_t>(layer)] =
            layer >= choosing.dense_layers && kind.window == 0;
    posenc::Problems problems;
    problems.require(std::find(chooses_.begin(), chooses_.end(), true) != chooses_.end(),
                     "no layer of the model chooses: of ", shape.layers, " the first ",
                     choosing.dense_layers, " are read in full, and those of a window.");
    const BindOptions heads{
        .num_heads = shape.heads, .num_kv_heads = shape.kv_heads, .length = length};
    LayerSchedule read = layers;
    for (AnyEncoding& kind : read.kinds)
      kind = std::visit(
          [&](const auto& selector) { return encoding_of_choice(problems, selector, kind, heads); },
          method_);
    problems.raise_if_any("evaluate");
    bound_.emplace(with_full_layers(read, layers).bind(heads));
  }

  /// Attention of a layer over a whole sequence, whose tokens from `first` on choose.
  void attend(Index layer, Index first, TensorView<const float> q, TensorView<const float> k,
              TensorView<const float> v, TensorView<float> out, KeysRead& keys,
              const AnyExecutor& executor) const {
    if (!chooses_[static_cast<std::size_t>(layer)])
      return attention(q, k, v, out, (*bound_)[layer], {.executor = executor});
    keys += std::visit(
        [&](const auto& method) {
          return attend_chosen(method, (*bound_)[layer], q, k, v, out, whole_prompt_ ? 0 : first,
                               executor);
        },
        method_);
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

  AnyKeySelector method_;
  std::vector<bool> chooses_;  ///< [layer]
  std::optional<BoundLayers> bound_;
  bool whole_prompt_;
};

}  // namespace evaluate
