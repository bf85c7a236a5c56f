// SPDX-License-Identifier: MIT
//
// What a model makes of a text at a length: windows of every length end at the same token, so that the last tokens are
// the same ones with more or less before them.
#pragma once

#include "folder_model.hpp"
#include "reading.hpp"
#include "selected.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace evaluate {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path))
    throw posenc::Error("evaluate", {"cannot read the text " + path + "."});
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The first tokens of a text, `count` of them. Throws posenc::Error where there are fewer.
inline std::vector<std::int32_t> first_tokens(const LanguageModel& model, const std::string& text,
                                              Index count) {
  std::vector<std::int32_t> tokens = model.tokenizer.encode(text);
  if (std::ssize(tokens) < count)
    throw posenc::Error("evaluate",
                        {"the text has " + std::to_string(tokens.size()) +
                         " tokens, fewer than the window of " + std::to_string(count) + "."});
  tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

inline BoundLayers bind_layers(const LlamaShape& s, const LayerSchedule& layers) {
  return layers.bind({.num_heads = s.heads, .num_kv_heads = s.kv_heads});
}

struct Measured {
  Index length = 0;
  double last = 0;  ///< nats per token over the last tokens
  std::vector<std::pair<Index, double>>
      by_position{};  ///< end of a stretch of tokens, and their nats
  double seconds = 0;
  std::optional<double> keys_read{};  ///< share of the keys that tokens which choose may see
  [[nodiscard]] double perplexity() const { return std::exp(last); }
};

struct MeasureOptions {
  Index last = 2048;     ///< tokens at the end, of which all are counted
  Index stretch = 1024;  ///< before them: a stretch of so many tokens
  Index sampled = 64;    ///< of which these at its end are counted
};

/// -log p of tokens [first, last) of the window, summed, from the states of those before them.
inline double nats_of(const Llama& model, const Matrix& states,
                      std::span<const std::int32_t> window, Index first, Index last) {
  double sum = 0;
  constexpr Index block = 256;
  for (Index from = first; from < last; from += block) {
    const Index count = std::min(block, last - from);
    const Matrix logits = logits_of(model, states.middleRows(from - 1, count));
    for (Index i = 0; i < count; ++i) {
      const float most = logits.row(i).maxCoeff();
      const double total = static_cast<double>((logits.row(i).array() - most).exp().sum());
      sum += static_cast<double>(most) + std::log(total) -
             static_cast<double>(logits(i, window[static_cast<std::size_t>(from + i)]));
    }
  }
  return sum;
}

/// States of all tokens; those from `first` on read what a method chooses, where there is one.
inline Matrix states_of(const Llama& model, std::span<const std::int32_t> tokens,
                        const LayerSchedule& encodings, const Choosing* choosing, Index first,
                        KeysRead& keys, const AnyExecutor& executor) {
  if (!choosing) return last_states(model, tokens, bind_layers(model.shape, encodings), executor);
  const SelectedLayers layers(model.shape, encodings, *choosing, std::ssize(tokens));
  return last_states(model, tokens, [&](Index layer, auto q, auto k, auto v, auto out) {
    layers.attend(layer, first, q, k, v, out, keys, executor);
  });
}

/// The window of `length` tokens that ends with the text's last one. Where a method chooses, the last tokens read by it.
inline Measured measure(const LanguageModel& model, std::span<const std::int32_t> text,
                        Index length, const LayerSchedule& encodings, const MeasureOptions& options,
                        const AnyExecutor& executor, const Choosing* choosing = nullptr) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::int32_t> window(text.end() - length, text.end());
  if (model.first_token) window.front() = *model.first_token;
  const Index last = std::min(options.last, length - 1), before = length - last;
  KeysRead keys;
  const Matrix states =
      states_of(model.llama, window, encodings, choosing, before - 1, keys, executor);
  Measured m{.length = length};
  if (choosing) m.keys_read = keys.share();
  for (Index end = options.stretch; end <= before; end += options.stretch) {
    const Index from = std::max<Index>(1, end - options.sampled);
    m.by_position.emplace_back(end, nats_of(model.llama, states, window, from, end) /
                                        static_cast<double>(end - from));
  }
  double sum = 0;
  for (Index from = before; from < length; from += options.stretch) {
    const Index end = std::min(length, from + options.stretch);
    const double nats = nats_of(model.llama, states, window, from, end);
    m.by_position.emplace_back(end, nats / static_cast<double>(end - from));
    sum += nats;
  }
  m.last = sum / static_cast<double>(last);
  m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return m;
}

/// A number hidden in filler, the question for it, and as its last tokens the number itself.
struct PassKeyPrompt {
  std::vector<std::int32_t> tokens{};
  Index answer = 0;  ///< so many tokens at the end
};

/// At most `length` tokens, with the number at a depth from 0 (the beginning) to 1. Throws posenc::Error where
/// the length has no room for the texts and one sentence of filler.
inline PassKeyPrompt pass_key_prompt(const LanguageModel& model, Index length, double depth) {
  const auto encode = [&](const std::string& text) { return model.tokenizer.encode(text); };
  const std::string key = "68417";
  const std::vector<std::int32_t>
      filler = encode(
          " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back "
          "again."),
      head = encode("There is a pass key hidden in this text. Find it and remember it."),
      needle = encode(" The pass key is " + key + ". Remember it. " + key + " is the pass key."),
      question = encode(" What is the pass key? The pass key is"), answer = encode(" " + key);
  std::vector<std::int32_t> tokens;
  if (model.first_token) tokens.push_back(*model.first_token);
  const auto append = [&](const std::vector<std::int32_t>& part) {
    tokens.insert(tokens.end(), part.begin(), part.end());
  };
  append(head);
  const Index room =
      length - std::ssize(tokens) - std::ssize(needle) - std::ssize(question) - std::ssize(answer);
  if (room < std::ssize(filler))
    throw posenc::Error("evaluate",
                        {"--passkey: the number, its question and one sentence of filler take " +
                         std::to_string(length - room + std::ssize(filler)) +
                         " tokens, more than the length of " + std::to_string(length) +
                         ": give longer ones with --lengths."});
  const Index sentences = room / std::ssize(filler);
  const auto ahead = static_cast<Index>(std::lround(depth * static_cast<double>(sentences)));
  for (Index i = 0; i < sentences; ++i) {
    if (i == ahead) append(needle);
    append(filler);
  }
  if (ahead >= sentences) append(needle);
  append(question);
  append(answer);
  return {std::move(tokens), std::ssize(answer)};
}

/// Five depths at every length, those of a length after each other.
inline std::vector<PassKeyPrompt> pass_key_prompts(const LanguageModel& model,
                                                   const std::vector<Index>& lengths) {
  std::vector<PassKeyPrompt> prompts;
  for (const Index length : lengths)
    for (const double depth : {0.0, 0.25, 0.5, 0.75, 1.0})
      prompts.push_back(pass_key_prompt(model, length, depth));
  return prompts;
}

/// Whether the model says the number when asked: each of its tokens has the greatest logit after those
/// before it.
inline bool finds_pass_key(const Llama& model, const PassKeyPrompt& prompt,
                           const LayerSchedule& encodings, const AnyExecutor& executor,
                           const Choosing* choosing = nullptr) {
  const std::vector<std::int32_t>& tokens = prompt.tokens;
  const Index count = prompt.answer, first = std::ssize(tokens) - count;
  KeysRead keys;
  const Matrix states = states_of(model, tokens, encodings, choosing, first - 1, keys, executor);
  const Matrix logits = logits_of(model, states.middleRows(first - 1, count));
  for (Index i = 0; i < count; ++i) {
    Index best = 0;
    logits.row(i).maxCoeff(&best);
    if (best != tokens[static_cast<std::size_t>(first + i)]) return false;
  }
  return true;
}

}  // namespace evaluate
