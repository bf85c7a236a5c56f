// SPDX-License-Identifier: MIT
//
// The encoding that a model was trained with, as far as its file tells: what every scheme starts
// from, and what the reference row shows.
//
// A file names a scheme for one of two reasons. YaRN, Llama3, LongRoPE and the dynamic ones extend
// a model that was trained without them; PI and a static NTK have no trained length of their own,
// and a proportional rotation is how the model was made, so these were there in training.
#pragma once

#include <posenc/bind/any.hpp>
#include <posenc/config/model.hpp>

#include <optional>

namespace compare {

using posenc::Position;

/// The scheme of the file that held in training; nothing where it was plain RoPE.
inline std::optional<posenc::config::Scheme> scheme_of_training(
    const posenc::config::Rotation& rotary, Position trained) {
  using posenc::config::Scheme;
  if (const auto* by_length = std::get_if<posenc::config::LengthScheme>(&rotary.scheme)) {
    const auto* own = std::get_if<posenc::LongRoPE>(&by_length->rule);
    if (!own) return std::nullopt;  // plain at the trained length
    const auto with = [own](auto list) {
      list.short_factor = own->short_factor, list.long_factor = own->long_factor;
      list.factor = own->factor, list.original_context = own->original_context;
      list.amplitude = own->amplitude, list.attention_factor = own->attention_factor;
      list.short_mscale = own->short_mscale, list.long_mscale = own->long_mscale;
      return Scheme{list};
    };
    return own->is_long(trained) ? with(posenc::LongRoPELong{}) : with(posenc::LongRoPEShort{});
  }
  const auto& scheme = std::get<Scheme>(rotary.scheme);
  return std::visit(
      [&]<class Rule>(const Rule&) -> std::optional<Scheme> {
        if constexpr (std::is_same_v<Rule, posenc::config::Unscaled>) return std::nullopt;
        constexpr bool extends = std::is_same_v<Rule, posenc::YaRN> ||
                                 std::is_same_v<Rule, posenc::Llama3> ||
                                 std::is_same_v<Rule, posenc::LongRoPELong>;
        if (extends && trained <= rotary.trained_context) return std::nullopt;
        return scheme;
      },
      scheme.rule);
}

/// Whether the file's scheme changes what the model was trained with.
inline bool file_extends(const posenc::config::LayerKind& layer, Position trained) {
  if (!layer.rotary) return false;
  const auto* scheme = std::get_if<posenc::config::Scheme>(&layer.rotary->scheme);
  if (!scheme) return true;
  return !std::holds_alternative<posenc::config::Unscaled>(scheme->rule) &&
         !scheme_of_training(*layer.rotary, trained);
}

/// The rotation of training, without masks; without rotation nothing.
inline posenc::AnyEncoding rotation_of_training(const posenc::config::LayerKind& layer,
                                                Position trained) {
  posenc::AnyEncoding rotation;
  if (!layer.rotary) return rotation;
  if (layer.rotary->layout == posenc::config::LayoutName::half_split)
    rotation |= layer.rotary->rope<posenc::HalfSplit>();
  else
    rotation |= layer.rotary->rope<posenc::Interleaved>();
  if (const auto scheme = scheme_of_training(*layer.rotary, trained)) rotation |= *scheme;
  return rotation;
}

/// Joins what the layers have besides a scheme: the temperature by position (unless `scores` has
/// its own), windows and chunks.
inline posenc::AnyEncoding with_layer(posenc::AnyEncoding encoding,
                                      const posenc::config::LayerKind& layer,
                                      bool has_temperature = false) {
  if (!has_temperature && !std::holds_alternative<std::monostate>(layer.score.rule))
    encoding |= layer.score;
  if (layer.chunk != 0) encoding |= posenc::ChunkedCausal{layer.chunk};
  if (layer.window != 0) encoding |= posenc::SlidingWindow::from_token_count(layer.window);
  return encoding;
}

}  // namespace compare
