// SPDX-License-Identifier: MIT
//
// Encodings as text: "RoPE|YaRN{factor=4}|ReRoPE{window=2048}".
//   expression = part ("|" part)*,   part = Name or Name{key=value, ...}
//
// Names and keys are those of the components; spaces are free. What is not said comes from the model at hand
// (ExpressionContext). Causal joins where no mask is written. For command lines and files; a program composes values.
//   bind(parse_expression("RoPE|YaRN", {.head_dim = 64, .trained = 8192, .length = 32768}).encoding, {.num_heads = 9});
#pragma once

#include <posenc/posenc.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What expressions leave unsaid, of the model at hand.
struct ExpressionContext {
  Index head_dim = 0;
  Index rotary_dim = 0;  ///< 0: head_dim
  double base = 10000;
  bool interleaved = false;
  Position trained = 0;  ///< tokens
  Position length = 0;   ///< tokens to read
};
struct ReadExpression {
  AnyEncoding encoding;
  std::string text;  ///< with every parameter that a part has taken
};

namespace detail {

/// The parameters of one part: asked for by key, with a default; what nobody asks for is wrong.
class PartParameters {
 public:
  PartParameters(std::string name, std::map<std::string, std::string> given)
      : name_(std::move(name)), given_(std::move(given)), text_(name_) {}

  [[nodiscard]] double real(const std::string& key, double otherwise) {
    return number(key, otherwise, "a number");
  }
  [[nodiscard]] Position whole(const std::string& key, Position otherwise) {
    return number(key, otherwise, "a whole number");
  }
  [[nodiscard]] bool flag(const std::string& key, bool otherwise) {
    const int value = number(key, static_cast<int>(otherwise), "0 or 1");
    if (value != 0 && value != 1)
      wrong_.push_back(name_ + ": " + key + " must be 0 or 1, got '" + std::to_string(value) +
                       "'.");
    return value != 0;
  }

  [[nodiscard]] const std::string& name() const { return name_; }

  /// Reports keys that were given and not asked for.
  void end(Problems& problems) {
    for (const std::string& sentence : wrong_) problems.add(sentence);
    for (const auto& [key, value] : given_) {
      std::string known;
      for (const std::string& one : asked_) known += (known.empty() ? "" : ", ") + one;
      problems.add(name_, " has no parameter '", key.substr(0, 40), "'; it has ",
                   known.empty() ? "none" : known, ".");
    }
  }
  [[nodiscard]] std::string text() const { return asked_.empty() ? text_ : text_ + "}"; }

 private:
  template <class N>
  N number(const std::string& key, N value, const char* what) {
    if (const auto found = given_.find(key); found != given_.end()) {
      const std::string& text = found->second;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size())
        wrong_.push_back(name_ + ": " + key + " must be " + what + ", got '" + text.substr(0, 40) +
                         "'.");
      given_.erase(found);
    }
    char shown[32];  // the shortest digits that are read as the same number
    const auto [last, ok] = std::to_chars(shown, shown + sizeof(shown), value);
    text_ += (asked_.empty() ? "{" : ", ") + key + "=" +
             std::string(shown, ok == std::errc() ? last : shown);
    asked_.push_back(key);
    return value;
  }

  std::string name_;
  std::map<std::string, std::string> given_;
  std::vector<std::string> asked_, wrong_;
  std::string text_;
};

/// A component by its name.
struct PartMaker {
  std::string_view name;
  AnyEncoding (*make)(PartParameters& p, const ExpressionContext& at);
};

inline double factor_of(const ExpressionContext& at) {
  return at.trained > 0 && at.length > at.trained
             ? static_cast<double>(at.length) / static_cast<double>(at.trained)
             : 1.0;
}

inline AnyEncoding rope_of(PartParameters& p, const ExpressionContext& at) {
  const Index head_dim = p.whole("head_dim", at.head_dim);
  const double base = p.real("base", at.base);
  const Index rotary_dim = p.whole("rotary_dim", at.rotary_dim);
  if (p.flag("interleaved", at.interleaved))
    return RoPE<Interleaved>{.head_dim = head_dim, .base = base, .rotary_dim = rotary_dim};
  return RoPE<HalfSplit>{.head_dim = head_dim, .base = base, .rotary_dim = rotary_dim};
}

inline const std::vector<PartMaker>& part_makers() {
  using P = PartParameters;
  using At = ExpressionContext;
  static const std::vector<PartMaker> all{
      {"RoPE", rope_of},
      {"ABF", [](P& p, const At&) -> AnyEncoding { return ABF{.beta = p.real("beta", 50)}; }},
      {"PI",
       [](P& p, const At& at) -> AnyEncoding {
         return PI{.factor = p.real("factor", factor_of(at))};
       }},
      {"NTK",
       [](P& p, const At& at) -> AnyEncoding {
         return NTK{.alpha = p.real("alpha", factor_of(at))};
       }},
      {"DynamicNTK",
       [](P& p, const At& at) -> AnyEncoding {
         return DynamicNTK{.factor = p.real("factor", factor_of(at)),
                           .original_context = p.whole("original_context", at.trained)};
       }},
      {"NTKByParts",
       [](P& p, const At& at) -> AnyEncoding {
         return NTKByParts{.factor = p.real("factor", factor_of(at)),
                           .original_context = p.whole("original_context", at.trained),
                           .beta_fast = p.real("beta_fast", 32),
                           .beta_slow = p.real("beta_slow", 1)};
       }},
      {"YaRN",
       [](P& p, const At& at) -> AnyEncoding {
         return YaRN{.factor = p.real("factor", factor_of(at)),
                     .original_context = p.whole("original_context", at.trained),
                     .beta_fast = p.real("beta_fast", 32),
                     .beta_slow = p.real("beta_slow", 1)};
       }},
      {"TruncatedBasis",
       [](P& p, const At& at) -> AnyEncoding {
         return TruncatedBasis{.wavelength = p.real("wavelength", static_cast<double>(at.trained))};
       }},
      {"PowerScaling",
       [](P& p, const At&) -> AnyEncoding {
         return PowerScaling{.exponent = p.real("exponent", 0.5)};
       }},
      {"Resonance", [](P&, const At&) -> AnyEncoding { return Resonance{}; }},
      {"XPos",
       [](P& p, const At&) -> AnyEncoding {
         return XPos{.scale_base = p.real("scale_base", 512), .centre = p.whole("centre", 0)};
       }},
      {"ReRoPE",
       [](P& p, const At& at) -> AnyEncoding {
         return ReRoPE{.window = p.whole("window", at.trained / 2)};
       }},
      {"LeakyReRoPE",
       [](P& p, const At& at) -> AnyEncoding {
         return LeakyReRoPE{.window = p.whole("window", at.trained / 2),
                            .factor = p.real("factor", 16)};
       }},
      {"SelfExtend",
       [](P& p, const At& at) -> AnyEncoding {
         const auto least = [&](Position window) {
           return SelfExtend::to_length(window, at.trained, at.length);
         };
         const SelfExtend own = least(at.trained / 4);
         const Position window = p.whole("window", own.window);
         const Position group = window == own.window ? own.group : least(window).group;
         return SelfExtend{.window = window, .group = p.whole("group", group)};
       }},
      {"DualChunk",
       [](P& p, const At& at) -> AnyEncoding {
         const DualChunk paper = DualChunk::paper(std::max<Position>(at.trained, 4));
         return DualChunk{.chunk = p.whole("chunk", paper.chunk), .cap = p.whole("cap", paper.cap)};
       }},
      {"STRING",
       [](P& p, const At& at) -> AnyEncoding {
         const STRING own = STRING::of_length(std::max<Position>(at.trained, 4));
         return STRING{.shift = p.whole("shift", own.shift), .local = p.whole("local", own.local)};
       }},
      {"StreamingLLM",
       [](P& p, const At& at) -> AnyEncoding {
         return StreamingLLM{.sinks = p.whole("sinks", 4),
                             .recent = p.whole("recent", std::max<Position>(at.trained - 4, 1))};
       }},
      {"LMInfinite",
       [](P& p, const At& at) -> AnyEncoding {
         return LMInfinite{.window = p.whole("window", std::max<Position>(at.trained, 1)),
                           .sinks = p.whole("sinks", 100)};
       }},
      {"ALiBi", [](P&, const At&) -> AnyEncoding { return ALiBi{}; }},
      {"SoftCap", [](P& p, const At&) -> AnyEncoding { return SoftCap{p.real("cap", 50)}; }},
      {"LogN",
       [](P& p, const At& at) -> AnyEncoding {
         return LogN{.base_length = p.whole("base_length", at.trained),
                     .clipped = p.flag("clipped", false),
                     .minimum_keys = p.whole("minimum_keys", 16)};
       }},
      {"SlidingWindow",
       [](P& p, const At& at) -> AnyEncoding {
         return SlidingWindow::from_token_count(p.whole("tokens", at.trained));
       }},
      {"AShape",
       [](P& p, const At&) -> AnyEncoding {
         return AShape{
             .heads = {{.sinks = p.whole("sinks", 100), .window = p.whole("window", 800)}}};
       }},
      {"Causal", [](P&, const At&) -> AnyEncoding { return Causal{}; }},
  };
  return all;
}

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
