// SPDX-License-Identifier: MIT
//
// LayerSchedule: which encoding each layer of a model has. Layers that share one share its tables.
//
//   const LayerSchedule schedule = smol_lm3(36, RoPE<HalfSplit>{.head_dim = 128, .base = 5e6});
//   const BoundLayers layers = schedule.bind({.num_heads = 16, .num_kv_heads = 4});
//   attention(q, k, v, out, layers[i]);
//
// Layers that mix tokens without attention are those of schedule/hybrid_schedule.hpp, with the same members.
// Presets are in schedule/layer_presets.hpp; a model's configuration gives its own, layer_schedule(model) in
// schedule/of_model.hpp.
#pragma once

#include <posenc/bind/any.hpp>
#include <posenc/bind/bind.hpp>

#include <string>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace detail {
/// The kind of a layer. Throws Error where there is no such layer.
inline std::size_t kind_of_layer(const std::vector<std::size_t>& of_layer, Index layer,
                                 const char* who) {
  if (layer < 0 || layer >= std::ssize(of_layer))
    throw Error(who, {"layers count from 0 to " + std::to_string(std::ssize(of_layer) - 1) +
                      ", got " + std::to_string(layer) + "."});
  return of_layer[static_cast<std::size_t>(layer)];
}
}  // namespace detail

/// The layers of a model, bound, one for each kind.
template <class BoundLayer>
class BasicBoundLayers {
 public:
  BasicBoundLayers(std::vector<BoundLayer> kinds, std::vector<std::size_t> of_layer)
      : kinds_(std::move(kinds)), of_layer_(std::move(of_layer)) {}

  [[nodiscard]] Index size() const { return std::ssize(of_layer_); }
  /// Throws Error where there is no such layer.
  [[nodiscard]] const BoundLayer& operator[](Index layer) const {
    return kinds_[detail::kind_of_layer(of_layer_, layer, "posenc::BoundLayers")];
  }

 private:
  std::vector<BoundLayer> kinds_;
  std::vector<std::size_t> of_layer_;
};

/// What a layer of a schedule is bound to: an overload for each type of layers.
[[nodiscard]] inline AnyBound bind_layer(const AnyEncoding& encoding, const BindOptions& options) {
  return bind(encoding, options);
}

template <class Layer>
struct BasicLayerSchedule {
  using BoundLayer = decltype(bind_layer(std::declval<const Layer&>(), BindOptions{}));

  std::vector<Layer> kinds{};
  std::vector<std::size_t> of_layer{};  ///< the kind of each layer, by its index

  /// Throws Error with every problem. (Other members do so, too.)
  void check() const {
    Problems problems;
    problems.require(!of_layer.empty(), "a schedule needs at least one layer.");
    for (std::size_t layer = 0; layer < of_layer.size(); ++layer)
      problems.require(of_layer[layer] < kinds.size(), "layer ", layer, " has kind ",
                       of_layer[layer], ", but there are ", kinds.size(), " kinds.");
    problems.raise_if_any("posenc::LayerSchedule");
  }

  [[nodiscard]] Index size() const { return std::ssize(of_layer); }
  [[nodiscard]] const Layer& at(Index layer) const {
    check();
    return kinds[detail::kind_of_layer(of_layer, layer, "posenc::LayerSchedule")];
  }

  /// Each kind bound once, to heads that all layers have. Throws Error with every problem of every kind.
  [[nodiscard]] BasicBoundLayers<BoundLayer> bind(const BindOptions& options) const {
    check();
    Problems problems;
    std::vector<BoundLayer> bound;
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      try {
        bound.push_back(bind_layer(kinds[kind], options));
      } catch (const Error& error) {
        for (const std::string& problem : error.problems())
          problems.add("layers of kind ", kind, ": ", problem);
      }
    }
    problems.raise_if_any("posenc::LayerSchedule::bind");
    return {std::move(bound), of_layer};
  }

  /// All layers alike.
  [[nodiscard]] static BasicLayerSchedule uniform(Index layers, const Layer& layer) {
    Problems problems;
    problems.require(layers > 0, "a schedule needs at least one layer, got ", layers, ".");
    problems.raise_if_any("posenc::LayerSchedule::uniform");
    return {{layer}, std::vector<std::size_t>(static_cast<std::size_t>(layers))};
  }
  /// Layers with (index + 1) mod period == 0 are `exception`, the others `regular`.
  [[nodiscard]] static BasicLayerSchedule every(Index layers, Index period, const Layer& regular,
                                                const Layer& exception) {
    Problems problems;
    problems.require(layers > 0, "a schedule needs at least one layer, got ", layers, ".");
    problems.require(period > 0 && period <= layers, "the period must lie within [1, ", layers,
                     " layers], got ", period, ".");
    problems.raise_if_any("posenc::LayerSchedule::every");
    BasicLayerSchedule schedule{.kinds = {regular, exception}};
    for (Index layer = 0; layer < layers; ++layer)
      schedule.of_layer.push_back((layer + 1) % period == 0 ? 1 : 0);
    return schedule;
  }
};

using LayerSchedule = BasicLayerSchedule<AnyEncoding>;
using BoundLayers = BasicBoundLayers<AnyBound>;

POSENC_NAMESPACE_END
