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
// known. What is not in the file is not guessed: an unknown model_type needs {.layout = ...}, and
// then every key that bears on attention must be understood.
//
// Of a multimodal file the language model's part is read.
//
// Needs nlohmann-json (CMake: link posenc::huggingface). Rules
// and precedence are written where they are applied, in the folder huggingface: rope.hpp,
// schemes.hpp, layers.hpp; what model_type implies is in architecture_table.hpp.
#pragma once

#include <posenc/config/explain.hpp>
#include <posenc/config/huggingface/language_part.hpp>
#include <posenc/config/huggingface/model.hpp>
#include <posenc/file/json.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <set>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

using config::LayerKind;
using config::LayoutName;
using config::Model;

namespace detail {

inline constexpr std::size_t most_sentences = 20;

/// Throws one Error with every sentence, each of them once; of very many, the first ones.
inline void raise(const Problems& problems) {
  std::set<std::string_view> seen;
  std::vector<std::string> distinct;
  for (const std::string& sentence : problems.sentences())
    if (seen.insert(sentence).second && seen.size() <= most_sentences) distinct.push_back(sentence);
  if (seen.size() > most_sentences)
    distinct.push_back("and " + std::to_string(seen.size() - most_sentences) + " more.");
  if (!distinct.empty()) throw Error("posenc::huggingface", distinct);
}

/// Where the layout is from, what stood in for the table, and which defaults were taken.
inline void note_sources(Model& model, const Fields<nlohmann::json>& file, bool is_known,
                         const Options& options) {
  std::vector<std::string> notes;
  const std::string type = "model_type \"" + file::shorten(model.model_type) + "\"";
  if (std::any_of(model.layers.begin(), model.layers.end(),
                  [](const LayerKind& kind) { return kind.rotary.has_value(); }))
    notes.push_back(options.layout ? "layout: as the caller says."
                    : !file.spelling(spellings::interleaved).empty()
                        ? "layout: rope_interleave."
                        : "layout: " + type + " in posenc's table.");
  if (!is_known)
    notes.push_back(type +
                    " is not in posenc's table; assumed: every layer attends, causally, and "
                    "rotates, and the softmax scale is 1/sqrt(head_dim), except where the "
                    "file says otherwise.");
  if (const std::string taken = file.taken_defaults(); !taken.empty())
    notes.push_back("absent, so as Hugging Face's class has it: " + taken + ".");
  model.notes.insert(model.notes.begin(), notes.begin(), notes.end());
}

/// Without recursion, which a deep value would end.
inline bool depth_at_most(const nlohmann::json& value, std::size_t most) {
  std::vector<const nlohmann::json*> level{&value};
  for (std::size_t depth = 0; !level.empty(); ++depth) {
    if (depth > most) return false;
    std::vector<const nlohmann::json*> next;
    for (const nlohmann::json* container : level)
      for (const nlohmann::json& item : *container)
        if (item.is_structured() && !item.empty()) next.push_back(&item);
    level = std::move(next);
  }
  return true;
}

}  // namespace detail

/// Reads a configuration that is at hand as JSON. Throws Error with every problem.
[[nodiscard]] inline Model parse(const nlohmann::json& config, const Options& options = {}) {
  Problems problems;
  problems.require(config.is_object(), "a configuration must be a JSON object, got ",
                   config.type_name(), ".");
  problems.require(detail::depth_at_most(config, file::deepest_nesting),
                   "objects and lists are nested deeper than ", file::deepest_nesting,
                   " levels, which no configuration needs.");
  detail::raise(problems);
  std::vector<std::string> notes;
  const LanguagePart<nlohmann::json> part = language_part(config, notes, problems);
  const nlohmann::json defaults = class_defaults<nlohmann::json>(part.type);
  const Fields<nlohmann::json> file(*part.json, "", problems, &defaults);
  const config::Architecture* known = config::find_architecture(part.type);
  if (problems.empty() && known == nullptr && !options.layout &&
      !file.boolean(file.key_of(spellings::interleaved)))
    problems.add(part.type.empty()
                     ? "model_type is missing"
                     : "model_type \"" + file::shorten(part.type) + "\" is not in posenc's table",
                 ", so the layout of the rotary pairs is not known, and the file never says it: ",
                 options.remedies.layout, ".");
  detail::raise(problems);
  const config::Architecture other{.windows = config::WindowRule::unknown};
  Model model = ModelReader<nlohmann::json>(file, known == nullptr ? other : *known,
                                            known != nullptr, part.type, options, problems)
                    .read();
  detail::note_sources(model, file, known != nullptr, options);
  model.notes.insert(model.notes.end(), notes.begin(), notes.end());
  report_unused(file, known != nullptr, options, model.notes, problems);
  detail::raise(problems);
  return model;
}

/// Reads a config.json. Throws Error when the file cannot be read, is not JSON, or is not
/// understood.
[[nodiscard]] inline Model read(const std::filesystem::path& path, const Options& options = {}) {
  Problems problems;
  nlohmann::json config;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    problems.add("cannot read ", path.string(), ": no such file, or no permission.");
  } else {
    // One byte more than is allowed shows that there are too many.
    std::string text(file::largest_file + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    config = file::parse_text(text, problems);
  }
  try {
    detail::raise(problems);
    return parse(config, options);
  } catch (const Error& error) {
    throw Error("posenc::huggingface: " + path.string(), error.problems());
  }
}

}  // namespace huggingface
POSENC_NAMESPACE_END
