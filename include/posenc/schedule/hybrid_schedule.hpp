// SPDX-License-Identifier: MIT
//
// HybridSchedule: a LayerSchedule whose layers are attention with an encoding, a sequence mixer, or neither.
//
//   const HybridSchedule schedule = qwen3_next(48, mixers::GatedDeltaNet{...}, RoPE<HalfSplit>{...});
//   const BoundHybridLayers layers = schedule.bind({.num_heads = 16, .num_kv_heads = 2});
//   attention(q, k, v, out, std::get<AnyBound>(layers[3]));
//   mixers::chunked(inputs, out, std::get<mixers::Mixer>(layers[2]), state);
//
// Kinds, checks, bind, uniform and every are those of LayerSchedule. Most mixers have learned parameters (A_log of Mamba,
// time_decay of RWKV), so that each layer is a kind of its own; those whose decays come by token share one. Presets are
// in schedule/hybrid_presets.hpp, what a sequence takes of memory in schedule/hybrid_memory.hpp.
#pragma once

#include <posenc/mixers/any_mixer.hpp>
#include <posenc/schedule/layer_schedule.hpp>

#include <concepts>
#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

POSENC_NAMESPACE_BEGIN

/// A layer that takes each token by itself, as an MLP that counts as a layer of its own (Nemotron-H).
struct NoMixing {};

/// How a layer mixes tokens.
using HybridLayer = std::variant<AnyEncoding, mixers::AnyMixer, NoMixing>;
/// The same, checked and ready to run.
using BoundHybridLayer = std::variant<AnyBound, mixers::Mixer, mixers::SelectiveScan, mixers::WKV,
                                      mixers::TrapezoidalScan, NoMixing>;

/// Throws Error with every sentence when a layer is wrong.
[[nodiscard]] inline BoundHybridLayer bind_layer(const HybridLayer& layer,
                                                 const BindOptions& options) {
  struct Bind {
    const BindOptions& options;
    BoundHybridLayer operator()(const AnyEncoding& encoding) const {
      return bind(encoding, options);
    }
    BoundHybridLayer operator()(const mixers::AnyMixer& mixer) const {
      return std::visit([](auto of) { return BoundHybridLayer(std::move(of)); }, mixer.checked());
    }
    BoundHybridLayer operator()(NoMixing) const { return NoMixing{}; }
  };
  return std::visit(Bind{options}, layer);
}

using HybridSchedule = BasicLayerSchedule<HybridLayer>;
using BoundHybridLayers = BasicBoundLayers<BoundHybridLayer>;

/// The mixers of a model: one that all layers share, or what a function of the layer's index returns.
class MixerOfLayer {
 public:
  template <class M>
    requires std::convertible_to<M, mixers::AnyMixer>
  MixerOfLayer(const M& shared)
      : of_layer_([mixer = mixers::AnyMixer(shared)](Index) { return mixer; }), is_shared_(true) {}
  template <class F>
    requires std::is_invocable_r_v<mixers::AnyMixer, const F&, Index>
  MixerOfLayer(F of_layer) : of_layer_(std::move(of_layer)) {}

  [[nodiscard]] bool is_shared() const { return is_shared_; }
  [[nodiscard]] mixers::AnyMixer operator()(Index layer) const { return of_layer_(layer); }

 private:
  std::function<mixers::AnyMixer(Index)> of_layer_;
  bool is_shared_ = false;
};

/// A schedule by a letter for each layer, as in the configurations of Nemotron-H: M is a mixer, * is attention with this
/// encoding, and - (an MLP) and E (experts) mix no tokens. `conv_width` is that of the mixers' convolution, where they do
/// not say one. Throws Error for other letters, with a sentence for each layer that has one.
[[nodiscard]] inline HybridSchedule hybrid_by_pattern(std::string_view pattern,
                                                      const MixerOfLayer& mixer,
                                                      const AnyEncoding& attention,
                                                      Index conv_width = 0) {
  Problems problems;
  problems.require(!pattern.empty(), "a pattern needs a letter for each layer, and is empty.");
  for (std::size_t i = 0; i < pattern.size(); ++i)
    problems.require(std::string_view("M*-E").find(pattern[i]) != std::string_view::npos, "layer ",
                     i, " must be M (a mixer), * (attention), - (an MLP) or E (experts), got ",
                     pattern[i], ".");
  problems.raise_if_any("posenc::hybrid_by_pattern");
  HybridSchedule schedule;
  std::size_t mixing = 0, attending = 0, neither = 0;  // the kind of each, plus 1
  const auto add = [&](std::size_t& kind, HybridLayer layer) {
    schedule.kinds.push_back(std::move(layer));
    kind = schedule.kinds.size();
  };
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    std::size_t& kind = pattern[i] == 'M' ? mixing : pattern[i] == '*' ? attending : neither;
    if (pattern[i] == 'M' && (kind == 0 || !mixer.is_shared())) {
      mixers::AnyMixer of = mixer(static_cast<Index>(i));
      if (of.conv_width == 0) of.conv_width = conv_width;
      add(kind, std::move(of));
    } else if (kind == 0) {
      add(kind, pattern[i] == '*' ? HybridLayer(attention) : HybridLayer(NoMixing{}));
    }
    schedule.of_layer.push_back(kind - 1);
  }
  return schedule;
}

POSENC_NAMESPACE_END
