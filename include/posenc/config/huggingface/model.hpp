// SPDX-License-Identifier: MIT
//
// ModelReader: a whole configuration file to a Model.
//
// The shape of the heads, a LayerKind for every kind of layer (layers.hpp), and a sentence for
// all that attention needs besides. Gemma 3 and OLMo 3 scale only their full layers; the sliding ones
// rotate with rope_local_base_freq, or the plain base. Layers whose dictionary is null do not rotate.
#pragma once

#include <posenc/config/huggingface/dictionary.hpp>
#include <posenc/config/huggingface/rope.hpp>
#include <posenc/config/huggingface/scale.hpp>
#include <posenc/config/huggingface/unrotated.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class ModelReader {
 public:
  /// `is_known`: the type is in the table; else `architecture` holds what is assumed.
  ModelReader(const Fields<Json>& file, const config::Architecture& architecture, bool is_known,
              std::string_view model_type, const Options& options, Problems& problems)
      : file_(file), architecture_(architecture), is_known_(is_known), model_type_(model_type),
        options_(options), problems_(problems) {}

  [[nodiscard]] config::Model read() {
    model_.model_type = file::shorten(model_type_);
    if (architecture_.kind == config::PositionKind::refused) {
      problems_.add("model_type \"", model_type_, "\" cannot be expressed: ", architecture_.why,
                    ".");
      return std::move(model_);
    }
    model_.max_position_embeddings = max_positions(file_);
    heads_ = HeadReader<Json>(file_, architecture_, problems_).read();
    kind_ = resolve_kind(file_, architecture_, heads_.query, problems_);
    refuse_unsupported();
    if (!refuse_weights(file_, architecture_, model_type_, heads_.width, problems_)) read_layers();
    note_parts_left_to_caller();
    return std::move(model_);
  }

 private:
  [[nodiscard]] bool sees_both_ways() const {
    if (architecture_.mask == config::MaskRule::unless_decoder) return !file_.flag("is_decoder");
    return architecture_.mask == config::MaskRule::bidirectional;
  }

  /// Attention that is not what the table says.
  void refuse_unsupported() {
    const Json* both = file_.find("use_bidirectional_attention");
    problems_.require(both == nullptr || *both == Json(false) || *both == Json("vision"),
                      "use_bidirectional_attention = ", both == nullptr ? "" : file::echo(*both),
                      ": attention to later tokens is not supported here.");
    problems_.require(file_.boolean("is_causal").value_or(true) || sees_both_ways(),
                      "is_causal = false: attention to later tokens is not supported here.");
    if (architecture_.mask == config::MaskRule::bidirectional && file_.flag("is_decoder"))
      model_.notes.push_back(sentence("ignored: is_decoder = true, which the code of ", model_type_,
                                      " does not read: it sees both ways."));
    const auto type = file_.text("position_embedding_type");
    const bool rotates = kind_ == config::PositionKind::rotary;
    problems_.require(!type || architecture_.nope == config::NoPERule::unless_rope ||
                          (rotates ? type->starts_with("rope") || type->starts_with("rot")
                                   : kind_ != config::PositionKind::learned ||
                                         *type == "absolute" || *type == "learned_absolute"),
                      "position_embedding_type = \"", file::shorten(type.value_or("")),
                      "\", but model_type says ", rotates ? "rotary" : "absolute", ".");
    problems_.require(kind_ != config::PositionKind::rotary || !file_.flag("alibi"),
                      "alibi = true, but model_type says rotary.");
    for (const char* key : {"scale_attn_by_inverse_layer_idx", "position_encoding_2d"})
      problems_.require(!file_.flag(key), key, " = true is not supported.");
  }

  [[nodiscard]] config::LayerKind new_layer(const LayerPlan& plan) const {
    config::LayerKind layer;
    layer.name = plan.name();
    layer.attends = plan.attends();
    layer.num_heads = plan.num_heads;
    layer.num_kv_heads = plan.num_kv_heads;
    layer.head_dim = plan.head_dim;
    return layer;
  }

  void read_layers() {
    const bool rotates = kind_ == config::PositionKind::rotary;
    if (rotates) dict_ = choose_dictionary(file_, architecture_, model_type_, problems_);
    LayerPlanner<Json> planner(file_, architecture_, model_type_, model_.notes, problems_);
    std::vector<LayerPlan> plans = planner.plan();
    for (const auto* list : {&heads_.query, &heads_.key})
      if (list->size() > 1 && list->size() != plans.size() && !plans.empty()) {
        problems_.add("the number of heads is given for ", list->size(), " layers, but there are ",
                      plans.size(), ".");
        plans.clear();
      }
    if (!planner.uniform()) model_.num_layers = std::ssize(plans);
    set_heads(plans);
    std::vector<LayerPlan> kinds;
    for (std::size_t i = 0; i < plans.size(); ++i) {
      LayerPlan& plan = plans[i];
      plan.rotates = plan.rotates && rotates && !has_null_dictionary(plan.type);
      auto kind = std::find(kinds.begin(), kinds.end(), plan);
      if (kind == kinds.end()) {
        if (kinds.size() == most_kinds)
          return problems_.add("the ", plans.size(), " layers are of more than ", most_kinds,
                               " kinds, which no model has.");
        model_.layers.push_back(read_kind(plan, planner));
        kinds.push_back(plan);
        kind = std::prev(kinds.end());
      }
      if (!planner.uniform())
        model_.layers[static_cast<std::size_t>(kind - kinds.begin())].layers.push_back(
            static_cast<Index>(i));
    }
    if (!kinds.empty()) report_unused_dictionaries(kinds);
  }

  /// Dictionaries for kinds of layers that there are not. Of an unknown type they tell of layers
  /// that the file does not list.
  void report_unused_dictionaries(const std::vector<LayerPlan>& kinds) {
    if (!dict_.per_layer || dict_.of_class) return;
    for (auto at = dict_.json->begin(); at != dict_.json->end(); ++at) {
      const auto uses = [&](const LayerPlan& kind) { return kind.type == current_name(at.key()); };
      if (at->is_null() || std::any_of(kinds.begin(), kinds.end(), uses)) continue;
      const std::string text = sentence(dict_.name, ".", at.key(), " = ", file::echo(*at),
                                        " is for a kind of layer that there is not");
      if (is_known_ || options_.ignore_unknown_keys)
        model_.notes.push_back("ignored: " + text + ".");
      else
        problems_.add(text, ": add layer_types, or ", options_.remedies.ignore_unknown_keys,
                      " to go on without it.");
    }
  }

  [[nodiscard]] bool has_null_dictionary(const std::string& type) const {
    if (!dict_.per_layer) return false;
    const Json* entry = dict_.entry(type);
    return entry != nullptr && entry->is_null();
  }

  config::LayerKind read_kind(const LayerPlan& plan, const LayerPlanner<Json>& planner) {
    config::LayerKind layer = new_layer(plan);
    if (!layer.attends) return layer;
    if (plan.slides()) layer.window = planner.window();
    if (plan.type == "chunked_attention") layer.chunk = planner.chunk();
    if (sees_both_ways()) {
      layer.ahead = layer.window == 0 ? config::LayerKind::everything : layer.window;
      if (layer.window != 0) ++layer.window;
    }
    layer.score.softmax_scale =
        ScaleReader<Json>(file_, architecture_, is_known_, problems_).read(layer);
    if (plan.rotates) {
      layer.rotary = read_rotation(plan.type, layer);
      problems_.require(layer.chunk == 0 || !layer.rotary->depends_on_length(), plan.type,
                        " with a scheme that depends on the length is not supported.");
    } else if (kind_ == config::PositionKind::alibi) {
      layer.name = plan.type;
      layer.alibi = read_alibi(file_, architecture_, layer, problems_);
    } else if (kind_ == config::PositionKind::learned) {
      layer.name = plan.type;
      layer.notes.push_back(
          "positions are a learned table that is added to the embeddings (LearnedAbsolute); "
          "attention adds nothing.");
    } else if (architecture_.chunked && file_.boolean("attn_temperature_tuning").value_or(true)) {
      layer.score.rule =
          StepTemperature{file_.number("attn_scale", 0, greatest_scale).value_or(0.1),
                          file_.integer("floor_scale", 1, most_tokens).value_or(8192), 1};
    }
    layer.score.check(problems_, HeadShape{});
    return layer;
  }

  /// Heads of each layer: of all layers, of the full ones (Gemma 4), of a layer by its number.
  void set_heads(std::vector<LayerPlan>& plans) {
    const bool has_overrides = file_.peek("per_layer_config") != nullptr;
    const bool has_global = architecture_.needs_dictionaries && !has_overrides;
    for (std::size_t i = 0; i < plans.size(); ++i) {
      LayerPlan& plan = plans[i];
      plan.num_heads = Heads::of(heads_.query, i);
      plan.num_kv_heads = Heads::of(heads_.key, i);
      plan.head_dim = heads_.width;
      if (!has_global || plan.type != "full_attention") continue;
      plan.head_dim = file_.integer("global_head_dim", 1, widest_head).value_or(plan.head_dim);
      if (file_.flag("attention_k_eq_v"))
        plan.num_kv_heads =
            file_.integer("num_global_key_value_heads", 1, most_heads).value_or(plan.num_kv_heads);
    }
    if (const Json* overrides = has_overrides ? file_.object("per_layer_config") : nullptr)
      for (auto at = overrides->begin(); at != overrides->end(); ++at)
        override_heads(at.key(), *at, plans);
  }

  void override_heads(const std::string& layer, const Json& values, std::vector<LayerPlan>& plans) {
    const std::string where = "per_layer_config." + file::shorten(layer);
    Index number = -1;
    if (!layer.empty() && layer.size() < 6 &&
        layer.find_first_not_of("0123456789") == std::string::npos)
      number = std::stol(layer);
    if (number < 0 || number >= std::ssize(plans) || !values.is_object())
      return problems_.add(where, " = ", file::echo(values), " must be an object for one of the ",
                           plans.size(), " layers.");
    LayerPlan& plan = plans[static_cast<std::size_t>(number)];
    const Fields<Json> fields(values, where, problems_);
    plan.head_dim = fields.integer("head_dim", 1, widest_head).value_or(plan.head_dim);
    plan.num_heads = fields.integer("num_attention_heads", 1, most_heads).value_or(plan.num_heads);
    plan.num_kv_heads =
        fields.integer("num_key_value_heads", 1, most_heads).value_or(plan.num_kv_heads);
    problems_.require(plan.num_kv_heads == 0 || plan.num_heads % plan.num_kv_heads == 0, where,
                      ".num_key_value_heads = ", plan.num_kv_heads, " must divide the ",
                      plan.num_heads, " heads.");
    for (const std::string& key : fields.unused())
      problems_.require(!bears_on_positions(key), where, ".", file::shorten(key), " = ",
                        file::echo(values.at(key)),
                        " is not a key that posenc reads of a single layer.");
  }

  config::Rotation read_rotation(const std::string& type, config::LayerKind& layer) {
    RopeReader<Json> reader(file_, architecture_, is_known_, options_, problems_);
    if (dict_.per_layer) {
      const Json* entry = dict_.entry(type);
      const std::string local_key = file_.key_of(spellings::local_base);
      const Json* local = file_.peek(local_key);
      if (type == "sliding_attention" && local != nullptr && entry != nullptr &&
          entry->is_object() && entry->contains("rope_theta") && entry->at("rope_theta") != *local)
        problems_.add(dict_.name,
                      ".sliding_attention.rope_theta = ", file::echo(entry->at("rope_theta")),
                      " and ", local_key, " = ", file::echo(*local),
                      " contradict each other: keep one.");
      const bool has_own =
          type == "sliding_attention" &&
          (architecture_.local == config::LocalRope::own_base || (!is_known_ && local != nullptr));
      if (entry != nullptr && entry->is_object())
        return reader.read(
            entry, {dict_.name + "." + type, true, dict_.of_class, has_own ? local_key : ""},
            heads_, layer);
      if (entry == nullptr) problems_.add(dict_.name, " has no dictionary for ", type, ".");
      return {};
    }
    const DictionaryPlace place{dict_.name, false, dict_.of_class};
    if (type != "sliding_attention" || architecture_.local == config::LocalRope::same)
      return reader.read(dict_.json, place, heads_, layer);
    double base = 10000;
    if (architecture_.local == config::LocalRope::own_base) {
      const std::string key = file_.key_of(spellings::local_base);
      const bool is_given = file_.peek(key) != nullptr;
      base = file_.number(key).value_or(base);
      if (!(base > 1)) {
        problems_.add(key, " must be greater than 1, got ", base, ".");
        base = 10000;
      }
      layer.notes.push_back(sentence("base ", base, is_given ? " from " + key : ", the default",
                                     " of sliding layers; ", dict_.name,
                                     " does not concern them."));
    } else {
      static const Json empty = Json::object();
      check_local_base();
      base = reader.read_base(Fields<Json>(dict_.json == nullptr ? empty : *dict_.json, dict_.name,
                                           problems_),
                              place, layer);
    }
    return reader.plain(base, heads_, layer);
  }

  /// OLMo 3's class takes a base of the file for full layers, and its own for sliding ones.
  void check_local_base() {
    const Json* known = file_.class_value("rope_theta");
    const Json* given = file_.peek("rope_theta");
    if (known != nullptr && given != nullptr && *known != *given)
      problems_.add("rope_theta = ", file::echo(*given), ": the code takes it for full layers and ",
                    file::echo(*known),
                    " for sliding ones; write rope_parameters with a dictionary for each.");
  }

  /// What attention needs besides the encoding that is read, a sentence each: the caller composes it.
  void note_parts_left_to_caller() {
    if (const auto cap = file_.number("attn_logit_softcapping", least_scale, greatest_scale))
      model_.notes.push_back(sentence("append SoftCap{", *cap, "}: attn_logit_softcapping."));
    if (file_.object("dual_chunk_attention_config") != nullptr)
      model_.notes.push_back(
          "dual_chunk_attention_config is not part of this encoding: beyond its chunks the model "
          "attends otherwise.");
    const bool is_off = architecture_.chunked && !file_.boolean("use_qk_norm").value_or(true);
    if (!architecture_.note.empty() && !is_off) model_.notes.emplace_back(architecture_.note);
  }

  const Fields<Json>& file_;
  const config::Architecture& architecture_;
  bool is_known_;
  std::string_view model_type_;
  const Options& options_;
  Problems& problems_;
  config::Model model_{};
  Heads heads_{};
  config::PositionKind kind_{};
  RopeDictionary<Json> dict_{};
};

}  // namespace huggingface
POSENC_NAMESPACE_END
