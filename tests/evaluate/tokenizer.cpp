// SPDX-License-Identifier: MIT
//
// The tokenizer: tokens and words are those of Hugging Face's tokenizers, no byte is lost, long words
// take no long time, wrong vocabularies are named.
#include "../../examples/evaluate/tokenizer.hpp"

#include "../support/catch.hpp"
#include "../support/random.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace tokenizer_cases {

using evaluate::Tokenizer;
using Ids = std::vector<std::int32_t>;
using Texts = std::vector<std::string>;

const nlohmann::json& golden() {
  static const nlohmann::json json = [] {
    std::ifstream file(POSENC_GOLDEN_DIR "/tokens.json");
    REQUIRE(file.good());
    return nlohmann::json::parse(file);
  }();
  return json;
}

const Texts names{"smollm", "gpt-2", "llama-bpe", "qwen2"};

/// The tokenizer of the golden file; the last two tokens are special.
const Tokenizer& golden_tokenizer(const std::string& pre) {
  static const std::map<std::string, Tokenizer> all = [] {
    std::map<std::string, Tokenizer> made;
    const auto tokens = golden().at("tokens").get<Texts>();
    const auto size = static_cast<std::int32_t>(tokens.size());
    for (const std::string& name : names)
      made.try_emplace(name, tokens, golden().at("merges").get<Texts>(), name,
                       Ids{size - 2, size - 1});
    return made;
  }();
  return all.at(pre);
}

/// A token for each byte, then `more`.
Texts bytes_and(const Texts& more) {
  Texts tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(evaluate::to_alphabet(std::string(1, static_cast<char>(byte))));
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

std::string error_of(const auto& call) {
  try {
    call();
  } catch (const posenc::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("golden: words of a text") {
  for (const std::string& name : names) {
    const evaluate::PreTokenizer pre(name);
    for (const auto& entry : golden().at("cases")) {
      const auto text = entry.at("text").get<std::string>();
      std::vector<std::size_t> lengths;
      pre.split(text, [&](std::string_view word) { lengths.push_back(word.size()); });
      INFO(name << ": " << text);
      CHECK(lengths == entry.at("words").at(name).get<std::vector<std::size_t>>());
    }
  }
}

TEST_CASE("golden: tokens of a text, and back") {
  CHECK(golden().at("cases").size() >= 330);
  for (const std::string& name : names) {
    const Tokenizer& tokenizer = golden_tokenizer(name);
    for (const auto& entry : golden().at("cases")) {
      const auto text = entry.at("text").get<std::string>();
      const Ids ids = tokenizer.encode(text);
      INFO(name << ": " << text);
      CHECK(ids == entry.at("ids").at(name).get<Ids>());
      CHECK(tokenizer.decode(ids) == text);
    }
  }
}

TEST_CASE("'default' is gpt-2") {
  const Texts tokens = bytes_and({"ab"}), merges{"a b"};
  CHECK(Tokenizer(tokens, merges, "default").encode("ab 12ab") ==
        Tokenizer(tokens, merges, "gpt-2").encode("ab 12ab"));
}

TEST_CASE("the alphabet of bytes") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string text = evaluate::to_alphabet(all);
  CHECK(evaluate::from_alphabet(text) == all);
  CHECK(evaluate::valid_bytes(text) == text.size());
  CHECK(evaluate::to_alphabet("a \n") == "a\u0120\u010a");
  CHECK_FALSE(evaluate::from_alphabet("a b"));
  CHECK_FALSE(evaluate::from_alphabet("\u0144"));
  CHECK_FALSE(evaluate::from_alphabet("\u00ad"));
  CHECK_FALSE(evaluate::from_alphabet("\xff"));
}

TEST_CASE("UTF-8: what is a character") {
  using evaluate::valid_bytes;
  for (const std::string_view whole :
       {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(valid_bytes(whole) == whole.size());
    const evaluate::Character first = evaluate::first_character(whole);
    std::string again;
    evaluate::append_character(again, first.code);
    CHECK(again == whole);
    if (whole.size() > 1) CHECK(valid_bytes(whole.substr(0, whole.size() - 1)) == 0);
  }
  // Tails alone, overlong forms, surrogates, above U+10FFFF, a lead that has none, a tail that is none.
  for (const std::string_view wrong :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3(", "\xe2\x82(",
        "\xf0\x9f\x98("})
    CHECK(valid_bytes(wrong) == 0);
}

TEST_CASE("bytes that are not UTF-8 are tokens of their own") {
  for (const std::string& name : names) {
    const Tokenizer& tokenizer = golden_tokenizer(name);
    const auto joined = [&](const Texts& parts) {
      Ids all;
      for (const std::string& part : parts) {
        const Ids ids = tokenizer.encode(part);
        all.insert(all.end(), ids.begin(), ids.end());
      }
      return all;
    };
    const auto byte = [&](char value) {
      return *tokenizer.id(evaluate::to_alphabet(std::string(1, value)));
    };
    CHECK(tokenizer.encode("\xff") == Ids{byte('\xff')});
    CHECK(tokenizer.encode("the\xffthe") == joined({"the", "\xff", "the"}));
    CHECK(tokenizer.encode("12 \xe2\x82 the") == joined({"12 ", "\xe2", "\x82", " the"}));
    // The two bytes of U+00E9, but with another between them.
    CHECK(tokenizer.encode("\xc3\xc3\xa9\xa9") == joined({"\xc3", "\u00e9", "\xa9"}));
  }
}

TEST_CASE("no byte is lost") {
  posenc_test::Random random(7);
  const auto& cases = golden().at("cases");
  const Texts pieces{"\xe2\x82", "\xf0\x9f\x98", "\xc3", "\x80", "\xff", "\xed\xa0\x80",
                     "<|end|>",  "<|end",        " ",    "\n",   "1"};
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (auto parts = random.integer(0, 6); parts > 0; --parts) {
      if (random.chance(0.4)) {
        text += pieces[static_cast<std::size_t>(random.integer(0, std::ssize(pieces) - 1))];
      } else if (random.chance(0.5)) {
        text += static_cast<char>(random.integer(0, 255) - 128);
      } else {
        const auto part =
            cases.at(static_cast<std::size_t>(random.integer(0, std::ssize(cases) - 1)));
        const auto whole = part.at("text").get<std::string>();
        // From some byte on, be it within a character.
        text += whole.substr(static_cast<std::size_t>(random.integer(0, std::ssize(whole))));
      }
    }
    for (const std::string& name : names) {
      const Tokenizer& tokenizer = golden_tokenizer(name);
      INFO(name << ": " << evaluate::to_alphabet(text));
      CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
      CHECK(tokenizer.decode(tokenizer.encode(text, true)) == text);
    }
  }
}

/// Merges as their definition has them: again and again the leftmost pair of the lowest rank.
Texts merged(const std::string& word, const Texts& merges) {
  Texts tokens;
  for (const char letter : word) tokens.push_back(std::string(1, letter));
  while (true) {
    std::size_t best = merges.size(), at = 0;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto rank = static_cast<std::size_t>(
          std::find(merges.begin(), merges.end(), tokens[i] + " " + tokens[i + 1]) -
          merges.begin());
      if (rank < best) best = rank, at = i;
    }
    if (best == merges.size()) return tokens;
    tokens[at] += tokens[at + 1];
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST_CASE("merges: the lowest rank first, the leftmost of its pairs first") {
  posenc_test::Random random(11);
  for (int i = 0; i < 200; ++i) {
    // A vocabulary of three letters, with merges of what there is so far, in any order.
    Texts known{"a", "b", "c"}, merges;
    for (int m = 0; m < 14; ++m) {
      const auto pick = [&] {
        return known[static_cast<std::size_t>(random.integer(0, std::ssize(known) - 1))];
      };
      const std::string left = pick(), right = pick();
      const std::string merge = left + " " + right;
      if (left.size() + right.size() > 8 ||
          std::find(merges.begin(), merges.end(), merge) != merges.end())
        continue;
      merges.insert(merges.begin() + random.integer(0, std::ssize(merges)), merge);
      if (std::find(known.begin(), known.end(), left + right) == known.end())
        known.push_back(left + right);
    }
    const Tokenizer tokenizer(known, merges, "gpt-2");
    std::string word;
    for (auto letters = random.integer(1, 40); letters > 0; --letters)
      word += static_cast<char>('a' + random.integer(0, 2));
    Texts tokens;
    for (const std::int32_t id : tokenizer.encode(word))
      tokens.push_back(known[static_cast<std::size_t>(id)]);
    INFO(word);
    CHECK(tokens == merged(word, merges));
  }
}

TEST_CASE("of two merges of the same pair the first counts") {
  const Texts known{"a", "b", "c", "ab", "bc"};
  const auto tokens = [&](const Texts& merges) {
    return Tokenizer(known, merges, "gpt-2").encode("abc");
  };
  CHECK(tokens({"a b", "b c", "a b"}) == Ids{3, 2});
  CHECK(tokens({"b c", "a b", "b c"}) == Ids{0, 4});
}

TEST_CASE("long words and long spaces take no long time") {
  Texts more, merges;
  for (std::size_t length = 1; length <= 16; length *= 2) {
    more.push_back(std::string(2 * length, 'a'));
    merges.push_back(std::string(length, 'a') + " " + std::string(length, 'a'));
  }
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& name : names) {
    const Tokenizer tokenizer(bytes_and(more), merges, name);
    constexpr std::size_t word = 1'000'000, rest = 100'000;
    if (name == "smollm")
      CHECK(tokenizer.encode(std::string(word, 'a')) == Ids(word / 32, 256 + 4));
    for (const std::string& text : {std::string(rest, ' ') + "x", std::string(rest, '\n') + "x",
                                    std::string(rest, '7'), std::string(rest, '\xff')})
      CHECK(tokenizer.encode(text).size() == text.size());
  }
  // (A quadratic time would be many minutes.)
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes(3));
}

TEST_CASE("special tokens are matched when asked, the longest first") {
  const auto size = static_cast<std::int32_t>(golden().at("tokens").size());
  const std::int32_t end = size - 2, longer = size - 1;
  for (const std::string& name : names) {
    const Tokenizer& tokenizer = golden_tokenizer(name);
    CHECK(tokenizer.id("<|end|>") == end);
    const auto expected = [&](const Texts& parts) {
      Ids all;
      for (const std::string& part : parts) {
        const Ids ids = part == "<|end|>"    ? Ids{end}
                        : part == "<|end|>!" ? Ids{longer}
                                             : tokenizer.encode(part);
        all.insert(all.end(), ids.begin(), ids.end());
      }
      return all;
    };
    CHECK(tokenizer.encode("<|end|>", true) == Ids{end});
    CHECK(tokenizer.encode("<|end|>!", true) == Ids{longer});
    CHECK(tokenizer.encode("a <|end|> b", true) == expected({"a ", "<|end|>", " b"}));
    CHECK(tokenizer.encode("<<|end|><|end|>!!", true) ==
          expected({"<", "<|end|>", "<|end|>!", "!"}));
    CHECK(tokenizer.encode("\xc3<|end|>\xa9", true) == expected({"\xc3", "<|end|>", "\xa9"}));
    CHECK(tokenizer.encode("<|end", true) == tokenizer.encode("<|end"));
    for (const std::int32_t id : tokenizer.encode("a <|end|>! b")) CHECK(id < end);
    CHECK(tokenizer.decode(Ids{end, longer}) == "<|end|><|end|>!");
  }
}

TEST_CASE("texts of tokens outside the alphabet, and of special ones, stand for themselves") {
  const Texts tokens = bytes_and({"two words", "\u00e9", "line\n"});
  // U+00E9 is the byte 0xE9 in the alphabet, and itself in a control token. (So a byte lacks its token
  // here.)
  Texts fewer = tokens;
  fewer[0xe9] = "other";
  const Tokenizer tokenizer(fewer, {}, "llama-bpe", {257});
  CHECK(tokenizer.decode(Ids{256, 257, 258}) == "two words\u00e9line\n");
  CHECK(tokenizer.encode("\u00e9", true) == Ids{257});
  CHECK(tokenizer.encode("\u00e9") == Ids{0xc3, 0xa9});
  CHECK(tokenizer.size() == 259);
  CHECK(tokenizer.id("two words") == 256);
  CHECK_FALSE(tokenizer.id("two"));
  CHECK_FALSE(tokenizer.id(""));
  CHECK_THAT(error_of([&] { static_cast<void>(tokenizer.encode("\xe9")); }),
             ContainsSubstring("no token for 0xE9"));
}

TEST_CASE("a copy encodes as the original") {
  const Tokenizer& whole = golden_tokenizer("smollm");
  const Tokenizer copy = whole;
  CHECK(copy.encode("The wind came down, 1897.") == whole.encode("The wind came down, 1897."));
}

TEST_CASE("wrong vocabularies and ids are named") {
  const auto build = [](const Texts& tokens, const Texts& merges, const std::string& pre = "gpt-2",
                        const Ids& special = {}) {
    return error_of([&] { Tokenizer(tokens, merges, pre, special); });
  };
  CHECK(build({"a", "b", "ab"}, {"a b"}, "smollm", {2, 2}) == "no error");
  CHECK(build({}, {}) == "no error");
  CHECK(build({}, {}, "bert") ==
        "Tokenizer: there is no pre-tokenizer 'bert'; known are 'default', 'gpt-2', 'llama-bpe', "
        "'qwen2' and 'smollm'");
  CHECK(build({"a", "b", "a"}, {}) == "Tokenizer: tokens 0 and 2 have the same text 'a'");
  for (const std::string merge : {"", " ", "ab", "a ", " b", "a  b", "a b c"})
    CHECK(build({"a", "b", "ab"}, {"a b", merge}) ==
          "Tokenizer: merge 1 has to be two texts with one space between them, but it is '" +
              merge + "'");
  CHECK(build({"b", "ab"}, {"a b"}) ==
        "Tokenizer: the vocabulary lacks the left part of merge 0, 'a'");
  CHECK(build({"a", "ab"}, {"a b"}) ==
        "Tokenizer: the vocabulary lacks the right part of merge 0, 'b'");
  CHECK(build({"a", "b"}, {"a b"}) ==
        "Tokenizer: the vocabulary lacks the result of merge 0, 'ab'");
  CHECK(build({"a"}, {}, "gpt-2", {1}) ==
        "Tokenizer: there is no token 1 in a vocabulary of 1, so it cannot be special");
  CHECK(build({"a"}, {}, "gpt-2", {-1}) ==
        "Tokenizer: there is no token -1 in a vocabulary of 1, so it cannot be special");
  CHECK(build({""}, {}, "gpt-2", {0}) ==
        "Tokenizer: the special token 0 has no text to be matched by");

  const Tokenizer small({"a", "b"}, {}, "gpt-2");
  CHECK(error_of([&] { static_cast<void>(small.encode("ab\nb")); }) ==
        "Tokenizer: the vocabulary has no token for 0x0A, byte 2 of the text");
  CHECK(error_of([&] { static_cast<void>(small.decode(Ids{0, 2})); }) ==
        "Tokenizer: there is no token 2 in a vocabulary of 2");
  CHECK(error_of([&] { static_cast<void>(small.decode(Ids{-1})); }) ==
        "Tokenizer: there is no token -1 in a vocabulary of 2");
  CHECK(small.encode("").empty());
  CHECK(small.decode({}).empty());
}

TEST_CASE("sentences show at most 80 characters of a text") {
  using evaluate::shown;
  CHECK(shown("") == "''");
  CHECK(shown("a b\u00e9") == "'a b\u00e9'");
  CHECK(shown("\n\xff\x7f") == "'\\x0A\\xFF\\x7F'");
  CHECK(shown(std::string(75, 'x')) == "'" + std::string(75, 'x') + "'");
  CHECK(shown(std::string(1000, 'x')) == "'" + std::string(75, 'x') + "...'");
  CHECK(shown(std::string(1000, '\n')).size() <= 80);
  CHECK_THAT(error_of([] { Tokenizer({}, {std::string(100000, 'y')}, "gpt-2"); }),
             EndsWith("yyy...'"));
}

}  // namespace tokenizer_cases
