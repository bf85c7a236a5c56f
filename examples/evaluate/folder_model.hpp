// SPDX-License-Identifier: MIT
//
// A model of the Llama family and its tokenizer from a folder as Hugging Face's libraries save it:
// config.json, model.safetensors or its parts with an index, tokenizer.json.
#pragma once

#include "gguf_model.hpp"
#include "tokenizer_json.hpp"

#include <posenc/config/huggingface.hpp>
#include <posenc/safetensors/file.hpp>

#include <fstream>

namespace evaluate {

class FolderReader {
 public:
  explicit FolderReader(std::filesystem::path folder)
      : folder_(std::move(folder)), config_(json("config.json")), weights_(folder_) {}

  [[nodiscard]] Llama llama() {
    static const WeightNames names{
        "model.embed_tokens", "lm_head",          "model.norm",
        "model.layers.",      "input_layernorm",  "post_attention_layernorm",
        "self_attn.q_norm",   "self_attn.k_norm", "self_attn.q_proj",
        "self_attn.k_proj",   "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj",      "mlp.up_proj",      "mlp.down_proj"};
    WeightSource source;
    for (const auto& [name, tensor] : weights_.tensors()) source.tensors.push_back(name);
    source.find = [&](const std::string& name) -> std::optional<WeightSource::Shape> {
      const safetensors::Tensor* tensor = weights_.find_tensor(name);
      if (!tensor) return std::nullopt;
      return WeightSource::Shape{tensor->rows(), tensor->row_length()};
    };
    source.read = [&](const std::string& name, std::span<float> out) {
      const safetensors::Tensor& tensor = weights_.tensor(name);
      safetensors::read_rows(tensor, 0, tensor.rows(), out);
    };
    // Old checkpoints have the frequencies among the weights; config.json says what they are.
    source.is_spare = [](const std::string& name) {
      return name.ends_with(".rotary_emb.inv_freq");
    };
    Llama model;
    bool tied = false;
    model.shape = shape(tied);
    LlamaWeights(source, names).read(model, tied);
    return model;
  }

  [[nodiscard]] ReadTokenizer tokenizer() const {
    return read_tokenizer(
        json("tokenizer.json", {.bytes = std::size_t{1} << 28, .what = "tokenizer"}));
  }

 private:
  [[nodiscard]] nlohmann::json json(const char* name, const file::Limit& limit = {}) const {
    const std::filesystem::path path = folder_ / name;
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path))
      throw posenc::Error("evaluate",
                          {"cannot read " + path.string() + ": no such file, or no permission."});
    Problems problems;
    nlohmann::json read =
        file::parse_text(std::string{std::istreambuf_iterator<char>(file), {}}, problems, limit);
    problems.raise_if_any(path.string());
    return read;
  }

  [[nodiscard]] LlamaShape shape(bool& tied) const {
    Problems problems;
    LlamaShape s;
    s.set_positions(huggingface::parse(config_));
    s.architecture = s.positions.model_type;
    // (A path may end with a separator.)
    s.name = (folder_.has_filename() ? folder_ : folder_.parent_path()).filename().string();
    const bool smol = s.architecture == "smollm3";
    const bool known = smol || s.architecture == "llama" || s.architecture == "mistral" ||
                       s.architecture == "qwen2" || s.architecture == "qwen3";
    problems.require(known, "model_type must be llama, mistral, qwen2, qwen3 or smollm3, got ",
                     s.architecture, ".");
    problems.raise_if_any("evaluate");
    const huggingface::Fields<nlohmann::json> fields(config_, "", problems);
    constexpr Index most = Index{1} << 24;
    const auto count = [&](const char* key) {
      const auto value = fields.integer(key, 1, most);
      problems.require(value || fields.is_bad(key), key, " is missing.");
      return value.value_or(1);
    };
    s.width = count("hidden_size");
    s.mlp = count("intermediate_size");
    s.vocabulary = count("vocab_size");
    s.epsilon = fields.number("rms_norm_eps", 0, 1).value_or(1e-6);
    tied = fields.boolean("tie_word_embeddings").value_or(smol);
    const std::string activation = fields.text("hidden_act").value_or("silu");
    problems.require(activation == "silu", "hidden_act must be silu, got ",
                     file::shorten(activation), ".");
    problems.raise_if_any("evaluate");
    return s;
  }

  std::filesystem::path folder_;
  nlohmann::json config_;
  safetensors::Model weights_;
};

/// A folder, or a GGUF file. Throws posenc::Error.
inline LanguageModel read_model(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    if (path.extension() == ".safetensors")
      throw posenc::Error("evaluate",
                          {path.string() + " is one file of a model: give its folder, which has "
                                           "config.json and tokenizer.json, too."});
    return read_gguf(path);
  }
  FolderReader reader(path);
  Llama llama = reader.llama();
  ReadTokenizer read = reader.tokenizer();
  if (read.tokenizer.size() > static_cast<std::size_t>(llama.shape.vocabulary))
    throw posenc::Error("evaluate", {"tokenizer.json has " + std::to_string(read.tokenizer.size()) +
                                     " tokens, and vocab_size is " +
                                     std::to_string(llama.shape.vocabulary) + "."});
  return {std::move(llama), std::move(read.tokenizer), read.first_token};
}

}  // namespace evaluate
