// SPDX-License-Identifier: MIT
//
// Scaling by keys of a model's own, which its code reads in place of rope_scaling.
//
//   Qwen       use_dynamic_ntk     dynamic NTK by Qwen's rule, beyond seq_length
//              use_logn_attn       log-n scaling
//   InternLM   rotary              type "origin" (no scaling) or "dynamic", base, scaling_factor (1);
//                                  its later code reads rope_theta and rope_scaling
//   nomic_bert rotary_scaling_factor (null and 0: none)
//                                  dynamic NTK beyond max_trained_positions (2048)
//
// Such a key beside a scheme of rope_scaling is an error: the code that reads the one does not read
// the other.
#pragma once

#include <posenc/config/huggingface/lengths.hpp>
#include <posenc/config/huggingface/unused.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

inline constexpr const char* own_base_path = "rotary.base";

/// The base that stands among the keys of a model's own.
template <class Json>
[[nodiscard]] std::optional<double> own_base(const Fields<Json>& file, config::OwnScaling own,
                                             Problems& problems) {
  const Json* dict = own == config::OwnScaling::internlm ? file.object("rotary") : nullptr;
  if (dict == nullptr) return std::nullopt;
  return Fields<Json>(*dict, "rotary", problems).number("base");
}

namespace detail {

template <class Json>
void read_qwen(const Fields<Json>& file, config::Rotation& rotation, config::LayerKind& layer) {
  const Position trained =
      file.integer("seq_length", 1, most_tokens).value_or(rotation.trained_context);
  rotation.trained_context = trained;
  if (file.flag("use_dynamic_ntk")) {
    rotation.type = "dynamic";
    rotation.scheme =
        config::LengthScheme{DynamicNTK{.original_context = trained, .form = DynamicNTKForm::qwen}};
    layer.notes.push_back("use_dynamic_ntk: dynamic NTK by Qwen's own rule, beyond seq_length.");
  }
  if (file.flag("use_logn_attn")) layer.score.rule = LogN{.base_length = trained, .clipped = true};
}

/// Dynamic NTK by Hugging Face's rule, beyond `original` tokens; `key` is the factor's.
inline void set_dynamic(config::Rotation& rotation, config::LayerKind& layer, double factor,
                        Position original, const std::string& key, Problems& problems) {
  problems.require(factor >= 1 && factor <= greatest_factor, key, " must be between 1 and ",
                   greatest_factor, ", got ", factor, ".");
  rotation.type = "dynamic";
  rotation.factor = factor;
  rotation.trained_context = original;
  rotation.scheme =
      config::LengthScheme{DynamicNTK{.factor = factor, .original_context = original}};
  layer.notes.push_back(
      sentence(key, " = ", factor, ": dynamic NTK beyond ", original, " tokens."));
}

template <class Json>
void read_internlm(const Fields<Json>& file, const Options& options, config::Rotation& rotation,
                   config::LayerKind& layer, Problems& problems) {
  const Json* dict = file.object("rotary");
  if (dict == nullptr) return;
  const Fields<Json> fields(*dict, "rotary", problems);
  fields.mark_used("base");
  const std::string type = fields.text("type").value_or("");
  const double factor = fields.number("scaling_factor").value_or(1);
  problems.require(type == "origin" || type == "dynamic" || fields.is_bad("type"),
                   "rotary.type must be \"origin\" or \"dynamic\", got \"", file::shorten(type),
                   "\".");
  problems.require(type != "dynamic" || rotation.trained_context > 0,
                   "rotary.type \"dynamic\" needs max_position_embeddings, which is missing.");
  if (type == "dynamic")
    set_dynamic(rotation, layer, factor, rotation.trained_context, "rotary.scaling_factor",
                problems);
  report_unused_of_scheme(fields, type, options, layer.notes, problems);
}

template <class Json>
void read_nomic(const Fields<Json>& file, config::Rotation& rotation, config::LayerKind& layer,
                Problems& problems) {
  const Position trained = file.integer("max_trained_positions", 1, most_tokens).value_or(2048);
  const double factor = file.number("rotary_scaling_factor").value_or(0);
  if (factor == 0) return;
  problems.require(file.peek("rotary_emb_scale_base") == nullptr,
                   "rotary_emb_scale_base is not supported beside rotary_scaling_factor: the code "
                   "scales cosines and sines by the distance from the middle of the sequence.");
  set_dynamic(rotation, layer, factor, trained, "rotary_scaling_factor", problems);
}

}  // namespace detail

/// Reads the scaling of `own` into a rotation whose trained_context is max_position_embeddings.
template <class Json>
void read_own_scaling(const Fields<Json>& file, config::OwnScaling own, const Options& options,
                      config::Rotation& rotation, config::LayerKind& layer, Problems& problems) {
  using enum config::OwnScaling;
  if (own != none && rotation.type != "default") {
    for (const char* key : {"rotary", "rotary_scaling_factor"})
      if (const Json* value = own == qwen ? nullptr : file.peek(key))
        problems.add(key, " = ", file::echo(*value), " and rope_type \"",
                     file::shorten(rotation.type), "\" are two schemes: keep one.");
    return;
  }
  if (own == qwen) detail::read_qwen(file, rotation, layer);
  if (own == internlm) detail::read_internlm(file, options, rotation, layer, problems);
  if (own == nomic) detail::read_nomic(file, rotation, layer, problems);
}

}  // namespace huggingface
POSENC_NAMESPACE_END
