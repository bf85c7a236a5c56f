// SPDX-License-Identifier: MIT
//
// The models of tests/golden/llama.json: two layers of the Llama family, whose weights are sines.
#pragma once

#include "../../examples/evaluate/llama.hpp"

namespace small_model {

using namespace posenc;
using evaluate::Matrix, evaluate::Row;

constexpr Index width = 16, layers = 2, heads = 4, kv_heads = 2, head_dim = 8, mlp = 24,
                vocabulary = 20;

/// Weight i of matrix or vector k.
inline float weight(int k, Index i, bool norm) {
  return static_cast<float>(0.2 * std::sin(0.37 * static_cast<double>(i) + k) + (norm ? 1 : 0));
}
inline Matrix matrix(int& k, Index rows, Index columns) {
  Matrix m(rows, columns);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = weight(k, i, false);
  ++k;
  return m;
}
inline Row row(int& k, Index columns, bool norm) {
  Row r(columns);
  for (Index i = 0; i < columns; ++i) r[i] = weight(k, i, norm);
  ++k;
  return r;
}

inline evaluate::Llama golden_model(const std::string& type) {
  evaluate::Llama model;
  model.shape = {.architecture = type,
                 .layers = layers,
                 .heads = heads,
                 .kv_heads = kv_heads,
                 .head_dim = head_dim,
                 .width = width,
                 .mlp = mlp,
                 .vocabulary = vocabulary};
  config::LayerKind kind;
  kind.name = "full_attention";
  kind.layers = {0, 1};
  kind.num_heads = heads, kind.num_kv_heads = kv_heads, kind.head_dim = head_dim;
  kind.rotary.emplace();
  kind.rotary->head_dim = kind.rotary->rotary_dim = head_dim;
  kind.rotary->type = "default";
  model.shape.positions = {
      .model_type = type, .max_position_embeddings = 64, .layers = {kind}, .num_layers = layers};
  int k = 0;
  model.embedding = matrix(k, vocabulary, width);
  model.last_norm = row(k, width, true);
  for (Index l = 0; l < layers; ++l) {
    evaluate::LlamaLayer layer;
    layer.attention_norm = row(k, width, true);
    layer.mlp_norm = row(k, width, true);
    layer.q = matrix(k, heads * head_dim, width);
    layer.k = matrix(k, kv_heads * head_dim, width);
    layer.v = matrix(k, kv_heads * head_dim, width);
    layer.o = matrix(k, width, heads * head_dim);
    layer.gate = matrix(k, mlp, width);
    layer.up = matrix(k, mlp, width);
    layer.down = matrix(k, width, mlp);
    if (type == "qwen2") {
      layer.q_bias = row(k, heads * head_dim, false);
      layer.k_bias = row(k, kv_heads * head_dim, false);
      layer.v_bias = row(k, kv_heads * head_dim, false);
    }
    if (type == "qwen3") {
      layer.q_norm = row(k, head_dim, true);
      layer.k_norm = row(k, head_dim, true);
    }
    model.layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace small_model
