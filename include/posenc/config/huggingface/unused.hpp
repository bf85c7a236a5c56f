// SPDX-License-Identifier: MIT
//
// Keys that were not read: nothing is dropped in silence.
//
// Of a type in the table, they are noted. Of a type that posenc does not know, keys that bear on
// positions, masks, scale, heads or layers stop the reader: what they say would be lost. Which keys
// those are is told by the words in their names, also within objects.
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
    "rope",      "rotary", "rot_",   "position", "window",          "attn",       "attention",
    "head",      "layer",  "mask",   "causal",   "softmax",         "alibi",      "relative",
    "bucket",    "local",  "global", "chunk",    "sparse",          "pattern",    "interval",
    "nope",      "mscale", "theta",  "context",  "seq_len",         "hybrid",     "mamba",
    "ssm",       "conv",   "linear", "index_",   "dilat",           "stride",     "scalar",
    "softcap",   "sink",   "yarn",   "bias_max", "block",           "multiplier", "recurrent",
    "ntk",       "logn",   "xpos",   "decay",    "compress",        "prefix",     "bidirectional",
    "scale",     "swa",    "slid",   "pos_",     "pe_type",         "rpe",        "scaling",
    "freq",      "query",  "groups", "rel_pos",  "soft_cap",        "segment",    "retention",
    "direction", "kda",    "nsa",    "moba",     "encoder_decoder",
};

/// Words of keys that have one of those and say nothing of the kind; ^word$ is the whole key.
// clang-format off
inline constexpr std::string_view harmless_words[] = {
    "dropout", "layerdrop", "pdrop", "layer_norm", "layernorm", "rms_norm", "_norm_eps",
    "initializer", "init_std", "init_method", "expert", "moe", "mlp", "ffn", "embedding_mult",
    "embedding_scale", "scale_emb", "scale_depth", "^logit_scale$", "logits_scal", "logits_mult",
    "final_logit", "lm_head", "residual", "routed_scaling", "router", "vocab", "token_id",
    "output_attentions", "attn_impl", "quant", "gradient", "dense_replace",
    "sparse_step", "nextn", "mtp", "cache", "attention_bias", "qkv_bias", "attn_bias",
    "linear_bias", "conv_bias", "proj_bias", "attention_out_bias", "use_flash", "flash_attn",
    "act_", "pooler", "classifier", "lora_rank", "v_head_dim", "prefix_allowed",
    "layers_to_transform", "feed_forward", "intermediate", "scoring", "^topk_group$",
    "^topk_method$", "loss", "torch", "version", "language", "vision", "image", "audio", "video",
    "mm_", "projector", "attention_probs", "kernel", "penalty", "beam", "label", "task_specific",
};

/// Keys that switch something off when they are false.
inline constexpr std::string_view off_when_false[] = {
    "^use_sliding_window$", "^use_swa$", "^alibi$", "^use_alibi$", "^use_rpe$", "^use_mrope$",
    "^use_dynamic_ntk$", "^use_logn_attn$", "^is_decoder$", "^is_encoder_decoder$",
    "^tie_encoder_decoder$", "^add_cross_attention$", "^scale_attn_by_inverse_layer_idx$",
    "^reorder_and_upcast_attn$", "^use_mamba_kernels$",
    "^prefix_lm$", "^attn_uses_sequence_id$",
};

/// Keys of attn_config that are read somewhere.
inline constexpr std::string_view read_of_attn_config[] = {
    "^softmax_scale$", "^alibi$", "^alibi_bias_max$", "^rope$",
};
// clang-format on

inline constexpr std::string_view always_telling[] = {
    "rope", "rotary", "alibi", "window", "position_", "relative_", "causal", "nope", "slid",
};

[[nodiscard]] inline std::string to_lower(std::string_view key) {
  std::string lower(key);
  for (char& letter : lower)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return lower;
}

[[nodiscard]] inline bool has_any(std::string_view key, std::span<const std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [key](std::string_view word) {
    if (!word.starts_with('^')) return key.find(word) != std::string_view::npos;
    return key == word.substr(1, word.size() - 2);
  });
}

/// null, "", [], {}, and false of a key that switches something on.
template <class Json>
[[nodiscard]] bool says_nothing(const std::string& key, const Json& value) {
  if (value.is_boolean()) return !value.template get<bool>() && has_any(key, off_when_false);
  return !value.is_primitive() || value.is_string() ? value.empty() : value.is_null();
}

}  // namespace detail

/// Whether the name of a key says that it bears on positions, masks, scale, heads or layers.
[[nodiscard]] inline bool bears_on_positions(std::string_view key) {
  const std::string lower = detail::to_lower(key);
  if (detail::has_any(lower, detail::always_telling)) return true;
  return detail::has_any(lower, detail::telling_words) &&
         !detail::has_any(lower, detail::harmless_words);
}

namespace detail {

/// Calls `found` with the path and the value of each key that bears on positions, this one or, of
/// an object that is not of another part, those within.
template <class Json, class Found>
void find_telling(const std::string& key, const std::string& path, const Json& value,
                  const Found& found) {
  if (bears_on_positions(key)) {
    if (!says_nothing(key, value)) found(path, value);
  } else if (value.is_object() && !has_any(to_lower(key), harmless_words)) {
    for (auto at = value.begin(); at != value.end(); ++at)
      find_telling(at.key(), path + "." + file::shorten(at.key()), *at, found);
  }
}

}  // namespace detail

/// Refuses, or lists, what a file says of positions and was not read.
template <class Json>
void report_unused(const Fields<Json>& file, bool is_known, const Options& options,
                   std::vector<std::string>& notes, Problems& problems) {
  std::string listed;
  const auto report = [&](const std::string& path, const Json& value) {
    if (!is_known && !options.ignore_unknown_keys)
      problems.add(path, " = ", file::echo(value),
                   " bears on attention, and what it does in this model_type is not known: ",
                   options.remedies.ignore_unknown_keys, " to go on without it.");
    else
      listed += (listed.empty() ? "" : ", ") + path + " = " + file::echo(value);
  };
  for (const std::string& key : file.unused())
    detail::find_telling(key, file.path(file::shorten(key)), file.json().at(key), report);
  if (const Json* dict = file.peek("attn_config"); dict != nullptr && file.was_read("attn_config"))
    for (auto at = dict->begin(); dict->is_object() && at != dict->end(); ++at)
      if (!detail::has_any(at.key(), detail::read_of_attn_config))
        detail::find_telling(at.key(), "attn_config." + file::shorten(at.key()), *at, report);
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
    const std::string value = file::echo(fields.json().at(key));
    if (known.contains(key) || options.ignore_unknown_keys)
      notes.push_back("ignored: " + fields.path(file::shorten(key)) + " = " + value +
                      ", which rope_type \"" + file::shorten(type) + "\" does not read.");
    else
      problems.add(fields.path(file::shorten(key)), " = ", value,
                   " is not a key that posenc knows: correct the spelling, or ",
                   options.remedies.ignore_unknown_keys, ".");
  }
}

}  // namespace huggingface
POSENC_NAMESPACE_END
