// SPDX-License-Identifier: MIT
//
// Files that nobody would write by accident, or that something cut or broke: each ends in one
// sentence, soon, and none in a crash.
#include "fixture.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>

using posenc::huggingface::parse;

namespace hostile_cases {

/// What is wrong with a file that holds this text.
std::string wrong_with_text(const std::string& text) {
  const std::string path = "posenc_test_hostile.json";
  std::ofstream(path, std::ios::binary) << text;
  std::string message;
  try {
    (void)posenc::huggingface::read(path);
  } catch (const posenc::Error& error) {
    for (const std::string& problem : error.problems()) message += problem + "\n";
  }
  std::remove(path.c_str());
  return message;
}

void one_sentence(const json& config, std::initializer_list<const char*> fragments) {
  const std::string wrong = wrong_with(config);
  INFO(wrong);
  CHECK(std::count(wrong.begin(), wrong.end(), '\n') == 1);
  CHECK(wrong.size() < 400);
  for (const char* fragment : fragments) CHECK_THAT(wrong, ContainsSubstring(fragment));
}

std::string with_key(const std::string& key_and_value) {
  std::string text = llama().dump();
  text.back() = ',';
  return text + key_and_value + "}";
}

TEST_CASE("hostile: nesting has a limit, in files and in values at hand") {
  for (const std::size_t depth : {std::size_t{100}, std::size_t{200'000}}) {
    for (const char* open : {"[", "{\"a\":"}) {
      std::string nested;
      for (std::size_t i = 0; i < depth; ++i) nested += open;
      CHECK_THAT(wrong_with_text(with_key("\"x\":" + nested)), ContainsSubstring("nested deeper"));
    }
  }
  json deep = json::array();
  for (int i = 0; i < 300; ++i) deep = json::array({std::move(deep)});
  CHECK_THAT(wrong_with(llama({{"x", deep}})), ContainsSubstring("nested deeper"));
  CHECK(wrong_with_text(with_key("\"x\":[[[[{\"y\":[1]}]]]]")).empty());
}

TEST_CASE("hostile: long strings and lists are echoed in part") {
  const std::string text(3'000'000, 'x');
  for (const char* key : {"rope_theta", "num_attention_heads", "rope_scaling", "sliding_window",
                          "layer_types", "max_position_embeddings"}) {
    const std::string wrong = wrong_with(llama({{"model_type", "mistral"}, {key, text}}));
    INFO(key << ": " << wrong.substr(0, 1000));
    CHECK(!wrong.empty());
    CHECK(wrong.size() < 400);
    CHECK_THAT(wrong, ContainsSubstring(key));
  }
  CHECK(wrong_with(llama({{"model_type", text}})).size() < 600);
  CHECK(wrong_with(llama({{"rope_scaling", {{"rope_type", text}}}})).size() < 400);
  CHECK(wrong_with(llama({{"rope_scaling", {{text, 1}}}})).size() < 400);
  const json list(100'000, 7);
  CHECK(wrong_with(llama({{"rope_theta", list}})).size() < 400);
  CHECK(wrong_with(llama({{"num_attention_heads", json(100'000, 0)}})).size() < 400);
  CHECK(wrong_with(llama({{"rope_scaling", {{"rope_type", "default"}, {"x", list}}}})).size() <
        400);
}

TEST_CASE("hostile: files beyond what a configuration can be") {
  CHECK_THAT(wrong_with_text("{\"x\":\"" + std::string(40 << 20, 'y') + "\"}"),
             ContainsSubstring("more than 33554432 bytes"));
  CHECK_THAT(wrong_with_text(""), ContainsSubstring("not JSON"));
  CHECK_THAT(wrong_with_text(with_key("\"x\":\"\xff\xfe\"")), ContainsSubstring("not JSON"));
  CHECK(wrong_with_text("[" + std::string(1'000'000, '1')).size() < 500);
}

TEST_CASE("hostile: what Python writes where a number is not finite") {
  CHECK(wrong_with_text(with_key("\"limits\":[0.0,Infinity,-Infinity,NaN]")).empty());
  CHECK_THAT(wrong_with_text(R"({"model_type":"llama","rope_theta":Infinity})"),
             ContainsSubstring("rope_theta must be a number, got \"Infinity\""));
  CHECK_THAT(
      wrong_with_text(R"({"model_type":"llama","rope_scaling":{"type":"linear","factor":NaN}})"),
      ContainsSubstring("rope_scaling.factor must be a number, got \"NaN\""));
  CHECK(wrong_with_text(with_key(R"("x":"a \" Infinity")")).empty());
}

TEST_CASE("hostile: a key that stands twice") {
  CHECK_THAT(wrong_with_text(with_key("\"head_dim\":64,\"head_dim\":128")),
             ContainsSubstring("head_dim stands twice, with 64 and 128"));
  CHECK_THAT(wrong_with_text(with_key(R"("rope_scaling":{"type":"linear","factor":2,"factor":4})")),
             ContainsSubstring("rope_scaling.factor stands twice, with 2 and 4"));
  CHECK(wrong_with_text(with_key("\"head_dim\":64,\"head_dim\":64")).empty());
}

TEST_CASE("hostile: one wrong value is one sentence, with its key") {
  for (const json& value : {json(-8), json(0), json("8"), json(8.5), json(1e9), json::array(),
                            json({8, -1}), json(true), json::object()})
    one_sentence(llama({{"num_attention_heads", value}}), {"num_attention_heads"});
  for (const json& value : {json(-2), json(0), json("2"), json(3)})
    one_sentence(llama({{"num_key_value_heads", value}}), {"num_key_value_heads"});
  for (const json& value : {json(-1), json(0), json(1e12), json("64"), json(0.5)})
    one_sentence(llama({{"head_dim", value}}), {"head_dim"});
  for (const json& value : {json(-512), json("512"), json(1e30)})
    one_sentence(llama({{"hidden_size", value}}), {"hidden_size"});
  for (const json& value : {json(-4096), json(0), json("4096"), json(1e30)})
    one_sentence(llama({{"max_position_embeddings", value}}), {"max_position_embeddings"});
  for (const json& value : {json(-1), json(0), json(1), json(0.5), json("1e4"), json(false)})
    one_sentence(llama({{"rope_theta", value}}), {"rope_theta"});
  for (const json& value : {json(-1), json(0), json(1e-3), json(1.5), json("half")})
    one_sentence(llama({{"partial_rotary_factor", value}}), {"partial_rotary_factor"});
  for (const json& value : {json(-2), json(0), json(1e12), json("2"), json(70)})
    one_sentence(llama({{"rotary_dim", value}}), {value == 70 ? "rotary_dim" : "rotary_dim"});
  for (const json& value : {json(-1), json(0), json("8"), json(2.5)})
    one_sentence(llama({{"model_type", "mistral"}, {"sliding_window", value}}), {"sliding_window"});
  for (const json& value : {json(0), json(-3), json(""), json("LXG"), json(2.5)})
    one_sentence(llama({{"model_type", "gemma3_text"}, {"sliding_window_pattern", value}}),
                 {"sliding_window_pattern"});
  for (const json& value : {json(0), json(-256), json("256"), json(1e300)})
    one_sentence(llama({{"model_type", "gemma2"}, {"query_pre_attn_scalar", value}}),
                 {"query_pre_attn_scalar"});
  for (const json& value : {json(0), json(-0.5), json("1")})
    one_sentence(llama({{"model_type", "granite"}, {"attention_multiplier", value}}),
                 {"attention_multiplier"});
}

TEST_CASE("hostile: wrong values of schemes are one sentence each") {
  const auto rope = [](const json& dict) { return llama({{"rope_scaling", dict}}); };
  for (const double factor : {0.0, -2.0, 0.5, 1e12, 1e308})
    for (const char* type : {"linear", "dynamic", "yarn", "llama3", "longrope"}) {
      json dict = {{"rope_type", type},
                   {"factor", factor},
                   {"low_freq_factor", 1},
                   {"high_freq_factor", 4},
                   {"original_max_position_embeddings", 2048}};
      dict["short_factor"] = dict["long_factor"] = std::vector<double>(32, 1.0);
      if (std::string(type) == "yarn") dict.erase("long_factor");
      const std::string wrong = wrong_with(rope(dict));
      INFO(type << " " << factor << ": " << wrong);
      CHECK_THAT(wrong, ContainsSubstring("rope_scaling.factor"));
    }
  for (const json& sections : {json({-1, 17, 16}), json({16, 16}), json({16.5, 8, 7.5}), json("16"),
                               json({1e300, -1e300, 32}), json::array()})
    one_sentence(rope({{"type", "mrope"}, {"mrope_section", sections}}), {"mrope_section"});
  one_sentence(rope({{"rope_type", 7}, {"factor", 2}}), {"rope_type must be a string, got 7"});
  one_sentence({{"model_type", "mpt"},
                {"n_heads", 8},
                {"d_model", 512},
                {"n_layers", 2},
                {"attn_config", {{"alibi_bias_max", -8}}}},
               {"attn_config.alibi_bias_max", "-8"});
  one_sentence({{"model_type", "bloom"}, {"n_head", 1e9}, {"hidden_size", 1e9}}, {"n_head"});
}

TEST_CASE("hostile: a large file is read in the time that it takes to read it") {
  std::string many;
  for (int i = 0; i < 30'000; ++i) many += ",\"key_" + std::to_string(i) + "\":[1,2,3]";
  const auto start = std::chrono::steady_clock::now();
  CHECK(wrong_with_text(with_key("\"y\":1" + many)).empty());
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("hostile: a key of the class's own table is none of a file") {
  for (const char* letters : {"Z", "F", "", "!"}) {
    const json config = {{"model_type", "gemma2"}, {"default_layers", letters}};
    CHECK(kind(parse(config), "sliding_attention").layers.size() == 13);
    CHECK_THAT(notes_of(parse(config)), ContainsSubstring("default_layers"));
  }
  CHECK_FALSE(posenc::huggingface::LayerPlan{.type = "?"}.attends());
}

TEST_CASE("hostile: very many faults end in twenty sentences, soon") {
  const auto start = std::chrono::steady_clock::now();
  const auto twenty = [](const std::string& wrong) {
    INFO(wrong.substr(0, 2000));
    CHECK(std::count(wrong.begin(), wrong.end(), '\n') == 21);
    CHECK_THAT(wrong, ContainsSubstring("and ") && ContainsSubstring(" more.\n"));
  };
  json keys = {{"model_type", "x"}}, scaling = json::object();
  std::string twice = "{\"x\":0";
  for (int i = 0; i < 100'000; ++i) {
    keys["rope_" + std::to_string(i)] = 1;
    scaling["k" + std::to_string(i)] = 1;
    twice += ",\"x\":" + std::to_string(i + 1);
  }
  twenty(wrong_with(keys, {.layout = posenc::huggingface::LayoutName::half_split}));
  twenty(wrong_with(llama({{"rope_scaling", scaling}})));
  twenty(wrong_with_text(twice + "}"));
  json groups = json::array(), heads = json::array();
  for (int i = 0; i < 65'536; ++i) {
    groups.push_back({json::array(), 65'536});
    heads.push_back(i + 1);
  }
  one_sentence(llama({{"model_type", "gpt_neo"}, {"attention_types", groups}}),
               {"attention_types must be"});
  one_sentence(llama({{"num_attention_heads", heads},
                      {"num_key_value_heads", nullptr},
                      {"head_dim", 64},
                      {"num_hidden_layers", 65'536}}),
               {"more than 64 kinds"});
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("hostile: scales and temperatures beyond what scores can bear") {
  const auto yarn = [](const char* type, const char* key, double value) {
    return llama({{"model_type", type},
                  {"qk_rope_head_dim", 64},
                  {"qk_nope_head_dim", 64},
                  {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}, {key, value}}}});
  };
  for (const double value : {1e200, -1.0})
    for (const char* key : {"mscale_all_dim", "mscale"})
      one_sentence(yarn("deepseek_v3", key, value), {key});
  for (const double value : {1e300, -1.0, 0.0})
    one_sentence(yarn("llama", "attention_factor", value), {"rope_scaling.attention_factor"});
  one_sentence(yarn("llama", "llama_4_scaling_beta", 1e308), {"llama_4_scaling_beta"});
  one_sentence(llama({{"model_type", "gemma2"}, {"query_pre_attn_scalar", 1e-320}}),
               {"query_pre_attn_scalar must be between"});
  one_sentence(llama({{"model_type", "granite"}, {"attention_multiplier", 1e-320}}),
               {"attention_multiplier must be between"});
  one_sentence(llama({{"model_type", "llama4_text"}, {"attn_scale", 1e308}}), {"attn_scale"});
  for (const double value : {-50.0, 0.0})
    one_sentence(llama({{"model_type", "gemma2"}, {"attn_logit_softcapping", value}}),
                 {"attn_logit_softcapping"});
  CHECK_THAT(wrong_with({{"model_type", "t5"}, {"relative_attention_num_buckets", -1}}),
             ContainsSubstring("relative_attention_num_buckets must be between 1"));
}

}  // namespace hostile_cases
