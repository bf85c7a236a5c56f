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
#include <ostream>
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

/// A part of a sentence: a text, a number, or anything else that a stream takes. One type for all of
/// them, so that a sentence costs a compiler a list and not a function of its own.
class SentencePart {
 public:
  SentencePart(const char* text) : SentencePart(std::string_view(text)) {}
  SentencePart(std::string_view text) : kind_(Kind::text), text_(text) {}
  SentencePart(const std::string& text) : SentencePart(std::string_view(text)) {}
  template <class N>
    requires std::is_arithmetic_v<N>
  SentencePart(N number) {
    if constexpr (std::is_floating_point_v<N>)
      kind_ = Kind::real, value_.real = static_cast<double>(number);
    else if constexpr (std::is_same_v<N, char>)
      kind_ = Kind::text, character_ = number, text_ = std::string_view(&character_, 1);
    else if constexpr (std::is_signed_v<N>)
      kind_ = Kind::integer, value_.integer = number;
    else
      kind_ = Kind::natural, value_.natural = number;
  }
  template <class X>
    requires(!std::is_arithmetic_v<X> && !std::is_convertible_v<const X&, std::string_view>)
  SentencePart(const X& other)
      : kind_(Kind::other), value_{.other = &other},
        write_(
            [](std::ostream& out, const void* object) { out << *static_cast<const X*>(object); }) {}
  SentencePart(const SentencePart&) = delete;
  SentencePart& operator=(const SentencePart&) = delete;

  void write(std::ostream& out) const;

 private:
  enum class Kind { text, integer, natural, real, other };
  Kind kind_;
  char character_ = 0;
  std::string_view text_;
  union Value {
    long long integer = 0;
    unsigned long long natural;
    double real;
    const void* other;
  } value_{};
  void (*write_)(std::ostream&, const void*) = nullptr;
};

}  // namespace detail

/// Collects sentences. Each part of a sentence may be anything that a stream takes.
class Problems {
 public:
  /// Adds the sentence made of `parts` unless `holds`.
  template <class... Parts>
  void require(bool holds, const Parts&... parts) {
    if (!holds) add(parts...);
  }

  template <class... Parts>
  POSENC_DETAIL_COLD void add(const Parts&... parts) {
    add_parts({parts...});
  }

  [[nodiscard]] bool empty() const noexcept { return sentences_.empty(); }
  [[nodiscard]] const std::vector<std::string>& sentences() const noexcept { return sentences_; }

  /// Throws one Error with every sentence, or does nothing when there is none.
  void raise_if_any(std::string_view who) const {
    if (!sentences_.empty()) raise(who);
  }

 private:
  void add_parts(std::initializer_list<detail::SentencePart> parts);
  [[noreturn]] void raise(std::string_view who) const;

  std::vector<std::string> sentences_;
};

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_DEFINITION)
#include <posenc/core/problems_definitions.hpp>
#endif
