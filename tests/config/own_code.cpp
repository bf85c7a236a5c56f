// SPDX-License-Identifier: MIT
//
// Types whose code comes with their checkpoints, as that code does it. What is compared was written
// from the code that own_code.hpp names; frequencies are computed here in long double.
#include "own_code.hpp"

#include <algorithm>
#include <cmath>

using posenc::Index;
using posenc::Position;
using posenc::huggingface::LayoutName;
using posenc::huggingface::parse;

namespace own_code_cases {

Model read(const char* name) { return parse(own_code(name).file); }

json changed(const char* name, const json& more) {
  json file = own_code(name).file;
  file.update(more);
  return file;
}

/// Hugging Face's dynamic NTK at T tokens: the base that its code computes.
double dynamic_base(double base, double factor, double trained, double tokens, double dim) {
  return base * std::pow(factor * tokens / trained - (factor - 1), dim / (dim - 2));
}

/// base^(-2i/d) for the first d channels of a head, as the layout has them; nothing scaled.
void require_plain(const LayerKind& layer, LayoutName layout, Index rotary_dim, double base,
                   Position length = 0) {
  REQUIRE(layer.rotary.has_value());
  CHECK(layer.rotary->layout == layout);
  CHECK(layer.rotary->rotary_dim == rotary_dim);
  CHECK(layer.rotary->rotary_offset == 0);
  const auto state = layer.rotary->state(length);
  REQUIRE(state.inv_freq.size() == rotary_dim / 2);
  for (Index i = 0; i < rotary_dim / 2; ++i) {
    const long double expected =
        std::pow(static_cast<long double>(base),
                 -2.0L * static_cast<long double>(i) / static_cast<long double>(rotary_dim));
    CHECK(state.inv_freq[i] == Approx(static_cast<double>(expected)).epsilon(1e-12));
  }
  CHECK(state.attention_factor == 1);
}

void require_heads(const LayerKind& layer, Index heads, Index kv_heads, Index head_dim) {
  CHECK(layer.num_heads == heads);
  CHECK(layer.num_kv_heads == kv_heads);
  CHECK(layer.head_dim == head_dim);
  CHECK(layer.score.score_scale(head_dim) ==
        Approx(1 / std::sqrt(static_cast<double>(head_dim))).epsilon(1e-12));
}

TEST_CASE("own code: ChatGLM turns half of a head in adjacent pairs, and its base by rope_ratio") {
  const Model glm = read("glm-4-9b-chat-1m");
  CHECK(glm.max_position_embeddings == 1'048'576);
  CHECK(glm.num_layers == 40);
  require_heads(kind(glm, "full_attention"), 32, 4, 128);
  require_plain(kind(glm, "full_attention"), LayoutName::interleaved, 64, 1e8);
  require_plain(kind(read("original_rope false"), "full_attention"), LayoutName::half_split, 64,
                1e4);
  // The class has one group where the file gives none, and as many as heads without the flag.
  json file = changed("glm-4-9b-chat-1m", json::object());
  file.erase("multi_query_group_num");
  CHECK(kind(parse(file), "full_attention").num_kv_heads == 1);
  file = changed("glm-4-9b-chat-1m", {{"multi_query_attention", false}});
  CHECK(kind(parse(file), "full_attention").num_kv_heads == 32);
  // The first ChatGLM has two positions per token.
  CHECK_THAT(wrong_with(changed("glm-4-9b-chat-1m", {{"position_encoding_2d", true}})),
             ContainsSubstring("position_encoding_2d = true is not supported"));
}

TEST_CASE("own code: Baichuan rotates with 7B and has ALiBi with 13B") {
  require_heads(kind(read("baichuan-7B"), "full_attention"), 32, 32, 128);
  require_plain(kind(read("baichuan-7B"), "full_attention"), LayoutName::half_split, 128, 1e4);
  const Model large = read("Baichuan2-13B-Chat");
  const LayerKind& layer = kind(large, "full_attention");
  CHECK(large.max_position_embeddings == 4096);
  require_heads(layer, 40, 40, 128);
  CHECK_FALSE(layer.rotary);
  REQUIRE(layer.alibi);
  // _get_interleave: 32 powers of 2^(-1/4), then the odd ones of 2^(-1/8); not scaled.
  const auto slopes = posenc::alibi_slopes(40, layer.alibi->max_bias);
  for (std::size_t h = 0; h < 40; ++h) {
    const double exponent =
        h < 32 ? -static_cast<double>(h + 1) / 4 : -(2 * static_cast<double>(h - 32) + 1) / 8;
    CHECK(slopes[h] == Approx(std::exp2(exponent)).epsilon(1e-12));
  }
  CHECK(layer.alibi->slope_factor == 1);
  CHECK_THAT(wrong_with(changed("baichuan-7B", {{"num_attention_heads", 64}})),
             ContainsSubstring("num_attention_heads = 64: Baichuan rotates with 32 heads"));
}

TEST_CASE("own code: the first InternLM scales by keys of its own") {
  require_heads(kind(read("internlm-20b"), "full_attention"), 40, 40, 128);
  require_plain(kind(read("internlm-20b"), "full_attention"), LayoutName::half_split, 128, 1e4);
  require_plain(kind(read("rotary origin"), "full_attention"), LayoutName::half_split, 128, 2e4);
  const Model dynamic = read("rotary dynamic");
  require_plain(kind(dynamic, "full_attention"), LayoutName::half_split, 128, 1e4, 2048);
  CHECK(rotation(dynamic).type == "dynamic");
  require_plain(kind(dynamic, "full_attention"), LayoutName::half_split, 128,
                dynamic_base(1e4, 1, 2048, 6000, 128), 6000);
  const auto with = [](const json& rotary, const json& more = json::object()) {
    json file = changed("rotary dynamic", {{"rotary", rotary}});
    file.update(more);
    return file;
  };
  require_plain(kind(parse(with({{"base", 5e4}, {"type", "dynamic"}, {"scaling_factor", 2}})),
                     "full_attention"),
                LayoutName::half_split, 128, dynamic_base(5e4, 2, 2048, 6000, 128), 6000);
  const auto refuses = [](const json& file, const char* why) {
    const std::string sentences = wrong_with(file);
    CHECK_THAT(sentences, ContainsSubstring(why));
    CHECK(std::count(sentences.begin(), sentences.end(), '\n') == 1);
  };
  refuses(with({{"base", 1e4}, {"type", "linear"}}),
          "rotary.type must be \"origin\" or \"dynamic\"");
  refuses(with({{"type", "dynamic"}, {"scaling_factor", 0.5}}),
          "rotary.scaling_factor must be between 1");
  refuses(with({{"type", "origin"}, {"bass", 1}}), "rotary.bass = 1 is not a key");
  refuses(with({{"base", 1e4}, {"type", "origin"}}, {{"rope_theta", 5e4}}),
          "rotary.base = 10000 and rope_theta = 50000 contradict");
  refuses(with({{"type", "origin"}}, {{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}),
          "are two schemes: keep one");
  refuses(with({{"type", "dynamic"}}, {{"max_position_embeddings", nullptr}}),
          "rotary.type \"dynamic\" needs max_position_embeddings");
}

TEST_CASE("own code: InternLM 2") {
  const Model model = read("internlm2-chat-7b");
  require_heads(kind(model, "full_attention"), 32, 8, 128);
  require_plain(kind(model, "full_attention"), LayoutName::half_split, 128, 1e6);
  const Model longer = read("internlm2 dynamic");
  require_plain(kind(longer, "full_attention"), LayoutName::half_split, 128, 1e6, 32768);
  require_plain(kind(longer, "full_attention"), LayoutName::half_split, 128,
                dynamic_base(1e6, 2, 32768, 1e5, 128), 100'000);
}

TEST_CASE("own code: Phi-3-small is refused in one sentence") {
  const std::string sentences = wrong_with(own_code("Phi-3-small-8k-instruct").file);
  CHECK(sentences ==
        "model_type \"phi3small\" cannot be expressed: all layers but every "
        "dense_attention_every_n_layers-th see some blocks of keys only, others for each head.\n");
}

TEST_CASE("own code: Phi-4-multimodal has a window in every layer and two lists of factors") {
  const Model model = read("Phi-4-multimodal-instruct");
  const LayerKind& layer = kind(model, "sliding_attention");
  CHECK(layer.layers.size() == 32);
  CHECK(layer.window == 262'144);
  require_heads(layer, 24, 8, 128);
  const auto& rotary = rotation(model, "sliding_attention");
  CHECK(rotary.layout == LayoutName::half_split);
  CHECK(rotary.rotary_dim == 96);
  for (const Position length : {4096, 4097}) {
    const auto state = rotary.state(length);
    CHECK(state.attention_factor ==
          Approx(std::sqrt(1 + std::log(32.0) / std::log(4096.0))).epsilon(1e-12));
    for (Index i = 0; i < 48; ++i)
      CHECK(state.inv_freq[i] * (length > 4096 ? 2 : 1) ==
            Approx(std::pow(1e4, -static_cast<double>(i) / 48)).epsilon(1e-12));
  }
}

TEST_CASE("own code: Ling turns halves, of the whole head or of its first part") {
  require_heads(kind(read("Ling-lite"), "full_attention"), 16, 4, 128);
  require_plain(kind(read("Ling-lite"), "full_attention"), LayoutName::half_split, 128, 6e5);
  require_heads(kind(read("Ling-mini-2.0"), "full_attention"), 16, 4, 128);
  require_plain(kind(read("Ling-mini-2.0"), "full_attention"), LayoutName::half_split, 64, 6e5);
  // Cosines are multiplied by m(mscale) / m(mscale_all_dim); the scale stays 1/sqrt(head_dim).
  const Model yarn = read("bailing_moe yarn");
  require_heads(kind(yarn, "full_attention"), 16, 4, 128);
  const auto state = rotation(yarn).state();
  CHECK(state.attention_factor ==
        Approx((0.1 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1)).epsilon(1e-12));
  CHECK(state.score_factor == 1);
  CHECK(state.inv_freq[0] == 1);
  CHECK(state.inv_freq[63] == Approx(std::pow(6e5, -63.0 / 64) / 4).epsilon(1e-12));
}

TEST_CASE("own code: MiniMax-Text-01 attends in every eighth layer") {
  const Model model = read("MiniMax-Text-01");
  const LayerKind& layer = kind(model, "full_attention");
  CHECK(layer.layers == std::vector<Index>{7, 15, 23, 31, 39, 47, 55, 63, 71, 79});
  CHECK(kind(model, "linear_attention").layers.size() == 70);
  require_heads(layer, 64, 8, 128);
  require_plain(layer, LayoutName::half_split, 64, 1e7);
  CHECK(layer.window == 0);
  // The class fills these in; its own name for the type is another.
  json file =
      changed("MiniMax-Text-01", {{"model_type", "MiniMaxText01"}, {"sliding_window", 512}});
  file.erase("rope_theta");
  file.erase("num_key_value_heads");
  const Model other = parse(file);
  CHECK(rotation(other, "sliding_attention").base == 1e6);
  CHECK(kind(other, "sliding_attention").num_kv_heads == 8);
  CHECK(kind(other, "sliding_attention").window == 512);
}

TEST_CASE("own code: Kimi Linear rotates nowhere, and its lists of layers must agree") {
  const Model model = read("Kimi-Linear-48B-A3B");
  const LayerKind& layer = kind(model, "no_rope");
  CHECK(layer.layers == std::vector<Index>{3, 7, 11, 15, 19, 23, 26});
  CHECK(kind(model, "linear_attention").layers.size() == 20);
  CHECK(model.max_position_embeddings == 1'048'576);
  require_heads(layer, 32, 32, 192);
  CHECK_FALSE(layer.rotary);
  const auto lists = [](const json& config) {
    return changed("Kimi-Linear-48B-A3B",
                   {{"num_hidden_layers", 4}, {"linear_attn_config", config}});
  };
  CHECK(kind(parse(lists({{"full_attn_layers", {2, 4}}})), "no_rope").layers ==
        std::vector<Index>{1, 3});
  CHECK_THAT(wrong_with(lists({{"kda_layers", {1, 9}}, {"full_attn_layers", {2, 4}}})),
             ContainsSubstring("linear_attn_config.kda_layers has 9"));
  CHECK(wrong_with(lists({{"kda_layers", {1, 2, 3}}, {"full_attn_layers", {2, 4}}})) ==
        "linear_attn_config has layer 2 in both of kda_layers and full_attn_layers: it must be in "
        "one.\n");
  CHECK(
      wrong_with(lists({{"kda_layers", {1}}, {"full_attn_layers", {2, 4}}})) ==
      "linear_attn_config has layer 3 in neither of kda_layers and full_attn_layers: it must be in "
      "one.\n");
  CHECK(wrong_with(changed("Kimi-Linear-48B-A3B", {{"mla_use_nope", false}})) ==
        "mla_use_nope = false is not supported: no code of kimi_linear rotates.\n");
}

TEST_CASE("own code: DeepSeek V3.2 turns adjacent pairs of the last 64 channels") {
  const Model model = read("DeepSeek-V3.2-Exp");
  const LayerKind& layer = kind(model, "full_attention");
  CHECK(layer.layers.size() == 61);
  require_heads(layer, 128, 128, 192);
  const auto& rotary = rotation(model);
  CHECK(rotary.layout == LayoutName::interleaved);
  CHECK(rotary.rotary_dim == 64);
  CHECK(rotary.rotary_offset == 128);
  const auto state = rotary.state();
  const double m = 0.1 * std::log(40.0) + 1;
  CHECK(state.attention_factor == 1);
  CHECK(state.score_factor == Approx(m * m).epsilon(1e-12));
  CHECK(state.inv_freq[0] == 1);
  CHECK(state.inv_freq[31] == Approx(std::pow(1e4, -31.0 / 32) / 40).epsilon(1e-12));
  CHECK_THAT(notes_of(model), ContainsSubstring("selects keys by an indexer"));
}

TEST_CASE(
    "own code: nomic-embed-text sees both ways, and grows its base by rotary_scaling_factor") {
  const Model model = read("nomic-embed-text-v1.5");
  const LayerKind& layer = kind(model, "full_attention");
  CHECK(layer.ahead == LayerKind::everything);
  CHECK(layer.layers.size() == 12);
  require_heads(layer, 12, 12, 64);
  require_plain(layer, LayoutName::half_split, 64, 1000);
  CHECK_THAT(notes_of(model), !ContainsSubstring("max_trained_positions"));
  const Model longer = read("rotary_scaling_factor 2");
  require_plain(kind(longer, "full_attention"), LayoutName::half_split, 64, 1000, 2048);
  require_plain(kind(longer, "full_attention"), LayoutName::half_split, 64,
                dynamic_base(1000, 2, 2048, 8192, 64), 8192);
  require_plain(kind(parse(changed("nomic-embed-text-v1.5", {{"rotary_emb_interleaved", true}})),
                     "full_attention"),
                LayoutName::interleaved, 64, 1000);
  CHECK_THAT(wrong_with(changed("rotary_scaling_factor 2", {{"rotary_emb_scale_base", 512}})),
             ContainsSubstring("rotary_emb_scale_base is not supported beside"));
  CHECK_THAT(wrong_with(changed("nomic-embed-text-v1.5", {{"rotary_emb_fraction", 0}})),
             ContainsSubstring("rotary_emb_fraction must be greater than 0"));
}

TEST_CASE("own code: RefinedWeb, before it was called Falcon") {
  require_heads(kind(read("falcon-7b"), "full_attention"), 71, 1, 64);
  require_plain(kind(read("falcon-7b"), "full_attention"), LayoutName::half_split, 64, 1e4);
  require_heads(kind(read("falcon-40b"), "full_attention"), 128, 8, 64);
  require_plain(kind(read("falcon-40b"), "full_attention"), LayoutName::half_split, 64, 1e4);
  // Its class has as many heads of keys where the file says nothing; Falcon's has one.
  const Model rw = read("falcon-rw, ALiBi");
  const LayerKind& layer = kind(rw, "full_attention");
  require_heads(layer, 32, 32, 64);
  CHECK_FALSE(layer.rotary);
  REQUIRE(layer.alibi);
  CHECK(layer.alibi->slope_factor == Approx(0.125).epsilon(1e-12));  // (q.k + bias) / sqrt(64)
  json file = own_code("falcon-rw, ALiBi").file;
  file.erase("multi_query");
  CHECK(kind(parse(file), "full_attention").num_kv_heads == 32);
  file = own_code("falcon-40b").file;
  file.erase("n_head_kv");
  CHECK(kind(parse(file), "full_attention").num_kv_heads == 128);
}

}  // namespace own_code_cases
