// SPDX-License-Identifier: MIT
//
// Writes GGUF files into memory, also wrong ones: counts, offsets and the version can be set to anything, and
// values are given by the number of their type. Written from the description of the format (ggml-org/ggml,
// docs/gguf.md); nothing of the reader is used.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

namespace gguf_test {

/// Bytes that grow: numbers little endian, strings with their length.
class Bytes {
 public:
  template <class T>
  Bytes& number(T value) {
    std::uint64_t bits = 0;
    if constexpr (std::is_same_v<T, float>)
      bits = std::bit_cast<std::uint32_t>(value);
    else if constexpr (std::is_same_v<T, double>)
      bits = std::bit_cast<std::uint64_t>(value);
    else
      bits = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_.push_back(static_cast<std::byte>(bits >> (8 * i) & 255));
    return *this;
  }
  Bytes& raw(std::string_view text) {
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  Bytes& text(std::string_view text) { return number<std::uint64_t>(text.size()).raw(text); }
  Bytes& append(const Bytes& other) {
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
    return *this;
  }
  Bytes& pad(std::size_t alignment) {
    while (alignment != 0 && bytes_.size() % alignment != 0) bytes_.push_back(std::byte{0});
    return *this;
  }

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] const std::vector<std::byte>& all() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

enum ValueType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  text,
  array,
  u64,
  i64,
  f64
};

/// The payload of an array: type, count, and the elements that follow.
inline Bytes array_of(std::uint32_t type, std::uint64_t count, const Bytes& elements = {}) {
  return Bytes().number(type).number(count).append(elements);
}

class Writer {
 public:
  std::uint32_t version = 3;
  std::size_t alignment = 32;  ///< what is written with; key() says it to the reader
  std::optional<std::uint64_t> key_count{}, tensor_count{};

  Writer& key(std::string_view name, std::uint32_t type, const Bytes& value) {
    keys_.text(name).number(type).append(value);
    ++count_of_keys_;
    return *this;
  }
  template <class T>
  Writer& key(std::string_view name, std::uint32_t type, T value) {
    return key(name, type, Bytes().number(value));
  }
  Writer& key_text(std::string_view name, std::string_view value) {
    return key(name, text, Bytes().text(value));
  }

  /// Data begins at the next multiple of the alignment, or at the offset that is asked for.
  Writer& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                 const Bytes& data, std::optional<std::uint64_t> offset = {}) {
    data_.pad(alignment);
    tensors_.text(name).number(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t length : shape) tensors_.number(length);
    tensors_.number(type).number(offset.value_or(data_.size()));
    data_.append(data);
    ++count_of_tensors_;
    return *this;
  }

  [[nodiscard]] std::vector<std::byte> file() const {
    Bytes bytes;
    bytes.raw("GGUF").number(version);
    bytes.number(tensor_count.value_or(count_of_tensors_))
        .number(key_count.value_or(count_of_keys_));
    bytes.append(keys_).append(tensors_);
    if (data_.size() > 0) bytes.pad(alignment).append(data_);
    return bytes.all();
  }

 private:
  Bytes keys_, tensors_, data_;
  std::uint64_t count_of_keys_ = 0, count_of_tensors_ = 0;
};

inline Bytes floats(const std::vector<float>& values) {
  Bytes bytes;
  for (const float value : values) bytes.number(value);
  return bytes;
}

/// A small valid file with a bit of everything. Its last byte belongs to a tensor.
inline Writer small_file() {
  Writer writer;
  writer.key_text("general.architecture", "llama")
      .key("llama.block_count", u32, std::uint32_t{30})
      .key("llama.rope.freq_base", f32, 10000.0F)
      .key("flag", boolean, std::uint8_t{1})
      .key("words", array, array_of(text, 3, Bytes().text("a").text("").text("ccc")))
      .key("nested", array,
           array_of(array, 2,
                    array_of(u8, 1, Bytes().number(std::uint8_t{7}))
                        .append(array_of(text, 1, Bytes().text("x")))))
      .key("factors", array, array_of(f64, 2, Bytes().number(0.5).number(-3.0)));
  Bytes block;
  block.number(std::uint16_t{0x3c00}).raw("0123456789abcdef");
  writer.tensor("norm", {3}, 0, floats({1, 2, 3}));
  writer.tensor("weights", {32, 2}, 2, Bytes().append(block).append(block));
  return writer;
}

}  // namespace gguf_test
