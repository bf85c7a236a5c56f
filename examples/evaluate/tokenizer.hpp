// SPDX-License-Identifier: MIT
//
// A tokenizer of language models: byte-level BPE, as of GPT-2, Llama 3, Qwen2 and SmolLM, or BPE of
// characters, as of Llama 2 and the first Mistral.
//
// Text is normalised (normalizer.hpp) and cut into words (pre_tokenizer.hpp), and the bytes of each word, or
// its characters, are merged (byte_pairs.hpp). Without a normalizer nothing of a text is lost: there is a
// token for each byte. A character that has no token becomes the tokens <0x00> to <0xFF> of its bytes.
#pragma once

#include "byte_alphabet.hpp"
#include "byte_pairs.hpp"
#include "normalizer.hpp"
#include "pre_tokenizer.hpp"
#include "utf8.hpp"

#include <posenc/core/problems.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace evaluate {

/// What a tokenizer does besides merging.
struct TokenizerRules {
  PreTokenizer pre;
  std::vector<NormalizerStep> normalizer{};
  bool of_characters = false;  ///< tokens are texts, and not bytes in their alphabet
  std::vector<std::int32_t>
      always{};  ///< ids of tokens that stand for their texts wherever these are
};

class Tokenizer {
 public:
  /// `tokens` by id, in the alphabet of bytes (byte_alphabet.hpp); a text with other characters stands
  /// for itself. `merges` are "left right", in order of rank; of two for the same pair the first counts.
  /// `pre` names the pre-tokenizer. `special` are the ids of control tokens, whose texts stand for
  /// themselves.
  ///
  /// Throws posenc::Error for an unknown `pre`, two tokens of the same text, a merge that is not two
  /// texts, one of whose tokens or result the vocabulary lacks, and a special id that is none or has no
  /// text. A vocabulary may lack single bytes (SmolLM2's has no token for 0x04, or for bytes that UTF-8
  /// never has): see encode.
  Tokenizer(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
            const std::string& pre, const std::vector<std::int32_t>& special = {})
      : Tokenizer(tokens, merges, TokenizerRules{PreTokenizer(pre)}, special) {}
  /// The same with other rules. Of characters every byte needs its token, for texts in other scripts.
  Tokenizer(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
            TokenizerRules rules, const std::vector<std::int32_t>& special = {})
      : rules_(std::move(rules)) {
    require(tokens.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
            "a vocabulary of ", tokens.size(), " tokens is too large for ids of 32 bits");
    add_tokens(tokens);
    is_special_.assign(size(), false);
    for (const std::int32_t id : special) add_special(tokens, id, false);
    for (const std::int32_t id : rules_.always) add_special(tokens, id, true);
    std::stable_sort(special_.begin(), special_.end(), [](const Special& a, const Special& b) {
      return a.text.size() > b.text.size();
    });
    byte_ids_.fill(-1);
    for (std::size_t id = 0; id < size(); ++id)
      if (bytes_[id].size() == 1 && !is_special_[id] &&
          (rules_.of_characters ? tokens[id].size() == 6 : from_alphabet(tokens[id]).has_value()))
        byte_ids_[static_cast<unsigned char>(bytes_[id][0])] = static_cast<std::int32_t>(id);
    for (std::size_t rank = 0; rank < merges.size(); ++rank) add_merge(merges[rank], rank);
  }

  /// The tokens of a text of any bytes; decode gives these bytes back. Bytes that are not UTF-8 become
  /// their own tokens, unmerged, and what lies between them is encoded as if it were the whole text.
  /// (Tokenizers of Python see no such bytes: they were replaced before, and lost.) With `match_special`
  /// the texts of control tokens become these, the longest where several begin; without it they are text
  /// as any other. Throws posenc::Error for a byte that the vocabulary has no token for.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 bool match_special = false) const {
    std::vector<std::int32_t> out;
    Work work{text, Merger(merges_), {}, out};
    std::size_t from = 0, at = 0;
    while ((match_special || !rules_.always.empty()) && at < text.size()) {
      const Special* found = special_at(text.substr(at), match_special);
      if (!found) {
        ++at;
        continue;
      }
      encode_text(text.substr(from, at - from), work);
      out.push_back(found->id);
      from = at += found->text.size();
    }
    encode_text(text.substr(from), work);
    return out;
  }

  /// The bytes of tokens, one after the other; control tokens give their texts. Throws posenc::Error for
  /// an id that is none.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const {
    std::string text;
    for (const std::int32_t id : ids) {
      require(is_id(id), "there is no token ", id, " in a vocabulary of ", size());
      text += bytes_[static_cast<std::size_t>(id)];
    }
    return text;
  }

  /// How many tokens there are.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

  /// The id of a token by its text as the vocabulary has it, in the alphabet of bytes; nothing for others.
  [[nodiscard]] std::optional<std::int32_t> id(std::string_view token_text) const {
    const auto found = ids_.find(token_text);
    if (found == ids_.end()) return {};
    return found->second;
  }

 private:
  struct Special {
    std::string text;
    std::int32_t id;
    bool always;  ///< and not only where encode() is asked to
  };

  /// What one call of encode works on.
  struct Work {
    std::string_view text;
    Merger merger;
    std::vector<std::int32_t> word;
    std::vector<std::int32_t>& out;
  };

  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  template <class... Parts>
  static void require(bool holds, const Parts&... parts) {
    if (holds) return;
    posenc::Problems problems;
    problems.add(parts...);
    throw posenc::Error("Tokenizer", problems.sentences());
  }

  [[nodiscard]] bool is_id(std::int32_t id) const noexcept {
    return id >= 0 && static_cast<std::size_t>(id) < size();
  }

  void add_tokens(const std::vector<std::string>& tokens) {
    ids_.reserve(tokens.size());
    bytes_.reserve(tokens.size());
    for (const std::string& text : tokens) {
      const auto id = static_cast<std::int32_t>(bytes_.size());
      const auto [place, is_new] = ids_.try_emplace(text, id);
      require(is_new, "tokens ", place->second, " and ", id, " have the same text ", shown(text));
      bytes_.push_back(rules_.of_characters ? bytes_of(text) : from_alphabet(text).value_or(text));
    }
  }

  /// The bytes of a token of characters: of <0x0A> one, of another its own, with spaces for U+2581.
  static std::string bytes_of(const std::string& text) {
    if (text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
        text.find_first_not_of("0123456789ABCDEF", 3) == 5)
      return {static_cast<char>(std::stoi(text.substr(3, 2), nullptr, 16))};
    return NormalizerStep{NormalizerStep::Kind::replace, "\u2581", " "}(text);
  }

  void add_special(const std::vector<std::string>& tokens, std::int32_t id, bool always) {
    require(is_id(id), "there is no token ", id, " in a vocabulary of ", size(),
            ", so it cannot be special");
    const auto i = static_cast<std::size_t>(id);
    require(!tokens[i].empty(), "the special token ", id, " has no text to be matched by");
    if (is_special_[i]) return;
    is_special_[i] = true;
    bytes_[i] = tokens[i];
    special_.push_back({tokens[i], id, always});
    begins_special_[static_cast<unsigned char>(tokens[i][0])] = true;
  }

  void add_merge(const std::string& merge, std::size_t rank) {
    const std::size_t space = merge.find(' ');
    require(space != std::string::npos && space > 0 && space + 1 < merge.size() &&
                merge.find(' ', space + 1) == std::string::npos,
            "merge ", rank, " has to be two texts with one space between them, but it is ",
            shown(merge));
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    const auto known = [&](const std::string& text, std::string_view what) {
      const std::optional<std::int32_t> found = id(text);
      require(found.has_value(), "the vocabulary lacks the ", what, " of merge ", rank, ", ",
              shown(text));
      return *found;
    };
    const std::int32_t left_id = known(left, "left part"), right_id = known(right, "right part");
    merges_.add(left_id, right_id,
                {static_cast<std::uint32_t>(rank), known(left + right, "result")});
  }

  /// The longest token of those matched as whole texts that `text` begins with, or null.
  [[nodiscard]] const Special* special_at(std::string_view text, bool match_special) const {
    if (!begins_special_[static_cast<unsigned char>(text[0])]) return nullptr;
    for (const Special& special : special_)
      if ((match_special || special.always) && text.starts_with(special.text)) return &special;
    return nullptr;
  }

  /// Text without special tokens.
  void encode_text(std::string_view text, Work& work) const {
    while (!text.empty()) {
      const std::size_t valid = valid_bytes(text);
      if (valid > 0) {
        std::string normal;
        std::string_view part = text.substr(0, valid);
        if (!rules_.normalizer.empty()) {
          normal = part;
          for (const NormalizerStep& step : rules_.normalizer) normal = step(std::move(normal));
          part = normal;
        }
        rules_.pre.split(part, [&](std::string_view word) { encode_word(word, work); });
      }
      text.remove_prefix(valid);
      if (text.empty()) return;
      work.out.push_back(byte_id(text.data(), work));
      text.remove_prefix(1);
    }
  }

  void encode_word(std::string_view word, Work& work) const {
    if (rules_.pre.whole_words()) {
      const std::optional<std::int32_t> whole =
          id(rules_.of_characters ? std::string(word) : to_alphabet(word));
      if (whole && !is_special_[static_cast<std::size_t>(*whole)])
        return work.out.push_back(*whole);
    }
    work.word.clear();
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t bytes = rules_.of_characters ? first_character(word.substr(at)).bytes : 1;
      const std::optional<std::int32_t> character =
          rules_.of_characters ? id(word.substr(at, bytes)) : std::nullopt;
      if (character) work.word.push_back(*character);
      for (std::size_t i = at; i < at + bytes && !character; ++i)
        work.word.push_back(byte_id(word.data() + i, work));
      at += bytes;
    }
    work.merger.merge(work.word, work.out);
  }

  /// The token of one byte of the text.
  [[nodiscard]] std::int32_t byte_id(const char* byte, const Work& work) const {
    const auto value = static_cast<unsigned char>(*byte);
    const std::int32_t id = byte_ids_[value];
    const std::less<> before;
    const char* const text = work.text.data();
    if (id < 0 && !before(byte, text) && before(byte, text + work.text.size()))
      require(false, "the vocabulary has no token for ", shown(value), ", byte ", byte - text,
              " of the text");
    require(id >= 0, "the vocabulary has no token for ", shown(value), " of the normalised text");
    return id;
  }

  TokenizerRules rules_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::vector<std::string> bytes_;  // by id
  std::vector<bool> is_special_;    // by id
  std::vector<Special> special_;    // the longest first
  std::array<bool, 256> begins_special_{};
  std::array<std::int32_t, 256> byte_ids_{};  // -1: the vocabulary lacks it
  Merges merges_;
};

}  // namespace evaluate
