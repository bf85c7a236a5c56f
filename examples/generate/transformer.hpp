// SPDX-License-Identifier: MIT
//
// A small decoder: for each layer x += attention(norm(x)) and x += mlp(norm(x)), then the logits of
// every token.
//
//   norm(x)  = x / sqrt(mean(x^2) + 1e-6) * weight                     RMSNorm, arXiv 1910.07467
//   mlp(x)   = down (silu(gate x) * up x), silu(x) = x / (1 + e^-x)    SwiGLU, arXiv 2002.05202
//   logits   = embedding norm(x)                                       the weights of the input
//
// Attention is the caller's: generation has a cache, a check has not.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/view.hpp>

#include <Eigen/Core>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace generate {

using posenc::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct ModelShape {
  Index layers = 4, heads = 8, kv_heads = 2, head_dim = 32;
  Index hidden = 256, mlp = 512, vocabulary = 256;

  [[nodiscard]] Index num_weights() const {
    const Index projections = (2 * heads + 2 * kv_heads) * head_dim;
    return vocabulary * hidden + layers * hidden * (2 + projections + 3 * mlp) + hidden;
  }
  void check(posenc::Problems& problems) const {
    const auto within = [&](const char* option, Index value, Index most) {
      problems.require(value >= 1 && value <= most, option, " must lie between 1 and ", most,
                       ", got ", value, ".");
    };
    within("--layers", layers, 1 << 10);
    within("--heads", heads, 1 << 10);
    within("--kv-heads", kv_heads, 1 << 10);
    within("--head-dim", head_dim, 1 << 10);
    within("--hidden", hidden, 1 << 14);
    within("--mlp", mlp, 1 << 16);
    within("--vocabulary", vocabulary, 1 << 20);
    if (!problems.empty()) return;
    problems.require(num_weights() <= Index{1} << 30, "this model would have ", num_weights(),
                     " weights; at most 2^30 are possible here.");
  }
};

class Transformer {
 public:
  /// Normal weights of variance 1 / inputs.
  Transformer(const ModelShape& shape, unsigned seed) : Transformer(shape) {
    std::mt19937 random(seed);
    for_each_weight([&](Matrix& weight) {
      if (weight.rows() == 1) return;  // of a norm
      std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(weight.cols())));
      for (float& x : weight.reshaped<Eigen::RowMajor>()) x = normal(random);
    });
  }

  /// Weights from a file of floats as this machine stores them and nothing else, in this order,
  /// each matrix [outputs][inputs]:
  ///
  ///   embedding [vocabulary][hidden]
  ///   for each layer:  attention norm [hidden], query [heads head_dim][hidden],
  ///                    key [kv_heads head_dim][hidden], value [kv_heads head_dim][hidden],
  ///                    output [hidden][heads head_dim],
  ///                    mlp norm [hidden], gate [mlp][hidden], up [mlp][hidden], down [hidden][mlp]
  ///   last norm [hidden]
  ///
  /// Throws posenc::Error when the file cannot be read or has another size.
  Transformer(const ModelShape& shape, const std::filesystem::path& path) : Transformer(shape) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const auto bytes = file ? static_cast<Index>(file.tellg()) : 0;
    const Index expected = shape.num_weights() * Index{sizeof(float)};
    posenc::Problems problems;
    if (!file)
      problems.add("the file of weights ", path.string(), " cannot be read.");
    else
      problems.require(bytes == expected, "weights of this shape are ", shape.num_weights(),
                       " floats, ", expected, " bytes, but ", path.string(), " has ", bytes, ".");
    problems.raise_if_any("generate");
    file.seekg(0);
    for_each_weight([&](Matrix& weight) {
      file.read(reinterpret_cast<char*>(weight.data()),
                static_cast<std::streamsize>(weight.size()) * std::streamsize{sizeof(float)});
    });
    problems.require(static_cast<bool>(file), "the file of weights ", path.string(),
                     " could not be read to its end.");
    problems.raise_if_any("generate");
  }

  [[nodiscard]] const ModelShape& shape() const { return shape_; }

  /// Logits of some consecutive tokens, [tokens][vocabulary]. attend(layer, q, k, v, out) is asked
  /// for their attention, q and out [tokens, heads, head_dim].
  template <class Attend>
  [[nodiscard]] Matrix logits(std::span<const Index> ids, const Attend& attend) const {
    Matrix x(std::ssize(ids), shape_.hidden);
    for (Index t = 0; t < x.rows(); ++t)
      x.row(t) = embedding_.row(ids[static_cast<std::size_t>(t)]);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const Layer& layer = layers_[l];
      const Matrix in = normed(x, layer.attention_norm);
      Matrix q = in * layer.query.transpose(), k = in * layer.key.transpose(),
             v = in * layer.value.transpose(), out(q.rows(), q.cols());
      attend(l, heads(q, shape_.heads), heads(k, shape_.kv_heads), heads(v, shape_.kv_heads),
             heads(out, shape_.heads));
      x += out * layer.output.transpose();
      const Matrix between = normed(x, layer.mlp_norm);
      const Matrix gate = between * layer.gate.transpose();
      const Matrix up = between * layer.up.transpose();
      const Matrix activated = gate.array() / (1 + (-gate.array()).exp()) * up.array();
      x += activated * layer.down.transpose();
    }
    return normed(x, last_norm_) * embedding_.transpose();
  }

 private:
  struct Layer {
    Matrix attention_norm, query, key, value, output, mlp_norm, gate, up, down;
  };

  explicit Transformer(const ModelShape& shape)
      : shape_(shape), embedding_(shape.vocabulary, shape.hidden),
        layers_(static_cast<std::size_t>(shape.layers)), last_norm_(Matrix::Ones(1, shape.hidden)) {
    const Index all = shape.heads * shape.head_dim, kept = shape.kv_heads * shape.head_dim;
    for (Layer& layer : layers_) {
      layer.attention_norm = layer.mlp_norm = last_norm_;
      layer.query.resize(all, shape.hidden);
      layer.key.resize(kept, shape.hidden);
      layer.value.resize(kept, shape.hidden);
      layer.output.resize(shape.hidden, all);
      layer.gate.resize(shape.mlp, shape.hidden);
      layer.up.resize(shape.mlp, shape.hidden);
      layer.down.resize(shape.hidden, shape.mlp);
    }
  }

  /// In the order of the file.
  template <class F>
  void for_each_weight(const F& f) {
    f(embedding_);
    for (Layer& l : layers_)
      for (Matrix* weight : {&l.attention_norm, &l.query, &l.key, &l.value, &l.output, &l.mlp_norm,
                             &l.gate, &l.up, &l.down})
        f(*weight);
    f(last_norm_);
  }

  static Matrix normed(const Matrix& x, const Matrix& weight) {
    Matrix y = x;
    for (Index t = 0; t < y.rows(); ++t)
      y.row(t) = y.row(t).cwiseProduct(weight.row(0)) /
                 std::sqrt(x.row(t).squaredNorm() / static_cast<float>(x.cols()) + 1e-6F);
    return y;
  }

  [[nodiscard]] posenc::TensorView<float> heads(Matrix& x, Index count) const {
    return {x.data(), x.rows(), count, shape_.head_dim};
  }

  ModelShape shape_;
  Matrix embedding_;
  std::vector<Layer> layers_;
  Matrix last_norm_;
};

}  // namespace generate
