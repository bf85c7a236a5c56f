// SPDX-License-Identifier: MIT
//
// posenc: positional encodings and context-extension schemes for attention, all of it in one
// include. Every header listed here also stands alone. The optional faces are included by those who
// want them: <posenc/eigen.hpp> for Eigen's matrices and 16-bit elements,
// <posenc/config/huggingface.hpp> for model configurations (needs nlohmann-json).
#pragma once

#include <posenc/version.hpp>

#include <posenc/core/concepts.hpp>
#include <posenc/core/dual.hpp>
#include <posenc/core/element.hpp>
#include <posenc/core/frequencies.hpp>
#include <posenc/core/gradients.hpp>
#include <posenc/core/key_state.hpp>
#include <posenc/core/pipeline.hpp>
#include <posenc/core/positions.hpp>
#include <posenc/core/problems.hpp>
#include <posenc/core/relative_table.hpp>
#include <posenc/core/rotary_state.hpp>
#include <posenc/core/score.hpp>
#include <posenc/core/types.hpp>
#include <posenc/core/view.hpp>

#include <posenc/embedding/add_positions.hpp>
#include <posenc/embedding/backward.hpp>
#include <posenc/embedding/learned_absolute.hpp>
#include <posenc/embedding/sinusoidal.hpp>

#include <posenc/executor/any_executor.hpp>
#include <posenc/executor/chunks.hpp>
#include <posenc/executor/executor.hpp>
#include <posenc/executor/pool.hpp>

#include <posenc/simd/dispatch.hpp>
#include <posenc/simd/level.hpp>

#include <posenc/core/layout.hpp>

// A compiler that stops in a header names who included it first, line by line, before it says why. So these
// stand in order, before all that include them.
// clang-format off
#include <posenc/bind/questions.hpp>
#include <posenc/bind/derivatives.hpp>
#include <posenc/bind/any_encoding.hpp>
#include <posenc/bind/any.hpp>
#include <posenc/bind/bind.hpp>
#include <posenc/rotate/tokens.hpp>
#include <posenc/rotate/rotate.hpp>
#include <posenc/cache/rotated_by.hpp>
#include <posenc/cache/key_value_cache.hpp>
// clang-format on

#include <posenc/rotary/angles.hpp>
#include <posenc/rotary/axial_2d.hpp>
#include <posenc/rotary/m_rope.hpp>
#include <posenc/rotary/rope.hpp>
#include <posenc/rotary/rotate_values.hpp>
#include <posenc/rotary/xpos.hpp>
#include <posenc/rotate/angle_sums.hpp>
#include <posenc/rotate/angles_view.hpp>
#include <posenc/rotate/backward.hpp>
#include <posenc/rotate/ragged.hpp>
#include <posenc/rotate/rotations.hpp>
#include <posenc/rotate/token_angles.hpp>

#include <posenc/frequency/abf.hpp>
#include <posenc/frequency/dynamic.hpp>
#include <posenc/frequency/dynamic_ntk.hpp>
#include <posenc/frequency/frequency_table.hpp>
#include <posenc/frequency/llama3.hpp>
#include <posenc/frequency/long_rope.hpp>
#include <posenc/frequency/ms_poe.hpp>
#include <posenc/frequency/ntk.hpp>
#include <posenc/frequency/ntk_by_parts.hpp>
#include <posenc/frequency/pi.hpp>
#include <posenc/frequency/power_scaling.hpp>
#include <posenc/frequency/proportional.hpp>
#include <posenc/frequency/rescale_factors.hpp>
#include <posenc/frequency/resonance.hpp>
#include <posenc/frequency/truncated_basis.hpp>
#include <posenc/frequency/yarn.hpp>

#include <posenc/distance/dual_chunk.hpp>
#include <posenc/distance/focused_transformer.hpp>
#include <posenc/distance/leaky_rerope.hpp>
#include <posenc/distance/lm_infinite.hpp>
#include <posenc/distance/rerope.hpp>
#include <posenc/distance/self_extend.hpp>
#include <posenc/distance/streaming_llm.hpp>
#include <posenc/distance/string.hpp>

#include <posenc/bias/alibi.hpp>
#include <posenc/bias/bias.hpp>
#include <posenc/bias/fire.hpp>
#include <posenc/bias/forget_gate.hpp>
#include <posenc/bias/gate_sums.hpp>
#include <posenc/bias/kerple.hpp>
#include <posenc/bias/sandwich.hpp>
#include <posenc/bias/t5_bias.hpp>
#include <posenc/bias/t5_buckets.hpp>

#include <posenc/relative/cope.hpp>
#include <posenc/relative/deberta.hpp>
#include <posenc/relative/shaw.hpp>
#include <posenc/relative/transformer_xl.hpp>

#include <posenc/mask/a_shape.hpp>
#include <posenc/mask/any_of.hpp>
#include <posenc/mask/causal.hpp>
#include <posenc/mask/chosen_blocks.hpp>
#include <posenc/mask/chunked_causal.hpp>
#include <posenc/mask/documents.hpp>
#include <posenc/mask/duo_attention.hpp>
#include <posenc/mask/mask.hpp>
#include <posenc/mask/parallel_windows.hpp>
#include <posenc/mask/prefix_lm.hpp>
#include <posenc/mask/sink_window.hpp>
#include <posenc/mask/sliding_window.hpp>
#include <posenc/mask/vertical_slash.hpp>

#include <posenc/score/log_n.hpp>
#include <posenc/score/score_map.hpp>
#include <posenc/score/sink_logit.hpp>
#include <posenc/score/soft_cap.hpp>
#include <posenc/score/step_temperature.hpp>

#include <posenc/attention/attention.hpp>
#include <posenc/attention/backward.hpp>
#include <posenc/attention/backward/ragged.hpp>
#include <posenc/attention/decode.hpp>
#include <posenc/attention/key_weights.hpp>
#include <posenc/attention/merge.hpp>
#include <posenc/attention/ragged.hpp>
#include <posenc/attention/reference.hpp>
#include <posenc/attention/reference_backward.hpp>
#include <posenc/attention/vertical_slash.hpp>
#include <posenc/bind/compiled_components.hpp>

#include <posenc/cache/rerotate.hpp>
#include <posenc/select/choose_blocks.hpp>
#include <posenc/select/inf_llm.hpp>
#include <posenc/select/kept_tokens.hpp>
#include <posenc/select/lightning_indexer.hpp>
#include <posenc/select/long_heads.hpp>
#include <posenc/select/moba.hpp>
#include <posenc/select/nsa_selection.hpp>
#include <posenc/select/quest.hpp>
#include <posenc/select/select.hpp>
