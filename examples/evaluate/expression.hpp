// SPDX-License-Identifier: MIT
//
// Expressions of tokenizer.json, which Oniguruma reads there and PCRE2 here: what both take to mean the same.
//
// Source: kkos/oniguruma, doc/RE and doc/SYNTAX.md; pcre2pattern(3).
#pragma once

#include "pre_tokenizer.hpp"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

namespace evaluate::detail {

/// An expression of tokenizers (Oniguruma) for PCRE2, which the family's are but for white space:
/// \s and \S are what Unicode says. Throws posenc::Error for what the two may read differently.
[[nodiscard]] inline std::string translated(const std::string& expression) {
  const std::string space(space_class);
  std::string out;
  bool in_class = false;
  const auto refuse = [&](const std::string& what) {
    throw posenc::Error("tokenizer.json", {"an expression has " + what +
                                           ", which is not read: " + shown(expression) + "."});
  };
  const std::string_view all = expression;
  for (std::size_t at = 0; at < all.size(); ++at) {
    const char c = all[at];
    const std::string_view rest = all.substr(at);
    if (c != '\\' || at + 1 == all.size()) {
      if (in_class) {
        if (c == '[') refuse("a class within a class");
        if (rest.starts_with("&&")) refuse("an intersection && of classes");
      } else {
        // Of lines there, of the whole text here; there a repetition of a repetition, here one that gives
        // nothing back; there from 0 times on, here these characters; there . takes ends of lines, too.
        if (c == '^' || c == '$') refuse(std::string(1, c) + " outside a class");
        if (rest.starts_with("}+")) refuse("a + after }");
        if (rest.starts_with("{,")) refuse("{,n} without a least number");
        if (rest.starts_with("(?") &&
            rest.substr(2, rest.find_first_not_of("imsx-", 2) - 2).find_first_of("ms") !=
                std::string_view::npos)
          refuse("an option m or s");
      }
      in_class = c == '[' ? true : c == ']' ? false : in_class;
      if (c == '[' && rest.starts_with("[^")) ++at, out += c;
      out += all[at];
      continue;
    }
    const char escaped = expression[++at];
    if (escaped == 's')
      out += in_class ? space : "[" + space + "]";
    else if (escaped == 'S' && !in_class)
      out += "[^" + space + "]";
    else if (std::string_view("pPrnt").find(escaped) != std::string_view::npos ||
             !std::isalnum(static_cast<unsigned char>(escaped)))
      out += std::string("\\") + escaped;
    else
      refuse(std::string("\\") + escaped);
    // The braces of a property are no repetition.
    if ((escaped == 'p' || escaped == 'P') && all.substr(at + 1).starts_with('{')) {
      const std::size_t end = std::min(all.find('}', at), all.size() - 1);
      out += all.substr(at + 1, end - at);
      at = end;
    }
  }
  return out;
}

}  // namespace evaluate::detail
