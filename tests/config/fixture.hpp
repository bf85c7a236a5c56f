// SPDX-License-Identifier: MIT
//
// Small configurations to vary, and what the reader says of them.
#pragma once

#include <posenc/config/huggingface.hpp>

#include "../support/catch.hpp"

#include <string>

using nlohmann::json;
using posenc::huggingface::LayerKind;
using posenc::huggingface::Model;
using posenc::huggingface::Options;

// The reader is compiled once, in reader.cpp.
extern template class posenc::huggingface::ModelReader<json>;

/// A Llama with heads of 64 channels and what `more` adds, replaces or, by null, leaves empty.
inline json llama(const json& more = json::object()) {
  json config = {{"model_type", "llama"},    {"hidden_size", 512},
                 {"num_attention_heads", 8}, {"num_key_value_heads", 2},
                 {"num_hidden_layers", 4},   {"max_position_embeddings", 4096},
                 {"rope_theta", 10000.0}};
  config.update(more);
  return config;
}

inline Model shipped(const std::string& name) {
  return posenc::huggingface::read(std::string(POSENC_MODELS_DIR) + "/" + name + ".json");
}

inline const LayerKind& kind(const Model& model, const std::string& name) {
  for (const LayerKind& layer : model.layers)
    if (layer.name == name) return layer;
  FAIL("no " << name << " in " << model.model_type);
  throw 0;
}

inline const posenc::config::Rotation& rotation(const Model& model,
                                                const std::string& name = "full_attention") {
  const LayerKind& layer = kind(model, name);
  REQUIRE(layer.rotary.has_value());
  return *layer.rotary;
}

/// Everything that is wrong with a configuration, a line each; empty when nothing is.
inline std::string wrong_with(const json& config, const Options& options = {}) {
  try {
    (void)posenc::huggingface::parse(config, options);
  } catch (const posenc::Error& error) {
    std::string all;
    for (const std::string& problem : error.problems()) all += problem + "\n";
    return all;
  }
  return "";
}

inline std::string notes_of(const Model& model, const std::string& name = "full_attention") {
  std::string all;
  for (const std::string& note : kind(model, name).notes) all += note + "\n";
  for (const std::string& note : model.notes) all += note + "\n";
  return all;
}
