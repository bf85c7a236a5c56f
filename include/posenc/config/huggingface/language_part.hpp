// SPDX-License-Identifier: MIT
//
// LanguagePart: the object of a multimodal file that describes the language model, and its type.
//
// It stands under text_config, llm_config or language_config, in omni models within
// thinker_config. What the outer object says is not the language model's: nothing is taken from it,
// and where both have a rotary key or a length they must agree. Two parts in one object must be the
// same.
//
// The part's type is its model_type, else the type that Hugging Face's class of the outer object
// has for it. A file of such an outer class without parts is the language model itself, as files
// once were.
#pragma once

#include <posenc/config/architecture_table.hpp>
#include <posenc/config/huggingface/class_defaults.hpp>
#include <posenc/config/huggingface/fields.hpp>
#include <posenc/config/huggingface/unused.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
struct LanguagePart {
  const Json* json = nullptr;
  std::string type{};   ///< "" where nothing says it
  std::string where{};  ///< "text_config", "" for the file itself
};

/// The defaults of Hugging Face's class of a type, as an object; empty where there are none.
template <class Json>
[[nodiscard]] Json class_defaults(std::string_view type) {
  if (!type.empty() && type.find(' ') == std::string_view::npos)
    for (const ClassDefaults& row : class_defaults_table)
      if (config::detail::has_word(row.types, type)) return Json::parse(row.json);
  return Json::object();
}

namespace detail {

/// What Hugging Face's class of an outer type has for its language part, or nullptr.
[[nodiscard]] inline const OuterTypes* find_outer_type(std::string_view model_type) {
  if (model_type.empty() || model_type.find(' ') != std::string_view::npos) return nullptr;
  for (const OuterTypes& row : outer_types_table)
    if (config::detail::has_word(row.types, model_type)) return &row;
  return nullptr;
}

/// The type that a part has when it does not say: of the outer class, or <outer>_text.
[[nodiscard]] inline std::string type_within(const std::string& outer) {
  if (const OuterTypes* row = find_outer_type(outer)) return std::string(row->model_type);
  return config::find_architecture(outer + "_text") != nullptr ? outer + "_text" : "";
}

template <class Json>
[[nodiscard]] std::string type_of(const Json& object, Problems& problems) {
  return Fields<Json>(object, "", problems).text("model_type").value_or("");
}

}  // namespace detail

/// The language model's object of a file. Notes name what the outer objects say beside it.
template <class Json>
[[nodiscard]] LanguagePart<Json> language_part(const Json& file, std::vector<std::string>& notes,
                                               Problems& problems) {
  LanguagePart<Json> part{&file, detail::type_of(file, problems), ""};
  for (int depth = 0; depth < 4; ++depth) {
    const Json& outer = *part.json;
    std::string chosen;
    for (const char* name :
         {"thinker_config", "vlm_config", "text_config", "llm_config", "language_config"}) {
      const auto at = outer.find(name);
      if (at == outer.end() || at->is_null()) continue;
      problems.require(at->is_object(), name, " must be an object, got ", file::echo(*at), ".");
      if (!at->is_object()) continue;
      if (chosen.empty())
        chosen = name;
      else
        problems.require(outer.at(chosen) == *at, chosen, " = ", file::echo(outer.at(chosen)),
                         " and ", name, " = ", file::echo(*at),
                         " are two language parts: keep one.");
    }
    if (chosen.empty()) break;
    const Json& inner = outer.at(chosen);
    // An outer class that has positions of its own, of audio, has nothing to say of the part's.
    const bool has_own = detail::find_outer_type(part.type) != nullptr &&
                         detail::find_outer_type(part.type)->own_positions;
    std::string beside;
    for (auto at = outer.begin(); at != outer.end(); ++at) {
      const auto within = inner.find(at.key());
      const bool both = within != inner.end() && !within->is_null() && !at->is_null();
      for (const char* key :
           {"rope_theta", "rope_scaling", "rope_parameters", "max_position_embeddings"})
        if (at.key() == key && both && *at != *within && !has_own)
          problems.add(key, " = ", file::echo(*at), " and ", chosen, ".", key, " = ",
                       file::echo(*within), " contradict each other.");
      if (!at->is_null() && at.key() != chosen && within == inner.end() &&
          bears_on_positions(at.key()))
        beside += (beside.empty() ? "" : ", ") + at.key();
    }
    if (!beside.empty())
      notes.push_back("not of " + chosen + ", and so not read: " + file::shorten(beside) + ".");
    std::string type = detail::type_of(inner, problems);
    if (type.empty()) type = detail::type_within(part.type);
    if (type.empty()) type = part.type;
    part = {&inner, std::move(type), part.where.empty() ? chosen : part.where + "." + chosen};
  }
  if (part.where.empty() && config::find_architecture(part.type) == nullptr)
    if (std::string type = detail::type_within(part.type); !type.empty())
      part.type = std::move(type);
  return part;
}

}  // namespace huggingface
POSENC_NAMESPACE_END
