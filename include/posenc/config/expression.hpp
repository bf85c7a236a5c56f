// SPDX-License-Identifier: MIT
//
// Encodings as text: "RoPE|YaRN{factor=4}|ReRoPE{window=2048}".
//
//   expression = part ("|" part)*,   part = Name or Name{key=value, ...}
//
// Names and keys are those of the components; spaces are free. What is not said comes from the model at hand
// (ExpressionContext): RoPE's channels, base and layout, trained lengths, and a factor of the length over the trained
// one. Causal joins where no mask is written. For command lines and files; a program composes values.
//
//   const ReadExpression read = parse_expression("RoPE|YaRN", {.head_dim = 64, .trained = 8192, .length = 32768});
//   bind(read.encoding, {.num_heads = 9, .num_kv_heads = 3});   read.text: every parameter as it was taken
#pragma once

#include <posenc/config/expression_parts.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

struct ReadExpression {
  AnyEncoding encoding;
  std::string text;  ///< with every parameter that a part has taken
};

namespace detail {

/// Splits at a separator outside braces, without the spaces around the parts.
inline std::vector<std::string> split_parts(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == separator && depth == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  for (std::string& part : parts) {
    const auto first = part.find_first_not_of(" \t\n"), last = part.find_last_not_of(" \t\n");
    part = first == std::string::npos ? "" : part.substr(first, last - first + 1);
  }
  return parts;
}

/// "Name{key=value, ...}"; reports what is not of this form.
inline PartParameters part_of(Problems& problems, const std::string& part) {
  const auto brace = part.find('{');
  const std::string name = split_parts(part.substr(0, brace), '|').front();
  std::map<std::string, std::string> given;
  if (brace == std::string::npos) return {name, given};
  if (part.back() != '}' || part.find('{', brace + 1) != std::string::npos) {
    problems.add("'", part.substr(0, 60), "' is not Name{key=value, ...}.");
    return {name, given};
  }
  const std::string inside = part.substr(brace + 1, part.size() - brace - 2);
  if (split_parts(inside, ',') == std::vector<std::string>{""}) return {name, given};
  for (const std::string& one : split_parts(inside, ',')) {
    const auto sides = split_parts(one, '=');
    if (sides.size() != 2 || sides[0].empty() || sides[1].empty())
      problems.add(name, ": '", one.substr(0, 60), "' is not key=value.");
    else if (!given.emplace(sides[0], sides[1]).second)
      problems.add(name, ": ", sides[0].substr(0, 40), " is given twice.");
  }
  return {name, given};
}

}  // namespace detail

/// Throws Error with every problem of the text. What the values of components allow is said by bind().
[[nodiscard]] inline ReadExpression parse_expression(std::string_view text,
                                                     const ExpressionContext& context) {
  Problems problems;
  ReadExpression read;
  const auto& makers = detail::part_makers();
  bool masked = false;
  for (const std::string& part : detail::split_parts(text, '|')) {
    if (part.empty()) {
      problems.add("'", text.substr(0, 60), "' has a part without a name.");
      continue;
    }
    detail::PartParameters parameters = detail::part_of(problems, part);
    const std::string name = parameters.name();
    const auto maker = std::find_if(makers.begin(), makers.end(),
                                    [&](const detail::PartMaker& m) { return m.name == name; });
    if (maker == makers.end()) {
      std::string known;
      for (const detail::PartMaker& m : makers)
        known += (known.empty() ? "" : ", ") + std::string(m.name);
      problems.add("there is no component '", name.substr(0, 40), "'; there are ", known, ".");
      continue;
    }
    for (const char* mask : {"Causal", "SlidingWindow", "AShape", "StreamingLLM", "LMInfinite"})
      masked = masked || name == mask;
    read.encoding |= maker->make(parameters, context);
    parameters.end(problems);
    read.text += (read.text.empty() ? "" : " | ") + parameters.text();
  }
  problems.raise_if_any("posenc::parse_expression");
  if (!masked) {
    read.encoding |= Causal{};
    read.text += " | Causal";
  }
  return read;
}

POSENC_NAMESPACE_END
