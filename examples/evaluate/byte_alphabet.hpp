// SPDX-License-Identifier: MIT
//
// The printable alphabet of bytes in which GPT-2 and its heirs write their tokens.
//
// Vocabularies are text files, and tokens are bytes: spaces, controls, parts of characters. So each of
// the 256 bytes is written as one printable character. The printable ones of Latin-1 (0x21 to 0x7E, 0xA1
// to 0xAC, 0xAE to 0xFF) stand for themselves, and the 68 others, in their order, are U+0100, U+0101, ...
// A space becomes U+0120. Source: Radford et al., "Language Models are Unsupervised Multitask Learners"
// (2019), and the encoder published with it.
#pragma once

#include "utf8.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace evaluate {

namespace detail {

struct ByteAlphabet {
  static constexpr char32_t end = 0x144;  // one past the last character
  std::array<char32_t, 256> character{};  // by byte
  std::array<int, end> byte{};            // by character; -1: stands for none

  constexpr ByteAlphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<int>(b);
    }
  }
};

inline constexpr ByteAlphabet byte_alphabet;

}  // namespace detail

/// Bytes as text of the alphabet.
[[nodiscard]] inline std::string to_alphabet(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    append_character(text, detail::byte_alphabet.character[static_cast<unsigned char>(byte)]);
  return text;
}

/// The bytes that a text of the alphabet stands for; nothing when it has other characters.
[[nodiscard]] inline std::optional<std::string> from_alphabet(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Character first = first_character(text);
    if (first.bytes == 0 || first.code >= detail::ByteAlphabet::end) return {};
    const int byte = detail::byte_alphabet.byte[first.code];
    if (byte < 0) return {};
    bytes += static_cast<char>(static_cast<unsigned char>(byte));
    text.remove_prefix(first.bytes);
  }
  return bytes;
}

}  // namespace evaluate
