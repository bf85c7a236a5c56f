// SPDX-License-Identifier: MIT
//
// tests/golden/configs.json: configurations of every class of transformers that has positions in
// attention, and what the code of its model does about them. Every one is read right, or refused
// with a sentence; none is read wrong.
#include "own_code.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

namespace golden_configs_cases {

using posenc::Index;
using posenc::Position;

/// [first, last, first, last, ...]
std::vector<Index> layers_of(const json& runs) {
  std::vector<Index> layers;
  for (std::size_t i = 0; i + 1 < runs.size(); i += 2)
    for (Index layer = runs[i]; layer <= runs[i + 1]; ++layer) layers.push_back(layer);
  return layers;
}

/// What differs between a kind of layers and the reference for one of its layers; "" if nothing.
std::string difference(const LayerKind& layer, const json& reference, const json& tables) {
  const auto differs = [](const char* what, const auto& here, const auto& there) {
    return std::string(what) + " " + json(here).dump() + ", not " + json(there).dump();
  };
  if (layer.num_heads != reference["heads"])
    return differs("heads", layer.num_heads, reference["heads"]);
  // Some codes repeat keys before attention.
  if (reference["kv_heads"] != layer.num_kv_heads && reference["kv_heads"] != layer.num_heads)
    return differs("key heads", layer.num_kv_heads, reference["kv_heads"]);
  if (layer.head_dim != reference["head_dim"])
    return differs("head_dim", layer.head_dim, reference["head_dim"]);
  const json past = layer.window == 0 ? json() : json(layer.window - 1);
  const json ahead = layer.ahead == LayerKind::everything ? json() : json(layer.ahead);
  if (layer.chunk == 0 && json{past, ahead} != reference["mask"])
    return differs("mask", json{past, ahead}, reference["mask"]);
  double scale = layer.score.score_scale(layer.head_dim);
  if (layer.rotary) scale *= layer.rotary->state().score_factor;
  if (const double there = reference["scale"].is_null() ? scale : reference["scale"].get<double>();
      std::abs(scale - there) > 1e-7 * there)
    return differs("scale", scale, there);
  const json rotation = reference.value("rotation", json());
  if (layer.rotary.has_value() != rotation.is_object())
    return layer.rotary ? "rotates here" : "rotates there";
  if (!layer.rotary) return "";
  const auto& rotary = *layer.rotary;
  const std::string layout =
      rotary.layout == posenc::huggingface::LayoutName::half_split ? "half_split" : "interleaved";
  if (!rotation["forward"] || (rotation["layout"] != layout && rotation["layout"] != "either"))
    return differs("layout", layout, rotation["layout"]);
  const auto state = rotary.state();
  const json& there = tables.at(rotation["frequencies"].get<std::size_t>());
  if (2 * state.inv_freq.size() < rotation["dim"] || state.pairs() != std::ssize(there))
    return differs("pairs", state.pairs(), there.size());
  for (Index i = 0; i < state.pairs(); ++i)
    if (const double value = there[static_cast<std::size_t>(i)];
        std::abs(state.inv_freq[i] - value) > 1e-6 * value)
      return differs("frequency", state.inv_freq[i], value) + " of pair " + std::to_string(i);
  if (const double factor = rotation["factor"];
      std::abs(state.attention_factor - factor) > 1e-12 * factor)
    return differs("attention factor", state.attention_factor, factor);
  return "";
}

std::string difference(const Model& model, const json& kinds, const json& tables) {
  std::map<Index, const LayerKind*> of_layer;
  for (const LayerKind& layer : model.layers)
    if (layer.attends)
      for (const Index i : layer.layers) of_layer[i] = &layer;
  std::set<Index> attending;
  for (const json& kind : kinds)
    for (const Index layer : layers_of(kind["layers"])) {
      attending.insert(layer);
      const auto found = of_layer.find(layer);
      if (found == of_layer.end())
        return "layer " + std::to_string(layer) + " does not attend here";
      if (const std::string what = difference(*found->second, kind, tables); !what.empty())
        return "layer " + std::to_string(layer) + ": " + what;
    }
  for (const auto& [layer, kind] : of_layer)
    if (!attending.contains(layer)) return "layer " + std::to_string(layer) + " attends here";
  return "";
}

/// "23 sliding_attention (window 512): default, half-split, 64 of 64; ..."
std::string summary(const Model& model) {
  std::string all;
  for (const LayerKind& layer : model.layers) {
    all += (all.empty() ? "" : "; ") +
           (layer.layers.empty() ? "" : std::to_string(layer.layers.size()) + " ") + layer.name;
    if (!layer.attends) continue;
    if (layer.window != 0) all += " (" + std::to_string(layer.window) + ")";
    if (!layer.is_causal()) all += ", both ways";
    if (layer.alibi) all += ", ALiBi";
    if (!layer.rotary) continue;
    all += ", " + layer.rotary->type + ", " + std::string(to_string(layer.rotary->layout)) + ", " +
           std::to_string(layer.rotary->rotary_dim) + " of " + std::to_string(layer.head_dim);
  }
  return all;
}

/// A row of docs/encodings/configuration_types.md.
std::string row(const json& test, const std::string& what, const std::string& how) {
  return "| " + test.at("type").get<std::string>() + " | " + what + " | " + how + " |\n";
}

/// The table of types whose code comes with their checkpoints, with its heading.
void list_own_code(std::ostream& out) {
  out << "\n## Code that comes with checkpoints\n\n"
         "What this code does was read and written down by hand; `tests/config/own_code.cpp` "
         "compares it with\n"
         "what the reader makes of each configuration: heads, layers, layout, frequencies, "
         "scale.\n\n"
         "| type | configuration | read | code that was read |\n| --- | --- | --- | --- |\n";
  for (const OwnCode& one : own_code()) {
    const std::string sentences = wrong_with(one.file);
    out << "| " << one.file.at("model_type").get<std::string>() << " | " << one.name << " | "
        << (sentences.empty() ? summary(posenc::huggingface::parse(one.file))
                              : "refused: " + sentences.substr(0, sentences.find('\n')))
        << " | " << one.code << " |\n";
  }
}

TEST_CASE("golden: configurations of every class are read as their code does, or refused") {
  std::ifstream stream(std::string(POSENC_GOLDEN_DIR) + "/configs.json");
  REQUIRE(stream);
  const json golden = json::parse(stream);
  int right = 0, unchecked = 0, refused = 0, wrong = 0, varied = 0, unknown = 0;
  const char* list = std::getenv("POSENC_LIST_CONFIGS");  // where to write the rows of the list
  std::set<std::string> rows;
  for (const json& test : golden.at("cases")) {
    const bool is_default = test.at("name") == "default";
    INFO(test.at("class").get<std::string>()
         << ", " << test.at("name").get<std::string>() << ": " << test.at("file").dump());
    const std::string sentences = wrong_with(test.at("file"));
    if (!sentences.empty()) {
      CHECK(sentences.size() < 2000);
      const bool is_unknown = sentences.find("in posenc's table") != std::string::npos ||
                              sentences.find("model_type is missing") != std::string::npos;
      refused += is_default && !is_unknown;
      unknown += is_default && is_unknown;
      if (is_default && !is_unknown)
        rows.insert(row(test, "refused", sentences.substr(0, sentences.find('\n'))));
      continue;
    }
    const Model model = posenc::huggingface::parse(test.at("file"));
    if (!test.contains("kinds")) {
      unchecked += is_default;
      if (is_default) rows.insert(row(test, summary(model), "by reading its code"));
      continue;
    }
    const std::string what = difference(model, test.at("kinds"), golden.at("frequencies"));
    CHECK(what == "");
    wrong += !what.empty();
    if (what.empty()) ++(is_default ? right : varied);
    if (is_default)
      rows.insert(row(test, summary(model), what.empty() ? "by running its code" : what));
  }
  if (list != nullptr) {
    std::ofstream out(list);
    out << right << " default configurations are read as the code of their models does, "
        << unchecked << " more are read, " << refused
        << " are refused with a sentence of their own, " << unknown
        << " are of types without a row in the table.\n\n| type | read | checked |\n| --- | --- | "
           "--- |\n";
    for (const std::string& line : rows) out << line;
    list_own_code(out);
  }
  INFO(right << " right, " << unchecked << " read and not checked, " << refused << " refused, "
             << unknown << " unknown, " << wrong << " wrong; " << varied << " variants right");
  CHECK(wrong == 0);
  CHECK(right >= 200);
  CHECK(right + unchecked >= 300);
  CHECK(varied >= 100);
}

}  // namespace golden_configs_cases
