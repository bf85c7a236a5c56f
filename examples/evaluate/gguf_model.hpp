// SPDX-License-Identifier: MIT
//
// A model of the Llama family and its tokenizer from a GGUF file. What it does with positions is read by
// config/gguf.hpp.
#pragma once

#include "llama_weights.hpp"
#include "tokenizer.hpp"

#include <posenc/config/gguf.hpp>

namespace evaluate {

struct LanguageModel {
  Llama llama;
  Tokenizer tokenizer;
  std::optional<std::int32_t> first_token{};  ///< put before every text
};

class GgufReader {
 public:
  explicit GgufReader(const gguf::File& file) : file_(file) {}

  [[nodiscard]] Llama llama() {
    static const WeightNames names{"token_embd", "output",   "output_norm", "blk.",
                                   "attn_norm",  "ffn_norm", "attn_q_norm", "attn_k_norm",
                                   "attn_q",     "attn_k",   "attn_v",      "attn_output",
                                   "ffn_gate",   "ffn_up",   "ffn_down"};
    WeightSource source;
    for (const gguf::Tensor& tensor : file_.tensors()) source.tensors.push_back(tensor.name);
    source.find = [&](const std::string& name) -> std::optional<WeightSource::Shape> {
      const gguf::Tensor* tensor = file_.find_tensor(name);
      if (!tensor) return std::nullopt;
      return WeightSource::Shape{tensor->rows(), tensor->row_length()};
    };
    source.read = [&](const std::string& name, std::span<float> out) {
      const gguf::Tensor& tensor = file_.tensor(name);
      gguf::dequantise(tensor, 0, tensor.rows(), out);
    };
    source.is_spare = [](const std::string& name) {
      return name.starts_with("rope_f");
    };  // of positions
    Llama model;
    model.shape = shape();
    LlamaWeights(source, names).read(model, std::nullopt);
    return model;
  }

  [[nodiscard]] Tokenizer tokenizer() {
    Problems problems;
    const std::string kind(file_.text("tokenizer.ggml.model").value_or("absent"));
    problems.require(kind == "gpt2", "tokenizer.ggml.model must be gpt2 (byte-level BPE), got ",
                     kind.substr(0, 60), ".");
    problems.raise_if_any("evaluate");
    std::vector<std::string> tokens, merges;
    for (const std::string_view token : file_.texts("tokenizer.ggml.tokens"))
      tokens.emplace_back(token);
    for (const std::string_view merge : file_.texts("tokenizer.ggml.merges"))
      merges.emplace_back(merge);
    return {tokens, merges, std::string(file_.text("tokenizer.ggml.pre").value_or("default"))};
  }
  /// As the file says, and for Llama 3 where it says nothing.
  [[nodiscard]] std::optional<std::int32_t> first_token() {
    const bool llama3 = file_.text("tokenizer.ggml.pre").value_or("") == "llama-bpe";
    if (!file_.boolean("tokenizer.ggml.add_bos_token").value_or(llama3)) return std::nullopt;
    const std::int64_t id = file_.integer("tokenizer.ggml.bos_token_id").value_or(-1);
    const auto tokens = std::ssize(file_.texts("tokenizer.ggml.tokens"));
    Problems problems;
    problems.require(id >= 0 && id < tokens, "tokenizer.ggml.bos_token_id must be one of the ",
                     tokens, " tokens, got ", id, id == -1 ? " (absent)." : ".");
    problems.raise_if_any("evaluate");
    return static_cast<std::int32_t>(id);
  }

 private:
  [[nodiscard]] LlamaShape shape() const {
    Problems problems;
    LlamaShape s;
    s.architecture = file_.text("general.architecture").value_or("absent");
    s.name = file_.text("general.name").value_or(s.architecture);
    const bool known = s.architecture == "llama" || s.architecture == "qwen2" ||
                       s.architecture == "qwen3" || s.architecture == "smollm3";
    problems.require(known, "general.architecture must be llama, qwen2, qwen3 or smollm3, got ",
                     s.architecture.substr(0, 60), ".");
    problems.raise_if_any("evaluate");
    s.set_positions(gguf::parse(file_));
    const gguf::Keys keys(file_, s.architecture, problems);
    constexpr Index most = Index{1} << 24;
    s.width = keys.required("embedding_length", 1, most);
    s.mlp = keys.required("feed_forward_length", 1, most);
    s.epsilon = keys.number("attention.layer_norm_rms_epsilon", 0, 1).value_or(1e-5);
    s.vocabulary = std::ssize(file_.texts("tokenizer.ggml.tokens"));
    problems.raise_if_any("evaluate");
    return s;
  }

  const gguf::File& file_;
};

/// Throws posenc::Error.
inline LanguageModel read_gguf(const std::filesystem::path& path) {
  const gguf::File file(path);
  GgufReader reader(file);
  Llama llama = reader.llama();
  return {std::move(llama), reader.tokenizer(), reader.first_token()};
}

}  // namespace evaluate
