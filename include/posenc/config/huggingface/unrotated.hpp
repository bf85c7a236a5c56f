// SPDX-License-Identifier: MIT
//
// Models that do not rotate: ALiBi (BLOOM, MPT, Falcon with `alibi`), a learned table of positions
// (GPT-2, MPT without `alibi`), and T5, whose bias is weights and so cannot be read from a
// configuration.
//
// All layers are alike.
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/model.hpp>

#include <algorithm>
#include <cmath>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// `layer` has its name and the shape of its heads already.
template <class Json>
[[nodiscard]] config::LayerKind read_unrotated(const Fields<Json>& file,
                                               const config::Architecture& architecture,
                                               config::LayerKind layer, Problems& problems) {
  using enum config::PositionKind;
  static const Json empty = Json::object();
  const Json* mpt_dict = file.object("attn_config");
  const Fields<Json> mpt_fields(mpt_dict == nullptr ? empty : *mpt_dict, "attn_config", problems);
  const auto count = file.integer({"num_hidden_layers", "n_layer", "n_layers", "num_layers"});
  problems.require(!count || (*count > 0 && *count <= most_layers),
                   "num_hidden_layers must be between 1 and ", most_layers, ", got ",
                   count.value_or(0), ".");
  for (Index i = 0; i < std::min(count.value_or(0), most_layers); ++i) layer.layers.push_back(i);

  if (architecture.kind == learned_bias) {
    problems.add("model_type \"", architecture.model_type,
                 "\" adds a learned bias per head and distance, which is "
                 "weights and not configuration: write T5Bias with the table of the checkpoint, "
                 "relative_attention_num_buckets = ",
                 file.integer("relative_attention_num_buckets").value_or(32),
                 " and relative_attention_max_distance = ",
                 file.integer("relative_attention_max_distance").value_or(128), ".");
    return layer;
  }
  if (architecture.kind == mpt) {
    problems.require(!mpt_fields.boolean("rope").value_or(false),
                     "attn_config.rope is not supported.");
    layer.score.softmax_scale = mpt_fields.number("softmax_scale").value_or(0);
  }
  if (architecture.kind == learned ||
      (architecture.kind == mpt && !mpt_fields.boolean("alibi").value_or(true))) {
    layer.notes.push_back(
        "positions are a learned table that is added to the embeddings (LearnedAbsolute); "
        "attention adds nothing.");
    return layer;
  }
  problems.require(layer.score.softmax_scale >= 0,
                   "attn_config.softmax_scale must be positive, got ", layer.score.softmax_scale,
                   ".");
  problems.require(layer.num_heads > 0,
                   "ALiBi needs the number of heads: num_attention_heads is missing.");
  layer.alibi = ALiBi{.max_bias = mpt_fields.number("alibi_bias_max").value_or(8)};
  if (architecture.kind == falcon && layer.head_dim > 0) {
    layer.alibi->slope_factor = 1 / std::sqrt(static_cast<double>(layer.head_dim));
    layer.notes.push_back("slopes divided by sqrt(head_dim), as Falcon was trained.");
  }
  return layer;
}

}  // namespace huggingface
POSENC_NAMESPACE_END
