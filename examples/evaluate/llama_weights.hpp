// SPDX-License-Identifier: MIT
//
// The weights of a Llama from any kind of file: what each tensor is called there, and what is
// missing or wrong.
#pragma once

#include "llama.hpp"

#include <functional>
#include <set>

namespace evaluate {

/// Names of tensors, without ".weight" and ".bias"; those of a layer stand behind `layer` and its number.
struct WeightNames {
  std::string embedding, output, last_norm, layer;
  std::string attention_norm, mlp_norm, q_norm, k_norm, q, k, v, o, gate, up, down;
};

/// The tensors of a file. Functions, so that a kind of file is a value.
struct WeightSource {
  struct Shape {
    Index rows = 0, columns = 0;
  };
  std::vector<std::string> tensors{};  ///< names of all
  std::function<std::optional<Shape>(const std::string& name)> find;
  std::function<void(const std::string& name, std::span<float> out)> read;  ///< all rows
  std::function<bool(const std::string& name)>
      is_spare;  ///< not a weight, or one of another tensor's
};

/// Collects what is missing or wrong.
class LlamaWeights {
 public:
  LlamaWeights(const WeightSource& source, const WeightNames& names)
      : source_(source), names_(names) {}

  /// Fills a model whose shape is known. Where `tied`, the output is the embedding. Throws
  /// posenc::Error with every problem.
  void read(Llama& model, std::optional<bool> tied) {
    const LlamaShape& s = model.shape;
    const Index q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    model.embedding = matrix(names_.embedding, s.vocabulary, s.width);
    const bool has_output = source_.find(names_.output + ".weight").has_value();
    if (tied ? !*tied : has_output) model.output = matrix(names_.output, s.vocabulary, s.width);
    if (tied && *tied) used_.insert(names_.output + ".weight");
    model.last_norm = row(names_.last_norm + ".weight", s.width);
    for (Index l = 0; l < s.layers && problems_.empty(); ++l) {
      const std::string at = names_.layer + std::to_string(l) + ".";
      LlamaLayer layer;
      layer.attention_norm = row(at + names_.attention_norm + ".weight", s.width);
      layer.mlp_norm = row(at + names_.mlp_norm + ".weight", s.width);
      layer.q_norm = row(at + names_.q_norm + ".weight", s.head_dim, true);
      layer.k_norm = row(at + names_.k_norm + ".weight", s.head_dim, true);
      layer.q = matrix(at + names_.q, q, s.width);
      layer.k = matrix(at + names_.k, kv, s.width);
      layer.v = matrix(at + names_.v, kv, s.width);
      layer.o = matrix(at + names_.o, s.width, q);
      layer.q_bias = row(at + names_.q + ".bias", q, true);
      layer.k_bias = row(at + names_.k + ".bias", kv, true);
      layer.v_bias = row(at + names_.v + ".bias", kv, true);
      const Index biases =
          (layer.q_bias.size() > 0) + (layer.k_bias.size() > 0) + (layer.v_bias.size() > 0);
      problems_.require(biases == 0 || biases == 3, "layer ", l,
                        " has biases for some of q, k and v only.");
      problems_.require((layer.q_norm.size() > 0) == (layer.k_norm.size() > 0), "layer ", l,
                        " has a norm for one of q and k only.");
      layer.gate = matrix(at + names_.gate, s.mlp, s.width);
      layer.up = matrix(at + names_.up, s.mlp, s.width);
      layer.down = matrix(at + names_.down, s.width, s.mlp);
      model.layers.push_back(std::move(layer));
    }
    for (const std::string& tensor : source_.tensors)
      problems_.require(!problems_.empty() || used_.contains(tensor) || source_.is_spare(tensor),
                        "the tensor ", tensor.substr(0, 60),
                        " is not read: the model is another one than its architecture says.");
    problems_.raise_if_any("evaluate");
  }

 private:
  [[nodiscard]] Matrix matrix(const std::string& name, Index rows, Index columns) {
    Matrix m;
    if (find(name + ".weight", rows, columns)) {
      m.resize(rows, columns);
      source_.read(name + ".weight", {m.data(), static_cast<std::size_t>(m.size())});
    }
    return m;
  }
  [[nodiscard]] Row row(const std::string& name, Index columns, bool optional = false) {
    Row r;
    if (optional && !source_.find(name)) return r;
    if (find(name, 1, columns)) {
      r.resize(columns);
      source_.read(name, {r.data(), static_cast<std::size_t>(r.size())});
    }
    return r;
  }
  [[nodiscard]] bool find(const std::string& name, Index rows, Index columns) {
    used_.insert(name);
    const std::optional<WeightSource::Shape> shape = source_.find(name);
    problems_.require(shape.has_value(), "the tensor ", name, " is missing.");
    if (!shape) return false;
    const bool fits = shape->rows == rows && shape->columns == columns;
    problems_.require(fits, "the tensor ", name, " must be ", rows, " rows of ", columns, ", got ",
                      shape->rows, " of ", shape->columns, ".");
    return fits;
  }

  const WeightSource& source_;
  const WeightNames& names_;
  std::set<std::string> used_{};
  Problems problems_;
};

}  // namespace evaluate
