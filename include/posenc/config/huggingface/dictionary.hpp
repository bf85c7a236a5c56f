// SPDX-License-Identifier: MIT
//
// RopeDictionary: where the rotary parameters of a file stand.
//
// In `rope_parameters`, or the older `rope_scaling`; where both are there they must say the same
// (the newer one may also hold the base and the partial factor). A dictionary whose keys are all
// kinds of layers holds one dictionary for each of them.
#pragma once

#include <posenc/config/architectures.hpp>
#include <posenc/config/huggingface/layers.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
struct RopeDictionary {
  const Json* json = nullptr;  ///< nullptr: the file has none
  std::string name;            ///< "rope_parameters" or "rope_scaling"
  bool per_layer = false;      ///< one dictionary per kind of layer
};

namespace detail {

/// What the two spellings must agree in: no nulls, no base, `type` as rope_type.
template <class Json>
Json comparable(const Json& dict) {
  Json tidied = Json::object();
  for (auto at = dict.begin(); at != dict.end(); ++at) {
    if (at->is_null() || at.key() == "rope_theta" || at.key() == "partial_rotary_factor") continue;
    tidied[at.key() == "type" ? "rope_type" : at.key()] = at->is_object() ? comparable(*at) : *at;
  }
  if (!is_layer_type(dict.empty() ? "" : dict.begin().key()) && !tidied.contains("rope_type"))
    tidied["rope_type"] = "default";
  return tidied;
}

}  // namespace detail

template <class Json>
[[nodiscard]] RopeDictionary<Json> choose_dictionary(const Fields<Json>& file,
                                                     const config::Architecture& architecture,
                                                     Problems& problems) {
  const Json* parameters = file.object("rope_parameters");
  const Json* scaling = file.object("rope_scaling");
  if (parameters != nullptr && scaling != nullptr &&
      detail::comparable(*parameters) != detail::comparable(*scaling))
    problems.add("rope_parameters and rope_scaling contradict each other, ", parameters->dump(),
                 " and ", scaling->dump(), ": keep rope_parameters.");
  RopeDictionary<Json> chosen;
  chosen.json = parameters != nullptr ? parameters : scaling;
  chosen.name = parameters == nullptr && scaling != nullptr ? "rope_scaling" : "rope_parameters";
  std::size_t kinds = 0, keys = 0;
  if (chosen.json != nullptr)
    for (auto at = chosen.json->begin(); at != chosen.json->end(); ++at, ++keys)
      kinds += is_layer_type(at.key());
  chosen.per_layer = kinds != 0;
  problems.require(kinds == 0 || kinds == keys, chosen.name,
                   " mixes kinds of layers (full_attention, ...) "
                   "with other keys: it must be one dictionary, or one per kind.");
  problems.require(chosen.per_layer || architecture.global_head_dim == 0, chosen.name,
                   " must have a dictionary for "
                   "full_attention and one for sliding_attention in ",
                   architecture.model_type, ".");
  return chosen;
}

}  // namespace huggingface
POSENC_NAMESPACE_END
