// SPDX-License-Identifier: MIT
//
// tokenizer.json: ids are those of Hugging Face's tokenizers for the same file, and what is not
// read is a sentence.
#include "../../examples/evaluate/tokenizer_json.hpp"

#include "../attention/golden_settings.hpp"

#include <fstream>

namespace tokenizer_json_cases {

using namespace posenc;
using nlohmann::json;

json file_of(const std::string& family) {
  std::ifstream file(std::string(POSENC_GOLDEN_DIR) + "/checkpoints/" + family + "/tokenizer.json");
  return json::parse(file);
}

std::string error_of(const json& file) {
  try {
    static_cast<void>(evaluate::read_tokenizer(file));
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() < 1000);
    return error.what();
  }
  return "";
}

TEST_CASE("golden: ids of tokenizer.json") {
  const golden_test::Json golden = golden_test::golden("checkpoints/golden.json");
  for (const auto& expected : golden.at("cases")) {
    const std::string family = expected.at("family");
    json file = file_of(family);
#ifndef POSENC_UTF8PROC
    if (!file["normalizer"].is_null() && file["normalizer"]["type"] == "NFC") continue;
#endif
    const evaluate::Tokenizer tokenizer = evaluate::read_tokenizer(file).tokenizer;
    for (json& merge : file["model"]["merges"])  // the older spelling
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    const evaluate::Tokenizer older = evaluate::read_tokenizer(file).tokenizer;
    CHECK(expected.at("texts").size() >= 17);
    for (const auto& entry : expected.at("texts")) {
      const auto text = entry.at("text").get<std::string>();
      const auto ids = entry.at("ids").get<std::vector<std::int32_t>>();
      INFO(family << ": " << text);
      CHECK(tokenizer.encode(text, true) == ids);
      CHECK(older.encode(text, true) == ids);
    }
  }
}

TEST_CASE("added tokens that are no control tokens are matched in every text") {
  const evaluate::Tokenizer tokenizer = evaluate::read_tokenizer(file_of("llama")).tokenizer;
  const auto count = [&](const std::string& text, const char* token) {
    const auto ids = tokenizer.encode(text);
    return std::count(ids.begin(), ids.end(), tokenizer.id(token).value());
  };
  CHECK(count("a<tool><tool> b", "<tool>") == 2);
  CHECK(count("a<|start|> b", "<|start|>") == 0);
  CHECK(tokenizer.decode(tokenizer.encode("a<tool><|end|> b")) == "a<tool><|end|> b");
  json file = file_of("llama");
  file["normalizer"] = {{"type", "Prepend"}, {"prepend", "x"}};
  CHECK_THAT(error_of(file), ContainsSubstring("'<tool>' is matched in normalised text"));
}

TEST_CASE("BPE of characters: spaces come back, and bytes are bytes") {
  const evaluate::Tokenizer tokenizer = evaluate::read_tokenizer(file_of("mistral")).tokenizer;
  CHECK(tokenizer.decode(tokenizer.encode("the hills, \u6669\u4e0a \n")) ==
        " the hills, \u6669\u4e0a \n");
  CHECK(tokenizer.encode("\n") ==
        std::vector<std::int32_t>{*tokenizer.id("\u2581"), *tokenizer.id("<0x0A>")});
}

TEST_CASE("what a tokenizer.json has besides is a sentence") {
  const auto refuses = [](const std::string& path, const json& value, const std::string& sentence) {
    json file = file_of("llama");
    file[json::json_pointer(path)] = value;
    INFO(path);
    CHECK_THAT(error_of(file), ContainsSubstring(sentence));
  };
  CHECK(error_of(file_of("llama")).empty());
  CHECK_THAT(error_of(json::array()), ContainsSubstring("must be an object"));
  refuses("/model/type", "Unigram", "model.type must be BPE, got 'Unigram'.");
  refuses("/model", nullptr, "model.type must be BPE, got ''.");
  refuses("/model/dropout", 0.1, "model.dropout is not read.");
  refuses("/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix is not read.");
  refuses("/model/vocab", 3, "model.vocab must be an object.");
  refuses("/model/vocab/!", -1, "the token '!' must have an id below");
  refuses("/model/vocab/!", 1e9, "the token '!' must have an id below");
  refuses("/model/vocab/!", 3U, "two tokens have the id 3.");
  refuses("/model/merges", "a b", "model.merges must be a list.");
  refuses("/model/merges/0", json::array({"a", 1}),
          "merge 0 must be a text or two, got [\"a\",1].");
  refuses("/model/merges/0", "a b c", "merge 0 has to be two texts");
  refuses("/model/merges/0", json::array({"q", "\u20ac"}),
          "the vocabulary lacks the right part of merge 0");
  refuses("/added_tokens/0/lstrip", true,
          "the added token '<|start|>' has lstrip, which is not read.");
  refuses("/added_tokens/0", json::object(), "an added token must have content and an id.");
  refuses("/added_tokens/2/id", 305, "must have an id below");
  refuses("/normalizer", {{"type", "Lowercase"}}, "normalizer of the type 'Lowercase' is not read");
  refuses("/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "x"}}}},
          "only a Replace of a String is read.");
  refuses("/normalizer", {{"type", "Sequence"}}, "a Sequence must have a list normalizers.");
  refuses("/pre_tokenizer", {{"type", "Metaspace"}},
          "pre_tokenizer of the type 'Metaspace' is not read");
  refuses("/pre_tokenizer", nullptr,
          "a tokenizer without ByteLevel must have model.byte_fallback.");
  refuses("/pre_tokenizer/pretokenizers/0/behavior", "Removed", "with the behavior Isolated.");
  refuses("/pre_tokenizer/pretokenizers/0/invert", true, "with the behavior Isolated.");
  refuses("/pre_tokenizer/pretokenizers/0/pattern", {{"String", " "}},
          "only a Split by a Regex is read");
  refuses("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(",
          "PCRE2 cannot compile an expression");
  refuses("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\h+",
          "an expression has \\h, which is not read");
  refuses("/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a[b]]", "a class within a class");
  for (const auto& [expression, sentence] : std::vector<std::pair<std::string, std::string>>{
           {"^a", "has ^ outside a class"},
           {"a$", "has $ outside a class"},
           {"[a-z&&b]", "has an intersection && of classes"},
           {"\\p{L}{1,3}+", "has a + after }"},
           {"a{,3}", "has {,n} without a least number"},
           {"(?m:.)", "has an option m or s"},
           {"(?i-s)a", "has an option m or s"}})
    refuses("/pre_tokenizer/pretokenizers/0/pattern/Regex", expression, sentence);
  // What looks alike and is read.
  json same = file_of("llama");
  same["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      "[^^$]|\\^|\\$|\\p{L}+|\\p{N}{1,}|(?i:s)|[}]+|a&&b|[p{]";
  CHECK(error_of(same).empty());
  refuses("/pre_tokenizer/pretokenizers/1/add_prefix_space", true,
          "ByteLevel with add_prefix_space is not read.");
  refuses("/post_processor", {{"type", "BertProcessing"}},
          "post_processor of the type 'BertProcessing' is not read.");
  refuses("/post_processor/processors/1/special_tokens", json::object(),
          "post_processor has no template");
  refuses("/post_processor/processors/1/special_tokens/<|start|>/ids/0", 5000,
          "puts token 5000 before a text");
}

}  // namespace tokenizer_json_cases
