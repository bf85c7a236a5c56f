// SPDX-License-Identifier: MIT
//
// RopeDictionary: where the rotary parameters of a file stand.
//
// In `rope_parameters`, or the older `rope_scaling`; where both are there they must say the same
// (the newer one may also hold the base and the partial factor). Where the file has neither, the
// dictionary of Hugging Face's class, if it has one. A dictionary whose keys are all kinds of layers
// holds one dictionary for each of them.
#pragma once

#include <posenc/config/huggingface/layers.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
struct RopeDictionary {
  const Json* json = nullptr;  ///< nullptr: there is none
  std::string name;            ///< "rope_parameters" or "rope_scaling"
  bool per_layer = false;      ///< one dictionary per kind of layer
  bool of_class = false;       ///< of the class, not of the file: the file's other keys win over it

  /// The dictionary for a kind of layer; nullptr where it is null or missing.
  [[nodiscard]] const Json* entry(const std::string& type) const {
    for (auto at = json->begin(); at != json->end(); ++at)
      if (current_name(at.key()) == type) return &at.value();
    return nullptr;
  }
};

namespace detail {

/// Without nulls, `type` as rope_type.
template <class Json>
Json comparable(const Json& dict) {
  Json tidied = Json::object();
  for (auto at = dict.begin(); at != dict.end(); ++at)
    if (!at->is_null()) tidied[at.key() == "type" ? "rope_type" : at.key()] = *at;
  if (!is_layer_label(dict.empty() ? "" : dict.begin().key()) && !tidied.contains("rope_type"))
    tidied["rope_type"] = "default";
  return tidied;
}

/// Whether two dictionaries say the same; the base and the partial factor where both have them.
template <class Json>
bool agree(const Json& first, const Json& second) {
  if (!first.is_object() || !second.is_object()) return first == second;
  Json one = comparable(first), other = comparable(second);
  for (const char* key : {"rope_theta", "partial_rotary_factor"})
    if (one.contains(key) != other.contains(key)) one.erase(key), other.erase(key);
  if (one.size() != other.size()) return false;
  for (auto at = one.begin(); at != one.end(); ++at)
    if (!other.contains(at.key()) || !agree(*at, other.at(at.key()))) return false;
  return true;
}

}  // namespace detail

template <class Json>
[[nodiscard]] RopeDictionary<Json> choose_dictionary(const Fields<Json>& file,
                                                     const config::Architecture& architecture,
                                                     std::string_view model_type,
                                                     Problems& problems) {
  const auto of_file = [&](const char* key) {
    return file.peek(key) == nullptr ? nullptr : file.object(key);
  };
  const Json* parameters = of_file("rope_parameters");
  const Json* scaling = of_file("rope_scaling");
  if (scaling != nullptr && scaling->empty()) scaling = nullptr;
  if (parameters != nullptr && scaling != nullptr && !detail::agree(*parameters, *scaling))
    problems.add("rope_parameters and rope_scaling contradict each other, ",
                 file::echo(*parameters), " and ", file::echo(*scaling), ": keep rope_parameters.");
  RopeDictionary<Json> chosen;
  chosen.json = parameters != nullptr ? parameters : scaling;
  chosen.name = parameters == nullptr && scaling != nullptr ? "rope_scaling" : "rope_parameters";
  if (chosen.json == nullptr && !file.is_bad("rope_parameters") && !file.is_bad("rope_scaling")) {
    chosen.json = file.class_value("rope_parameters");
    chosen.of_class = chosen.json != nullptr;
  }
  std::size_t kinds = 0, keys = 0;
  std::map<std::string, std::string> entries;  // of a kind, under which key
  if (chosen.json != nullptr)
    for (auto at = chosen.json->begin(); at != chosen.json->end(); ++at, ++keys) {
      kinds += is_layer_label(at.key());
      const auto entry = entries.emplace(current_name(at.key()), at.key()).first;
      problems.require(detail::agree(chosen.json->at(entry->second), *at), chosen.name, ".",
                       file::shorten(entry->second), " and ", chosen.name, ".",
                       file::shorten(at.key()),
                       " are one kind of layer and contradict each other: keep one.");
      problems.require(!is_layer_label(at.key()) || at->is_null() || at->is_object(), chosen.name,
                       ".", at.key(), " must be an object, got ", file::echo(*at), ".");
    }
  chosen.per_layer = kinds != 0;
  problems.require(kinds == 0 || kinds == keys, chosen.name,
                   " mixes kinds of layers (full_attention, ...) "
                   "with other keys: it must be one dictionary, or one per kind.");
  const bool has_base_of_own = file.spelling(spellings::base) != "" && chosen.of_class;
  const bool is_flat = chosen.json != nullptr && !chosen.per_layer && !chosen.of_class;
  problems.require(((chosen.per_layer && !has_base_of_own) || !architecture.needs_dictionaries) &&
                       !(architecture.half_window && is_flat),
                   "rope_parameters must have a dictionary for "
                   "full_attention and one for sliding_attention in ",
                   model_type, ".");
  return chosen;
}

}  // namespace huggingface
POSENC_NAMESPACE_END
