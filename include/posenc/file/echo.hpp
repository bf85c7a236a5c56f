// SPDX-License-Identifier: MIT
//
// echo: a value of a file, short enough for a sentence.
//
// A file may hold a string of a hundred megabytes or a thousand nested lists. What is shown of a
// value ends after some 80 characters, and so does the work: the rest is never written.
#pragma once

#include <posenc/core/types.hpp>

#include <string>
#include <string_view>

POSENC_NAMESPACE_BEGIN
namespace file {

inline constexpr std::size_t longest_echo = 72;

/// The beginning of a text, with dots where something is left out. Whole characters of UTF-8.
[[nodiscard]] inline std::string shorten(std::string_view text) {
  if (text.size() <= longest_echo) return std::string(text);
  std::size_t end = longest_echo;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

namespace detail {

template <class Json>
void append(std::string& out, const Json& value, int depth) {
  if (out.size() > longest_echo) return;
  if (depth > 4 && value.is_structured()) {
    out += "...";
    return;
  }
  if (value.is_string()) {
    const auto& text = value.template get_ref<const std::string&>();
    out +=
        Json(text.substr(0, 2 * longest_echo)).dump(-1, ' ', false, Json::error_handler_t::replace);
  } else if (value.is_object() && !value.empty()) {
    char before = '{';
    for (auto at = value.begin(); at != value.end() && out.size() <= longest_echo; ++at) {
      out += before;
      append(out, Json(at.key().substr(0, longest_echo)), depth);
      out += ':';
      append(out, at.value(), depth + 1);
      before = ',';
    }
    out += '}';
  } else if (value.is_array() && !value.empty()) {
    char before = '[';
    for (auto at = value.begin(); at != value.end() && out.size() <= longest_echo; ++at) {
      out += before;
      append(out, *at, depth + 1);
      before = ',';
    }
    out += ']';
  } else {
    out += value.dump();
  }
}

}  // namespace detail

/// A value as JSON, up to some 80 characters of it.
template <class Json>
[[nodiscard]] std::string echo(const Json& value) {
  std::string out;
  detail::append(out, value, 0);
  return shorten(out);
}

}  // namespace file
POSENC_NAMESPACE_END
