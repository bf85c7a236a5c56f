// SPDX-License-Identifier: MIT
//
// Errors, and the list in which a check collects them.
//
// A wrong value is reported by one clear sentence that names the rule and the values. Whoever
// checks a whole encoding wants all the sentences at once, so checks write into `Problems`, and the
// one who asked throws a single `Error` that carries every one of them.
#pragma once

#include <posenc/core/abi.hpp>

#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
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
  static std::string describe(std::string_view who, const std::vector<std::string>& problems) {
    std::string text(who);
    if (problems.size() == 1) return text + ": " + problems.front();
    text += ": " + std::to_string(problems.size()) + " problems";
    for (const std::string& problem : problems) text += "\n  - " + problem;
    return text;
  }

  std::vector<std::string> problems_;
};

/// Collects sentences. Each part of a sentence may be anything that a stream takes.
class Problems {
 public:
  /// Adds the sentence made of `parts` unless `holds`.
  template <class... Parts>
  void require(bool holds, const Parts&... parts) {
    if (!holds) add(parts...);
  }

  template <class... Parts>
  void add(const Parts&... parts) {
    std::ostringstream sentence;
    sentence.precision(std::numeric_limits<double>::digits10);
    (sentence << ... << parts);
    sentences_.push_back(std::move(sentence).str());
  }

  [[nodiscard]] bool empty() const noexcept { return sentences_.empty(); }
  [[nodiscard]] const std::vector<std::string>& sentences() const noexcept { return sentences_; }

  /// Throws one Error with every sentence, or does nothing when there is none.
  void raise_if_any(std::string_view who) const {
    if (!sentences_.empty()) throw Error(who, sentences_);
  }

 private:
  std::vector<std::string> sentences_;
};

POSENC_NAMESPACE_END
