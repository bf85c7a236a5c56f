// SPDX-License-Identifier: MIT
//
// What a safetensors file says about itself, read from its bytes:
//
//   the length of the header                                    8 bytes, little endian
//   {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {texts}}
//   the bytes of the tensors; here the offsets begin
//
// The file is not trusted. The header is read as configurations are (depth, size, keys that stand
// twice); every tensor must have the bytes that its shape asks for, and all of them together cover
// the file: in the order of their offsets each begins where the one before it ends. So no byte
// belongs to two tensors, and none to none.
//
// Format: huggingface/safetensors, README.md.
#pragma once

#include <posenc/file/json.hpp>
#include <posenc/safetensors/tensor.hpp>

#include <algorithm>
#include <limits>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace safetensors::detail {

inline constexpr std::string_view reader = "posenc::safetensors::File";

/// A whole number of the file that counts something.
inline Index count_of(const nlohmann::json& value, std::string_view tensor, std::string_view what) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
    file::fail(reader, "tensor ", file::in_quotes(tensor), " has ", what, " of ",
               file::in_quotes(file::echo(value)), ", which is no count.");
  return static_cast<Index>(value.get<std::uint64_t>());
}

/// The value of a key that every tensor has.
inline const nlohmann::json& entry_of(const nlohmann::json& tensor, std::string_view name,
                                      const char* key) {
  const auto at = tensor.find(key);
  if (at == tensor.end()) file::fail(reader, "tensor ", file::in_quotes(name), " lacks ", key, ".");
  return *at;
}

/// A tensor, whose bytes are `data` from its offsets on.
inline Tensor tensor_of(const std::string& name, const nlohmann::json& entry,
                        std::span<const std::byte> data) {
  if (!entry.is_object())
    file::fail(reader, "tensor ", file::in_quotes(name), " must be an object, got ",
               file::in_quotes(file::echo(entry)), ".");
  Tensor tensor{.name = name};
  const nlohmann::json& type = entry_of(entry, name, "dtype");
  if (!type.is_string() || bytes_of(type.get_ref<const std::string&>()) == 0)
    file::fail(reader, "tensor ", file::in_quotes(name), " has the dtype ",
               file::in_quotes(file::echo(type)), ", which is not known here.");
  tensor.type = type.get<std::string>();
  const nlohmann::json& shape = entry_of(entry, name, "shape");
  const nlohmann::json& offsets = entry_of(entry, name, "data_offsets");
  if (!shape.is_array() || !offsets.is_array() || offsets.size() != 2)
    file::fail(reader, "tensor ", file::in_quotes(name),
               " must have a list as shape and two data_offsets.");
  for (const nlohmann::json& axis : shape) tensor.shape.push_back(count_of(axis, name, "an axis"));
  const std::optional<Index> counted = bytes_of(tensor.type, tensor.shape);
  if (!counted)
    file::fail(reader, "tensor ", file::in_quotes(name),
               " has a shape of more bytes than can be counted.");
  const Index bytes = *counted;
  const Index begin = count_of(offsets[0], name, "an offset"),
              end = count_of(offsets[1], name, "an offset");
  if (begin > end || end > std::ssize(data))
    file::fail(reader, "tensor ", file::in_quotes(name), " has the data_offsets ", begin, " and ",
               end, "; they must rise within the ", data.size(), " bytes of tensors.");
  if (end - begin != bytes)
    file::fail(reader, "tensor ", file::in_quotes(name), " takes ", bytes, " bytes as ",
               tensor.type, ", and its data_offsets leave ", end - begin, ".");
  tensor.data = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes));
  return tensor;
}

/// That the tensors cover `data`, each byte once. `tensors` are in the order of their bytes.
inline void check_cover(const std::vector<Tensor>& tensors, std::span<const std::byte> data) {
  const std::byte* end = data.data();
  for (const Tensor& tensor : tensors) {
    if (tensor.data.data() != end)
      file::fail(reader, "tensor ", file::in_quotes(tensor.name), " begins at byte ",
                 tensor.data.data() - data.data(), ", and the tensors before it end at byte ",
                 end - data.data(), ": they must neither overlap nor leave gaps.");
    end += tensor.data.size();
  }
  if (end != data.data() + data.size())
    file::fail(reader, "the tensors end at byte ", end - data.data(), " of ", data.size(),
               ": the rest belongs to none.");
}

/// What the format's own reader allows.
inline constexpr std::size_t longest_header = 100'000'000;

/// Reads and checks all but the tensors' numbers: tensors in the order of their bytes. Throws Error.
inline std::vector<Tensor> read_header(std::span<const std::byte> file) {
  constexpr std::size_t head = 8;
  if (file.size() < head)
    file::fail(reader, "this is no safetensors file: it has ", file.size(),
               " bytes, and its first 8 must be the length of a header.");
  const auto length = file::load<std::uint64_t>(file.data());
  if (length > file.size() - head)
    file::fail(reader, "the header has ", length, " bytes, and the file has ", file.size() - head,
               " for it: this is no safetensors file, or a part of it is missing.");
  const std::span<const std::byte> data = file.subspan(head + static_cast<std::size_t>(length));
  Problems problems;
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + head,
                              static_cast<std::size_t>(length));
  const nlohmann::json header =
      file::parse_text(text, problems, {.bytes = longest_header, .what = "header of tensors"});
  if (!problems.empty())
    file::fail(reader, "the header is ", file::in_quotes(problems.sentences().front()), ".");
  if (!header.is_object()) file::fail(reader, "the header must be an object.");
  std::vector<Tensor> tensors;
  for (auto at = header.begin(); at != header.end(); ++at)
    if (at.key() != "__metadata__") tensors.push_back(tensor_of(at.key(), at.value(), data));
  std::stable_sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    // An empty tensor lies before the one that begins at the same byte.
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  check_cover(tensors, data);
  return tensors;
}

}  // namespace safetensors::detail

POSENC_NAMESPACE_END
