// SPDX-License-Identifier: MIT
//
// Spellings: the keys that mean one thing, in files of different ages and authors.
//
// Where a file has two of them they must have one value.
#pragma once

#include <posenc/core/types.hpp>

#include <initializer_list>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

using Spellings = std::initializer_list<const char*>;

namespace spellings {

inline constexpr Spellings heads{"num_attention_heads", "n_head", "n_heads", "num_heads",
                                 "attention_heads"};
inline constexpr Spellings kv_heads{"num_key_value_heads", "num_kv_heads", "n_head_kv"};
inline constexpr Spellings layers{"num_hidden_layers", "n_layer", "n_layers", "num_layers"};
inline constexpr Spellings hidden{"hidden_size", "n_embd", "d_model", "n_embed", "dim", "emb_dim"};
inline constexpr Spellings head_dim{"head_dim", "kv_channels", "attention_head_dim", "d_kv"};
inline constexpr Spellings base{"rope_theta", "rotary_emb_base", "global_rope_theta"};
inline constexpr Spellings local_base{"rope_local_base_freq", "local_rope_theta"};
inline constexpr Spellings partial{"partial_rotary_factor", "rotary_pct", "rope_pct",
                                   "rotary_emb_fraction"};
inline constexpr Spellings positions{"max_position_embeddings", "n_positions"};
/// Lengths of a tokenizer or of training stand for the above only where it is absent.
inline constexpr Spellings lengths{"max_seq_len", "max_sequence_length", "model_max_length",
                                   "seq_length", "n_ctx"};
inline constexpr Spellings windows{"sliding_window", "sliding_window_size", "window_size",
                                   "attention_window_size"};
inline constexpr Spellings interleaved{"rope_interleave", "rotary_emb_interleaved"};
inline constexpr Spellings axes_in_turns{"mrope_interleaved", "interleaved"};

}  // namespace spellings
}  // namespace huggingface
POSENC_NAMESPACE_END
