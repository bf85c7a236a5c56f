// SPDX-License-Identifier: MIT
//
// Reads a file's bytes from front to back. Nothing is read that is not there: whoever asks for more bytes
// than are left gets an Error that says what was being read, where, and what is missing.
#pragma once

#include <posenc/gguf/sentences.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

POSENC_NAMESPACE_BEGIN

namespace gguf::detail {

inline constexpr std::string_view reader = "posenc::gguf::File";

/// A number that lies in little endian order at `bytes`, of any alignment.
template <class T>
[[nodiscard]] inline T load(const std::byte* bytes) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    T number;
    std::memcpy(&number, bytes, sizeof(T));
    return number;
  } else {
    std::byte reversed[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i) reversed[i] = bytes[sizeof(T) - 1 - i];
    T number;
    std::memcpy(&number, reversed, sizeof(T));
    return number;
  }
}

/// What is being read, for sentences: "the value of key" and its name, or only the first.
struct Place {
  std::string_view what;
  std::string_view name{};

  [[nodiscard]] std::string written() const {
    return std::string(what) + (name.empty() ? "" : " " + quoted(name));
  }
};

class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::uint64_t at() const { return at_; }
  [[nodiscard]] std::uint64_t left() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t count, const Place& place) {
    if (count > left())
      fail(reader, "the file ends within ", place.written(), ": ", count,
           " bytes are needed from byte ", at_, " on, and the file has ", bytes_.size(), ".");
    const auto taken = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }

  template <class T>
  T number(const Place& place) {
    return load<T>(take(sizeof(T), place).data());
  }

  /// A length of 8 bytes, then so many bytes. They stay where they are.
  std::string_view text(const Place& place) {
    const auto length = number<std::uint64_t>(place);
    const auto bytes = take(length, place);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace gguf::detail

POSENC_NAMESPACE_END
