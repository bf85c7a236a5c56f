// SPDX-License-Identifier: MIT
//
// safetensors files: the tensors of a model, in one file or in several with an index.
//
//   const safetensors::Model model("SmolLM3-3B");     // a folder, or a file
//   const safetensors::Tensor& embedding = model.tensor("model.embed_tokens.weight");
//   safetensors::read_rows(embedding, token, 1, row);
//
// Files are mapped into memory, their headers are read and checked as a whole, and numbers of
// tensors are read only by those who ask for them (tensor.hpp). Whatever is wrong with a file is
// one Error.
//
// An optional header, not part of posenc.hpp; needs nlohmann-json (CMake: link posenc::huggingface)
// and POSIX.
#pragma once

#include <posenc/file/mapping.hpp>
#include <posenc/safetensors/header.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>

POSENC_NAMESPACE_BEGIN

namespace safetensors {

/// Views that it hands out (tensors' data) are good as long as the file, and when it is moved from,
/// as long as the one that it moved to.
class File {
 public:
  /// Maps the file. Throws Error where it cannot be read or is not a valid file.
  explicit File(const std::filesystem::path& path)
      : mapping_(detail::reader, path), tensors_(detail::read_header(mapping_.bytes())) {}

  /// A file in memory, which is borrowed and may have any alignment. Throws Error.
  [[nodiscard]] static File from_bytes(std::span<const std::byte> bytes) { return File(bytes); }

  /// In the order of their bytes.
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  explicit File(std::span<const std::byte> bytes) : tensors_(detail::read_header(bytes)) {}

  file::Mapping mapping_{};
  std::vector<Tensor> tensors_;
};

/// The tensors of a file, or of a folder's model.safetensors, else of its model.safetensors.index.json.
class Model {
 public:
  /// Throws Error, with the path, where a file cannot be read, where the index names another file
  /// than the one that has a tensor, and where two files have a tensor of one name.
  explicit Model(const std::filesystem::path& path) {
    const std::filesystem::path whole = path / "model.safetensors",
                                index = path / "model.safetensors.index.json";
    if (!std::filesystem::is_directory(path))
      add(path);
    else if (std::filesystem::exists(whole))  // of both transformers takes this one, too
      add(whole);
    else if (std::filesystem::exists(index))
      add_indexed(index);
    else
      file::fail("posenc::safetensors::Model", "the folder ", file::in_quotes(path.string()),
                 " has neither model.safetensors nor model.safetensors.index.json.");
  }
  Model(Model&&) = default;
  Model& operator=(Model&&) = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() = default;

  /// By name.
  [[nodiscard]] const std::map<std::string, const Tensor*, std::less<>>& tensors() const {
    return by_name_;
  }
  /// Null where there is none of that name.
  [[nodiscard]] const Tensor* find_tensor(std::string_view name) const {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : at->second;
  }
  /// Throws Error where there is none of that name.
  [[nodiscard]] const Tensor& tensor(std::string_view name) const {
    const Tensor* found = find_tensor(name);
    if (found == nullptr)
      file::fail("posenc::safetensors::Model", "none of the ", by_name_.size(),
                 " tensors has the name ", file::in_quotes(name), ".");
    return *found;
  }

 private:
  const File& add(const std::filesystem::path& path) {
    try {
      files_.push_back(std::make_unique<File>(path));
    } catch (const Error& error) {
      file::fail(detail::reader, file::in_quotes(path.string()), ": ", error.problems().front());
    }
    for (const Tensor& tensor : files_.back()->tensors())
      if (!by_name_.try_emplace(tensor.name, &tensor).second)
        file::fail(detail::reader, file::in_quotes(path.string()), " has the tensor ",
                   file::in_quotes(tensor.name), ", which another file has, too.");
    return *files_.back();
  }

  void add_indexed(const std::filesystem::path& index) {
    const auto refuse = [&](const auto&... parts) {
      file::fail("posenc::safetensors::Model", file::in_quotes(index.string()), ": ", parts...);
    };
    std::ifstream stream(index, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    Problems problems;
    const nlohmann::json json = file::parse_text(
        text, problems, {.bytes = detail::longest_header, .what = "index of tensors"});
    if (!problems.empty()) refuse(file::in_quotes(problems.sentences().front()), ".");
    const auto map = json.is_object() ? json.find("weight_map") : json.end();
    if (!json.is_object() || map == json.end() || !map->is_object())
      refuse("an index must have an object weight_map.");
    std::map<std::string, std::vector<std::string>> tensors_of;
    for (auto at = map->begin(); at != map->end(); ++at) {
      const std::string name = at->is_string() ? at->get<std::string>() : "";
      // A file beside the index, and no path that leads elsewhere.
      if (name.empty() || name == ".." || name != std::filesystem::path(name).filename().string())
        refuse("tensor ", file::in_quotes(at.key()), " must be in a file of the folder, got ",
               file::in_quotes(file::echo(at.value())), ".");
      tensors_of[name].push_back(at.key());
    }
    for (const auto& [name, tensors] : tensors_of) {
      const File& shard = add(index.parent_path() / name);
      const Tensor* first = shard.tensors().data();
      const Tensor* last = first + shard.tensors().size();
      for (const std::string& tensor : tensors)
        if (const Tensor* found = find_tensor(tensor);
            found == nullptr || std::less<>{}(found, first) || !std::less<>{}(found, last))
          refuse("tensor ", file::in_quotes(tensor), " is not in ", file::in_quotes(name), ".");
      if (shard.tensors().size() != tensors.size())
        refuse(file::in_quotes(name), " has ", shard.tensors().size(),
               " tensors, of which the index names ", tensors.size(), ".");
    }
  }

  std::vector<std::unique_ptr<File>> files_{};
  std::map<std::string, const Tensor*, std::less<>> by_name_{};
};

}  // namespace safetensors

POSENC_NAMESPACE_END
