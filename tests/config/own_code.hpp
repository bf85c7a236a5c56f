// SPDX-License-Identifier: MIT
//
// Configurations of types whose code comes with their checkpoints, and where that code was read: a
// repository and a file. own_code.cpp has what the code does with each; golden_configs.cpp lists
// them in docs/encodings/configuration_types.md.
#pragma once

#include "fixture.hpp"

#include <vector>

struct OwnCode {
  std::string name;  ///< the checkpoint, or what was varied
  std::string code;  ///< repository and file
  json file;         ///< the keys that bear on attention, as the checkpoint has them
};

inline const std::vector<OwnCode>& own_code() {
  static const auto varied = [](json file, const char* more) {
    file.update(json::parse(more));
    return file;
  };
  static const json chatglm = json::parse(R"({"model_type": "chatglm", "hidden_size": 4096,
      "kv_channels": 128, "multi_query_attention": true, "multi_query_group_num": 4,
      "num_attention_heads": 32, "num_layers": 40, "original_rope": true, "rope_ratio": 10000,
      "seq_length": 1048576, "apply_query_key_layer_scaling": true})");
  static const json internlm = json::parse(R"({"model_type": "internlm", "hidden_size": 4096,
      "num_attention_heads": 32, "num_hidden_layers": 32, "max_position_embeddings": 2048})");
  static const json internlm2 = json::parse(R"({"model_type": "internlm2", "hidden_size": 4096,
      "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
      "max_position_embeddings": 32768, "rope_theta": 1000000, "rope_scaling": null})");
  static const json ling = json::parse(R"({"model_type": "bailing_moe", "hidden_size": 2048,
      "num_attention_heads": 16, "num_key_value_heads": 4, "num_hidden_layers": 28,
      "max_position_embeddings": 16384, "rope_theta": 600000, "rope_scaling": null})");
  static const json nomic = json::parse(R"({"model_type": "nomic_bert", "n_embd": 768,
      "n_head": 12, "n_layer": 12, "n_positions": 8192, "max_trained_positions": 2048,
      "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": false,
      "rotary_emb_scale_base": null, "rotary_scaling_factor": null, "causal": false})");
  static const json falcon = json::parse(R"({"model_type": "RefinedWebModel", "alibi": false,
      "hidden_size": 4544, "multi_query": true, "n_head": 71, "n_layer": 32})");
  static const json minimax = [] {
    json file = json::parse(R"({"model_type": "minimax_text_01", "hidden_size": 6144,
        "head_dim": 128, "num_attention_heads": 64, "num_key_value_heads": 8,
        "num_hidden_layers": 80, "rotary_dim": 64, "rope_theta": 10000000,
        "attn_type_list": []})");
    for (int layer = 0; layer < 80; ++layer)
      file["attn_type_list"].push_back(layer % 8 == 7 ? 1 : 0);
    return file;
  }();
  static const json phi4mm = [] {
    json file = json::parse(R"({"model_type": "phi4mm", "hidden_size": 3072,
        "num_attention_heads": 24, "num_key_value_heads": 8, "num_hidden_layers": 32,
        "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
        "partial_rotary_factor": 0.75, "rope_theta": 10000.0, "sliding_window": 262144,
        "rope_scaling": {"type": "longrope"}})");
    file["rope_scaling"]["short_factor"] = std::vector<double>(48, 1.0);
    file["rope_scaling"]["long_factor"] = std::vector<double>(48, 2.0);
    return file;
  }();
  static const char* const glm_code = "XuRui314/GLM4v-Finetune, modeling_chatglm.py";
  static const char* const internlm_code =
      "InternLM/InternLM (2023), tools/transformers/internlm_model/modeling_internlm.py";
  static const char* const nomic_code = "aahrong/nomic-embed-text-v1.5, modeling_hf_nomic_bert.py";
  static const std::vector<OwnCode> all{
      {"glm-4-9b-chat-1m", glm_code, chatglm},
      {"original_rope false", "vllm-project/vllm, vllm/model_executor/models/chatglm.py",
       varied(chatglm, R"({"original_rope": false, "rope_ratio": 1})")},
      {"baichuan-7B", "baichuan-inc/Baichuan-7B, models/modeling_baichuan.py",
       json::parse(R"({"model_type": "baichuan", "hidden_size": 4096, "num_attention_heads": 32,
           "num_hidden_layers": 32, "max_position_embeddings": 4096})")},
      {"Baichuan2-13B-Chat", "jrd77/Baichuan2-13B-Chat, modeling_baichuan.py",
       json::parse(R"({"model_type": "baichuan", "hidden_size": 5120, "num_attention_heads": 40,
           "num_hidden_layers": 40, "model_max_length": 4096})")},
      {"internlm-20b", "yangulei/internlm-20b, modeling_internlm.py",
       varied(internlm, R"({"hidden_size": 5120, "num_attention_heads": 40,
           "num_key_value_heads": 40, "num_hidden_layers": 60, "max_position_embeddings": 4096,
           "rope_scaling": null, "rope_theta": 10000.0})")},
      {"rotary dynamic", internlm_code,
       varied(internlm, R"({"rotary": {"base": 10000, "type": "dynamic"}})")},
      {"rotary origin", internlm_code,
       varied(internlm, R"({"rotary": {"base": 20000, "type": "origin"}})")},
      {"internlm2-chat-7b", "NanSang2000/S1mpleAgent, modeling_internlm2.py", internlm2},
      {"internlm2 dynamic", "NanSang2000/S1mpleAgent, modeling_internlm2.py",
       varied(internlm2, R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})")},
      {"Phi-3-small-8k-instruct", "vllm-project/vllm, vllm/model_executor/models/phi3_small.py",
       json::parse(R"({"model_type": "phi3small", "hidden_size": 4096, "num_attention_heads": 32,
           "num_key_value_heads": 8, "num_hidden_layers": 32, "max_position_embeddings": 8192,
           "blocksparse_block_size": 64, "blocksparse_homo_head_pattern": false,
           "blocksparse_num_local_blocks": 16, "blocksparse_vert_stride": 8,
           "dense_attention_every_n_layers": 2, "mup_attn_multiplier": 1.0,
           "mup_use_scaling": true, "rope_embedding_base": 1000000,
           "rope_position_scale": 1.0})")},
      {"Phi-4-multimodal-instruct", "apoorvas-523/projectDL2025, modeling_phi4mm.py", phi4mm},
      {"Ling-lite", "inclusionAI/Ling, models/modeling_bailing_moe.py", ling},
      {"bailing_moe yarn", "inclusionAI/Ling, models/modeling_bailing_moe.py",
       varied(ling, R"({"max_position_embeddings": 65536, "rope_scaling": {"type": "yarn",
           "factor": 4.0, "original_max_position_embeddings": 16384, "mscale": 1.0,
           "mscale_all_dim": 0.5}})")},
      {"Ling-mini-2.0", "inclusionAI/Ling-V2, models/modeling_bailing_moe_v2.py",
       varied(ling, R"({"head_dim": 128, "num_hidden_layers": 20, "partial_rotary_factor": 0.5,
           "max_position_embeddings": 32768})")},
      {"MiniMax-Text-01", "zzp1012/nanoGPT, utils/model_minimax/modeling_minimax_text_01.py",
       minimax},
      {"Kimi-Linear-48B-A3B", "troy12x/quasar-kimi, modeling_kimi.py",
       json::parse(R"({"model_type": "kimi_linear", "head_dim": 72, "hidden_size": 2304,
           "kv_lora_rank": 512, "mla_use_nope": true, "model_max_length": 1048576,
           "num_attention_heads": 32, "num_hidden_layers": 27, "num_key_value_heads": 32,
           "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rope_scaling": null,
           "rope_theta": 10000.0, "linear_attn_config": {
               "full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "head_dim": 128, "num_heads": 32,
               "kda_layers": [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 25,
                              26], "short_conv_kernel_size": 4}})")},
      {"DeepSeek-V3.2-Exp", "deepseek-ai/DeepSeek-V3.2-Exp, inference/model.py",
       json::parse(R"({"model_type": "deepseek_v32", "hidden_size": 7168, "index_head_dim": 128,
           "num_attention_heads": 128, "num_hidden_layers": 61, "qk_nope_head_dim": 128,
           "qk_rope_head_dim": 64, "max_position_embeddings": 163840, "rope_theta": 10000,
           "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1,
               "mscale": 1.0, "mscale_all_dim": 1.0,
               "original_max_position_embeddings": 4096}})")},
      {"nomic-embed-text-v1.5", nomic_code, nomic},
      {"rotary_scaling_factor 2", nomic_code, varied(nomic, R"({"rotary_scaling_factor": 2})")},
      {"falcon-7b", "christokt/FalconLLM, modelling_RW.py", falcon},
      {"falcon-rw, ALiBi", "christokt/FalconLLM, modelling_RW.py",
       varied(falcon, R"({"alibi": true, "hidden_size": 2048, "multi_query": false, "n_head": 32,
           "n_layer": 24})")},
      {"falcon-40b", "Decentralised-AI/falcon-40b, modelling_RW.py",
       json::parse(R"({"model_type": "RefinedWeb", "alibi": false, "hidden_size": 8192,
           "n_head": 128, "n_head_kv": 8, "n_layer": 60})")},
  };
  return all;
}

inline const OwnCode& own_code(const std::string& name) {
  for (const OwnCode& one : own_code())
    if (one.name == name) return one;
  FAIL("no " << name);
  throw 0;
}
