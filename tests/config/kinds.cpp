// SPDX-License-Identifier: MIT
//
// What a file says in another place, under another name, or by leaving it out.
#include "fixture.hpp"

#include <posenc/bind/bind.hpp>

using posenc::Index;
using posenc::huggingface::LayoutName;
using posenc::huggingface::parse;

namespace kinds_cases {

json typed(const char* model_type, const json& more = json::object()) {
  json config = llama({{"model_type", model_type}});
  config.update(more);
  return config;
}

TEST_CASE("kinds: models that see both ways") {
  const Model model = parse(typed("modernbert", {{"rope_theta", nullptr},
                                                 {"global_rope_theta", 160000},
                                                 {"local_rope_theta", 10000},
                                                 {"local_attention", 32},
                                                 {"global_attn_every_n_layers", 2}}));
  CHECK(kind(model, "full_attention").layers == std::vector<Index>{0, 2});
  CHECK(rotation(model).base == 160000);
  CHECK(rotation(model, "sliding_attention").base == 10000);
  const posenc::AnyBound full = posenc::bind(kind(model, "full_attention").encoding(),
                                             {.num_heads = 8}),
                         local = posenc::bind(kind(model, "sliding_attention").encoding(),
                                              {.num_heads = 8});
  const auto sees = [](const posenc::AnyBound& bound, posenc::Position query,
                       posenc::Position key) {
    return bound.answers().visible({query, key, query, key, 0});
  };
  CHECK(sees(full, 0, 1'000'000));
  CHECK(sees(full, 1'000'000, 0));
  CHECK(sees(local, 100, 116));
  CHECK(sees(local, 100, 84));
  CHECK_FALSE(sees(local, 100, 117));
  CHECK_FALSE(sees(local, 100, 83));
  CHECK_THAT(explain(model), ContainsSubstring("every token sees all"));
  CHECK(parse(typed("bert")).layers.front().ahead == LayerKind::everything);
  CHECK(parse(typed("bert", {{"is_decoder", true}})).layers.front().is_causal());
}

TEST_CASE("kinds: what Hugging Face's class fills in") {
  const auto without = [](const char* type, std::initializer_list<const char*> keys) {
    json config = typed(type);
    for (const char* key : keys) config.erase(key);
    return parse(config);
  };
  const Model oss = without("gpt_oss", {"rope_theta"});
  CHECK(rotation(oss).type == "yarn");
  CHECK(rotation(oss).base == 150000);
  CHECK(rotation(oss).state().attention_factor == Approx(1.3465735903));
  CHECK(rotation(without("apertus", {"rope_theta"})).type == "llama3");
  CHECK(rotation(without("olmo3", {"rope_theta"}), "sliding_attention").base == 500000);
  CHECK(kind(without("granite", {}), "full_attention").score.softmax_scale == 1);
  CHECK(kind(without("gemma2", {}), "full_attention").score.softmax_scale == 0.0625);
  CHECK(kind(without("mistral", {"num_key_value_heads"}), "sliding_attention").num_kv_heads == 8);
  CHECK(without("llama", {"num_hidden_layers"}).num_layers == 32);
  CHECK(rotation(without("gptj", {})).rotary_dim == 64);
  CHECK_THAT(explain(without("mistral", {"num_key_value_heads"})),
             ContainsSubstring("as Hugging Face's class has it: num_key_value_heads = 8"));
}

TEST_CASE("kinds: the language part, however deep, and nothing of what stands around it") {
  const json text = typed("qwen3", {{"rope_theta", nullptr}});
  const json outer = {{"model_type", "some_omni"},
                      {"sliding_window", 250},
                      {"head_dim", 32},
                      {"rotary_dim", 16},
                      {"num_attention_heads", 4},
                      {"partial_rotary_factor", 0.5},
                      {"layer_types", {"conv"}},
                      {"rope_scaling", nullptr},
                      {"max_position_embeddings", nullptr}};
  for (const char* part : {"text_config", "llm_config", "language_config"}) {
    json file = outer;
    file[part] = text;
    const Model model = parse(file);
    CHECK(model.model_type == "qwen3");
    CHECK(rotation(model).rotary_dim == 128);
    CHECK(kind(model, "full_attention").window == 0);
    CHECK_THAT(explain(model), ContainsSubstring("not of " + std::string(part)));
  }
  json omni = {{"model_type", "omni"},
               {"thinker_config", {{"model_type", "t"}, {"text_config", text}}}};
  CHECK(parse(omni).model_type == "qwen3");
  json two = {{"model_type", "x"}, {"text_config", text}, {"llm_config", llama()}};
  CHECK_THAT(wrong_with(two),
             ContainsSubstring("text_config = {") && ContainsSubstring("llm_config = {"));
  two["llm_config"] = text;
  CHECK(wrong_with(two).empty());
  json known = {{"model_type", "llava"},
                {"text_config", {{"hidden_size", 512}, {"num_attention_heads", 8}}}};
  CHECK(parse(known).model_type == "llama");  // as its class says
}

TEST_CASE("kinds: two spellings with two values") {
  const auto both = [](const json& more, const char* first, const char* second) {
    const std::string wrong = wrong_with(llama(more));
    CHECK_THAT(wrong, ContainsSubstring(first) && ContainsSubstring(second) &&
                          ContainsSubstring("contradict"));
    CHECK(std::count(wrong.begin(), wrong.end(), '\n') == 1);
  };
  both({{"n_head", 4}}, "num_attention_heads = 8", "n_head = 4");
  both({{"n_layer", 9}}, "num_hidden_layers = 4", "n_layer = 9");
  both({{"d_model", 1024}}, "hidden_size = 512", "d_model = 1024");
  both({{"rotary_emb_base", 5e5}}, "rope_theta = 10000", "rotary_emb_base = 500000");
  both({{"num_kv_heads", 4}}, "num_key_value_heads = 2", "num_kv_heads = 4");
  both({{"head_dim", 64}, {"kv_channels", 32}}, "head_dim = 64", "kv_channels = 32");
  both({{"partial_rotary_factor", 0.5}, {"rotary_pct", 0.25}}, "partial_rotary_factor = 0.5",
       "rotary_pct = 0.25");
  both({{"n_positions", 1024}}, "max_position_embeddings = 4096", "n_positions = 1024");
  CHECK(wrong_with(llama({{"n_head", 8}, {"n_layer", 4}, {"rotary_emb_base", 10000}})).empty());
  const std::string neox = wrong_with(typed("gpt_neox", {{"rotary_emb_base", 5e5}}));
  CHECK(std::count(neox.begin(), neox.end(), '\n') == 1);
  CHECK_THAT(wrong_with(typed("gpt_neox")), ContainsSubstring("reads rotary_emb_base"));
}

TEST_CASE("kinds: what classes write by themselves is no contradiction") {
  json dict = {{"type", "yarn"},
               {"rope_type", "yarn"},
               {"rope_theta", 1e6},
               {"factor", 16.0},
               {"original_max_position_embeddings", 256},
               {"max_position_embeddings", 4096},
               {"llama_4_scaling_beta", 0.1}};
  json config = typed("ministral3", {{"rope_theta", nullptr}, {"rope_parameters", dict}});
  CHECK(wrong_with(config).empty());
  config["max_position_embeddings"] = 2048;
  CHECK_THAT(wrong_with(config),
             ContainsSubstring("rope_parameters.max_position_embeddings = 4096"));
  CHECK(wrong_with(typed("qwen3", {{"sliding_window", 0}, {"use_sliding_window", false}})).empty());
}

TEST_CASE("kinds: heads per layer") {
  const Model model = parse(llama({{"head_dim", 64},
                                   {"num_attention_heads", {8, 8, 4, 4}},
                                   {"num_key_value_heads", {2, 2, 2, 1}}}));
  REQUIRE(model.layers.size() == 3);
  CHECK(model.layers[0].num_heads == 8);
  CHECK(model.layers[1].num_heads == 4);
  CHECK(model.layers[2].num_kv_heads == 1);
  CHECK_THAT(wrong_with(llama({{"head_dim", 64}, {"num_attention_heads", {8, 8}}})),
             ContainsSubstring("for 2 layers, but there are 4"));
  CHECK_THAT(wrong_with(llama({{"head_dim", 64}, {"num_attention_heads", {8, 8, 5, 8}}})),
             ContainsSubstring("must divide"));
}

TEST_CASE("kinds: coordinates of ERNIE 4.5 VL, and of GLM-4.1V") {
  const Model ernie =
      parse(typed("ernie4_5_vl_moe_text",
                  {{"rope_theta", nullptr},
                   {"rope_parameters", {{"rope_theta", 5e5}, {"mrope_section", {11, 11, 10}}}}}));
  const auto& axis = rotation(ernie).axes.of_pair;
  REQUIRE(axis.size() == 32);
  CHECK((axis[0] == 1 && axis[1] == 2 && axis[20] == 1 && axis[21] == 2 && axis[22] == 0 &&
         axis[31] == 0));
  CHECK(rotation(ernie).layout == LayoutName::interleaved);
  const Model glm = parse(typed(
      "glm4v_text", {{"head_dim", 128},
                     {"partial_rotary_factor", 0.5},
                     {"rope_scaling", {{"type", "default"}, {"mrope_section", {8, 12, 12}}}}}));
  CHECK(rotation(glm).layout == LayoutName::interleaved);
  CHECK(rotation(glm).axes.rule == posenc::MRoPE{.sections = {8, 12, 12}});
}

TEST_CASE("scale: GPT-2 and its kin leave scores as they are where scale_attn_weights is false") {
  for (const char* type : {"gpt2", "gpt_bigcode", "imagegpt", "decision_transformer"})
    for (const bool on : {true, false}) {
      const auto model =
          posenc::huggingface::parse({{"model_type", type}, {"scale_attn_weights", on}});
      CHECK(kind(model, "full_attention").score.softmax_scale == (on ? 0 : 1));
    }
}

TEST_CASE("scale: attn_config is read of the types whose code reads it") {
  const json scale = {{"softmax_scale", 0.25}};
  CHECK(kind(posenc::huggingface::parse({{"model_type", "mpt"}, {"attn_config", scale}}),
             "full_attention")
            .score.softmax_scale == 0.25);
  const auto other = posenc::huggingface::parse(llama({{"attn_config", scale}}));
  CHECK(kind(other, "full_attention").score.softmax_scale == 0);
  CHECK_THAT(notes_of(other), ContainsSubstring("not read by posenc: attn_config"));
}

}  // namespace kinds_cases
