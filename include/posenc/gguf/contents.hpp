// SPDX-License-Identifier: MIT
//
// What a GGUF file says about itself, read from its bytes:
//
//   "GGUF", version, number of tensors, number of keys      24 bytes
//   the keys and their values
//   the names, shapes, types and offsets of the tensors
//   zeros up to the alignment; here the offsets begin
//   the bytes of the tensors
//
// The file is not trusted. Every count is held against the bytes that are left before it is used, so memory and
// time stay in proportion to the file, and every name is checked to be the only one. Tensors may share bytes:
// they are only read.
//
// Format: ggml-org/ggml, docs/gguf.md.
#pragma once

#include <posenc/gguf/tensor.hpp>
#include <posenc/gguf/value.hpp>

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace gguf::detail {

/// Finds one of many by its name, in the order of names. Throws Error where two have the same.
class Names {
 public:
  Names() = default;
  template <class Things, class NameOf>
  Names(const Things& things, const NameOf& name_of, std::string_view what)
      : order_(things.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const auto name = [&](std::size_t i) { return std::string_view(name_of(things[i])); };
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return name(a) < name(b); });
    for (std::size_t i = 1; i < order_.size(); ++i)
      if (name(order_[i - 1]) == name(order_[i]))
        fail(reader, "the file has two ", what, " of the name ", in_quotes(name(order_[i])), ".");
  }

  template <class Things, class NameOf>
  [[nodiscard]] auto* find(std::string_view wanted, const Things& things,
                           const NameOf& name_of) const {
    const auto at = std::lower_bound(order_.begin(), order_.end(), wanted,
                                     [&](std::size_t i, std::string_view name) {
                                       return std::string_view(name_of(things[i])) < name;
                                     });
    const bool found = at != order_.end() && std::string_view(name_of(things[*at])) == wanted;
    return found ? &things[*at] : nullptr;
  }

 private:
  std::vector<std::size_t> order_{};
};

struct Entry {
  std::string_view key;
  Value value;
};

inline std::string_view key_of(const Entry& entry) { return entry.key; }
inline std::string_view name_of_tensor(const Tensor& tensor) { return tensor.name; }

/// Keys and tensors in the file's order. Keys, values and data are the file's own bytes.
struct Contents {
  std::vector<Entry> entries{};
  std::vector<Tensor> tensors{};
  Names keys{}, names{};

  [[nodiscard]] const Value* find(std::string_view key) const {
    const Entry* entry = keys.find(key, entries, key_of);
    return entry == nullptr ? nullptr : &entry->value;
  }
};

[[noreturn]] inline void fail_of_type(std::string_view key, const Value& value,
                                      std::string_view asked) {
  fail(reader, "key ", in_quotes(key), " is of the type ", value.written_type(),
       " and was asked for as ", asked, ".");
}

/// The value as an integer, nothing where it is of another type. Throws Error where int64 cannot hold it.
inline std::optional<std::int64_t> integer_of(std::string_view key, const Value& value) {
  if (!is_integer(value.type)) return std::nullopt;
  return with_number(value.type, value.bytes.data(), [&](auto number) {
    if constexpr (std::is_same_v<decltype(number), std::uint64_t>)
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail(reader, "key ", in_quotes(key), " is ", number,
             ", which exceeds what int64 can hold.");
    return static_cast<std::int64_t>(number);
  });
}

/// Of the tensors' bytes: general.alignment, 32 where the file does not say.
inline std::uint64_t alignment_of(const Contents& contents) {
  constexpr std::string_view key = "general.alignment";
  const Value* value = contents.find(key);
  if (value == nullptr) return 32;
  const std::optional<std::int64_t> alignment = integer_of(key, *value);
  if (!alignment) fail_of_type(key, *value, "an integer");
  if (*alignment <= 0 || !std::has_single_bit(static_cast<std::uint64_t>(*alignment)))
    fail(reader, "key ", in_quotes(key), " is ", *alignment, "; it must be a power of two.");
  return static_cast<std::uint64_t>(*alignment);
}

inline void read_magic_and_version(Cursor& file) {
  const std::span<const std::byte> magic = file.take(4, {"the magic number"});
  const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (text != "GGUF")
    fail(reader, "this is no GGUF file: it begins with ", in_quotes(text), ", not with \"GGUF\".");
  const auto version = file.number<std::uint32_t>({"the version"});
  if (version != 0 && (version & 0xffffU) == 0)
    fail(reader, "the file is big endian (its version reads as ", version,
         "); only little endian files can be read.");
  if (version != 2 && version != 3)
    fail(reader, "the file has version ", version, "; versions 2 and 3 can be read.");
}

/// One tensor without its data, and the offset of these. Shapes are checked with the data.
inline std::pair<Tensor, std::uint64_t> read_tensor(Cursor& file) {
  Tensor tensor;
  tensor.name = file.text({"the name of a tensor"});
  const Place place{"the description of tensor", tensor.name};
  const auto axes = file.number<std::uint32_t>(place);
  if (axes < 1 || axes > 4)
    fail(reader, "tensor ", in_quotes(tensor.name), " has ", axes, " axes; 1 to 4 are possible.");
  for (std::uint32_t axis = 0; axis < axes; ++axis) {
    const auto length = file.number<std::uint64_t>(place);
    if (length > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
      fail(reader, "tensor ", in_quotes(tensor.name), " has an axis of ", length,
           " elements, more than can be counted.");
    tensor.shape.push_back(static_cast<Index>(length));
  }
  tensor.type = static_cast<Type>(file.number<std::uint32_t>(place));
  return {std::move(tensor), file.number<std::uint64_t>(place)};
}

/// Gives each tensor its bytes. Where a type's size is not known, these are all up to the next tensor that
/// begins later, or up to the end of the file.
inline void place_data(std::vector<Tensor>& tensors, const std::vector<std::uint64_t>& offsets,
                       std::uint64_t alignment, std::uint64_t start,
                       std::span<const std::byte> file) {
  if (start > file.size())
    fail(reader, "the file ends before the tensors' bytes, which begin at byte ", start,
         ": it has ", file.size(), ".");
  const std::span<const std::byte> data = file.subspan(static_cast<std::size_t>(start));
  std::vector<std::uint64_t> sorted = offsets;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    Tensor& tensor = tensors[i];
    const auto known =
        static_cast<std::uint64_t>(bytes_of(reader, tensor.name, tensor.shape, tensor.type));
    if (offsets[i] % alignment != 0)
      fail(reader, "tensor ", in_quotes(tensor.name), " has the offset ", offsets[i],
           ", which is no multiple of the alignment ", alignment, ".");
    // A tensor of unknown size has a byte at least.
    const std::uint64_t least = std::max<std::uint64_t>(known, 1);
    if (offsets[i] > data.size() || least > data.size() - offsets[i])
      fail(reader, "tensor ", in_quotes(tensor.name), " needs ",
           known == 0 ? "some" : std::to_string(known), " bytes from offset ", offsets[i],
           " on, and the file has ", data.size(), " bytes of tensors.");
    std::uint64_t size = known;
    if (known == 0) {
      const auto next = std::upper_bound(sorted.begin(), sorted.end(), offsets[i]);
      const std::uint64_t end = next == sorted.end() ? data.size() : *next;
      size = std::min<std::uint64_t>(end, data.size()) - offsets[i];
    }
    tensor.data =
        data.subspan(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(size));
  }
}

/// Reads and checks all but the tensors' numbers. Throws Error.
inline Contents read_contents(std::span<const std::byte> bytes) {
  Cursor file(bytes);
  read_magic_and_version(file);
  const auto tensors = file.number<std::uint64_t>({"the number of tensors"});
  const auto keys = file.number<std::uint64_t>({"the number of keys"});
  // The least that a key takes (length, type, one byte) and a tensor (length, axes, one axis, type, offset).
  if (keys > file.left() / 13 || tensors > file.left() / 32)
    fail(reader, "the file announces ", keys, " keys and ", tensors, " tensors, and has only ",
         file.left(), " bytes left for them.");

  Contents contents;
  for (std::uint64_t i = 0; i < keys; ++i) {
    const std::string_view key = file.text({"the name of a key"});
    const Place place{"key", key};
    const ValueType type = read_type(file, place);
    contents.entries.push_back({key, read_value(file, type, place)});
  }
  contents.keys = Names(contents.entries, key_of, "keys");

  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < tensors; ++i) {
    auto [tensor, offset] = read_tensor(file);
    contents.tensors.push_back(std::move(tensor));
    offsets.push_back(offset);
  }
  contents.names = Names(contents.tensors, name_of_tensor, "tensors");
  const std::uint64_t alignment = alignment_of(contents);
  if (tensors == 0) return contents;
  place_data(contents.tensors, offsets, alignment,
             file.at() + (alignment - file.at() % alignment) % alignment, bytes);
  return contents;
}

}  // namespace gguf::detail

POSENC_NAMESPACE_END
