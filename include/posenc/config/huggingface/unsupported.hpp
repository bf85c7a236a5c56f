// SPDX-License-Identifier: MIT
//
// What a file asks for and the encoding that is read does not hold: nothing is dropped in silence.
// What would make the encoding wrong is refused, what the caller has to compose is noted, keys that
// have no effect are named.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/config/huggingface/fields.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// Attention that is not causal, and positions that are not what model_type says.
template <class Json>
void refuse_unsupported_attention(const Fields<Json>& file,
                                  const config::Architecture& architecture, Problems& problems) {
  const Json* both = file.find("use_bidirectional_attention");
  problems.require(both == nullptr || *both == Json(false) || *both == Json("vision"),
                   "use_bidirectional_attention: attention to later tokens is not supported.");
  problems.require(file.boolean("is_causal").value_or(true),
                   "is_causal is false: attention to later tokens is not supported.");
  const auto type = file.text("position_embedding_type");
  problems.require(!type || type->starts_with("rope") || type->starts_with("rot") ||
                       architecture.kind != config::PositionKind::rotary,
                   "position_embedding_type = \"", type.value_or(""),
                   "\", but model_type says rotary.");
  problems.require(architecture.kind != config::PositionKind::rotary ||
                       !file.boolean("alibi").value_or(false),
                   "alibi is true, but model_type says rotary.");
}

/// What attention needs besides the encoding that is read, a sentence each: the caller composes it.
template <class Json>
void note_parts_left_to_caller(const Fields<Json>& file, const config::Architecture& architecture,
                               std::vector<std::string>& notes) {
  if (const auto cap = file.number("attn_logit_softcapping"))
    notes.push_back(sentence("append SoftCap{", *cap, "}: attn_logit_softcapping."));
  if (architecture.model_type == "gpt_oss")
    notes.push_back("append SinkLogit{...} with the checkpoint's sinks of each layer.");
  if (file.object("dual_chunk_attention_config") != nullptr)
    notes.push_back(
        "dual_chunk_attention_config is not part of this encoding: beyond its chunks the model "
        "attends otherwise.");
  if (architecture.chunk != 0 && file.boolean("use_qk_norm").value_or(true))
    notes.push_back("layers that rotate divide queries and keys by their norm after the rotation.");
}

/// Keys that some scheme has but this one does not read are reported; others stop the reader,
/// since nobody knows what would be lost (a misspelt key would otherwise pass for an absent one).
template <class Json>
void report_unused_keys(const Fields<Json>& fields, const std::string& type, bool ignore_unknown,
                        std::vector<std::string>& notes, Problems& problems) {
  // clang-format off
  static const std::set<std::string> known{
      "factor", "original_max_position_embeddings", "attention_factor", "attn_factor",
      "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "finetuned",
      "short_factor", "long_factor", "short_mscale", "long_mscale", "low_freq_factor",
      "high_freq_factor", "alpha", "mixed_b", "partial_rotary_factor", "rope_theta"};
  // clang-format on
  for (const std::string& key : fields.unused()) {
    const std::string value = fields.json().at(key).dump();
    if (known.contains(key) || ignore_unknown)
      notes.push_back("ignored: " + fields.path(key) + " = " + value + ", which rope_type \"" +
                      type + "\" does not read.");
    else
      problems.add(fields.path(key), " = ", value,
                   " is not a key that posenc knows: correct the spelling, "
                   "or pass {.ignore_unknown_keys = true}.");
  }
}

}  // namespace huggingface
POSENC_NAMESPACE_END
