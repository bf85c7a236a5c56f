// SPDX-License-Identifier: MIT
//
// A decoder of the Llama family, read token by token at any length with any encoding:
//
//   x += o attention(q norm(x), k norm(x), v norm(x)),  x += down (silu(gate norm(x)) * up norm(x))
//   logits = output norm(x)
//
// norm(x) = x / sqrt(mean(x^2) + epsilon) * weight. Qwen2 adds biases to q, k and v; Qwen3 norms
// each head of q and k.
#pragma once

#include <posenc/config/model.hpp>
#include <posenc/posenc.hpp>
#include <posenc/schedule/layer_schedule.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace evaluate {

using namespace posenc;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Row = Eigen::RowVectorXf;

struct LlamaShape {
  std::string architecture{}, name{};
  Index layers = 0, heads = 0, kv_heads = 0, head_dim = 0, width = 0, mlp = 0, vocabulary = 0;
  double epsilon = 1e-5;
  config::Model positions{};  ///< the encoding of each kind of layer, as its file says

  /// Takes over what a configuration says of layers and heads. Throws Error where layers differ in
  /// their heads.
  void set_positions(config::Model model) {
    Problems problems;
    problems.require(model.num_layers > 0, "the model does not say how many layers it has.");
    for (const config::LayerKind& kind : model.layers) {
      const config::LayerKind& first = model.layers.front();
      problems.require(kind.attends && kind.num_heads == first.num_heads &&
                           kind.num_kv_heads == first.num_kv_heads &&
                           kind.head_dim == first.head_dim,
                       "all layers must attend, with the same heads.");
      heads = kind.num_heads, kv_heads = kind.num_kv_heads, head_dim = kind.head_dim;
    }
    problems.require(model.max_position_embeddings > 0,
                     "the model does not say for what length it was trained.");
    problems.require(heads > 0 && kv_heads > 0, "the model does not say how many heads it has.");
    problems.raise_if_any("evaluate");
    layers = model.num_layers;
    positions = std::move(model);
  }
  /// Tokens of context.
  [[nodiscard]] Position trained() const { return positions.max_position_embeddings; }
};

/// Matrices are [outputs][inputs].
struct LlamaLayer {
  Row attention_norm, mlp_norm, q_norm, k_norm;  ///< the last two may be empty
  Matrix q, k, v, o, gate, up, down;
  Row q_bias, k_bias, v_bias;  ///< may be empty
};

struct Llama {
  LlamaShape shape;
  Matrix embedding, output;  ///< output is empty where it is the embedding
  Row last_norm;
  std::vector<LlamaLayer> layers;
};

inline void norm_rows(Eigen::Ref<Matrix> x, const Row& weight, double epsilon) {
  for (Index i = 0; i < x.rows(); ++i) {
    const float inverse = 1 / std::sqrt(x.row(i).squaredNorm() / static_cast<float>(x.cols()) +
                                        static_cast<float>(epsilon));
    x.row(i).array() *= inverse * weight.array();
  }
}

/// Attention of a layer over a whole sequence: layer, q, k, v, out.
using Attend = std::function<void(Index, TensorView<const float>, TensorView<const float>,
                                  TensorView<const float>, TensorView<float>)>;

/// x of the last layer, normed, for every token of one sequence.
inline Matrix last_states(const Llama& model, std::span<const std::int32_t> tokens,
                          const Attend& attend) {
  const LlamaShape& s = model.shape;
  const Index n = std::ssize(tokens), q_width = s.heads * s.head_dim;
  Matrix x(n, s.width), h, q, k, v, attended(n, q_width);
  for (Index i = 0; i < n; ++i) x.row(i) = model.embedding.row(tokens[static_cast<std::size_t>(i)]);
  const auto heads = [&](Matrix& m, Index count) {
    return TensorView<float>(m.data(), n, count, s.head_dim);
  };
  const auto norm_heads = [&](Matrix& m, const Row& weight) {
    if (weight.size() > 0)
      norm_rows(Eigen::Map<Matrix>(m.data(), m.size() / s.head_dim, s.head_dim), weight, s.epsilon);
  };
  for (Index l = 0; l < s.layers; ++l) {
    const LlamaLayer& at = model.layers[static_cast<std::size_t>(l)];
    h = x;
    norm_rows(h, at.attention_norm, s.epsilon);
    q.noalias() = h * at.q.transpose();
    k.noalias() = h * at.k.transpose();
    v.noalias() = h * at.v.transpose();
    if (at.q_bias.size() > 0)
      q.rowwise() += at.q_bias, k.rowwise() += at.k_bias, v.rowwise() += at.v_bias;
    norm_heads(q, at.q_norm);
    norm_heads(k, at.k_norm);
    attend(l, heads(q, s.heads), heads(k, s.kv_heads), heads(v, s.kv_heads),
           heads(attended, s.heads));
    x.noalias() += attended * at.o.transpose();
    constexpr Index block = 1024;  // tokens whose MLP is in memory at a time
    for (Index first = 0; first < n; first += block) {
      auto rows = x.middleRows(first, std::min(block, n - first));
      h = rows;
      norm_rows(h, at.mlp_norm, s.epsilon);
      Matrix gate = h * at.gate.transpose();
      const Matrix up = h * at.up.transpose();
      gate.array() = gate.array() / (1 + (-gate.array()).exp()) * up.array();
      rows.noalias() += gate * at.down.transpose();
    }
  }
  norm_rows(x, model.last_norm, s.epsilon);
  return x;
}

/// The same, where each token reads all that the encoding of a layer shows.
inline Matrix last_states(const Llama& model, std::span<const std::int32_t> tokens,
                          const BoundLayers& encodings, const AnyExecutor& executor) {
  return last_states(model, tokens, [&](Index layer, auto q, auto k, auto v, auto out) {
    attention(q, k, v, out, encodings[layer], {.executor = executor});
  });
}

/// logits of some states, [states][vocabulary].
inline Matrix logits_of(const Llama& model, const Eigen::Ref<const Matrix>& states) {
  const Matrix& output = model.output.size() > 0 ? model.output : model.embedding;
  return states * output.transpose();
}

}  // namespace evaluate
