// SPDX-License-Identifier: MIT
//
// A fuzzer's bytes as a config.json: keys that the reader knows with values that they should not
// have, or the bytes themselves as text. What the reader accepts can be explained and bound; what
// it refuses it refuses in sentences of a decent length.
#include <posenc/bind/bind.hpp>
#include <posenc/config/huggingface.hpp>

#include "bytes.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

using nlohmann::json;

using fuzz::Bytes;

// clang-format off
constexpr const char* keys[] = {
    "num_attention_heads", "n_head", "num_key_value_heads", "num_kv_heads", "num_hidden_layers", "n_layer",
    "hidden_size", "d_model", "head_dim", "kv_channels", "qk_rope_head_dim", "qk_nope_head_dim", "rope_theta",
    "rotary_emb_base", "rope_scaling", "rope_parameters", "partial_rotary_factor", "rotary_pct", "rotary_dim",
    "max_position_embeddings", "n_positions", "original_max_position_embeddings", "sliding_window", "window_size",
    "use_sliding_window", "max_window_layers", "layer_types", "layers_block_type", "hybrid_override_pattern",
    "attention_types", "attn_type_list", "linear_attn_config", "attn_layer_indices", "attn_layer_period",
    "attn_layer_offset", "sliding_window_pattern", "full_attention_interval", "no_rope_layers",
    "no_rope_layer_interval", "attention_chunk_size", "query_pre_attn_scalar", "attention_multiplier",
    "rope_local_base_freq", "rope_interleave", "alibi", "attn_config", "position_embedding_type", "is_causal",
    "text_config", "llm_config", "thinker_config", "rope_ratio", "global_head_dim", "mla_use_nope", "seq_length",
    "use_dynamic_ntk", "use_logn_attn", "attn_scale", "floor_scale", "local_attention", "is_decoder", "mamba_d_state",
    "cross_attention_layers", "block_types", "layer_group_size", "multi_query", "attn_logit_softcapping",
    "rotary", "rotary_scaling_factor", "max_trained_positions", "rotary_emb_scale_base", "original_rope",
    "multi_query_attention", "multi_query_group_num"};
constexpr const char* dictionary_keys[] = {
    "rope_type", "type", "factor", "rope_theta", "original_max_position_embeddings", "attention_factor", "attn_factor",
    "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "finetuned", "short_factor", "long_factor",
    "short_mscale", "long_mscale", "low_freq_factor", "high_freq_factor", "alpha", "mixed_b", "partial_rotary_factor",
    "mrope_section", "mrope_interleaved", "llama_4_scaling_beta", "full_attention", "sliding_attention", "main",
    "full_attn_layers", "kda_layers", "alibi_bias_max", "base", "scaling_factor", "softmax_scale", "max_position_embeddings"};
constexpr const char* texts[] = {
    "", "default", "linear", "dynamic", "yarn", "longrope", "su", "llama3", "proportional", "ntk", "mrope", "LLG",
    "M*E-", "full_attention", "sliding_attention", "linear_attention", "mamba", "conv", "hybrid", "chunked_attention",
    "global", "local", "recurrent", "rope", "absolute", "Infinity", "vision", "\xF0\x9F\x98\x80"};
constexpr double numbers[] = {
    -1e308, -4096, -1, -0.5, 0, 1e-308, 1e-3, 0.25, 0.5, 1, 1.5, 2, 3, 4, 7, 8, 16, 24, 32, 40, 64, 127, 128, 512, 2048,
    4096, 8192, 32768, 65536, 131072, 1e6, 2147483648.0, 1e9, 1e12, 9007199254740993.0, 1e19, 1e300, 1e308};
// clang-format on

json value(Bytes& bytes, int depth);

json object(Bytes& bytes, int depth) {
  json dict = json::object();
  for (std::size_t n = bytes.below(6); n > 0 && bytes.are_left(); --n)
    dict[bytes.one_of(dictionary_keys)] = value(bytes, depth + 1);
  return dict;
}

json value(Bytes& bytes, int depth) {
  switch (bytes.below(depth > 2 ? 6 : 9)) {
    case 0:
      return nullptr;
    case 1:
      return bytes.below(2) == 1;
    case 2:
      return bytes.one_of(texts);
    case 3:
      return static_cast<std::int64_t>(bytes.below(256)) - 8;
    case 4:
    case 5:
      return bytes.one_of(numbers);
    case 6: {
      json list = json::array();
      for (std::size_t n = bytes.below(9); n > 0; --n) list.push_back(value(bytes, depth + 1));
      return list;
    }
    case 7: {  // as long as there are rotary pairs, or layers
      const json item = value(bytes, depth + 2);
      return json(std::size_t{1} << bytes.below(7), item);
    }
    default:
      return object(bytes, depth);
  }
}

std::string model_type(Bytes& bytes) {
  const auto& rows = posenc::config::detail::architecture_rows;
  const std::string_view types = rows[bytes.below(std::size(rows))].types;
  std::size_t at = bytes.below(types.size());
  while (at > 0 && types[at - 1] != ' ') --at;
  return std::string(types.substr(at, types.find(' ', at) - at));
}

json configuration(Bytes& bytes, int depth) {
  json config = json::object();
  if (bytes.below(8) != 0) config["model_type"] = model_type(bytes);
  // Mostly a model of a size that a test can bind.
  if (bytes.below(8) != 0) {
    config["num_attention_heads"] = 8;
    config["hidden_size"] = 512;
    config["num_hidden_layers"] = 4;
    config["max_position_embeddings"] = 4096;
  }
  while (bytes.are_left() && bytes.below(16) != 0) {
    const std::string key = bytes.one_of(keys);
    config[key] = key.ends_with("_config") && depth < 3 && bytes.below(4) != 0
                      ? configuration(bytes, depth + 1)
                      : value(bytes, depth);
  }
  return config;
}

[[noreturn]] void fail(const std::string& what, const std::string& text) {
  std::fprintf(stderr, "%s\n%s\n", what.c_str(), text.c_str());
  std::abort();
}

void check(const json& config, const posenc::huggingface::Options& options,
           const std::string& text) {
  try {
    const auto model = posenc::huggingface::parse(config, options);
    try {
      (void)explain(model);
      // A file need not say how many heads there are.
      for (const auto& layer : model.layers)
        if (layer.attends)
          (void)posenc::bind(layer.encoding(),
                             {.num_heads = std::max<posenc::Index>(1, layer.num_heads),
                              .num_kv_heads = std::max<posenc::Index>(1, layer.num_kv_heads),
                              .head_dim = layer.head_dim});
    } catch (const posenc::Error& error) {
      fail(std::string("accepted, but ") + error.what(), text);
    }
  } catch (const posenc::Error& error) {
    for (const std::string& problem : error.problems())
      if (problem.empty() || problem.size() > 900 || problem.find('\n') != std::string::npos)
        fail("an odd sentence: " + problem.substr(0, 2000), text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t count) {
  if (count == 0) return 0;
  Bytes bytes(data + 1, count - 1);
  posenc::huggingface::Options options;
  if ((data[0] & 1U) != 0) options.layout = posenc::huggingface::LayoutName::half_split;
  options.ignore_unknown_keys = (data[0] & 2U) != 0;
  std::string text(reinterpret_cast<const char*>(data + 1), count - 1);
  if ((data[0] & 12U) != 0) text = configuration(bytes, 0).dump();
  posenc::Problems problems;
  const json config = posenc::file::parse_text(text, problems);
  if (problems.empty()) check(config, options, text);
  return 0;
}
