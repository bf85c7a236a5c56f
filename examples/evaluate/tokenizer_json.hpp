// SPDX-License-Identifier: MIT
//
// tokenizer.json: the file of Hugging Face's tokenizers, as the Llama family has it, to a Tokenizer.
//
//   model           BPE; merges as "left right" or ["left", "right"]
//   added_tokens    matched as whole texts: always, and special ones where encode() is asked for it
//   pre_tokenizer   Split by an expression, Digits, ByteLevel, and sequences of these; ByteLevel
//                   last. None of them: BPE of characters, with tokens for bytes
//   normalizer      NFC, Prepend, Replace of a text, and sequences of these
//   post_processor  a control token before the text (first_token)
//
// Anything else is a sentence. Source: huggingface/tokenizers, serialization of each of these.
#pragma once

#include "expression.hpp"
#include "tokenizer.hpp"

#include <posenc/config/huggingface/fields.hpp>
#include <posenc/file/json.hpp>

#include <algorithm>

namespace evaluate {

namespace detail {

using Json = nlohmann::json;

/// Reads the parts of a file, and collects what is wrong.
class TokenizerFile {
 public:
  explicit TokenizerFile(const Json& json) : json_(json) {
    problems_.require(json.is_object(), "a tokenizer.json must be an object.");
    raise();
  }

  [[nodiscard]] Tokenizer tokenizer() {
    const Json& model = part("model");
    problems_.require(type_of(model) == "BPE", "model.type must be BPE, got ",
                      shown(type_of(model)), ".");
    raise();
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      problems_.require(!model.contains(key) || model[key].is_null() || model[key] == "" ||
                            model[key] == 0.0,
                        "model.", key, " is not read.");
    read_pre_tokenizer(part("pre_tokenizer"));
    read_normalizer(part("normalizer"));
    // Bytes that a character falls back on; byte-level tokenizers have a token for each byte anyway.
    problems_.require(byte_level_ || flag(model, "byte_fallback"),
                      "a tokenizer without ByteLevel must have model.byte_fallback.");
    problems_.require(byte_level_ || expressions_.empty(),
                      "pre_tokenizer must end with ByteLevel.");
    const std::vector<std::string> tokens = read_tokens(model);
    const std::vector<std::string> merges = read_merges(model);
    raise();
    return {tokens, merges,
            TokenizerRules{PreTokenizer(expressions_, flag(model, "ignore_merges")), normalizer_,
                           !byte_level_, always_},
            special_};
  }

  /// The control token that the post-processor puts before a text.
  [[nodiscard]] std::optional<std::int32_t> first_token() {
    const Json& post = part("post_processor");
    const Json* found = type_of(post) == "TemplateProcessing" ? &post : nullptr;
    if (type_of(post) == "Sequence" && post.contains("processors") && post["processors"].is_array())
      for (const Json& one : post["processors"])
        if (type_of(one) == "TemplateProcessing") found = &one;
    if (!found) {
      problems_.require(post.is_null() || type_of(post) == "ByteLevel" ||
                            type_of(post) == "Sequence",
                        "post_processor of the type ", shown(type_of(post)), " is not read.");
      raise();
      return std::nullopt;
    }
    try {
      std::optional<std::int32_t> first;
      for (const Json& piece : found->at("single")) {
        if (!piece.contains("SpecialToken")) break;
        if (first)
          throw posenc::Error("tokenizer.json",
                              {"post_processor puts several tokens before a text."});
        const auto& name = piece.at("SpecialToken").at("id").get_ref<const std::string&>();
        first = found->at("special_tokens").at(name).at("ids").at(0).get<std::int32_t>();
      }
      return first;
    } catch (const Json::exception&) {
      throw posenc::Error("tokenizer.json",
                          {"post_processor has no template of pieces and special_tokens."});
    }
  }

 private:
  void raise() const { problems_.raise_if_any("tokenizer.json"); }

  [[nodiscard]] const Json& part(const char* key) const {
    static const Json null;
    const auto at = json_.find(key);
    return at == json_.end() ? null : *at;
  }
  [[nodiscard]] static std::string type_of(const Json& part) { return text(part, "type"); }
  [[nodiscard]] static std::string text(const Json& part, const char* key) {
    return part.is_object() && part.contains(key) && part[key].is_string()
               ? part[key].get<std::string>()
               : "";
  }
  [[nodiscard]] static bool flag(const Json& part, const char* key) {
    return part.is_object() && part.contains(key) && part[key] == true;
  }

  /// Calls read(one) for a part, or for each of those of a sequence, which stand under `list`.
  template <class Read>
  void for_each(const Json& part, const char* list, const Read& read) {
    if (part.is_null()) return;
    if (type_of(part) != "Sequence") return read(part);
    if (!part.contains(list) || !part[list].is_array())
      return problems_.add("a Sequence must have a list ", list, ".");
    for (const Json& one : part[list]) read(one);
  }

  void read_pre_tokenizer(const Json& part) {
    for_each(part, "pretokenizers", [&](const Json& one) {
      const std::string type = type_of(one);
      problems_.require(!byte_level_, "pre_tokenizer: ", shown(type),
                        " after ByteLevel is not read.");
      if (type == "ByteLevel") {
        byte_level_ = true;
        problems_.require(!flag(one, "add_prefix_space"),
                          "pre_tokenizer: ByteLevel with add_prefix_space is not read.");
        // (Older files have no such key, and use it.)
        if (!one.contains("use_regex") || flag(one, "use_regex"))
          expressions_.push_back(PreTokenizer::gpt_2());
      } else if (type == "Digits") {
        expressions_.emplace_back(flag(one, "individual_digits") ? R"(\p{N})" : R"(\p{N}+)");
      } else if (type == "Split") {
        const std::string expression = one.contains("pattern") ? text(one["pattern"], "Regex") : "";
        problems_.require(
            !expression.empty() && text(one, "behavior") == "Isolated" && !flag(one, "invert"),
            "pre_tokenizer: only a Split by a Regex is read, with the behavior Isolated.");
        expressions_.push_back(translated(expression));
      } else {
        problems_.add("pre_tokenizer of the type ", shown(type),
                      " is not read; Split, Digits and ByteLevel are.");
      }
    });
  }

  void read_normalizer(const Json& part) {
    for_each(part, "normalizers", [&](const Json& one) {
      const std::string type = type_of(one);
      using enum NormalizerStep::Kind;
      if (type == "NFC") {
        normalizer_.push_back({nfc});
      } else if (type == "Prepend") {
        normalizer_.push_back({prepend, "", text(one, "prepend")});
      } else if (type == "Replace") {
        const std::string from = one.contains("pattern") ? text(one["pattern"], "String") : "";
        problems_.require(!from.empty(), "normalizer: only a Replace of a String is read.");
        if (!from.empty()) normalizer_.push_back({replace, from, text(one, "content")});
      } else {
        problems_.add("normalizer of the type ", shown(type),
                      " is not read; NFC, Prepend and Replace are.");
      }
    });
  }

  /// Texts by id: the vocabulary, and the added tokens among them or behind.
  std::vector<std::string> read_tokens(const Json& model) {
    std::vector<std::string> tokens;
    std::vector<bool> known;
    const auto put = [&](const std::string& name, const Json& id) {
      // Ids are dense, so one beyond all entries of the file is none.
      const std::size_t most = model["vocab"].size() + part("added_tokens").size();
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= most)
        return problems_.add("the token ", shown(name), " must have an id below ", most, ", got ",
                             posenc::file::echo(id), ".");
      const auto at = id.get<std::size_t>();
      if (at >= tokens.size()) tokens.resize(at + 1), known.resize(at + 1);
      problems_.require(!known[at] || tokens[at] == name, "two tokens have the id ", at, ".");
      tokens[at] = name, known[at] = true;
    };
    if (!model.contains("vocab") || !model["vocab"].is_object())
      return problems_.add("model.vocab must be an object."), tokens;
    for (auto at = model["vocab"].begin(); at != model["vocab"].end() && few(); ++at)
      put(at.key(), at.value());
    for (const Json& one : part("added_tokens")) {
      const std::string name = text(one, "content");
      if (!few()) break;
      if (name.empty() || !one.contains("id"))
        return problems_.add("an added token must have content and an id."), tokens;
      for (const char* key : {"single_word", "lstrip", "rstrip"})
        problems_.require(!flag(one, key), "the added token ", shown(name), " has ", key,
                          ", which is not read.");
      put(name, one["id"]);
      // What is no control token is matched in every text.
      const bool always = !flag(one, "special");
      const bool rewrites =
          std::any_of(normalizer_.begin(), normalizer_.end(), [](const NormalizerStep& step) {
            return step.kind != NormalizerStep::Kind::nfc;  // which leaves such texts alone
          });
      problems_.require(!always || !rewrites || !flag(one, "normalized"), "the added token ",
                        shown(name), " is matched in normalised text, which is not read.");
      if (few() && one["id"].is_number_unsigned())
        (always ? always_ : special_).push_back(one["id"].get<std::int32_t>());
    }
    const auto gap = std::find(known.begin(), known.end(), false);
    problems_.require(gap == known.end() || !few(), "no token has the id ", gap - known.begin(),
                      ".");
    return tokens;
  }

  std::vector<std::string> read_merges(const Json& model) {
    std::vector<std::string> merges;
    if (!model.contains("merges") || !model["merges"].is_array())
      return problems_.add("model.merges must be a list."), merges;
    for (const Json& merge : model["merges"]) {
      const bool pair =
          merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
      if (!pair && !merge.is_string())
        return problems_.add("merge ", merges.size(), " must be a text or two, got ",
                             posenc::file::echo(merge), "."),
               merges;
      merges.push_back(pair ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                            : merge.get<std::string>());
    }
    return merges;
  }

  /// Whether there is room for more sentences: of a vocabulary that is wrong throughout the first
  /// ones are enough.
  [[nodiscard]] bool few() const { return problems_.sentences().size() < 5; }

  const Json& json_;
  posenc::Problems problems_;
  std::vector<std::string> expressions_{};
  std::vector<NormalizerStep> normalizer_{};
  std::vector<std::int32_t> special_{}, always_{};
  bool byte_level_ = false;
};

}  // namespace detail

/// A tokenizer, and the token that is put before every text.
struct ReadTokenizer {
  Tokenizer tokenizer;
  std::optional<std::int32_t> first_token{};
};

/// Throws posenc::Error with every problem.
[[nodiscard]] inline ReadTokenizer read_tokenizer(const nlohmann::json& json) {
  detail::TokenizerFile file(json);
  Tokenizer tokenizer = file.tokenizer();
  const std::optional<std::int32_t> first = file.first_token();
  if (first && (*first < 0 || static_cast<std::size_t>(*first) >= tokenizer.size()))
    throw posenc::Error("tokenizer.json", {"post_processor puts token " + std::to_string(*first) +
                                           " before a text, and there are " +
                                           std::to_string(tokenizer.size()) + "."});
  return {std::move(tokenizer), first};
}

}  // namespace evaluate
