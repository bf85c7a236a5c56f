// SPDX-License-Identifier: MIT
//
// Pre-tokenizers: where a text is cut into words before byte pairs are merged. No token crosses such a cut.
//
// Each is some regular expressions, applied in turn: what an expression matches is a word, and so is what
// lies between two matches. They come from a tokenizer.json (tokenizer_json.hpp) or have a name; those of
// the names are what the models were trained with:
//
//   gpt-2      contractions, letters, numbers and other characters, each with the space before it; white space,
//              of which the last character stays for the word that follows
//   smollm     every number character by itself, then gpt-2 on what is left (StarCoder's rule, and SmolLM's)
//   llama-bpe  Llama 3: contractions in any case, one character of any kind before letters, numbers by up to
//              three, line ends that stay with what comes before them
//   qwen2      as llama-bpe, with every number character by itself
#pragma once

#include "utf8.hpp"

#include <posenc/core/problems.hpp>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace evaluate {

namespace detail {

/// An expression of PCRE2 over UTF-8, compiled to machine code where PCRE2 can do that.
class Expression {
 public:
  explicit Expression(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr),
                pcre2_code_free);
    if (!code_) fail("cannot compile an expression", error);
    // Without this it is interpreted, with the same result.
    static_cast<void>(pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE));
  }

  /// Calls `word(view)` for every match in `text`, and for what lies between two; together they are the
  /// text, which has to be UTF-8.
  template <class Word>
  void split(std::string_view text, const Word& word) const {
    const std::shared_ptr<pcre2_match_data> match(pcre2_match_data_create(1, nullptr),
                                                  pcre2_match_data_free);
    const std::shared_ptr<pcre2_match_context> limits(pcre2_match_context_create(nullptr),
                                                      pcre2_match_context_free);
    if (!match || !limits) throw std::bad_alloc();
    // The expressions take time linear in a text, so a long one is no reason to give up.
    pcre2_set_match_limit(limits.get(), std::numeric_limits<std::uint32_t>::max());
    pcre2_set_depth_limit(limits.get(), std::numeric_limits<std::uint32_t>::max());
    std::size_t at = 0;
    while (at < text.size()) {
      const int found =
          pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), limits.get());
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) fail("cannot match an expression", found);
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match.get());
      if (ends[0] > at) word(text.substr(at, ends[0] - at));
      word(text.substr(ends[0], ends[1] - ends[0]));
      at = ends[1];
    }
    if (at < text.size()) word(text.substr(at));
  }

 private:
  [[noreturn]] static void fail(std::string_view what, int error) {
    std::array<PCRE2_UCHAR, 200> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    posenc::Problems problems;
    problems.add("PCRE2 ", what, ": ", reinterpret_cast<const char*>(message.data()));
    throw posenc::Error("Tokenizer", problems.sentences());
  }

  std::shared_ptr<pcre2_code> code_;
};

}  // namespace detail

/// White space within a class, as Unicode has it. (PCRE2's own \s also takes U+180E, which is none
/// since Unicode 6.3.)
inline constexpr std::string_view space_class = R"(\t-\r \x{85}\p{Z})";

/// Cuts text into words. Copies share the compiled expressions, and threads may share one pre-tokenizer.
class PreTokenizer {
 public:
  /// Expressions, applied in turn; with none a text is one word. Where `whole_words`, a word that
  /// is a token as a whole is that token, whatever the merges make of it. Throws posenc::Error for
  /// what PCRE2 cannot compile.
  PreTokenizer(const std::vector<std::string>& expressions, bool whole_words)
      : whole_words_(whole_words) {
    for (const std::string& expression : expressions) expressions_.emplace_back(expression);
  }

  /// By the name that GGUF files give under tokenizer.ggml.pre: gpt-2 or default, smollm, llama-bpe,
  /// qwen2. Throws posenc::Error for others.
  explicit PreTokenizer(std::string_view name) {
    const std::string space(space_class);
    const std::string other = "[^" + space + R"(\p{L}\p{N}])";
    const auto llama_3 = [&](const std::string& numbers) {
      return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers + "| ?" + other +
             R"(+[\r\n]*|[)" + space + R"(]*[\r\n]+|)" + spaces();
    };
    if (name == "gpt-2" || name == "default") {
      expressions_.emplace_back(gpt_2());
    } else if (name == "smollm") {
      expressions_.emplace_back(R"(\p{N})");
      expressions_.emplace_back(gpt_2());
    } else if (name == "llama-bpe") {
      expressions_.emplace_back(llama_3(R"(\p{N}{1,3})"));
      whole_words_ = true;
    } else if (name == "qwen2") {
      expressions_.emplace_back(llama_3(R"(\p{N})"));
    } else {
      posenc::Problems problems;
      problems.add("there is no pre-tokenizer ", shown(name),
                   "; known are 'default', 'gpt-2', 'llama-bpe', 'qwen2' and 'smollm'");
      throw posenc::Error("Tokenizer", problems.sentences());
    }
  }

  /// GPT-2's expression.
  [[nodiscard]] static std::string gpt_2() {
    return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)" + std::string(space_class) +
           R"(\p{L}\p{N}]+|)" + spaces();
  }

  [[nodiscard]] bool whole_words() const noexcept { return whole_words_; }

  /// Calls `word(view)` for each word of `text`, which has to be UTF-8; together they are the text.
  template <class Word>
  void split(std::string_view text, const Word& word) const {
    split(text, word, 0);
  }

 private:
  static std::string spaces() {
    const std::string space(space_class);
    return "[" + space + "]+(?![^" + space + "])|[" + space + "]+";
  }
  template <class Word>
  void split(std::string_view text, const Word& word, std::size_t from) const {
    if (from == expressions_.size()) return word(text);
    expressions_[from].split(text, [&](std::string_view part) { split(part, word, from + 1); });
  }

  std::vector<detail::Expression> expressions_;
  bool whole_words_ = false;
};

}  // namespace evaluate
