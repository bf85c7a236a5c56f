// SPDX-License-Identifier: MIT
//
// Keys that were not read: nothing is dropped in silence.
//
// Of a type in the table, they are noted. Of a type that posenc does not know, keys that bear on
// positions, masks, scale, heads or layers stop the reader: what they say would be lost. Which keys
// those are is told by the words in their names.
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/huggingface/options.hpp>

#include <algorithm>
#include <span>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

namespace detail {

/// Words of keys that say where and how attention looks.
inline constexpr std::string_view telling_words[] = {
    "rope",    "rotary", "rot_",   "position", "window",   "attn",       "attention",
    "head",    "layer",  "mask",   "causal",   "softmax",  "alibi",      "relative",
    "bucket",  "local",  "global", "chunk",    "sparse",   "pattern",    "interval",
    "nope",    "mscale", "theta",  "context",  "seq_len",  "hybrid",     "mamba",
    "ssm",     "conv",   "linear", "index_",   "dilat",    "stride",     "scalar",
    "softcap", "sink",   "yarn",   "bias_max", "block",    "multiplier", "recurrent",
    "ntk",     "logn",   "xpos",   "decay",    "compress", "prefix",     "bidirectional",
    "scale",
};

/// Words of keys that have one of those and say nothing of the kind.
inline constexpr std::string_view harmless_words[] = {
    "dropout",
    "layerdrop",
    "pdrop",
    "norm",
    "init",
    "expert",
    "moe",
    "mlp",
    "ffn",
    "embedding_mult",
    "embedding_scale",
    "scale_emb",
    "scale_depth",
    "logit_scale",
    "logits_scal",
    "logits_mult",
    "lm_head",
    "residual",
    "routed_scaling",
    "router",
    "vocab",
    "token",
    "output_attentions",
    "attn_implementation",
    "quant",
    "gradient",
    "dense_replace",
    "nextn",
    "mtp",
    "cache",
    "attention_bias",
    "qkv_bias",
    "attn_bias",
    "linear_bias",
    "conv_bias",
    "proj_bias",
    "attention_out_bias",
    "use_flash",
    "flash_attn",
    "act_",
    "pooler",
    "classifier",
    "lora_rank",
    "v_head_dim",
    "prefix_allowed",
    "layers_to_transform",
    "feed_forward",
    "intermediate",
    "scoring",
    "topk_",
    "group",
    "loss",
    "torch",
    "version",
    "language",
    "vision",
    "image",
    "audio",
    "video",
    "mm_",
    "projector",
    "attention_probs",
    "kernel",
};

inline constexpr std::string_view always_telling[] = {
    "rope", "rotary", "alibi", "window", "position_", "relative_", "causal", "nope", "mask_",
};

[[nodiscard]] inline bool has_any(std::string_view key, std::span<const std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [key](std::string_view word) {
    return key.find(word) != std::string_view::npos;
  });
}

/// null, false of a use_ flag, 0 for none, "" and []: a key that switches nothing on.
template <class Json>
[[nodiscard]] bool says_nothing(const std::string& key, const Json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean() && !value.template get<bool>())
    return key.find("rope") == std::string::npos && key.find("rotary") == std::string::npos &&
           key.find("causal") == std::string::npos && key.find("position") == std::string::npos;
  return (value.is_string() || value.is_array() || value.is_object()) && value.empty();
}

}  // namespace detail

/// Whether the name of a key says that it bears on positions, masks, scale, heads or layers.
[[nodiscard]] inline bool bears_on_positions(std::string_view key) {
  std::string lower(key);
  for (char& letter : lower)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  if (detail::has_any(lower, detail::always_telling)) return true;
  return detail::has_any(lower, detail::telling_words) &&
         !detail::has_any(lower, detail::harmless_words);
}

/// Refuses, or lists, what a file says of positions and was not read.
template <class Json>
void report_unused(const Fields<Json>& file, bool is_known, const Options& options,
                   std::vector<std::string>& notes, Problems& problems) {
  std::string listed;
  for (const std::string& key : file.unused()) {
    const Json& value = file.json().at(key);
    if (!bears_on_positions(key) || detail::says_nothing(key, value)) continue;
    if (!is_known && !options.ignore_unknown_keys)
      problems.add(shorten(file.path(key)), " = ", echo(value),
                   " bears on attention, and what it does in this model_type is not known: ",
                   options.remedies.ignore_unknown_keys, " to go on without it.");
    else
      listed += (listed.empty() ? "" : ", ") + shorten(key) + " = " + echo(value);
  }
  if (!listed.empty())
    notes.push_back((is_known ? "not read by posenc: " : "ignored, as the caller says: ") + listed +
                    ".");
}

/// Keys of a rotary dictionary. Those that some scheme has but this one does not read are noted;
/// others stop the reader: a misspelt key would otherwise pass for an absent one.
template <class Json>
void report_unused_of_scheme(const Fields<Json>& fields, const std::string& type,
                             const Options& options, std::vector<std::string>& notes,
                             Problems& problems) {
  // clang-format off
  static const std::set<std::string> known{
      "factor", "original_max_position_embeddings", "attention_factor", "attn_factor",
      "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "finetuned",
      "short_factor", "long_factor", "short_mscale", "long_mscale", "low_freq_factor",
      "high_freq_factor", "alpha", "mixed_b", "partial_rotary_factor", "rope_theta",
      "llama_4_scaling_beta"};
  // clang-format on
  for (const std::string& key : fields.unused()) {
    const std::string value = echo(fields.json().at(key));
    if (known.contains(key) || options.ignore_unknown_keys)
      notes.push_back("ignored: " + fields.path(shorten(key)) + " = " + value +
                      ", which rope_type \"" + shorten(type) + "\" does not read.");
    else
      problems.add(fields.path(shorten(key)), " = ", value,
                   " is not a key that posenc knows: correct the spelling, or ",
                   options.remedies.ignore_unknown_keys, ".");
  }
}

}  // namespace huggingface
POSENC_NAMESPACE_END
