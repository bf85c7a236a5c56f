// SPDX-License-Identifier: MIT
//
// Kinds of layers, by the names of layer_types, from each of the keys that say them:
//
//   layer_types                    a name per layer
//   layers_block_type              a name per layer; `block_types` repeats
//   hybrid_override_pattern        a letter per layer: M mamba, * attention, E experts, - MLP
//   attention_types                [[["global", "local"], 6]] (GPT-Neo)
//   attn_type_list                 1 attends, 0 is linear (MiniMax)
//   linear_attn_config             kda_layers and full_attn_layers, counted from 1 (Kimi Linear)
//   attn_layer_indices, full_attn_idxs              the layers that attend
//   cross_attention_layers                          the layers that look elsewhere (Llama 3.2 Vision)
//   attn_layer_period, attn_layer_offset            every n-th attends (Jamba)
//   layer_group_size                                the last of each group attends (Ling)
//
// What the names mean is in layer_names.hpp.
#pragma once

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/huggingface/layer_names.hpp>

#include <algorithm>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class LayerTypeReader {
 public:
  /// `lead`: letters of the layers before the first period; the last of them attends.
  LayerTypeReader(const Fields<Json>& file, std::string_view lead, Problems& problems)
      : file_(file), lead_(lead), problems_(problems) {}

  /// A name per layer, or nothing where no key lists them. `count`: layers, 0 if not known.
  [[nodiscard]] std::vector<std::string> read(Index count) {
    for (const char* key : {"layer_types", "layers_block_type"})
      if (has(key)) return named(file_.texts(key).value_or(std::vector<std::string>{}), key);
    if (has("hybrid_override_pattern")) return lettered();
    if (has("attention_types")) return repeated();
    if (has("attn_type_list")) return marked();
    if (const Json* linear = file_.peek("linear_attn_config"))
      if (linear->is_object() && linear->contains("full_attn_layers")) return kimi(*linear, count);
    if (count <= 0) return {};
    if (has("block_types")) return periodic(count);
    if (has("attn_layer_indices"))
      return indexed("attn_layer_indices", count, "linear_attention", "full_attention");
    if (has("full_attn_idxs")) return indexed("full_attn_idxs", count, "conv", "full_attention");
    if (has("cross_attention_layers"))
      return indexed("cross_attention_layers", count, "full_attention", "cross_attention");
    if (has("layer_group_size")) return every("layer_group_size", "", count);
    if (has("attn_layer_period") || has("attn_layer_offset"))
      return every("attn_layer_period", "attn_layer_offset", count);
    return {};
  }

  /// The key that listed them.
  [[nodiscard]] const std::string& source() const { return source_; }

  /// "SSSF" of the class's defaults, repeated; '!' before it: only for as many layers as it has.
  [[nodiscard]] static std::vector<std::string> expand(std::string_view letters, Index count) {
    const bool is_whole = letters.starts_with('!');
    if (is_whole) letters.remove_prefix(1);
    std::vector<std::string> types;
    if (letters.empty() || (is_whole && std::ssize(letters) != count)) return types;
    for (Index i = 0; i < count; ++i)
      types.emplace_back(name_of(letters[static_cast<std::size_t>(i) % letters.size()]));
    return types;
  }

 private:
  bool has(const char* key) {
    if (file_.peek(key) == nullptr) return false;
    source_ = key;
    return true;
  }

  static std::string_view name_of(char letter) {
    for (const LayerTypeRow& row : layer_type_rows)
      if (row.letter == letter) return row.name;
    return "";
  }

  std::vector<std::string> named(std::vector<std::string> types, const char* key) {
    problems_.require(!types.empty() || file_.is_bad(key), key, " has no layers.");
    for (std::size_t layer = 0; layer < types.size(); ++layer) {
      const std::string now = current_name(types[layer]);
      if (find_layer_type(now) == nullptr) {
        problems_.add(key, "[", layer, "] = ", file::echo(Json(types[layer])),
                      " is not a kind of layer that posenc can express: full_attention, "
                      "sliding_attention, chunked_attention, indexed_attention, hybrid, "
                      "linear_attention, mamba, conv, mlp, moe.");
        return {};  // one example is enough
      }
      types[layer] = now;
    }
    return types;
  }

  std::vector<std::string> lettered() {
    const std::string pattern = file_.text("hybrid_override_pattern").value_or("");
    std::vector<std::string> types;
    for (const char letter : pattern)
      if (letter != '|') {
        const std::size_t at = std::string_view("M*E-").find(letter);
        if (at == std::string_view::npos) {
          problems_.add("hybrid_override_pattern = \"", file::shorten(pattern),
                        "\" has a letter that is none of M (mamba), * (attention), E, - (MLP): \"",
                        std::string(1, letter), "\".");
          return {};
        }
        constexpr const char* names[] = {"linear_attention", "full_attention", "moe", "mlp"};
        types.emplace_back(names[at]);
      }
    problems_.require(!types.empty(), "hybrid_override_pattern = \"", file::shorten(pattern),
                      "\" has no layers.");
    return types;
  }

  std::vector<std::string> repeated() {
    const Json* groups = file_.find("attention_types");
    std::vector<std::string> types;
    bool is_right = groups->is_array();
    if (is_right)
      for (const Json& group : *groups) {
        is_right = group.is_array() && group.size() == 2 && group[0].is_array() &&
                   !group[0].empty() &&
                   std::all_of(group[0].begin(), group[0].end(),
                               [](const Json& name) { return name.is_string(); });
        const auto times = is_right ? Fields<Json>::as_integer(group[1]) : std::nullopt;
        if (!(is_right = is_right && times && *times >= 0 && *times <= most_layers)) break;
        for (Index i = 0; i < *times && std::ssize(types) <= most_layers; ++i)
          for (const Json& name : group[0]) types.push_back(name.template get<std::string>());
      }
    if (!is_right) {
      problems_.add("attention_types must be lists of names with a number of repetitions, got ",
                    file::echo(*groups), ".");
      return {};
    }
    return named(std::move(types), "attention_types");
  }

  std::vector<std::string> marked() {
    std::vector<std::string> types;
    for (const double mark : file_.numbers("attn_type_list").value_or(std::vector<double>{}))
      types.emplace_back(mark != 0 ? "full_attention" : "linear_attention");
    problems_.require(!types.empty() || file_.is_bad("attn_type_list"),
                      "attn_type_list has no layers.");
    return types;
  }

  /// The layers that attend, and perhaps the others: every layer is in one of two lists.
  std::vector<std::string> kimi(const Json& linear, Index count) {
    file_.mark_used(source_ = "linear_attn_config");
    const Fields<Json> fields(linear, source_, problems_);
    const auto full = fields.numbers("full_attn_layers").value_or(std::vector<double>{});
    const auto kda = fields.numbers("kda_layers");
    if (count <= 0)
      for (const auto& list : {full, kda.value_or(full)})
        for (const double layer : list)
          count = std::max(count, static_cast<Index>(std::clamp<double>(layer, 0, most_layers)));
    auto types = place(full, fields.path("full_attn_layers"), 1, count, "linear_attention",
                       "full_attention");
    if (!kda || types.empty()) return types;
    const auto others =
        place(*kda, fields.path("kda_layers"), 1, count, "full_attention", "linear_attention");
    for (std::size_t i = 0; i < others.size(); ++i)
      if (types[i] != others[i]) {
        problems_.add("linear_attn_config has layer ", i + 1, " in ",
                      types[i] == "full_attention" ? "both" : "neither",
                      " of kda_layers and full_attn_layers: it must be in one.");
        return {};
      }
    return types;
  }

  std::vector<std::string> indexed(const char* key, Index count, const char* others,
                                   const char* these) {
    return place(file_.numbers(key).value_or(std::vector<double>{}), key, 0, count, others, these);
  }

  std::vector<std::string> place(const std::vector<double>& layers, const std::string& key,
                                 Index first, Index count, const char* others, const char* these) {
    std::vector<std::string> types(static_cast<std::size_t>(std::max<Index>(count, 0)), others);
    for (const double layer : layers) {
      const double at = layer - static_cast<double>(first);
      if (!(at >= 0 && at < static_cast<double>(types.size())) || at != std::floor(at)) {
        problems_.add(key, " has ", layer, ", which is none of the ", types.size(), " layers.");
        return {};
      }
      types[static_cast<std::size_t>(at)] = these;
    }
    return types;
  }

  std::vector<std::string> periodic(Index count) {
    auto names =
        named(file_.texts("block_types").value_or(std::vector<std::string>{}), "block_types");
    std::vector<std::string> types;
    for (Index i = 0; i < count && !names.empty(); ++i)
      types.push_back(names[static_cast<std::size_t>(i) % names.size()]);
    return types;
  }

  std::vector<std::string> every(const std::string& period_key, const std::string& offset_key,
                                 Index count) {
    const auto period = file_.integer(period_key, 1, most_layers);
    if (!period && !file_.is_bad(period_key)) {
      file_.mark_used(offset_key);
      problems_.add(offset_key, " needs ", period_key, ", which is missing.");
    }
    if (!period) return {};
    const Index offset =
        offset_key.empty() ? *period - 1 : file_.integer(offset_key, 0, *period - 1).value_or(0);
    std::vector<std::string> types = expand(lead_, std::min(std::ssize(lead_), count));
    const std::string_view attends = lead_.empty() ? "full_attention" : name_of(lead_.back());
    for (Index i = 0; std::ssize(types) < count; ++i)
      types.emplace_back(i % *period == offset ? attends : "linear_attention");
    return types;
  }

  const Fields<Json>& file_;
  std::string_view lead_;
  Problems& problems_;
  std::string source_{};
};

}  // namespace huggingface
POSENC_NAMESPACE_END
