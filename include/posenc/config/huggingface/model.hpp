// SPDX-License-Identifier: MIT
//
// ModelReader: a whole configuration file to a Model.
//
// The shape of the heads, a LayerKind for every kind of layer (layers.hpp says which there are),
// and a sentence for everything that attention needs besides. Gemma 3 and OLMo 3 scale only their
// full layers; the sliding ones rotate with rope_local_base_freq, or the plain base.
#pragma once

#include <posenc/config/huggingface/dictionary.hpp>
#include <posenc/config/huggingface/layers.hpp>
#include <posenc/config/huggingface/rope.hpp>
#include <posenc/config/huggingface/unrotated.hpp>
#include <posenc/config/huggingface/unsupported.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class ModelReader {
 public:
  ModelReader(const Fields<Json>& file, const config::Architecture& architecture,
              const Options& options, Problems& problems)
      : file_(file), architecture_(architecture), options_(options), problems_(problems) {}

  [[nodiscard]] config::Model read() {
    model_.max_position_embeddings = max_positions(file_);
    read_heads();
    refuse_unsupported_attention(file_, architecture_, problems_);
    if (is_rotary())
      read_rotary();
    else
      model_.layers.push_back(
          read_unrotated(file_, architecture_, new_layer("full_attention"), problems_));
    note_parts_left_to_caller(file_, architecture_, model_.notes);
    return std::move(model_);
  }

 private:
  [[nodiscard]] bool is_rotary() const {
    const bool falcon = architecture_.kind == config::PositionKind::falcon;
    return architecture_.kind == config::PositionKind::rotary ||
           (falcon && !file_.boolean("alibi").value_or(false));
  }

  void read_heads() {
    num_heads_ =
        file_.integer({"num_attention_heads", "n_head", "n_heads", "num_heads"}).value_or(0);
    num_kv_heads_ =
        file_.integer({"num_key_value_heads", "num_kv_heads", "n_head_kv"}).value_or(num_heads_);
    if (architecture_.kind == config::PositionKind::falcon &&
        file_.boolean("multi_query").value_or(true) &&
        !file_.boolean("new_decoder_architecture").value_or(false))
      num_kv_heads_ = 1;
    problems_.require(num_heads_ >= 0 && num_kv_heads_ >= 0 &&
                          (num_kv_heads_ == 0 || num_heads_ % num_kv_heads_ == 0),
                      "num_key_value_heads must divide num_attention_heads, got ", num_kv_heads_,
                      " and ", num_heads_, ".");
    problems_.require(num_kv_heads_ == 0 || num_heads_ > 0, "num_key_value_heads = ", num_kv_heads_,
                      ", but num_attention_heads is missing.");
    read_head_dim();
    if (head_dim_ > widest_head || head_dim_ < 0) {
      problems_.add("head_dim must be between 1 and ", widest_head, ", got ", head_dim_, ".");
      head_dim_ = 0;
    }
  }

  void read_head_dim() {
    const auto nope = file_.integer("qk_nope_head_dim"), rope = file_.integer("qk_rope_head_dim");
    if (rope) {
      problems_.require(nope.has_value() && *nope >= 0 && *rope > 0, "qk_rope_head_dim = ", *rope,
                        " needs qk_nope_head_dim, got ", nope.value_or(0), ".");
      mla_rope_dim_ = *rope;
      head_dim_ = nope.value_or(0) + *rope;
      num_kv_heads_ = num_heads_;
      return;
    }
    const auto hidden = file_.integer({"hidden_size", "n_embd", "d_model", "n_embed"});
    if (const auto given = file_.integer({"head_dim", "kv_channels"}))
      head_dim_ = *given;
    else if (architecture_.head_dim != 0)
      head_dim_ = architecture_.head_dim;
    else if (hidden && num_heads_ > 0 && *hidden % num_heads_ == 0)
      head_dim_ = *hidden / num_heads_;
    else
      problems_.add("head_dim is missing, and hidden_size (", hidden.value_or(0),
                    ") is not a multiple of num_attention_heads (", num_heads_, ").");
  }

  [[nodiscard]] config::LayerKind new_layer(std::string name) const {
    config::LayerKind layer;
    layer.name = std::move(name);
    layer.num_heads = num_heads_;
    layer.num_kv_heads = num_kv_heads_;
    layer.head_dim = head_dim_;
    return layer;
  }

  void read_rotary() {
    dict_ = choose_dictionary(file_, architecture_, problems_);
    LayerPlanner<Json> planner(file_, architecture_, model_.notes, problems_);
    const std::vector<LayerPlan> plans = planner.plan();
    if (!planner.uniform()) model_.num_layers = std::ssize(plans);
    std::vector<LayerPlan> kinds;
    for (std::size_t i = 0; i < plans.size(); ++i) {
      auto kind = std::find(kinds.begin(), kinds.end(), plans[i]);
      if (kind == kinds.end()) {
        if (is_attention(plans[i].type))
          model_.layers.push_back(read_kind(plans[i], planner));
        else
          model_.layers.push_back(new_layer(plans[i].type));
        kinds.push_back(plans[i]);
        kind = std::prev(kinds.end());
      }
      if (!planner.uniform())
        model_.layers[static_cast<std::size_t>(kind - kinds.begin())].layers.push_back(
            static_cast<Index>(i));
    }
    std::erase_if(model_.layers, [&](const config::LayerKind& layer) {
      if (is_attention(layer.name) || layer.name.ends_with("no_rope")) return false;
      model_.notes.push_back(sentence(layer.layers.size(), " layers are ", layer.name,
                                      ", which has no positions to encode."));
      return true;
    });
  }

  config::LayerKind read_kind(const LayerPlan& plan, const LayerPlanner<Json>& planner) {
    config::LayerKind layer = new_layer(plan.name());
    if (plan.type == "sliding_attention") layer.window = planner.window();
    if (plan.type == "chunked_attention") layer.chunk = planner.chunk();
    if (plan.type == "full_attention") use_global_heads(layer);
    if (const auto scalar = file_.number("query_pre_attn_scalar"); scalar && *scalar > 0)
      layer.score.softmax_scale = 1 / std::sqrt(*scalar);
    else if (const auto multiplier = file_.number("attention_multiplier"))
      layer.score.softmax_scale = *multiplier;
    else
      layer.score.softmax_scale = architecture_.score_scale;
    if (plan.rotates) {
      layer.rotary = read_rotation(plan.type, layer);
      problems_.require(layer.chunk == 0 || !layer.rotary->depends_on_length(), plan.type,
                        " with a scheme that depends on the length is not supported.");
    } else if (architecture_.chunk != 0 &&
               file_.boolean("attn_temperature_tuning").value_or(true)) {
      layer.score.rule = StepTemperature{file_.number("attn_scale").value_or(0.1),
                                         file_.integer("floor_scale").value_or(8192), 1};
    }
    layer.score.check(problems_, HeadShape{});
    return layer;
  }

  void use_global_heads(config::LayerKind& layer) const {
    const Index width = file_.integer("global_head_dim").value_or(architecture_.global_head_dim);
    if (width > 0 && width <= widest_head) layer.head_dim = width;
    if (const auto kv = file_.integer("num_global_key_value_heads");
        kv && *kv > 0 && file_.boolean("attention_k_eq_v").value_or(false))
      layer.num_kv_heads = *kv;
  }

  config::Rotation read_rotation(const std::string& type, config::LayerKind& layer) {
    RopeReader<Json> reader(file_, architecture_, options_, problems_);
    const HeadGeometry heads{layer.head_dim, mla_rope_dim_};
    if (dict_.per_layer) {
      const auto entry = dict_.json->find(type);
      const auto local = file_.number("rope_local_base_freq");
      if (type == "sliding_attention" && local && entry != dict_.json->end() &&
          entry->is_object() && entry->contains("rope_theta") &&
          entry->at("rope_theta") != Json(*local))
        problems_.add(dict_.name,
                      ".sliding_attention.rope_theta = ", entry->at("rope_theta").dump(),
                      " and rope_local_base_freq = ", *local, " contradict each other: keep one.");
      if (entry != dict_.json->end() && entry->is_object())
        return reader.read(&*entry, dict_.name + "." + type, true, heads, layer);
      problems_.add(dict_.name, " has no dictionary for ", type, ".");
      return {};
    }
    if (type == "sliding_attention" && architecture_.local != config::LocalRope::same) {
      double base = 10000;
      if (architecture_.local == config::LocalRope::own_base) {
        const auto local = file_.number("rope_local_base_freq");
        base = local.value_or(base);
        layer.notes.push_back(
            sentence("base ", base, local ? " from rope_local_base_freq" : ", the default",
                     " of sliding layers; ", dict_.name, " does not concern them."));
      } else {
        static const Json empty = Json::object();
        base = reader.read_base(Fields<Json>(dict_.json == nullptr ? empty : *dict_.json,
                                             dict_.name, problems_),
                                false, layer);
      }
      return reader.plain(base, heads, layer);
    }
    return reader.read(dict_.json, dict_.name, false, heads, layer);
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  const Options& options_;
  Problems& problems_;
  config::Model model_;
  Index num_heads_ = 0, num_kv_heads_ = 0, head_dim_ = 0, mla_rope_dim_ = 0;
  RopeDictionary<Json> dict_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
