// SPDX-License-Identifier: MIT
//
// huggingface: the config.json of a model to its encodings, one per kind of layer.
//
//   #include <posenc/config/huggingface.hpp>
//
//   const auto model = huggingface::read("Qwen2.5-7B-Instruct/config.json");
//   std::cout << explain(model);
//   for (const auto& layer : model.layers)
//     const AnyBound bound = bind(layer.encoding(), {.num_heads = layer.num_heads, ...});
//
// Whatever is wrong is reported at once, by one Error with a sentence each: missing keys, wrong
// types, values that contradict each other (both are named), schemes and spellings that are not
// known. What is not in the file is not guessed: an unknown model_type needs {.layout = ...}.
//
// A multimodal model's language part is read: text_config, llm_config or language_config; what that
// leaves out is looked up in the outer object.
//
// Needs nlohmann-json (CMake: link posenc::huggingface), as the only header of the library. Rules
// and precedence are written where they are applied, in the folder huggingface: rope.hpp,
// schemes.hpp, layers.hpp; what model_type implies is in architectures.hpp.
#pragma once

#include <posenc/config/explain.hpp>
#include <posenc/config/huggingface/model.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

using config::LayerKind;
using config::LayoutName;
using config::Model;

namespace detail {

/// The language model's object, with the outer keys that it does not have itself.
inline nlohmann::json language_part(const nlohmann::json& config, Problems& problems) {
  for (const char* name : {"text_config", "llm_config", "language_config"}) {
    const auto inner = config.find(name);
    if (inner == config.end() || !inner->is_object()) continue;
    nlohmann::json merged = config;
    merged.erase(name);
    for (const char* key :
         {"rope_theta", "rope_scaling", "rope_parameters", "max_position_embeddings"})
      if (config.contains(key) && inner->contains(key) && config.at(key) != inner->at(key))
        problems.add(key, " = ", config.at(key).dump(), " and ", name, ".", key, " = ",
                     inner->at(key).dump(), " contradict each other.");
    merged.update(*inner);
    return merged;
  }
  return config;
}

}  // namespace detail

/// Reads a configuration that is at hand as JSON. Throws Error with every problem.
[[nodiscard]] inline Model parse(const nlohmann::json& config, const Options& options = {}) {
  Problems problems;
  problems.require(config.is_object(), "a configuration must be a JSON object, got ",
                   config.type_name(), ".");
  problems.raise_if_any("posenc::huggingface");
  const nlohmann::json json = detail::language_part(config, problems);
  const Fields<nlohmann::json> file(json, "", problems);
  const std::string type = file.text("model_type").value_or("");
  const config::Architecture* known = config::find_architecture(type);
  if (known == nullptr && !options.layout) {
    problems.add(
        type.empty() ? "model_type is missing"
                     : "model_type \"" + type + "\" is not in posenc's table",
        ", so the layout of the rotary pairs is not known, and the file never says it: pass "
        "{.layout = huggingface::LayoutName::half_split} if the model's code has rotate_half on "
        "two "
        "halves, {.layout = huggingface::LayoutName::interleaved} if it pairs channels 2i and 2i + "
        "1.");
    problems.raise_if_any("posenc::huggingface");
  }
  const config::Architecture other{.model_type = type, .windows = config::WindowRule::unknown};
  Model model =
      ModelReader<nlohmann::json>(file, known == nullptr ? other : *known, options, problems)
          .read();
  model.model_type = type;
  if (std::any_of(model.layers.begin(), model.layers.end(),
                  [](const LayerKind& kind) { return kind.rotary; }))
    model.notes.insert(model.notes.begin(),
                       options.layout ? "layout: as the caller says."
                       : file.mentions("rope_interleave")
                           ? "layout: rope_interleave."
                           : "layout: model_type \"" + type + "\" in posenc's table.");
  problems.raise_if_any("posenc::huggingface");
  return model;
}

/// Reads a config.json. Throws Error when the file cannot be read, is not JSON, or is not
/// understood.
[[nodiscard]] inline Model read(const std::filesystem::path& path, const Options& options = {}) {
  Problems problems;
  nlohmann::json config;
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path)) {
    problems.add("cannot read ", path.string(), ": no such file, or no permission.");
  } else {
    try {
      config = nlohmann::json::parse(file);
    } catch (const nlohmann::json::exception& error) {
      problems.add(path.string(), " is not JSON: ", error.what());
    }
  }
  problems.raise_if_any("posenc::huggingface");
  try {
    return parse(config, options);
  } catch (const Error& error) {
    throw Error("posenc::huggingface: " + path.string(), error.problems());
  }
}

}  // namespace huggingface
POSENC_NAMESPACE_END
