// SPDX-License-Identifier: MIT
//
// Sentences about files that nobody has checked. A file's own texts are echoed in them, so these are cut
// to what fits a line, and bytes that a terminal might act on are written as \x and two digits.
#pragma once

#include <posenc/core/problems.hpp>

#include <string>
#include <string_view>

POSENC_NAMESPACE_BEGIN

namespace file {

/// A sentence made of parts, with numbers in full.
template <class... Parts>
[[nodiscard]] std::string sentence(const Parts&... parts) {
  Problems one;
  one.add(parts...);
  return one.sentences().front();
}

/// `text` between quotation marks, in at most 80 printable characters. (Not `quoted`: std has one, which
/// a call with a std::string would find.)
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t most = 72;  // leaves room for one more character and what surrounds it
  constexpr std::string_view digits = "0123456789abcdef";
  std::string line = "\"";
  for (const char c : text) {
    if (line.size() >= most) return line + "...\"";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\')
      line += c;
    else
      line += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
  return line + "\"";
}

/// Throws the Error of one sentence.
template <class... Parts>
[[noreturn]] void fail(std::string_view who, const Parts&... parts) {
  Problems problems;
  problems.add(parts...);
  throw Error(who, problems.sentences());
}

}  // namespace file

POSENC_NAMESPACE_END
