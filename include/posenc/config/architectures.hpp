// SPDX-License-Identifier: MIT
//
// Architectures: what a model_type implies and its config.json does not say.
//
// The layout of the rotary pairs stands in no configuration file; it is a fact about the code that
// trained the checkpoint. So is the meaning of a missing key. This table holds both, one row per
// model_type, checked against transformers 5.23 (src/transformers/models/<name>); qwen and kimi_k2
// are not there, their code comes with the checkpoints, and these two rows are as generally known.
// A type that is not in the table is not guessed: the reader asks for the layout. (The file's own
// key `architectures` names classes, not model types, and is not read.)
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
  alibi,         ///< BLOOM
  falcon,        ///< rotary, or ALiBi scaled by 1/sqrt(head_dim) when `alibi` is true
  mpt,           ///< ALiBi, or a learned table, by `attn_config.alibi`
  learned,       ///< a table that is added to the embeddings
  learned_bias,  ///< T5's table of relative biases: weights, not configuration
};

/// Which layers a `sliding_window` means when there is no `layer_types`.
enum class WindowRule {
  ignored,  ///< the model's code does not read the key
  every,    ///< all layers
  pattern,  ///< all but every n-th layer
  qwen,     ///< with use_sliding_window, the layers from max_window_layers on
  unknown,  ///< not known: layer_types must say
};

/// What sliding layers rotate with when there is one flat dictionary.
enum class LocalRope {
  same,      ///< the same as full layers
  unscaled,  ///< no scaling, the same base (OLMo 3)
  own_base,  ///< no scaling, rope_local_base_freq or 10000 (Gemma 3)
};

/// Which layers do not rotate.
enum class NoPERule {
  never,
  listed,       ///< no_rope_layers, or every no_rope_layer_interval-th (Llama 4, SmolLM3)
  full_layers,  ///< full attention does not rotate, sliding attention does (Command R7B, EXAONE 4)
};

struct Architecture {
  std::string_view model_type;
  LayoutName layout = LayoutName::half_split;
  double base = 10000;  ///< rope_theta when the key is absent
  Index head_dim = 0;   ///< head_dim when the key is absent; 0: hidden_size / heads
  double partial = 1;   ///< partial_rotary_factor when the key is absent
  WindowRule windows = WindowRule::ignored;
  Index window = 0;   ///< sliding_window when the key is absent; 0: none
  Index pattern = 0;  ///< every n-th layer is full (linear-attention hybrids: the only ones)
  LocalRope local = LocalRope::same;
  NoPERule nope = NoPERule::never;
  bool mscale_in_softmax = false;  ///< softmax scale times (0.1 mscale_all_dim ln factor + 1)^2
  bool linear_hybrid = false;      ///< the other layers are linear attention
  Index global_head_dim = 0;  ///< head_dim of full layers when the key is absent; 0: as the others
  bool needs_rotary_dim = false;  ///< the number of rotated channels has no default
  bool last_full = false;         ///< the last layer is full whatever the pattern says
  Index chunk = 0;                ///< rotating layers attend within chunks of this many tokens
  double score_scale = 0;         ///< softmax scale when no key gives it; 0: 1/sqrt(head_dim)
  MRoPE::Sections sections{};     ///< mrope_section when the key is absent; empty: one coordinate
  bool interleaved_axes = false;  ///< pairs take turns among coordinates, whatever the file says
  PositionKind kind = PositionKind::rotary;
};

namespace detail {
inline constexpr auto interleaved = LayoutName::interleaved;
inline constexpr auto half_split = LayoutName::half_split;

// clang-format off: a row per model
inline constexpr Architecture architectures[] = {
    // Half-split: pair i is (i, i + rotary_dim/2).
    {.model_type = "llama"},
    {.model_type = "arcee"},
    {.model_type = "granite"},
    {.model_type = "granitemoe"},
    {.model_type = "olmo"},
    {.model_type = "olmo2"},
    {.model_type = "olmoe"},
    {.model_type = "diffllama"},
    {.model_type = "bitnet", .base = 500'000},
    {.model_type = "apertus", .base = 12'000'000},
    {.model_type = "seed_oss", .head_dim = 128},
    {.model_type = "minicpm3", .mscale_in_softmax = true},
    {.model_type = "hunyuan_v1_dense"},
    {.model_type = "hunyuan_v1_moe"},
    {.model_type = "starcoder2", .windows = WindowRule::every},
    {.model_type = "mistral", .windows = WindowRule::every, .window = 4096},
    {.model_type = "mixtral", .base = 1'000'000, .windows = WindowRule::every},
    {.model_type = "ministral", .windows = WindowRule::every, .window = 4096},
    {.model_type = "ministral3", .head_dim = 128, .windows = WindowRule::every},
    {.model_type = "phi", .partial = 0.5},
    {.model_type = "phi3", .windows = WindowRule::every},
    {.model_type = "phimoe", .base = 1'000'000, .windows = WindowRule::every},
    {.model_type = "phi4_multimodal", .windows = WindowRule::every},
    {.model_type = "gpt_neox", .partial = 0.25},
    {.model_type = "stablelm", .partial = 0.25},
    {.model_type = "persimmon", .partial = 0.5},
    {.model_type = "nemotron", .partial = 0.5},
    {.model_type = "glm4_moe", .partial = 0.5},
    {.model_type = "minimax_m2", .base = 5'000'000, .head_dim = 128},
    {.model_type = "qwen"},
    {.model_type = "qwen2", .windows = WindowRule::qwen},
    {.model_type = "qwen2_moe", .windows = WindowRule::qwen},
    {.model_type = "qwen2_vl", .base = 1'000'000, .windows = WindowRule::qwen,
     .sections = {16, 24, 24}},
    {.model_type = "qwen2_vl_text", .base = 1'000'000, .windows = WindowRule::qwen,
     .sections = {16, 24, 24}},
    {.model_type = "qwen2_5_vl", .base = 1'000'000, .windows = WindowRule::qwen,
     .sections = {16, 24, 24}},
    {.model_type = "qwen2_5_vl_text", .base = 1'000'000, .windows = WindowRule::qwen,
     .sections = {16, 24, 24}},
    {.model_type = "qwen3", .head_dim = 128, .windows = WindowRule::qwen},
    {.model_type = "qwen3_moe", .windows = WindowRule::qwen},
    {.model_type = "qwen3_vl_text", .base = 500'000, .head_dim = 128, .sections = {24, 20, 20},
     .interleaved_axes = true},
    {.model_type = "qwen3_vl_moe_text", .base = 500'000, .sections = {24, 20, 20},
     .interleaved_axes = true},
    {.model_type = "qwen3_next", .head_dim = 256, .partial = 0.25, .pattern = 4,
     .linear_hybrid = true},
    {.model_type = "qwen3_5_text", .head_dim = 256, .partial = 0.25, .pattern = 4,
     .linear_hybrid = true, .sections = {11, 11, 10}, .interleaved_axes = true},
    {.model_type = "qwen3_5_moe_text", .head_dim = 256, .partial = 0.25, .pattern = 4,
     .linear_hybrid = true, .sections = {11, 11, 10}, .interleaved_axes = true},
    {.model_type = "gemma", .head_dim = 256},
    {.model_type = "gemma2", .head_dim = 256, .windows = WindowRule::pattern, .window = 4096,
     .pattern = 2, .score_scale = 0.0625},
    {.model_type = "gemma3_text", .base = 1'000'000, .head_dim = 256,
     .windows = WindowRule::pattern, .window = 4096, .pattern = 6, .local = LocalRope::own_base,
     .score_scale = 0.0625},
    {.model_type = "gemma4_text", .base = 1'000'000, .head_dim = 256,
     .windows = WindowRule::pattern, .window = 512, .pattern = 6, .global_head_dim = 512,
     .last_full = true, .score_scale = 1},
    {.model_type = "gpt_oss", .base = 150'000, .head_dim = 64, .windows = WindowRule::pattern,
     .window = 128, .pattern = 2},
    {.model_type = "olmo3", .base = 500'000, .windows = WindowRule::pattern, .window = 4096,
     .pattern = 4, .local = LocalRope::unscaled},
    {.model_type = "smollm3", .base = 2'000'000, .pattern = 4, .nope = NoPERule::listed},
    {.model_type = "exaone4", .windows = WindowRule::pattern, .window = 4096, .pattern = 4,
     .nope = NoPERule::full_layers},
    {.model_type = "falcon", .kind = PositionKind::falcon},
    // Interleaved: pair i is (2i, 2i + 1).
    {.model_type = "gptj", .layout = interleaved, .needs_rotary_dim = true},
    {.model_type = "codegen", .layout = interleaved, .needs_rotary_dim = true},
    {.model_type = "cohere", .layout = interleaved, .base = 500'000},
    {.model_type = "cohere2", .layout = interleaved, .windows = WindowRule::pattern,
     .window = 4096, .pattern = 4, .nope = NoPERule::full_layers},
    {.model_type = "glm", .layout = interleaved, .head_dim = 128, .partial = 0.5},
    {.model_type = "glm4", .layout = interleaved, .head_dim = 128, .partial = 0.5},
    {.model_type = "helium", .layout = interleaved, .base = 100'000, .head_dim = 128},
    {.model_type = "ernie4_5", .layout = interleaved, .base = 500'000, .head_dim = 128},
    {.model_type = "ernie4_5_moe", .layout = interleaved, .base = 500'000},
    {.model_type = "llama4_text", .layout = interleaved, .base = 500'000, .head_dim = 128,
     .pattern = 4, .nope = NoPERule::listed, .chunk = 8192},
    {.model_type = "deepseek_v2", .layout = interleaved, .mscale_in_softmax = true},
    {.model_type = "deepseek_v3", .layout = interleaved, .mscale_in_softmax = true},
    {.model_type = "kimi_k2", .layout = interleaved, .mscale_in_softmax = true},
    {.model_type = "glm4_moe_lite", .layout = interleaved, .mscale_in_softmax = true},
    {.model_type = "mistral4", .layout = interleaved, .mscale_in_softmax = true},
    // No rotation.
    {.model_type = "bloom", .kind = PositionKind::alibi},
    {.model_type = "mpt", .kind = PositionKind::mpt},
    {.model_type = "gpt2", .kind = PositionKind::learned},
    {.model_type = "t5", .kind = PositionKind::learned_bias},
    {.model_type = "mt5", .kind = PositionKind::learned_bias},
    {.model_type = "umt5", .kind = PositionKind::learned_bias},
};
// clang-format on
}  // namespace detail

/// The row of a model_type, or nullptr. The outer type of a multimodal model ("gemma3") finds its
/// text model's row ("gemma3_text").
[[nodiscard]] constexpr const Architecture* find_architecture(std::string_view model_type) {
  for (const Architecture& architecture : detail::architectures) {
    if (architecture.model_type == model_type) return &architecture;
    constexpr std::string_view suffix = "_text";
    if (architecture.model_type.size() == model_type.size() + suffix.size() &&
        architecture.model_type.starts_with(model_type) &&
        architecture.model_type.ends_with(suffix))
      return &architecture;
  }
  return nullptr;
}

}  // namespace config
POSENC_NAMESPACE_END
