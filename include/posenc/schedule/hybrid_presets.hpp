// SPDX-License-Identifier: MIT
//
// Published hybrids of attention and sequence mixers. Periods, offsets and widths that a publication fixes are arguments
// with its values, so that small models can have the same schedule. The mixer is one that all layers share, or a function
// of the layer's index for those with learned parameters. Layers count from 0.
#pragma once

#include <posenc/mask/causal.hpp>
#include <posenc/schedule/hybrid_schedule.hpp>

#include <string>

POSENC_NAMESPACE_BEGIN

namespace detail {
/// The pattern of layers of which attends(layer) tells those with attention from those with a mixer.
template <class F>
std::string hybrid_pattern(const char* who, Index layers, Index period, const F& attends) {
  Problems problems;
  problems.require(layers > 0, "a schedule needs at least one layer, got ", layers, ".");
  problems.require(period > 0, "the period must be positive, got ", period, ".");
  problems.raise_if_any(who);
  std::string pattern;
  for (Index layer = 0; layer < layers; ++layer) pattern += attends(layer) ? '*' : 'M';
  return pattern;
}
}  // namespace detail

/// Jamba (arXiv 2403.19887; huggingface/transformers, configuration_jamba.py: attn_layer_period 8, attn_layer_offset 4,
/// mamba_d_state 16, mamba_d_conv 4, mamba_expand 2): one layer in eight attends, without position, the others are
/// Mamba::initial(hidden_size, seed) before training.
[[nodiscard]] inline HybridSchedule jamba(Index layers, const MixerOfLayer& mamba, Index period = 8,
                                          Index offset = 4, Index conv_width = 4) {
  Problems problems;
  problems.require(offset >= 0 && offset < period,
                   "the offset must lie within [0, period = ", period, "), got ", offset, ".");
  problems.raise_if_any("posenc::jamba");
  return hybrid_by_pattern(detail::hybrid_pattern("posenc::jamba", layers, period,
                                                  [&](Index i) { return i % period == offset; }),
                           mamba, Causal{}, conv_width);
}

/// Qwen3-Next (huggingface/transformers, configuration_qwen3_next.py: full_attention_interval 4, linear_num_key_heads 16,
/// linear_num_value_heads 32, heads of 128, linear_conv_kernel_dim 4): three layers of Gated DeltaNet, then one that attends
/// with rotation of a quarter of its channels (head_dim 256, partial_rotary_factor 0.25, so `rope` has rotary_dim 64).
[[nodiscard]] inline HybridSchedule qwen3_next(Index layers, const MixerOfLayer& delta,
                                               const AnyEncoding& rope, Index period = 4,
                                               Index conv_width = 4) {
  return hybrid_by_pattern(detail::hybrid_pattern("posenc::qwen3_next", layers, period,
                                                  [&](Index i) { return (i + 1) % period == 0; }),
                           delta, rope | Causal{}, conv_width);
}

/// Kimi Linear (arXiv 2510.26692; config.json of moonshotai/Kimi-Linear-48B-A3B-Instruct: full_attn_layers 4, 8, ... 24 and
/// 27 of 27, counted from 1, heads of 128, short_conv_kernel_size 4, mla_use_nope): three layers of KDA, then one of MLA
/// without position, and the last layer attends as well. (The defaults of transformers, configuration_kimi_linear.py, have
/// full attention where the index, counted from 0, is a multiple of 4 above 0; those are not the published model's.)
[[nodiscard]] inline HybridSchedule kimi_linear(Index layers, const MixerOfLayer& kda,
                                                Index period = 4, Index conv_width = 4) {
  return hybrid_by_pattern(
      detail::hybrid_pattern("posenc::kimi_linear", layers, period,
                             [&](Index i) { return (i + 1) % period == 0 || i + 1 == layers; }),
      kda, Causal{}, conv_width);
}

/// hybrid_override_pattern of Nemotron-H 8B (NVIDIA/Megatron-LM, examples/post_training/modelopt/conf/nvidia): 24 layers
/// of Mamba-2, 4 of attention and 24 MLPs.
inline constexpr std::string_view nemotron_h_8b =
    "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-";
/// That of Nemotron-H 56B: 54 layers of Mamba-2, 10 of attention and 54 MLPs.
inline constexpr std::string_view nemotron_h_56b =
    "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-"
    "M*-"
    "M-M-M-M-M*-M-M-M-M-M-";

/// Nemotron-H (arXiv 2504.03624; huggingface/transformers, configuration_nemotron_h.py: mamba_num_heads 128, mamba_head_dim
/// 64, ssm_state_size 128, n_groups 8, conv_kernel 4): Mamba-2, with attention without position where the pattern has *.
[[nodiscard]] inline HybridSchedule nemotron_h(const MixerOfLayer& mamba2,
                                               std::string_view pattern = nemotron_h_8b,
                                               Index conv_width = 4) {
  return hybrid_by_pattern(pattern, mamba2, Causal{}, conv_width);
}

POSENC_NAMESPACE_END
