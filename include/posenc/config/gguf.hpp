// SPDX-License-Identifier: MIT
//
// gguf: the metadata of a model file to its encodings, one per kind of layer, as
// config/huggingface.hpp gives them.
//
//   #include <posenc/config/gguf.hpp>
//
//   const config::Model model = gguf::read("Llama-3.1-8B-Q4_K_M.gguf");
//   std::cout << explain(model);
//   for (const auto& layer : model.layers)
//     const AnyBound bound = bind(layer.encoding(), {.num_heads = layer.num_heads, ...});
//
// Keys mean what they mean to llama.cpp. Layouts are those of the file: the converter permutes the
// rows of some architectures' query and key weights, and a Llama that has halves in its config.json
// is interleaved here. Whatever is wrong is one Error with a sentence each; an architecture that is
// not in the table (architecture_table.hpp) and a rotary key that nobody reads are wrong, too.
//
// An optional header, not part of posenc.hpp; needs POSIX.
#pragma once

#include <posenc/config/explain.hpp>
#include <posenc/config/gguf/model.hpp>

POSENC_NAMESPACE_BEGIN
namespace gguf {

/// Throws Error with every problem.
[[nodiscard]] inline config::Model parse(const File& file, const Options& options = {}) {
  constexpr std::string_view who = "posenc::gguf";
  const std::string name(file.text("general.architecture").value_or(""));
  const Architecture* known = find_architecture(name);
  if (known == nullptr)
    file::fail(who,
               name.empty()
                   ? "general.architecture is missing"
                   : "general.architecture " + file::in_quotes(name) + " is not in posenc's table",
               ", so the layout of the rotary pairs is not known, and no key says it.");
  Problems problems;
  const Keys keys(file, name, problems);
  config::Model model = ModelReader(keys, name, *known, options, problems).read();
  problems.raise_if_any(who);
  model.notes.insert(model.notes.begin(),
                     "layout: general.architecture \"" + name + "\" in posenc's table.");
  return model;
}

/// Throws Error when the file cannot be read, is no GGUF file, or is not understood.
[[nodiscard]] inline config::Model read(const std::filesystem::path& path,
                                        const Options& options = {}) {
  return parse(File(path), options);
}

}  // namespace gguf
POSENC_NAMESPACE_END
