// SPDX-License-Identifier: MIT
//
// Names of kinds of layers, and what each is to attention.
//
// Some names are older or narrower words for others: `attention` is full_attention, `mamba` and
// `recurrent` are linear_attention, `deepseek_sparse_attention` is indexed_attention.
#pragma once

#include <posenc/core/types.hpp>

#include <string>
#include <string_view>
#include <utility>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

/// What a kind of layer is to attention.
struct LayerTypeRow {
  std::string_view name;
  char letter;   ///< in a string with a letter per layer
  bool attends;  ///< has self-attention, perhaps beside something else
  bool slides;   ///< within a window
};

inline constexpr LayerTypeRow layer_type_rows[] = {
    {"full_attention", 'F', true, false},
    {"sliding_attention", 'S', true, true},
    {"chunked_attention", 'C', true, false},
    {"indexed_attention", 'I', true, false},  // some keys of all, chosen by the model
    {"hybrid", 'H', true, false},             // attention beside a recurrence
    {"hybrid_sliding", 'h', true, true},
    {"linear_attention", 'L', false, false},
    {"conv", 'V', false, false},
    {"moe", 'E', false, false},
    {"mlp", 'M', false, false},
    {"no_op", 'N', false, false},
    {"cross_attention", 'X', false, false},
};

[[nodiscard]] inline const LayerTypeRow* find_layer_type(std::string_view name) {
  for (const LayerTypeRow& row : layer_type_rows)
    if (row.name == name) return &row;
  return nullptr;
}

/// The name of today for a name that a file may have.
[[nodiscard]] inline std::string current_name(const std::string& name) {
  constexpr std::pair<std::string_view, std::string_view> older[] = {
      {"attention", "full_attention"},
      {"global", "full_attention"},
      {"global_attention", "full_attention"},
      {"local", "sliding_attention"},
      {"local_attention", "sliding_attention"},
      {"mamba", "linear_attention"},
      {"mamba2", "linear_attention"},
      {"recurrent", "linear_attention"},
      {"kda_attention", "linear_attention"},
      {"short_conv", "conv"},
      {"deepseek_sparse_attention", "indexed_attention"},
      {"noop", "no_op"},
  };
  for (const auto& [old, now] : older)
    if (old == name) return std::string(now);
  return name;
}

struct LayerPlan {
  std::string type = "full_attention";  ///< as in layer_types, by its name of today
  bool rotates = true;
  Index num_heads = 0, num_kv_heads = 0, head_dim = 0;

  friend bool operator==(const LayerPlan&, const LayerPlan&) = default;
  [[nodiscard]] bool attends() const { return is(&LayerTypeRow::attends); }
  [[nodiscard]] bool slides() const { return is(&LayerTypeRow::slides); }
  [[nodiscard]] std::string name() const {
    if (rotates || !attends()) return type;
    return type == "full_attention" ? "no_rope" : type + "_no_rope";
  }

 private:
  [[nodiscard]] bool is(bool LayerTypeRow::* property) const {
    const LayerTypeRow* row = find_layer_type(type);
    return row != nullptr && row->*property;
  }
};

/// Keys under which a dictionary of rotary parameters may have a dictionary per kind of layer.
[[nodiscard]] inline bool is_layer_label(const std::string& name) {
  return find_layer_type(current_name(name)) != nullptr || name == "main" || name == "compress";
}

}  // namespace huggingface
POSENC_NAMESPACE_END
