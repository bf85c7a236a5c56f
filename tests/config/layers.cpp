// SPDX-License-Identifier: MIT
//
// Kinds of layers: which attend, slide and rotate, whichever key says it.
#include "fixture.hpp"

#include <algorithm>

using posenc::Index;
using posenc::huggingface::parse;

namespace layers_cases {

json typed(const char* model_type, const json& more = json::object()) {
  json config = llama({{"model_type", model_type}});
  config.update(more);
  return config;
}

TEST_CASE("layers: hybrids, whichever key lists their layers") {
  const auto attending = [](const json& config) {
    const Model model = parse(config);
    std::vector<Index> layers;
    for (const LayerKind& layer : model.layers) {
      if (layer.attends) layers.insert(layers.end(), layer.layers.begin(), layer.layers.end());
      if (!layer.attends) CHECK_THROWS_WITH(layer.encoding(), ContainsSubstring("do not attend"));
    }
    std::sort(layers.begin(), layers.end());
    CHECK(model.num_layers == (config.contains("hybrid_override_pattern") ? 5 : 4));
    return layers;
  };
  using Layers = std::vector<Index>;
  CHECK(attending(typed("nemotron_h", {{"hybrid_override_pattern", "M*E-*"},
                                       {"num_hidden_layers", 5}})) == Layers{1, 4});
  CHECK(attending(typed("nemotron_h", {{"layers_block_type",
                                        {"mamba", "attention", "moe", "mamba"}}})) == Layers{1});
  CHECK(attending(typed("jamba", {{"attn_layer_period", 4}, {"attn_layer_offset", 2}})) ==
        Layers{2});
  CHECK(attending(typed("bamba", {{"attn_layer_indices", {0, 3}}})) == Layers{0, 3});
  CHECK(attending(typed("lfm2", {{"full_attn_idxs", {2}}})) == Layers{2});
  CHECK(attending(
            typed("lfm2", {{"layer_types", {"conv", "full_attention", "short_conv", "conv"}}})) ==
        Layers{1});
  CHECK(
      attending(typed("kimi_linear", {{"mla_use_nope", true},
                                      {"linear_attn_config",
                                       {{"full_attn_layers", {2, 4}}, {"kda_layers", {1, 3}}}}})) ==
      Layers{1, 3});
  CHECK(attending(typed("minimax_text_01", {{"attn_type_list", {0, 0, 1, 0}}})) == Layers{2});
  CHECK(attending(typed("bailing_hybrid", {{"layer_group_size", 2}})) == Layers{1, 3});
  CHECK(attending(typed("recurrent_gemma", {{"block_types", {"recurrent", "attention"}}})) ==
        Layers{1, 3});
  CHECK(attending(typed("qwen3_next", {{"head_dim", 64}, {"full_attention_interval", 2}})) ==
        Layers{1, 3});
  CHECK(attending(typed("mllama_text_model", {{"cross_attention_layers", {1}}})) ==
        Layers{0, 2, 3});
  CHECK(attending(typed("granitemoehybrid",
                        {{"layer_types", {"mamba", "attention", "mamba", "mamba"}}})) == Layers{1});
  CHECK(attending(typed("falcon_h1")) == Layers{0, 1, 2, 3});
}

TEST_CASE("layers: layers that do not attend are named, and have no encoding") {
  const Model model = parse(typed("jamba", {{"attn_layer_period", 4}, {"attn_layer_offset", 2}}));
  CHECK_FALSE(kind(model, "linear_attention").attends);
  CHECK(kind(model, "linear_attention").layers == std::vector<Index>{0, 1, 3});
  CHECK(kind(model, "no_rope").layers == std::vector<Index>{2});
  CHECK_THAT(explain(model), ContainsSubstring("does not attend"));
}

TEST_CASE("layers: lists of layers that cannot be") {
  const auto refuses = [](const json& config, const char* why) {
    CHECK_THAT(wrong_with(config), ContainsSubstring(why));
  };
  refuses(typed("nemotron_h", {{"hybrid_override_pattern", "M*Q"}, {"num_hidden_layers", 3}}),
          "\"Q\"");
  refuses(typed("nemotron_h", {{"hybrid_override_pattern", "M*"}}),
          "hybrid_override_pattern has 2 entries");
  refuses(typed("bamba", {{"attn_layer_indices", {0, 9}}}), "attn_layer_indices has 9");
  refuses(typed("kimi_linear", {{"linear_attn_config", {{"full_attn_layers", {0}}}}}),
          "full_attn_layers has 0");
  refuses(typed("jamba", {{"attn_layer_period", 0}}), "attn_layer_period must be between 1");
  refuses(typed("gpt_neo", {{"attention_types", {{"global", 2}}}}),
          "attention_types must be lists");
  refuses(typed("llama",
                {{"layer_types", std::vector<std::string>(4, "heavily_compressed_attention")}}),
          "layer_types[0] = \"heavily_compressed_attention\"");
}

TEST_CASE("layers: rotation by kind of layer") {
  const json types = {"sliding_attention", "sliding_attention", "sliding_attention",
                      "full_attention"};
  for (const char* type : {"afmoe", "exaone_moe", "cohere2"}) {
    const Model model = parse(typed(type, {{"sliding_window", 16}, {"layer_types", types}}));
    CHECK(kind(model, "sliding_attention").rotary);
    CHECK_FALSE(kind(model, "no_rope").rotary);
  }
  const Model smol =
      parse(typed("smollm3", {{"use_sliding_window", true}, {"sliding_window", 16}}));
  CHECK(kind(smol, "sliding_attention_no_rope").layers == std::vector<Index>{3});
  CHECK(kind(smol, "full_attention").layers == std::vector<Index>{0, 1, 2});
  const Model null = parse(typed(
      "olmo3", {{"sliding_window", 16},
                {"rope_theta", nullptr},
                {"rope_parameters",
                 {{"sliding_attention", {{"rope_theta", 5e5}}}, {"full_attention", nullptr}}}}));
  CHECK(kind(null, "no_rope").layers == std::vector<Index>{3});
  CHECK_FALSE(
      parse(typed("granitemoehybrid", {{"layer_types", std::vector<std::string>(4, "attention")}}))
          .layers.front()
          .rotary);
  CHECK(
      parse(typed("granitemoehybrid", {{"position_embedding_type", "rope"},
                                       {"layer_types", std::vector<std::string>(4, "attention")}}))
          .layers.front()
          .rotary);
}

TEST_CASE("layers: windows by the code of each model") {
  const auto sliding = [](const json& config) {
    for (const Model model = parse(config); const LayerKind& layer : model.layers)
      if (layer.window != 0) return layer.layers;
    return std::vector<Index>{};
  };
  using Layers = std::vector<Index>;
  const json on = {{"use_sliding_window", true}, {"sliding_window", 16}, {"max_window_layers", 3}};
  json off = on;
  off["use_sliding_window"] = false;
  CHECK(sliding(typed("qwen2", on)) == Layers{3});
  CHECK(sliding(typed("qwen3_moe", on)) == Layers{0, 1, 2, 3});
  CHECK(sliding(typed("qwen2_moe", on)) == Layers{0, 2});
  CHECK(sliding(typed("mistral", off)) == Layers{0, 1, 2, 3});
  CHECK(sliding(typed("qwen3_moe", off)).empty());
  CHECK(sliding(typed("qwen2", {{"sliding_window", 0}, {"use_sliding_window", false}})).empty());
  CHECK(sliding(typed("qwen2", {{"sliding_window", 16}, {"use_sliding_window", true}}))
            .empty());  // from 28
  CHECK(sliding(typed("gpt_neo",
                      {{"window_size", 16}, {"attention_types", {{{"global", "local"}, 2}}}})) ==
        Layers{1, 3});
}

void refuse(const json& config, const char* why) {
  CHECK_THAT(wrong_with(config), ContainsSubstring(why));
}

TEST_CASE("layers: defaults that the file changes in part") {
  const auto rest = [](const char* type, const json& more) {
    return kind(parse(typed(type, more)), "no_rope").layers;
  };
  CHECK(rest("jamba", {{"attn_layer_period", 16}, {"num_hidden_layers", 32}}) ==
        std::vector<Index>{4, 20});
  CHECK(rest("jamba", {{"attn_layer_offset", 2}, {"num_hidden_layers", 16}}) ==
        std::vector<Index>{2, 10});
  refuse(typed("jamba", {{"attn_layer_period", 4}}), "attn_layer_offset must be between 0 and 3");
  const auto zamba = [](const json& config) {
    return kind(parse(config), "hybrid_no_rope").layers;
  };
  CHECK(zamba({{"model_type", "zamba"}, {"attn_layer_period", 6}, {"attn_layer_offset", 4}}) ==
        zamba({{"model_type", "zamba"}}));
  refuse(llama({{"model_type", "x"}, {"attn_layer_offset", 3}, {"rope_interleave", true}}),
         "attn_layer_offset needs attn_layer_period, which is missing.");
  const Model neo = parse({{"model_type", "gpt_neo"}});
  CHECK(kind(neo, "sliding_attention").layers.front() == 1);
  CHECK(kind(neo, "sliding_attention").layers.size() == 12);
}

TEST_CASE("layers: a wrong type is not an absent key") {
  refuse({{"model_type", "llava"}, {"text_config", "vicuna"}}, "text_config must be an object");
  refuse({{"model_type", "llava"}, {"text_config", json::array()}}, "text_config must be an obj");
  refuse({{"model_type", "gemma3_text"}, {"layer_types", json::array()}},
         "layer_types has no layers");
  json names = json::array({"global", 5});
  refuse({{"model_type", "gpt_neo"}, {"attention_types", json::array({json::array({names, 24})})}},
         "attention_types must be lists of names");
  refuse(typed("llama", {{"num_attention_heads", json::array({8})}}),
         "num_attention_heads = [8] is for one layer, but num_hidden_layers is 4");
}

TEST_CASE("layers: is_decoder makes a causal model only where the code reads it") {
  const auto ahead = [](const char* type) {
    return parse({{"model_type", type}, {"is_decoder", true}}).layers.front().ahead;
  };
  for (const char* type : {"bert", "roberta", "electra", "data2vec-text"}) CHECK(ahead(type) == 0);
  for (const char* type : {"modernbert", "distilbert", "layoutlm", "vit", "splinter", "albert"})
    CHECK(ahead(type) != 0);
  CHECK_THAT(notes_of(parse({{"model_type", "modernbert"}, {"is_decoder", true}})),
             ContainsSubstring("is_decoder = true, which the code of modernbert does not read"));
}

}  // namespace layers_cases
