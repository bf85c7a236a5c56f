// SPDX-License-Identifier: MIT
//
// Normalizers: what becomes of a text before it is cut into words.
//
//   NFC        Unicode's composed form (Qwen)
//   prepend    a text in front of it, unless it is empty (Llama 2: U+2581)
//   replace    one text by another (Llama 2: a space by U+2581)
//
// NFC is utf8proc's where the program was built with it (POSENC_UTF8PROC); without it, text that
// may not be of this form is refused.
#pragma once

#include "utf8.hpp"

#include <posenc/core/problems.hpp>

#ifdef POSENC_UTF8PROC
#include <utf8proc.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace evaluate {

/// The composed form of a text, which has to be UTF-8. Throws posenc::Error.
[[nodiscard]] inline std::string composed(std::string_view text) {
  // (All of ASCII is of this form.)
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return std::string(text);
#ifdef POSENC_UTF8PROC
  utf8proc_uint8_t* form = nullptr;
  const utf8proc_ssize_t bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &form,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::shared_ptr<utf8proc_uint8_t> held(form, std::free);
  if (bytes < 0)
    throw posenc::Error("Tokenizer", {std::string("utf8proc: ") + utf8proc_errmsg(bytes) + "."});
  return {reinterpret_cast<const char*>(form), static_cast<std::size_t>(bytes)};
#else
  throw posenc::Error(
      "Tokenizer", {"the tokenizer brings text to Unicode's form NFC, and this program was built "
                    "without utf8proc (Debian: libutf8proc-dev), so it reads ASCII only."});
#endif
}

/// A step of a normalizer.
struct NormalizerStep {
  enum class Kind { nfc, prepend, replace } kind;
  std::string from{}, to{};  ///< `to` is what is put in front

  [[nodiscard]] std::string operator()(std::string text) const {
    if (kind == Kind::nfc) return composed(text);
    if (kind == Kind::prepend) return text.empty() ? text : to + text;
    std::string replaced;
    std::size_t at = 0;
    for (std::size_t found = text.find(from); found != std::string::npos;
         found = text.find(from, at)) {
      replaced.append(text, at, found - at).append(to);
      at = found + from.size();
    }
    return replaced.append(text, at);
  }
};

}  // namespace evaluate
