// SPDX-License-Identifier: MIT
//
// A model of the Llama family and its tokenizer from a GGUF file.
#pragma once

#include "llama.hpp"
#include "tokenizer.hpp"

#include <posenc/gguf/dequantise.hpp>
#include <posenc/gguf/file.hpp>

#include <optional>
#include <set>

namespace evaluate {

struct LanguageModel {
  Llama llama;
  Tokenizer tokenizer;
  std::optional<std::int32_t> first_token{};  ///< put before every text
};

/// Reads keys and tensors, and collects what is missing or wrong.
class GgufReader {
 public:
  explicit GgufReader(const gguf::File& file) : file_(file) {}

  [[nodiscard]] Llama llama() {
    Llama model;
    model.shape = shape();
    problems_.raise_if_any("evaluate");
    const LlamaShape& s = model.shape;
    const Index q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    model.embedding = matrix("token_embd.weight", s.vocabulary, s.width);
    if (file_.find_tensor("output.weight"))
      model.output = matrix("output.weight", s.vocabulary, s.width);
    model.last_norm = row("output_norm.weight", s.width);
    for (Index l = 0; l < s.layers && problems_.empty(); ++l) {
      const std::string at = "blk." + std::to_string(l) + ".";
      LlamaLayer layer;
      layer.attention_norm = row(at + "attn_norm.weight", s.width);
      layer.mlp_norm = row(at + "ffn_norm.weight", s.width);
      layer.q_norm = row(at + "attn_q_norm.weight", s.head_dim, true);
      layer.k_norm = row(at + "attn_k_norm.weight", s.head_dim, true);
      layer.q = matrix(at + "attn_q.weight", q, s.width);
      layer.k = matrix(at + "attn_k.weight", kv, s.width);
      layer.v = matrix(at + "attn_v.weight", kv, s.width);
      layer.o = matrix(at + "attn_output.weight", s.width, q);
      layer.q_bias = row(at + "attn_q.bias", q, true);
      layer.k_bias = row(at + "attn_k.bias", kv, true);
      layer.v_bias = row(at + "attn_v.bias", kv, true);
      const Index biases =
          (layer.q_bias.size() > 0) + (layer.k_bias.size() > 0) + (layer.v_bias.size() > 0);
      problems_.require(biases == 0 || biases == 3, "layer ", l,
                        " has biases for some of q, k and v only.");
      layer.gate = matrix(at + "ffn_gate.weight", s.mlp, s.width);
      layer.up = matrix(at + "ffn_up.weight", s.mlp, s.width);
      layer.down = matrix(at + "ffn_down.weight", s.width, s.mlp);
      model.layers.push_back(std::move(layer));
    }
    for (const gguf::Tensor& tensor : file_.tensors())
      problems_.require(used_.contains(tensor.name), "the tensor ", tensor.name.substr(0, 60),
                        " is not read: the model is another one than its architecture says.");
    problems_.raise_if_any("evaluate");
    return model;
  }

  [[nodiscard]] Tokenizer tokenizer() {
    const std::string kind(file_.text("tokenizer.ggml.model").value_or("absent"));
    problems_.require(kind == "gpt2", "tokenizer.ggml.model must be gpt2 (byte-level BPE), got ",
                      kind, ".");
    problems_.raise_if_any("evaluate");
    std::vector<std::string> tokens, merges;
    for (const std::string_view token : file_.texts("tokenizer.ggml.tokens"))
      tokens.emplace_back(token);
    for (const std::string_view merge : file_.texts("tokenizer.ggml.merges"))
      merges.emplace_back(merge);
    return {std::move(tokens), merges,
            std::string(file_.text("tokenizer.ggml.pre").value_or("default"))};
  }
  /// As the file says, and for Llama 3 where it says nothing.
  [[nodiscard]] std::optional<std::int32_t> first_token() {
    const bool llama3 = file_.text("tokenizer.ggml.pre").value_or("") == "llama-bpe";
    if (!file_.boolean("tokenizer.ggml.add_bos_token").value_or(llama3)) return std::nullopt;
    const std::int64_t id = file_.integer("tokenizer.ggml.bos_token_id").value_or(-1);
    const auto tokens = std::ssize(file_.texts("tokenizer.ggml.tokens"));
    problems_.require(id >= 0 && id < tokens, "tokenizer.ggml.bos_token_id must be one of the ",
                      tokens, " tokens, got ", id, id == -1 ? " (absent)." : ".");
    problems_.raise_if_any("evaluate");
    return static_cast<std::int32_t>(id);
  }

 private:
  [[nodiscard]] LlamaShape shape() {
    LlamaShape s;
    s.architecture = file_.text("general.architecture").value_or("absent");
    s.name = file_.text("general.name").value_or(s.architecture);
    const bool llama = s.architecture == "llama",
               qwen = s.architecture == "qwen2" || s.architecture == "qwen3",
               smol = s.architecture == "smollm3";
    problems_.require(llama || qwen || smol,
                      "general.architecture must be llama, qwen2, qwen3 or smollm3, got ",
                      s.architecture.substr(0, 60), ".");
    if (!problems_.empty()) return s;
    s.interleaved = !qwen;
    s.nope_every = smol ? 4 : 0;
    s.layers = count("block_count");
    s.heads = count("attention.head_count");
    s.kv_heads = count("attention.head_count_kv", s.heads);
    s.width = count("embedding_length");
    s.mlp = count("feed_forward_length");
    s.trained = count("context_length");
    s.head_dim = count("attention.key_length", s.heads > 0 ? s.width / s.heads : 0);
    s.rotary_dim = count("rope.dimension_count", s.head_dim);
    s.vocabulary = std::ssize(file_.texts("tokenizer.ggml.tokens"));
    s.base = file_.real(key("rope.freq_base")).value_or(10000);
    s.epsilon = file_.real(key("attention.layer_norm_rms_epsilon")).value_or(1e-5);
    problems_.require(s.kv_heads > 0 && s.heads % s.kv_heads == 0, s.heads,
                      " query heads cannot share ", s.kv_heads, " key heads.");
    const auto scaling = file_.text(key("rope.scaling.type"));
    problems_.require(!scaling || *scaling == "none", key("rope.scaling.type"), " is ",
                      scaling ? std::string(scaling->substr(0, 60)) : "",
                      ", which is not read yet.");
    const double linear = file_.real(key("rope.scale_linear")).value_or(1);
    problems_.require(linear == 1, key("rope.scale_linear"), " is ", linear,
                      ", which is not read yet.");
    return s;
  }
  [[nodiscard]] std::string key(const std::string& name) const {
    return std::string(file_.text("general.architecture").value_or("")) + "." + name;
  }
  [[nodiscard]] Index count(const std::string& name, Index otherwise = -1) {
    const std::int64_t value = file_.integer(key(name)).value_or(otherwise);
    problems_.require(value >= 1 && value <= Index{1} << 24, key(name),
                      " must lie within [1, 2^24], got ", value, value == -1 ? " (absent)." : ".");
    return value;
  }
  [[nodiscard]] Matrix matrix(const std::string& name, Index rows, Index columns) {
    const gguf::Tensor* tensor = find(name, rows, columns);
    if (!tensor) return {};
    Matrix m(rows, columns);
    gguf::dequantise(*tensor, 0, rows, {m.data(), static_cast<std::size_t>(m.size())});
    return m;
  }
  [[nodiscard]] Row row(const std::string& name, Index columns, bool optional = false) {
    if (optional && !file_.find_tensor(name)) return {};
    const gguf::Tensor* tensor = find(name, 1, columns);
    if (!tensor) return {};
    Row r(columns);
    gguf::dequantise(*tensor, 0, 1, {r.data(), static_cast<std::size_t>(r.size())});
    return r;
  }
  [[nodiscard]] const gguf::Tensor* find(const std::string& name, Index rows, Index columns) {
    const gguf::Tensor* tensor = file_.find_tensor(name);
    used_.insert(name);
    problems_.require(tensor != nullptr, "the tensor ", name, " is missing.");
    if (!tensor) return nullptr;
    const bool fits = tensor->rows() == rows && tensor->row_length() == columns;
    problems_.require(fits, "the tensor ", name, " must be ", rows, " rows of ", columns, ", got ",
                      tensor->rows(), " of ", tensor->row_length(), ".");
    return fits ? tensor : nullptr;
  }

  const gguf::File& file_;
  std::set<std::string> used_;  ///< tensors
  Problems problems_;
};

/// Throws posenc::Error.
inline LanguageModel read_model(const std::filesystem::path& path) {
  const gguf::File file(path);
  GgufReader reader(file);
  Llama llama = reader.llama();
  return {std::move(llama), reader.tokenizer(), reader.first_token()};
}

}  // namespace evaluate
