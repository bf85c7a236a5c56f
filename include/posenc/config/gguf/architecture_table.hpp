// SPDX-License-Identifier: MIT
//
// What general.architecture says about positions and no key does: which channels make a pair, which
// layers slide and which do not rotate, what scores are scaled by.
//
// The layout is that of the file, not of the checkpoint it was made from: the converter permutes
// the rows of query and key weights of some architectures (Llama among them), so that pairs lie
// side by side. An architecture that is not in the table is not guessed.
//
// Source: ggml-org/llama.cpp, src/llama-model.cpp (llama_model_rope_type, load_hparams), src/llama-graph.cpp.
#pragma once

#include <posenc/config/architecture_table.hpp>

POSENC_NAMESPACE_BEGIN
namespace gguf {

/// The facts that config.json's types have too, and those that are llama.cpp's own.
struct Architecture {
  config::Architecture facts{};
  Index period = 0;           ///< every so many layers the last sees everything; 0: none slides
  Position window = 0;        ///< of the others, where the file says none; -1: the file must
  Index unrotated_every = 0;  ///< NoPERule::listed: layer i rotates unless (i + 1) mod this is 0
  bool latent = false;        ///< multi-head latent attention: the last channels of a head rotate
  Index scale_of_width = 0;   ///< models of so many layers scale by sqrt(heads / width)
  double soft_cap = 0;        ///< where the file says none; 0: no cap
  std::string_view yarn_note{};  ///< what there is to say where the file asks for YaRN
};

/// Architectures, apart by blanks, and what holds for each of them.
struct ArchitectureRow {
  std::string_view names;
  Architecture architecture{};
};

namespace detail {
inline constexpr auto pairs_side_by_side = config::LayoutName::interleaved;
inline constexpr std::string_view wider_band =
    "ggml widens YaRN's band to whole pairs (truncate), which the model's own code does not.";
inline constexpr std::string_view fourth_axis =
    "ggml turns the pairs that no section claims by its turn by a fourth coordinate, this encoding "
    "by time.";

// clang-format off: a row per set of architectures
inline constexpr ArchitectureRow gguf_rows[] = {
    // Pairs (2i, 2i + 1). Causal, every layer alike.
    {"llama internlm2 minicpm xverse command-r olmo arctic deepseek chatglm glm4 chameleon bailingmoe arcee "
     "ernie4_5 ernie4_5-moe", {{.layout = pairs_side_by_side}}},
    {"granite granitemoe", {{.layout = pairs_side_by_side, .nope = config::NoPERule::unless_rope,
                             .scale = config::ScaleRule::attention_multiplier}}},
    {"baichuan", {{.layout = pairs_side_by_side, .kind = config::PositionKind::baichuan}}},
    {"smollm3", {.facts = {.layout = pairs_side_by_side, .nope = config::NoPERule::listed}, .unrotated_every = 4}},
    {"cohere2", {.facts = {.layout = pairs_side_by_side, .nope = config::NoPERule::full_layers}, .period = 4,
                 .window = -1}},
    {"llama4", {.facts = {.layout = pairs_side_by_side, .nope = config::NoPERule::full_layers, .chunked = true,
                          .note = config::detail::norm_after}, .period = 4, .window = 8192}},
    {"deepseek2", {.facts = {.layout = pairs_side_by_side, .scale = config::ScaleRule::mscale}, .latent = true}},
    // Pairs (i, i + rotary_dim/2).
    {"falcon dbrx stablelm bitnet qwen qwen2 qwen2moe qwen3 qwen3moe olmoe phi2 phi3 phimoe plamo gemma starcoder2 "
     "openelm gptneox codeshell orion nemotron exaone dots1 hunyuan-moe hunyuan-dense glm4moe seed_oss apertus "
     "bailingmoe2 grovemoe", {}},
    {"qwen2vl", {{.axes = config::AxesRule::chunks}}},
    {"qwen3vl qwen3vlmoe", {{.axes = config::AxesRule::turns, .note = fourth_axis}}},
    {"gemma2", {.period = 2, .window = 4096, .scale_of_width = 46, .soft_cap = 50}},
    {"gemma3", {.facts = {.local = config::LocalRope::own_base}, .period = 6, .window = -1, .scale_of_width = 62}},
    {"gemma3n", {.facts = {.local = config::LocalRope::own_base, .scale = config::ScaleRule::one}, .period = 5,
                 .window = -1}},
    {"gemma-embedding", {.facts = {.mask = config::MaskRule::bidirectional, .local = config::LocalRope::own_base,
                                   .half_window = true}, .period = 6, .window = -1}},
    {"olmo2", {.facts = {.local = config::LocalRope::unscaled}, .period = 4}},
    {"gpt-oss", {.facts = {.note = config::detail::sinks}, .period = 2, .window = -1, .yarn_note = wider_band}},
    {"nomic-bert nomic-bert-moe jina-bert-v3 dream llada-moe", {{.mask = config::MaskRule::bidirectional}}},
    {"neo-bert llada", {{.layout = pairs_side_by_side, .mask = config::MaskRule::bidirectional}}},
    // No rotation.
    {"bloom refact", {{.kind = config::PositionKind::alibi}}},
    {"mpt jais", {{.kind = config::PositionKind::mpt}}},
    {"gpt2 starcoder", {{.kind = config::PositionKind::learned}}},
    {"bert", {{.kind = config::PositionKind::learned, .mask = config::MaskRule::bidirectional}}},
    // What no encoding of the library stands for.
    {"t5 t5encoder", {{.kind = config::PositionKind::refused, .why = "its biases are a table of weights"}}},
    {"jina-bert-v2", {{.kind = config::PositionKind::refused, .why = "its ALiBi sees both ways"}}},
};
// clang-format on
}  // namespace detail

/// The facts about an architecture, or nullptr.
[[nodiscard]] constexpr const Architecture* find_architecture(std::string_view name) {
  if (name.empty() || name.find(' ') != std::string_view::npos) return nullptr;
  for (const ArchitectureRow& row : detail::gguf_rows)
    if (config::detail::has_word(row.names, name)) return &row.architecture;
  return nullptr;
}

}  // namespace gguf
POSENC_NAMESPACE_END
