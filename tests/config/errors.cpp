// SPDX-License-Identifier: MIT
//
// What the reader refuses, and how it says so.
#include "fixture.hpp"

#include <cstdio>
#include <fstream>

namespace errors_cases {

json rope(const json& dict, const json& more = json::object()) {
  json config = llama({{"rope_scaling", dict}});
  config.update(more);
  return config;
}

void refuses(const json& config, std::initializer_list<const char*> fragments) {
  const std::string wrong = wrong_with(config);
  INFO(config.dump());
  for (const char* fragment : fragments) CHECK_THAT(wrong, ContainsSubstring(fragment));
}

TEST_CASE("a model_type that is not known needs a layout") {
  refuses(llama({{"model_type", "new_model"}}),
          {"\"new_model\"", "{.layout = huggingface::LayoutName::half_split}",
           "LayoutName::interleaved"});
  json none = llama();
  none.erase("model_type");
  refuses(none, {"model_type is missing", "{.layout ="});
  CHECK(wrong_with(none, {.layout = posenc::huggingface::LayoutName::half_split}).empty());
}

TEST_CASE("missing and mistyped keys") {
  refuses(json::array(), {"must be a JSON object"});
  refuses(llama({{"num_attention_heads", nullptr}}), {"head_dim is missing", "hidden_size (512)"});
  refuses(llama({{"num_attention_heads", 7}}), {"not a multiple of num_attention_heads (7)"});
  refuses(llama({{"num_key_value_heads", 3}}), {"num_key_value_heads must divide", "3 and 8"});
  refuses(llama({{"rope_theta", "10000"}}), {"rope_theta must be a number, got \"10000\""});
  refuses(llama({{"max_position_embeddings", 4096.5}}),
          {"max_position_embeddings must be a whole number, got 4096.5"});
  refuses(llama({{"rope_scaling", 4}}), {"rope_scaling must be an object, got 4"});
  refuses(llama({{"rope_theta", -1.0}}), {"base must be positive"});
  refuses(llama({{"partial_rotary_factor", 1.5}}),
          {"partial_rotary_factor must be greater than 0 and at most 1, got 1.5"});
  refuses(llama({{"partial_rotary_factor", 0.55}}),
          {"partial_rotary_factor = 0.55 of heads of 64", "35 channels", "even"});
  refuses(llama({{"qk_rope_head_dim", 64}}), {"qk_rope_head_dim = 64 needs qk_nope_head_dim"});
  refuses(llama({{"head_dim", 1e12}}), {"head_dim must be between 1 and 65536"});
  refuses(llama({{"num_hidden_layers", 1e12}}), {"num_hidden_layers must be between 1 and 65536"});
  refuses(llama({{"num_hidden_layers", 0}}),
          {"num_hidden_layers must be between 1 and 65536, got 0"});
  refuses(rope({{"rope_type", "linear"}}),
          {"rope_type \"linear\" needs rope_scaling.factor, which is missing"});
  refuses(rope({{"rope_type", "yarn"}}), {"needs rope_scaling.factor", "null means"});
  refuses(rope({{"rope_type", "llama3"}, {"factor", 8}}), {"low_freq_factor", "high_freq_factor"});
  refuses(rope({{"rope_type", "longrope"}}), {"short_factor", "long_factor"});
  refuses(rope({{"rope_type", "dynamic"}, {"factor", 2}}, {{"max_position_embeddings", nullptr}}),
          {"needs max_position_embeddings"});
  refuses(rope({{"rope_type", "yarn"}, {"factor", "4"}}),
          {"rope_scaling.factor must be a number, got \"4\""});
  refuses(rope({{"type", "mrope"}}), {"mrope_section is missing"});
  refuses(rope({{"type", "mrope"}, {"mrope_section", {16, 24, 24}}}),
          {"sum to the 32 rotary pairs", "got [16,24,24]"});
}

TEST_CASE("schemes and keys that are not known") {
  refuses(rope({{"rope_type", "ynar"}, {"factor", 2}}),
          {"rope_scaling.rope_type = \"ynar\"", "default, linear"});
  const json misspelt =
      rope({{"rope_type", "linear"}, {"factor", 2}, {"original_max_positions", 2048}});
  refuses(misspelt, {"rope_scaling.original_max_positions = 2048 is not a key that posenc knows"});
  CHECK(wrong_with(misspelt, {.ignore_unknown_keys = true}).empty());
  refuses(rope({{"factor", 2}}),
          {"rope_scaling.factor = 2 is given, but neither rope_type nor type"});
  // a key of another scheme is reported, not refused
  const Model model =
      posenc::huggingface::parse(rope({{"rope_type", "linear"}, {"factor", 2}, {"beta_fast", 32}}));
  CHECK_THAT(notes_of(model), ContainsSubstring("ignored: rope_scaling.beta_fast = 32"));
}

TEST_CASE("values out of range") {
  for (const char* type : {"linear", "yarn", "dynamic", "ntk"})
    refuses(rope({{"rope_type", type}, {"factor", 0.25}}),
            {"rope_scaling.factor must be at least 1, got 0.25"});
  refuses(rope({{"rope_type", "yarn"}, {"factor", 1}, {"attention_factor", 0.0}}),
          {"attention_factor must be between"});
  refuses(rope({{"rope_type", "yarn"}, {"factor", 1}, {"beta_fast", 1}, {"beta_slow", 32}}),
          {"beta_fast 1 and beta_slow 32"});
  refuses(rope({{"rope_type", "longrope"},
                {"short_factor", {1, 1}},
                {"long_factor", {2, 2}},
                {"original_max_position_embeddings", 4096}}),
          {"short_factor must have a value per rotary pair: 32 values, got 2",
           "long_factor must have"});
}

TEST_CASE("spellings that contradict each other") {
  refuses(rope({{"rope_type", "linear"}, {"type", "yarn"}, {"factor", 2}}),
          {"rope_scaling.rope_type = \"linear\"", "rope_scaling.type = \"yarn\""});
  refuses(rope({{"rope_type", "default"}, {"rope_theta", 5e5}}),
          {"rope_scaling.rope_theta = 500000 and rope_theta = 10000"});
  refuses(rope({{"rope_type", "default"}, {"partial_rotary_factor", 0.5}},
               {{"partial_rotary_factor", 0.25}}),
          {"partial_rotary_factor = 0.5", "= 0.25"});
  refuses(rope({{"rope_type", "linear"}, {"factor", 2}},
               {{"rope_parameters", {{"rope_type", "linear"}, {"factor", 4}}}}),
          {"rope_parameters and rope_scaling contradict each other", "\"factor\":4",
           "\"factor\":2"});
  refuses(llama({{"model_type", "gptj"}, {"rotary_dim", 32}, {"partial_rotary_factor", 0.25}}),
          {"rotary_dim = 32", "0.25"});
  refuses(
      rope(
          {{"rope_type", "yarn"}, {"factor", 1}, {"attention_factor", 1.5}, {"attn_factor", 1.25}}),
      {"attention_factor = 1.5", "attn_factor = 1.25"});
  refuses({{"model_type", "gemma3"}, {"rope_theta", 1.0}, {"text_config", llama()}},
          {"text_config.rope_theta"});
}

TEST_CASE("lengths that contradict each other") {
  const auto yarn = [](double factor, int original, int max) {
    return rope(
        {{"rope_type", "yarn"}, {"factor", factor}, {"original_max_position_embeddings", original}},
        {{"max_position_embeddings", max}});
  };
  refuses(yarn(2, 4096, 131072),
          {"rope_scaling.factor = 2", "max_position_embeddings = 131072",
           "original_max_position_embeddings = 4096", "which is 32", "8192 positions only"});
  refuses(yarn(2, 8192, 4096), {"max_position_embeddings = 4096", "= 8192", "the shorter one"});
  CHECK(wrong_with(yarn(4, 4096, 16384)).empty());
  CHECK(wrong_with(yarn(4, 32768, 32768)).empty());  // the unextended length, as Qwen2.5
  CHECK(wrong_with(yarn(4, 32768, 40960)).empty());  // Qwen3
  CHECK(wrong_with(rope({{"rope_type", "llama3"},
                         {"factor", 8},
                         {"low_freq_factor", 1},
                         {"high_freq_factor", 4},
                         {"original_max_position_embeddings", 8192}},
                        {{"max_position_embeddings", 131072}}))
            .empty());
  refuses(rope({{"rope_type", "longrope"},
                {"short_factor", std::vector<double>(32, 1)},
                {"long_factor", std::vector<double>(32, 1)},
                {"factor", 8.0},
                {"original_max_position_embeddings", 4096}},
               {{"max_position_embeddings", 131072}}),
          {"factor = 8", "which is 32"});
}

TEST_CASE("layers that contradict each other") {
  refuses(llama({{"layer_types", {"full_attention"}}}),
          {"layer_types has 1 entries, but num_hidden_layers is 4"});
  refuses(
      llama({{"layer_types", {"full_attention", "linear", "full_attention", "full_attention"}}}),
      {"layer_types[1] = \"linear\" is not a kind of layer"});
  refuses(llama({{"model_type", "gemma2"},
                 {"sliding_window", nullptr},
                 {"layer_types", std::vector<std::string>(4, "sliding_attention")}}),
          {"there is no sliding_window"});
  refuses(llama({{"model_type", "smollm3"}, {"no_rope_layers", {1, 0}}}),
          {"no_rope_layers has 2 entries for 4 layers"});
  refuses(llama({{"model_type", "gemma2"}, {"num_hidden_layers", nullptr}}),
          {"num_hidden_layers is missing"});
  CHECK_THAT(wrong_with(llama({{"model_type", "new"}, {"sliding_window", 8}}),
                        {.layout = posenc::huggingface::LayoutName::half_split}),
             ContainsSubstring("which layers slide is not known"));
  refuses(rope({{"full_attention", {{"rope_type", "default"}}}, {"factor", 2}}),
          {"mixes kinds of layers"});
  refuses(llama({{"model_type", "gemma2"},
                 {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}}),
          {"rope_parameters has no dictionary for sliding_attention"});
  refuses(llama({{"model_type", "gemma3_text"},
                 {"num_hidden_layers", 6},
                 {"rope_theta", nullptr},
                 {"rope_local_base_freq", 20000},
                 {"rope_parameters",
                  {{"full_attention", {{"rope_theta", 1e6}}},
                   {"sliding_attention", {{"rope_theta", 10000}}}}}}),
          {"sliding_attention.rope_theta = 10000", "rope_local_base_freq = 20000"});
  refuses(llama({{"model_type", "gemma4_text"}}), {"must have a dictionary for full_attention"});
}

TEST_CASE("what no encoding of this library stands for") {
  refuses(llama({{"model_type", "t5"}}), {"T5Bias", "relative_attention_num_buckets = 32"});
  refuses(llama({{"use_bidirectional_attention", true}}), {"use_bidirectional_attention"});
  refuses(llama({{"is_causal", false}}), {"is_causal"});
  refuses(llama({{"position_embedding_type", "alibi"}}), {"position_embedding_type = \"alibi\""});
  refuses(llama({{"alibi", true}}), {"alibi = true"});
}

TEST_CASE("all problems come at once") {
  const std::string wrong = wrong_with(
      llama({{"num_key_value_heads", 3},
             {"max_position_embeddings", 131072},
             {"rope_scaling",
              {{"rope_type", "yarn"}, {"type", "linear"}, {"factor", 0.5}, {"orig", 1}}}}));
  for (const char* fragment :
       {"num_key_value_heads", "contradict", "at least 1", "rope_scaling.orig"})
    CHECK_THAT(wrong, ContainsSubstring(fragment));
}

TEST_CASE("files that cannot be read") {
  const auto message = [](const std::string& path) -> std::string {
    try {
      (void)posenc::huggingface::read(path);
    } catch (const posenc::Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK_THAT(message("no/such/config.json"), ContainsSubstring("cannot read no/such/config.json"));
  CHECK_THAT(message(POSENC_MODELS_DIR), ContainsSubstring("cannot read"));
  const std::string broken = "posenc_test_broken.json";
  std::ofstream(broken) << "{\n  \"model_type\": \"llama\",\n  oops\n}\n";
  CHECK_THAT(message(broken), ContainsSubstring(broken) && ContainsSubstring("not JSON") &&
                                  ContainsSubstring("line 3"));
  std::ofstream(broken) << "{\"rope_theta\": 1e999}";
  CHECK_THAT(message(broken), ContainsSubstring(broken) && ContainsSubstring("overflow"));
  std::ofstream(broken) << "{}";
  CHECK_THAT(message(broken),
             ContainsSubstring(broken) && ContainsSubstring("model_type is missing"));
  std::remove(broken.c_str());
}

}  // namespace errors_cases
