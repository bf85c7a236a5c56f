// SPDX-License-Identifier: MIT
//
// Model: what a configuration file says about the positions of a model, one entry per kind of
// layer.
//
//   const config::Model model = huggingface::read("Llama-3.1-8B/config.json");
//   for (const auto& layer : model.layers)
//     const AnyBound bound = bind(layer.encoding(), {.num_heads = layer.num_heads});
//
// The names of schemes and layers end here: encoding() is an AnyEncoding, one type for all layers, which
// the caller may go on composing (`layer.encoding() | SoftCap{50}`). visit(f) calls f once, with the
// same as a concrete pipeline, for those who want it compiled for what it is:
//
//   RoPE<L> | Scheme or LengthScheme | Axes | ScoreRule | Causal, SlidingWindow or ChunkedCausal
//   ALiBi | ScoreRule | Causal
//   ScoreRule | Causal, SlidingWindow or ChunkedCausal                (layers without position)
//
// Models that see both ways have SlidingWindow, without limits where they have none.
//
// `notes` names what a checkpoint needs besides. These are 14 types: keep what is compiled for each of
// them small.
#pragma once

#include <posenc/bias/alibi.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/config/architectures.hpp>
#include <posenc/config/components.hpp>
#include <posenc/core/pipeline.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/rotary/rope.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

POSENC_NAMESPACE_BEGIN
namespace config {

/// The rotation of one kind of layer.
struct Rotation {
  LayoutName layout = LayoutName::half_split;
  Index head_dim = 0;       ///< channels of a query or key head
  Index rotary_dim = 0;     ///< rotated channels
  Index rotary_offset = 0;  ///< first rotated channel
  double base = 10000;      ///< rope_theta
  std::string type;         ///< rope_type, aliases resolved
  std::variant<Scheme, LengthScheme> scheme{};
  double factor = 1;  ///< what slow pairs are divided by, where the scheme has such a number
  Position trained_context = 0;  ///< length of the training that the scheme extends; 0: not known
  Axes axes{};  ///< how pairs share (time, height, width), in models that see images

  template <Layout L>
  [[nodiscard]] RoPE<L> rope() const {
    return {.head_dim = head_dim,
            .base = base,
            .rotary_dim = rotary_dim,
            .rotary_offset = rotary_offset};
  }

  [[nodiscard]] bool depends_on_length() const {
    return std::holds_alternative<LengthScheme>(scheme);
  }

  /// Frequencies before any scheme.
  [[nodiscard]] RotaryState unscaled_state() const { return rope<HalfSplit>().rotary_state(); }

  /// Frequencies, attention factor and base in force at a current length (0: the trained one).
  [[nodiscard]] RotaryState state(Position length = 0) const {
    RotaryState state = unscaled_state();
    state.length = length;
    std::visit([&](const auto& s) { s.transform(state); }, scheme);
    axes.transform(state);
    return state;
  }

  /// The same checks as bind().
  void check(Problems& problems) const {
    const std::size_t before = problems.sentences().size();
    rope<HalfSplit>().check(problems, HeadShape{});
    if (problems.sentences().size() != before) return;
    std::visit([&](const auto& s) { s.check(problems, unscaled_state()); }, scheme);
    axes.check(problems, unscaled_state());
  }
};

/// Layers that share one encoding, or that do not attend.
struct LayerKind {
  static constexpr Position everything = SlidingWindow::unlimited;

  std::string name;  ///< "full_attention", "sliding_attention", "no_rope", "linear_attention", ...
  bool attends = true;          ///< has attention; the others (Mamba, convolution, ...) no encoding
  std::vector<Index> layers{};  ///< which; empty: every layer (the file does not say how many)
  Index num_heads = 0;          ///< query heads; 0: the file does not say
  Index num_kv_heads = 0;
  Index head_dim = 0;
  std::optional<Rotation> rotary{};
  std::optional<ALiBi> alibi{};
  ScoreRule score{};
  Position window = 0;  ///< tokens up to its own that a query sees; 0: all earlier ones
  Position ahead = 0;   ///< tokens after its own that a query sees; `everything`: all of them
  Position chunk = 0;   ///< tokens of a chunk of chunked attention; 0: not chunked
  std::vector<std::string> notes{};  ///< which key won and what was derived, a sentence each

  [[nodiscard]] bool is_causal() const { return ahead == 0; }

  /// RoPE, its scheme and its axes; nothing where the layers do not rotate.
  [[nodiscard]] AnyEncoding rotation() const {
    AnyEncoding all;
    if (!rotary) return all;
    if (rotary->layout == LayoutName::half_split)
      all |= rotary->rope<HalfSplit>();
    else
      all |= rotary->rope<Interleaved>();
    std::visit([&](const auto& scheme) { all |= scheme; }, rotary->scheme);
    all |= rotary->axes;
    return all;
  }

  /// The encoding of these layers. Throws Error where they do not attend.
  [[nodiscard]] AnyEncoding encoding() const {
    require_attention();
    AnyEncoding all;
    if (alibi) {
      all = *alibi | score | Causal{};
      return all;
    }
    if (rotary) all |= rotation();
    all |= score;
    if (chunk != 0)
      all |= ChunkedCausal{chunk};
    else if (window != 0 || ahead != 0)
      all |= sliding_window();
    else
      all |= Causal{};
    return all;
  }

  /// Calls f with the encoding of these layers as a type of its own, and returns what f returns.
  template <class F>
  decltype(auto) visit(F&& f) const {
    require_attention();
    if (alibi) return f(*alibi | score | Causal{});
    if (!rotary) return visit_masks(posenc::encoding(score), f);
    return rotary->layout == LayoutName::half_split ? visit_schemes<HalfSplit>(f)
                                                    : visit_schemes<Interleaved>(f);
  }

 private:
  void require_attention() const {
    Problems problems;
    problems.require(attends, "layers of the kind ", name,
                     " do not attend, so they have no encoding: leave out those whose `attends` is "
                     "false.");
    problems.raise_if_any("posenc::config");
  }

  /// Unlimited to the side that is not limited.
  [[nodiscard]] SlidingWindow sliding_window() const {
    return {.left = window == 0 ? everything : window - 1, .right = ahead};
  }

  template <class L, class F>
  decltype(auto) visit_schemes(F&& f) const {
    const RoPE<L> rope = rotary->template rope<L>();
    if (const auto* by_length = std::get_if<LengthScheme>(&rotary->scheme)) {
      const auto front = rope | *by_length | rotary->axes | score;
      return window == 0 && ahead == 0 ? f(front | Causal{}) : f(front | sliding_window());
    }
    return visit_masks(rope | std::get<Scheme>(rotary->scheme) | rotary->axes | score, f);
  }

  template <class E, class F>
  decltype(auto) visit_masks(const E& front, F&& f) const {
    if (chunk != 0) return f(front | ChunkedCausal{chunk});
    if (window != 0 || ahead != 0) return f(front | sliding_window());
    return f(front | Causal{});
  }
};

struct Model {
  std::string model_type;
  Position max_position_embeddings = 0;  ///< 0: the file does not say
  std::vector<LayerKind> layers{};
  Index num_layers = 0;              ///< with those that do not attend; 0: the file does not say
  std::vector<std::string> notes{};  ///< about the whole model
};

}  // namespace config
POSENC_NAMESPACE_END
