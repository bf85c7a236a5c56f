// SPDX-License-Identifier: MIT
//
// UTF-8: where characters end and which bytes belong to none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace evaluate {

/// A character at the start of a text: its code point and the bytes it takes. No bytes: the text is empty
/// or its first byte begins no character.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;
};

/// The first character of `text` by the rules of Unicode (table 3-7 of the standard): overlong forms,
/// surrogates and code points above U+10FFFF are not characters.
[[nodiscard]] inline Character first_character(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  char32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return {};
    code = code << 6U | (byte(i) & 0x3fU);
  }
  const char32_t smallest = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < smallest || code > 0x10ffff || surrogate) return {};
  return {code, bytes};
}

/// How many bytes at the start of `text` are whole characters.
[[nodiscard]] inline std::size_t valid_bytes(std::string_view text) {
  std::size_t at = 0;
  while (const std::size_t bytes = first_character(text.substr(at)).bytes) at += bytes;
  return at;
}

/// Appends the bytes of a code point.
inline void append_character(std::string& text, char32_t code) {
  const auto add = [&](char32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  const auto tail = [&](unsigned shift) { add(0x80U | (code >> shift & 0x3fU)); };
  if (code < 0x80) return add(code);
  if (code < 0x800) return add(0xc0U | code >> 6U), tail(0);
  if (code < 0x10000) return add(0xe0U | code >> 12U), tail(6), tail(0);
  add(0xf0U | code >> 18U), tail(12), tail(6), tail(0);
}

/// A byte as sentences show it: 0x0A.
[[nodiscard]] inline std::string shown(unsigned char byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'0', 'x', digits[byte >> 4U], digits[byte & 15U]};
}

/// A text as sentences show it: in quotes, at most 80 characters, and what is not printable ASCII or a
/// character of UTF-8 by its value.
[[nodiscard]] inline std::string shown(std::string_view text) {
  constexpr std::size_t most = 80;
  std::string quoted = "'";
  std::size_t length = 2;
  while (!text.empty()) {
    const std::size_t bytes = first_character(text).bytes;
    const auto first = static_cast<unsigned char>(text.front());
    const bool plain = bytes > 0 && first >= 0x20 && first != 0x7f;
    const std::string piece =
        plain ? std::string(text.substr(0, bytes)) : "\\" + shown(first).substr(1);
    length += plain ? 1 : piece.size();
    // (The dots take three characters.)
    if (length + 3 > most) return quoted + "...'";
    quoted += piece;
    text.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return quoted + "'";
}

}  // namespace evaluate
