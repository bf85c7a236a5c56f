// SPDX-License-Identifier: MIT
//
// Models that do not rotate: ALiBi (BLOOM, MPT, Falcon with `alibi`, Baichuan with 40 heads), a
// learned table of positions (GPT-2, BERT), and T5 and DeBERTa, whose tables are weights and so
// cannot be read from a configuration.
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/model.hpp>

#include <cmath>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// Sentences for what a file cannot say. True if there was one.
template <class Json>
bool refuse_weights(const Fields<Json>& file, const config::Architecture& architecture,
                    std::string_view model_type, Index head_dim, Problems& problems) {
  using enum config::PositionKind;
  if (architecture.kind == learned_bias) {
    problems.add("model_type \"", model_type,
                 "\" adds a learned bias per head and distance, which is weights and not "
                 "configuration: write T5Bias with the table of the checkpoint, "
                 "relative_attention_num_buckets = ",
                 file.integer("relative_attention_num_buckets", 1, most_tokens).value_or(32),
                 " and relative_attention_max_distance = ",
                 file.integer("relative_attention_max_distance", 1, most_tokens).value_or(128),
                 ", for heads of ", head_dim, " channels (d_kv).");
  } else if (architecture.kind == deberta && file.flag("relative_attention")) {
    const Index most = file.integer("max_relative_positions").value_or(-1);
    problems.add(
        "model_type \"", model_type,
        "\" meets learned embeddings of distances, which are weights and not "
        "configuration: write DeBERTa with the tables of the checkpoint, position_buckets = ",
        std::max<Index>(0, file.integer("position_buckets").value_or(0)), " and max_position = ",
        most >= 1 ? most : file.integer("max_position_embeddings").value_or(512), ".");
  } else {
    return false;
  }
  return true;
}

template <class Json>
[[nodiscard]] ALiBi read_alibi(const Fields<Json>& file, const config::Architecture& architecture,
                               config::LayerKind& layer, Problems& problems) {
  ALiBi alibi{.max_bias = 8};
  if (const Json* dict = file.find("attn_config"); dict != nullptr && dict->is_object()) {
    const Fields<Json> fields(*dict, "attn_config", problems);
    alibi.max_bias = fields.number("alibi_bias_max").value_or(8);
    problems.require(alibi.max_bias > 0 && alibi.max_bias <= 1024,
                     "attn_config.alibi_bias_max must be between 0 and 1024, got ", alibi.max_bias,
                     ".");
  }
  if (layer.num_heads <= 0 && !file.is_bad(file.key_of(spellings::heads)))
    problems.add("ALiBi needs the number of heads: num_attention_heads is missing.");
  if (architecture.kind == config::PositionKind::falcon && layer.head_dim > 0) {
    alibi.slope_factor = 1 / std::sqrt(static_cast<double>(layer.head_dim));
    layer.notes.push_back("slopes divided by sqrt(head_dim), as Falcon was trained.");
  }
  return alibi;
}

/// Whether the layers rotate: by the architecture, or by the key that it leaves the choice to.
template <class Json>
[[nodiscard]] config::PositionKind resolve_kind(const Fields<Json>& file,
                                                const config::Architecture& architecture,
                                                const std::vector<Index>& heads,
                                                Problems& problems) {
  using enum config::PositionKind;
  if (architecture.kind == falcon) return file.flag("alibi") ? alibi : rotary;
  if (architecture.kind == baichuan) {
    const Index count = heads.empty() ? 0 : heads.front();
    if (count == 32) return rotary;
    problems.require(
        count == 40 || count == 0, "num_attention_heads = ", count,
        ": Baichuan rotates with 32 heads (7B) and has ALiBi with 40 (13B); which it is "
        "otherwise is not known.");
    return alibi;
  }
  if (architecture.kind != mpt) return architecture.kind == deberta ? learned : architecture.kind;
  const Json* dict = file.object("attn_config");
  if (dict == nullptr) return file.is_bad("attn_config") ? learned : alibi;
  const Fields<Json> fields(*dict, "attn_config", problems);
  problems.require(!fields.flag("rope"), "attn_config.rope = true is not supported.");
  return fields.boolean("alibi").value_or(true) ? alibi : learned;
}

}  // namespace huggingface
POSENC_NAMESPACE_END
