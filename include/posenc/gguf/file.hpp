// SPDX-License-Identifier: MIT
//
// GGUF files: the metadata and the tensors of a model in one file.
//
//   const gguf::File file("model.gguf");
//   const std::optional<double> base = file.real("llama.rope.freq_base");
//   const std::vector<float> weights = gguf::dequantise(file.tensor("blk.0.attn_q.weight"));
//
// Versions 2 and 3, little endian. The file is mapped into memory, its head is read and checked as a whole, and
// numbers of tensors are read only by those who ask for them (dequantise.hpp). Whatever is wrong with a file is
// one Error. Strings are given as their bytes are, which the format wants to be UTF-8.
//
// An optional header, not part of posenc.hpp; needs POSIX. Format: ggml-org/ggml, docs/gguf.md.
#pragma once

#include <posenc/file/mapping.hpp>
#include <posenc/gguf/contents.hpp>

#include <filesystem>

POSENC_NAMESPACE_BEGIN

namespace gguf {

/// Views that it hands out (texts, tensors' data) are good as long as the file, and when it is moved from, as
/// long as the one that it moved to.
class File {
 public:
  /// Maps the file. Throws Error where it cannot be read or is not a valid file.
  explicit File(const std::filesystem::path& path)
      : mapping_(detail::reader, path), contents_(detail::read_contents(mapping_.bytes())) {}

  /// A file in memory, which is borrowed and may have any alignment. Throws Error.
  [[nodiscard]] static File from_bytes(std::span<const std::byte> bytes) { return File(bytes); }

  File(File&&) = default;
  File& operator=(File&&) = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() = default;

  // A key's value, nothing where the file has no such key. Error where its type is another one.

  /// Of any integer type. Error also where the value exceeds int64.
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key) const {
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return std::nullopt;
    const std::optional<std::int64_t> number = detail::integer_of(key, *value);
    if (!number) detail::fail_of_type(key, *value, "an integer");
    return number;
  }

  /// Of either floating-point type.
  [[nodiscard]] std::optional<double> real(std::string_view key) const {
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return std::nullopt;
    if (!detail::is_real(value->type)) detail::fail_of_type(key, *value, "a floating-point number");
    return as_double(value->type, value->bytes.data());
  }

  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const {
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return std::nullopt;
    if (value->type != detail::ValueType::boolean) detail::fail_of_type(key, *value, "a boolean");
    return value->bytes.front() != std::byte{0};
  }

  [[nodiscard]] std::optional<std::string_view> text(std::string_view key) const {
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return std::nullopt;
    if (value->type != detail::ValueType::text) detail::fail_of_type(key, *value, "a string");
    return std::string_view(reinterpret_cast<const char*>(value->bytes.data()),
                            value->bytes.size());
  }

  // An array, empty where the file has no such key. Error where its type is another one.

  [[nodiscard]] std::vector<std::string_view> texts(std::string_view key) const {
    std::vector<std::string_view> all;
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return all;
    if (value->type != detail::ValueType::array || value->element != detail::ValueType::text)
      detail::fail_of_type(key, *value, "an array of string");
    all.reserve(static_cast<std::size_t>(value->count));
    detail::Cursor cursor(value->bytes);
    for (std::uint64_t i = 0; i < value->count; ++i) all.push_back(cursor.text({"key", key}));
    return all;
  }

  /// Integers, floating-point numbers or booleans (0 and 1), each rounded to double.
  [[nodiscard]] std::vector<double> reals(std::string_view key) const {
    std::vector<double> all;
    const detail::Value* value = contents_.find(key);
    if (value == nullptr) return all;
    if (value->type != detail::ValueType::array || value->element == detail::ValueType::text ||
        value->element == detail::ValueType::array)
      detail::fail_of_type(key, *value, "an array of numbers");
    const auto each = static_cast<std::size_t>(detail::least_bytes(value->element));
    all.reserve(static_cast<std::size_t>(value->count));
    for (std::size_t at = 0; at < value->bytes.size(); at += each)
      all.push_back(as_double(value->element, value->bytes.data() + at));
    return all;
  }

  /// In the order of the file.
  [[nodiscard]] std::vector<std::string> keys() const {
    std::vector<std::string> all;
    all.reserve(contents_.entries.size());
    for (const detail::Entry& entry : contents_.entries) all.emplace_back(entry.key);
    return all;
  }
  [[nodiscard]] bool has(std::string_view key) const { return contents_.find(key) != nullptr; }
  [[nodiscard]] bool is_array(std::string_view key) const {
    const detail::Value* value = contents_.find(key);
    return value != nullptr && value->type == detail::ValueType::array;
  }

  /// In the order of the file. Those whose type is not known here are among them; see Tensor::data.
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return contents_.tensors; }

  /// Null where the file has none of that name.
  [[nodiscard]] const Tensor* find_tensor(std::string_view name) const {
    return contents_.names.find(name, contents_.tensors, detail::name_of_tensor);
  }
  /// Throws Error where the file has none of that name.
  [[nodiscard]] const Tensor& tensor(std::string_view name) const {
    const Tensor* found = find_tensor(name);
    if (found == nullptr)
      detail::fail(detail::reader, "none of the file's ", contents_.tensors.size(),
                   " tensors has the name ", detail::in_quotes(name), ".");
    return *found;
  }

 private:
  explicit File(std::span<const std::byte> bytes) : contents_(detail::read_contents(bytes)) {}

  static double as_double(detail::ValueType type, const std::byte* bytes) {
    return detail::with_number(type, bytes,
                               [](auto number) { return static_cast<double>(number); });
  }

  file::Mapping mapping_{};
  detail::Contents contents_;
};

}  // namespace gguf

POSENC_NAMESPACE_END
