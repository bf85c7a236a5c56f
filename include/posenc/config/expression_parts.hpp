// SPDX-License-Identifier: MIT
//
// The parts of which expressions are made (expression.hpp): components by their names, and their parameters.
#pragma once

#include <posenc/posenc.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// What expressions leave unsaid.
struct ExpressionContext {
  Index head_dim = 0;
  Index rotary_dim = 0;  ///< 0: head_dim
  double base = 10000;
  bool interleaved = false;
  Position trained = 0;  ///< tokens
  Position length = 0;   ///< tokens to read
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
    return one_of(key, static_cast<int>(otherwise), 2) != 0;
  }
  /// A number from 0 to count - 1.
  [[nodiscard]] int one_of(const std::string& key, int otherwise, int count) {
    const std::string what = count == 2 ? "0 or 1" : "0 to " + std::to_string(count - 1);
    const int value = number(key, otherwise, what.c_str());
    if (value >= 0 && value < count) return value;
    wrong_.push_back(name_ + ": " + key + " must be " + what + ", got '" + std::to_string(value) +
                     "'.");
    return otherwise;
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
      {"MsPoE",
       [](P& p, const At&) -> AnyEncoding {
         return MsPoE{
             .least = p.real("least", 1.2), .greatest = p.real("greatest", 1.8), .order = {}};
       }},
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

}  // namespace detail

POSENC_NAMESPACE_END
