// SPDX-License-Identifier: MIT
//
// Reads a file's bytes from front to back. Nothing is read that is not there: whoever asks for more bytes
// than are left gets an Error that says what was being read, where, and what is missing.
#pragma once

#include <posenc/file/numbers.hpp>
#include <posenc/file/sentences.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

POSENC_NAMESPACE_BEGIN

namespace gguf::detail {

inline constexpr std::string_view reader = "posenc::gguf::File";

using file::fail, file::load, file::in_quotes;

/// What is being read, for sentences: "the value of key" and its name, or only the first.
struct Place {
  std::string_view what;
  std::string_view name{};

  [[nodiscard]] std::string written() const {
    return std::string(what) + (name.empty() ? "" : " " + in_quotes(name));
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
