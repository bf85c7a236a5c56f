// SPDX-License-Identifier: MIT
//
// Errors, and the list in which a check collects them.
//
// A wrong value is reported by one clear sentence that names the rule and the values. Whoever
// checks a whole encoding wants all the sentences at once, so checks write into `Problems`, and the
// one who asked throws a single `Error` that carries every one of them.
#pragma once

#include <posenc/core/abi.hpp>

#include <initializer_list>
#include <iosfwd>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

/// Thrown for wrong values: parameters, shapes, configurations. `problems()` has a sentence each.
class Error : public std::invalid_argument {
 public:
  Error(std::string_view who, std::vector<std::string> problems)
      : std::invalid_argument(describe(who, problems)), problems_(std::move(problems)) {}

  [[nodiscard]] const std::vector<std::string>& problems() const noexcept { return problems_; }

 private:
  static std::string describe(std::string_view who, const std::vector<std::string>& problems);

  std::vector<std::string> problems_;
};

namespace detail {

/// A part of a sentence: a text or a number, which live as long as the sentence is made.
class SentencePart {
 public:
  SentencePart(const char* text) : kind_(Kind::characters), value_{.characters = text} {}
  SentencePart(const std::string_view& text) : kind_(Kind::text), value_{.text = &text} {}
  SentencePart(char character) : kind_(Kind::character), value_{.character = character} {}
  template <class N>
    requires std::is_arithmetic_v<N>
  SentencePart(N number) {
    if constexpr (std::is_floating_point_v<N>)
      kind_ = Kind::real, value_.real = static_cast<double>(number);
    else if constexpr (std::is_signed_v<N>)
      kind_ = Kind::integer, value_.integer = number;
    else
      kind_ = Kind::natural, value_.natural = number;
  }

  void append_to(std::string& sentence) const;

 private:
  enum class Kind { characters, text, character, integer, natural, real };
  Kind kind_;
  union {
    const char* characters;
    const std::string_view* text;
    char character;
    long long integer;
    unsigned long long natural;
    double real;
  } value_;
};

[[nodiscard]] std::string sentence(std::initializer_list<SentencePart> parts);

/// A part as a text or a number. Others become a std::string, or a stream writes them; then whoever has such a
/// part includes <sstream>.
template <class X>
  requires(std::is_arithmetic_v<X> || std::is_convertible_v<const X&, std::string_view>)
const X& written(const X& x) {
  return x;
}
template <class X, class Stream = std::ostringstream>
  requires(!std::is_arithmetic_v<X> && !std::is_convertible_v<const X&, std::string_view>)
std::string written(const X& x) {
  if constexpr (std::is_convertible_v<const X&, std::string>) {
    return x;
  } else {
    Stream out;
    out.precision(std::numeric_limits<double>::digits10);
    out << x;
    return std::move(out).str();
  }
}

}  // namespace detail

/// Collects sentences. Each part of a sentence may be a text, a number, or anything that a stream takes (whose
/// header, <sstream>, is then to be included).
class Problems {
 public:
  /// Adds the sentence made of `parts` unless `holds`.
  template <class... Parts>
  void require(bool holds, Parts... parts) {
    if (!holds) add(parts...);
  }

  /// Parts come by value, so that texts of any length are of one type and sentences of the same kinds of
  /// parts are one function.
  template <class... Parts>
  POSENC_DETAIL_COLD void add(Parts... parts) {
    add_sentence({detail::SentencePart(detail::written(parts))...});
  }

  [[nodiscard]] bool empty() const noexcept { return sentences_.empty(); }
  [[nodiscard]] const std::vector<std::string>& sentences() const noexcept { return sentences_; }

  /// Throws one Error with every sentence, or does nothing when there is none.
  void raise_if_any(std::string_view who) const {
    if (!sentences_.empty()) raise(who);
  }

 private:
  void add_sentence(std::initializer_list<detail::SentencePart> parts);
  [[noreturn]] void raise(std::string_view who) const;

  std::vector<std::string> sentences_;
};

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/core/problems_definitions.hpp>
#endif
