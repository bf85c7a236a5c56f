// SPDX-License-Identifier: MIT
//
// Architectures: what the code of a model fixes about positions, and no file of its weights says.
//
// The layout of the rotary pairs stands in no configuration; it is a fact about the code that
// trained the checkpoint. So is which layers rotate, where a window applies and what scales the
// scores. This table holds such facts and no numbers of particular checkpoints: what a program
// fills in when a file lacks a key belongs to the format of the file (huggingface/class_defaults.hpp
// for config.json). A type that is not in the table is not guessed.
//
// The facts are in architecture_table.hpp, checked against the models' code (docs, List of types).
#pragma once

#include <posenc/core/types.hpp>
#include <posenc/rotary/m_rope.hpp>

#include <string_view>

POSENC_NAMESPACE_BEGIN
namespace config {

enum class LayoutName { half_split, interleaved };

[[nodiscard]] constexpr std::string_view to_string(LayoutName layout) {
  return layout == LayoutName::half_split ? "HalfSplit" : "Interleaved";
}

/// Where the position comes from.
enum class PositionKind {
  rotary,
  none,          ///< attention has no positions
  alibi,         ///< BLOOM
  falcon,        ///< rotary, or ALiBi scaled by 1/sqrt(head_dim) when `alibi` is true
  baichuan,      ///< rotary with 32 heads (7B), ALiBi with 40 (13B)
  mpt,           ///< ALiBi, or a learned table, by `attn_config.alibi`
  learned,       ///< a table that is added to the embeddings
  learned_bias,  ///< T5's table of relative biases: weights, not configuration
  deberta,       ///< DeBERTa's tables of relative embeddings: weights, not configuration
  refused,       ///< not to be expressed; `why` says why
};

enum class MaskRule {
  causal,
  unless_decoder,  ///< as below, causal where is_decoder is true
  bidirectional,   ///< everybody sees everybody; a window of w is w tokens to either side
};

/// Which layers a window means when the layers are not listed.
enum class WindowRule {
  ignored,           ///< the model's code does not read the key
  every,             ///< all layers, whatever a list says
  every_by_default,  ///< all layers, where no list says otherwise
  every_if_on,       ///< all layers, with use_sliding_window
  from_layer,        ///< with use_sliding_window, the layers from max_window_layers on
  even_before,       ///< with use_sliding_window, layers 0, 2, ... below max_window_layers
  without_rope,      ///< with use_sliding_window, the layers that do not rotate
  pattern,           ///< all but every n-th layer
  unknown,           ///< not known: a list must say
};

/// What sliding layers rotate with when there is one flat dictionary.
enum class LocalRope {
  same,      ///< the same as full layers
  unscaled,  ///< no scaling, the same base (OLMo 3)
  own_base,  ///< no scaling, a base of their own (Gemma 3)
};

/// Which layers do not rotate.
enum class NoPERule {
  never,
  always,                 ///< none rotates
  listed,                 ///< no_rope_layers, or every no_rope_layer_interval-th (Llama 4, SmolLM3)
  full_layers,            ///< full attention does not rotate, sliding attention does (Command R7B)
  full_layers_if_window,  ///< the same, and all rotate where there is no window (EXAONE 4)
  unless_rope,            ///< all, unless position_embedding_type is "rope" (Granite hybrids)
  mla_use_nope,           ///< all; no code rotates where `mla_use_nope` is false (Kimi Linear)
};

/// What scores are multiplied by before the softmax.
enum class ScaleRule {
  head_dim,               ///< 1/sqrt(head_dim)
  one,                    ///< 1
  query_pre_attn_scalar,  ///< 1/sqrt(query_pre_attn_scalar)
  attention_multiplier,   ///< attention_multiplier
  by_flag,                ///< 1/sqrt(head_dim), or 1 where scale_attn_weights is false (GPT-2)
  mscale,         ///< 1/sqrt(head_dim), with YaRN times (0.1 mscale_all_dim ln factor + 1)^2
  half_head_dim,  ///< 1/sqrt(head_dim / 2) (Zamba 2)
};

/// How pairs share coordinates, where positions have several.
enum class AxesRule {
  by_file,               ///< mrope_section and mrope_interleaved of the file
  chunks,                ///< one coordinate after the other (Qwen2-VL)
  turns,                 ///< coordinates take turns (Qwen3-VL)
  height_width_in_turns  ///< height and width alternate, time has the last pairs (ERNIE 4.5 VL)
};

/// Scaling by keys of a model's own, where there is no rope_scaling.
enum class OwnScaling {
  none,
  qwen,      ///< use_dynamic_ntk, use_logn_attn (the first Qwen)
  internlm,  ///< `rotary`: type, base and scaling_factor (the first InternLM)
  nomic,     ///< rotary_scaling_factor, max_trained_positions (nomic-embed-text)
};

struct Architecture {
  LayoutName layout = LayoutName::half_split;
  PositionKind kind = PositionKind::rotary;
  MaskRule mask = MaskRule::causal;
  WindowRule windows = WindowRule::ignored;
  LocalRope local = LocalRope::same;
  NoPERule nope = NoPERule::never;
  ScaleRule scale = ScaleRule::head_dim;
  AxesRule axes = AxesRule::by_file;
  OwnScaling own_scaling = OwnScaling::none;
  MRoPE::Sections sections{};  ///< of the code, where the file has none; empty: one coordinate
  bool first_full = false;  ///< every n-th layer is full, from the first on; else from the n-th on
  bool last_full = false;   ///< the last layer is full whatever the pattern says
  bool hybrid = false;      ///< some layers do not attend: the file, or a pattern, must say which
  bool linear_pattern = false;  ///< of the pattern's layers those that are not full do not attend
  bool chunked = false;         ///< rotating layers attend within chunks (Llama 4)
  bool half_window = false;     ///< the window counts both sides: w/2 to either (ModernBERT)
  bool needs_dictionaries = false;  ///< full and sliding layers have heads or bases of their own
  bool multi_query = false;         ///< one head of keys, unless `multi_query` is false
  std::string_view pattern_key{};   ///< of the period of full layers, where the code reads one
  std::string_view lead{};          ///< kinds of the layers before attn_layer_period begins (Zamba)
  std::string_view base_key{};      ///< the key of the base where the code does not read rope_theta
  std::string_view halves_key{};    ///< a key that makes the layout half-split where it is false
  std::string_view note{};          ///< what attention needs besides, for the caller to compose
  std::string_view why{};           ///< for PositionKind::refused
};

}  // namespace config
POSENC_NAMESPACE_END
