// SPDX-License-Identifier: MIT
//
// The facts of architectures.hpp by model type: a row for each set of types that share them.
//
// Checked against the models' own code by tests/golden/make_configs.py. Types whose code comes with
// their checkpoints are at the end; tests/config/own_code.hpp says which code their rows follow.
#pragma once

#include <posenc/config/architectures.hpp>

POSENC_NAMESPACE_BEGIN
namespace config {

/// Model types, apart by blanks, and what holds for each of them.
struct ArchitectureRow {
  std::string_view types;
  Architecture facts{};
};

namespace detail {
inline constexpr auto interleaved = LayoutName::interleaved;
inline constexpr std::string_view sinks =
    "append SinkLogit{...} with the checkpoint's sinks of each layer.";
inline constexpr std::string_view indexer =
    "the code selects keys by an indexer before attention: this encoding holds for those.";
inline constexpr std::string_view cross =
    "layers of cross-attention look at another sequence, without positions.";
inline constexpr std::string_view key_scale =
    "the code multiplies keys by key_multiplier before attention.";
inline constexpr std::string_view norm_after =
    "layers that rotate divide queries and keys by their norm after the rotation.";

// clang-format off: a row per set of types
inline constexpr ArchitectureRow architecture_rows[] = {
    // Half-split: pair i is (i, i + rotary_dim/2). Causal, every layer alike.
    {"llama arcee olmo olmo2 olmoe flex_olmo diffllama bitnet apertus apertus1p5_text seed_oss aria_text "
     "chameleon csm csm_depth_decoder_model deepseek_ocr2_text emu3_text_model exaone "
     "hy_v3 internlm3 iquestcoder jais2 minimax_m2 phi persimmon stablelm nemotron glm4_moe "
     "solar_open sarvam_moe higgs_audio_v2 molmo2_text jetmoe evolla idefics gradium_phonon_tts pocket_tts "
     "hunyuan_v1_dense hunyuan_v1_moe", {}},
    {"gpt_neox gpt_neox_japanese", {.base_key = "rotary_emb_base"}},
    {"granite granitemoe granitemoeshared granite4_vision_text granite_docling_text hyperclovax",
     {.scale = ScaleRule::attention_multiplier}},
    {"minicpm3", {.scale = ScaleRule::mscale}},
    {"hy_v4", {.scale = ScaleRule::mscale, .note = indexer}},
    {"gemma", {}},
    // Half-split with windows.
    {"mistral mixtral starcoder2 ministral3 phi3 phi4_multimodal phimoe mimi mimi_encoder mimi_decoder "
     "pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder pocket_tts_audio_tokenizer_decoder "
     "voxtral_realtime_text voxtral_realtime_encoder", {.windows = WindowRule::every}},
    {"ministral", {.windows = WindowRule::every_by_default}},
    {"qwen2 qwen3 qwen2_5_omni_talker qwen3_omni_moe_talker_code_predictor",
     {.windows = WindowRule::from_layer}},
    {"qwen2_vl_text qwen2_5_vl_text qwen2_5_omni_text",
     {.windows = WindowRule::from_layer, .axes = AxesRule::chunks, .sections = {16, 24, 24}}},
    {"qwen2_moe", {.windows = WindowRule::even_before}},
    {"qwen3_moe qwen3_omni_moe_talker_text", {.windows = WindowRule::every_if_on}},
    {"qwen3_vl_text qwen3_vl_moe_text", {.axes = AxesRule::turns, .sections = {24, 20, 20}}},
    {"qwen3_omni_moe_text",
     {.windows = WindowRule::every_if_on, .axes = AxesRule::turns, .sections = {24, 20, 20}}},
    {"gemma2 vaultgemma", {.windows = WindowRule::pattern, .scale = ScaleRule::query_pre_attn_scalar}},
    {"gemma3_text", {.windows = WindowRule::pattern, .local = LocalRope::own_base,
                     .scale = ScaleRule::query_pre_attn_scalar, .pattern_key = "sliding_window_pattern"}},
    {"gemma3n_text", {.windows = WindowRule::pattern, .local = LocalRope::own_base, .scale = ScaleRule::one}},
    {"gemma4_text gemma4_unified_text", {.windows = WindowRule::pattern, .scale = ScaleRule::one,
                                         .last_full = true, .needs_dictionaries = true}},
    {"gpt_oss", {.windows = WindowRule::pattern, .note = sinks}},
    {"olmo3", {.windows = WindowRule::pattern, .local = LocalRope::unscaled}},
    {"cwm", {.windows = WindowRule::pattern, .first_full = true}},
    {"granite_swa granitemoe_swa", {.windows = WindowRule::pattern, .scale = ScaleRule::attention_multiplier,
                                    .first_full = true}},
    {"exaone4 exaone_moe", {.windows = WindowRule::pattern, .nope = NoPERule::full_layers_if_window,
                            .pattern_key = "sliding_window_pattern"}},
    {"kolibri1", {.windows = WindowRule::pattern, .nope = NoPERule::full_layers_if_window}},
    {"afmoe", {.windows = WindowRule::pattern, .nope = NoPERule::full_layers,
               .pattern_key = "global_attn_every_n_layers"}},
    {"smollm3", {.windows = WindowRule::without_rope, .nope = NoPERule::listed}},
    {"laguna mellum lfm3", {.windows = WindowRule::unknown, .hybrid = true,
                                                         .needs_dictionaries = true}},
    // Hybrids: some layers do not attend.
    {"qwen3_next", {.windows = WindowRule::ignored, .hybrid = true, .linear_pattern = true}},
    {"qwen3_5_text qwen3_5_moe_text", {.axes = AxesRule::turns, .sections = {11, 11, 10}, .hybrid = true,
                                       .linear_pattern = true}},
    {"bamba lfm2 lfm2_moe olmo_hybrid", {.hybrid = true}},
    {"minimax", {.windows = WindowRule::every, .hybrid = true}},
    {"falcon_h1", {.hybrid = true, .note = key_scale}},
    {"mllama_text_model", {.hybrid = true, .note = cross}},
    {"granitemoehybrid", {.nope = NoPERule::unless_rope, .scale = ScaleRule::attention_multiplier,
                          .hybrid = true}},
    {"jamba nemotron_h", {.nope = NoPERule::always, .hybrid = true}},
    {"zamba", {.nope = NoPERule::always, .scale = ScaleRule::half_head_dim, .hybrid = true,
               .lead = "LLH"}},
    {"recurrent_gemma", {.windows = WindowRule::every, .hybrid = true}},
    {"kimi_linear", {.nope = NoPERule::mla_use_nope, .hybrid = true}},
    // Half-split, seeing both ways.
    {"eurobert esmc gte jina_embeddings_v3 xcodec2 neucodec glmasr_encoder",
     {.mask = MaskRule::bidirectional}},
    {"nomic_bert", {.mask = MaskRule::bidirectional, .own_scaling = OwnScaling::nomic}},
    {"modernbert", {.mask = MaskRule::bidirectional, .windows = WindowRule::pattern,
                    .local = LocalRope::own_base, .first_full = true, .half_window = true,
                    .pattern_key = "global_attn_every_n_layers", .base_key = "global_rope_theta"}},
    {"modernbert-decoder", {.windows = WindowRule::pattern, .local = LocalRope::own_base, .first_full = true,
                            .half_window = true,
                    .pattern_key = "global_attn_every_n_layers", .base_key = "global_rope_theta"}},
    {"ultrabert", {.mask = MaskRule::bidirectional, .windows = WindowRule::pattern,
                   .needs_dictionaries = true}},
    {"embedding_gemma2_text", {.mask = MaskRule::bidirectional, .windows = WindowRule::pattern,
                               .scale = ScaleRule::one, .last_full = true, .needs_dictionaries = true,
                               .pattern_key = "sliding_window_pattern"}},
    // Interleaved: pair i is (2i, 2i + 1).
    {"cohere glm glm4 helium ernie4_5 ernie4_5_moe", {.layout = interleaved}},
    {"glm4v_text glm_ocr_text", {.layout = interleaved, .axes = AxesRule::chunks, .sections = {8, 12, 12}}},
    {"ernie4_5_vl_moe_text", {.layout = interleaved, .axes = AxesRule::height_width_in_turns,
                              .sections = {22, 22, 20}}},
    {"glm4v_moe_text", {.axes = AxesRule::chunks, .sections = {8, 12, 12}}},
    {"gptj codegen", {.layout = interleaved}},
    {"cohere2", {.layout = interleaved, .windows = WindowRule::pattern, .nope = NoPERule::full_layers,
                 .pattern_key = "sliding_window_pattern"}},
    {"llama4_text", {.layout = interleaved, .nope = NoPERule::listed, .chunked = true, .note = norm_after}},
    {"deepseek_v2 deepseek_v3 axk1 glm4_moe_lite mistral4 youtu sarvam_mla",
     {.layout = interleaved, .scale = ScaleRule::mscale}},
    {"deepseek_v32 glm_moe_dsa axk2", {.layout = interleaved, .scale = ScaleRule::mscale,
                                             .note = indexer}},
    {"bailing_hybrid", {.layout = interleaved, .scale = ScaleRule::mscale, .hybrid = true}},
    // Biases.
    {"bloom", {.kind = PositionKind::alibi}},
    {"falcon", {.kind = PositionKind::falcon, .multi_query = true}},
    {"mpt", {.kind = PositionKind::mpt}},
    {"t5 mt5 umt5 switch_transformers pop2piano", {.kind = PositionKind::learned_bias}},
    {"deberta deberta-v2 sew-d", {.kind = PositionKind::deberta, .mask = MaskRule::bidirectional}},
    // A table of positions that is added to the embeddings; attention adds nothing.
    {"gpt_bigcode", {.kind = PositionKind::learned, .scale = ScaleRule::by_flag, .multi_query = true}},
    {"gpt2 imagegpt decision_transformer", {.kind = PositionKind::learned, .scale = ScaleRule::by_flag}},
    {"opt biogpt xglm openai-gpt clip_text_model", {.kind = PositionKind::learned}},
    {"bert roberta camembert xlm-roberta xlm-roberta-xl electra ernie rembert roberta-prelayernorm data2vec-text megatron-bert roc_bert xmod",
     {.kind = PositionKind::learned, .mask = MaskRule::unless_decoder}},
    {"distilbert albert splinter layoutlm siglip_text_model siglip_vision_model clip_vision_model vit deit "
     "vit_mae vit_msn ijepa dinov2 dinov2_with_registers videomae vivit blip_vision_model blip_2_vision_model "
     "idefics3_vision idefics2_vision smolvlm_vision align_text_model altclip_text_model altclip_vision_model "
     "chinese_clip_text_model chinese_clip_vision_model clap_text_model flava_text_model flava_image_model",
     {.kind = PositionKind::learned, .mask = MaskRule::bidirectional}},
    {"gpt_neo", {.kind = PositionKind::learned, .windows = WindowRule::pattern, .scale = ScaleRule::one}},
    // Code that comes with the checkpoints.
    {"qwen", {.own_scaling = OwnScaling::qwen}},
    {"internlm", {.own_scaling = OwnScaling::internlm}},
    {"internlm2 bailing_moe", {}},
    {"RefinedWeb RefinedWebModel", {.kind = PositionKind::falcon, .multi_query = true}},
    {"baichuan", {.kind = PositionKind::baichuan}},
    {"chatglm", {.layout = interleaved, .halves_key = "original_rope"}},
    {"phi4mm", {.windows = WindowRule::every}},
    {"minimax_text_01 MiniMaxText01", {.windows = WindowRule::every, .hybrid = true}},
    {"kimi_k2", {.layout = interleaved, .scale = ScaleRule::mscale}},
    // What no encoding of the library stands for.
    {"deepseek_v4", {.kind = PositionKind::refused, .why = "keys are compressed over several tokens and have no position of one"}},
    {"phi3small", {.kind = PositionKind::refused, .why = "all layers but every dense_attention_every_n_layers-th see some blocks of keys only, others for each head"}},
    {"nanochat", {.kind = PositionKind::refused, .why = "its pairs turn the other way, which no layout stands for"}},
};
// clang-format on

/// Whether a list of words, apart by blanks, has this one.
[[nodiscard]] constexpr bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t at = words.find(word); at != std::string_view::npos;
       at = words.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' '))
      return true;
  }
  return false;
}
}  // namespace detail

/// The facts about a model type, or nullptr.
[[nodiscard]] constexpr const Architecture* find_architecture(std::string_view model_type) {
  if (model_type.empty() || model_type.find(' ') != std::string_view::npos) return nullptr;
  for (const ArchitectureRow& row : detail::architecture_rows)
    if (detail::has_word(row.types, model_type)) return &row.facts;
  return nullptr;
}

}  // namespace config
POSENC_NAMESPACE_END
