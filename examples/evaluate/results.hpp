// SPDX-License-Identifier: MIT
//
// Results: what was measured so far, of each scheme at each length, from which an interrupted run goes on.
#pragma once

#include "../support/kept_results.hpp"
#include "measure.hpp"

namespace evaluate {

using example::Json;

/// One scheme at one length.
struct Line {
  std::string scheme, parameters;
  Measured measured{};
  std::optional<int> keys_found{};  ///< of five depths
};

/// Of the weights: every vector, and the first row of every matrix.
inline std::uint64_t hash_of(const Llama& model) {
  std::uint64_t hash = example::hash_of(std::string_view(model.shape.architecture));
  const auto add = [&](const float* numbers, Index count) {
    hash = example::hash_of(std::span(reinterpret_cast<const char*>(numbers),
                                      static_cast<std::size_t>(count) * sizeof(float)),
                            hash);
  };
  const auto add_matrix = [&](const Matrix& m) { add(m.data(), std::min(m.size(), m.cols())); };
  const auto add_row = [&](const Row& r) { add(r.data(), r.size()); };
  add_matrix(model.embedding), add_matrix(model.output), add_row(model.last_norm);
  for (const LlamaLayer& at : model.layers) {
    for (const Matrix* m : {&at.q, &at.k, &at.v, &at.o, &at.gate, &at.up, &at.down}) add_matrix(*m);
    for (const Row* r : {&at.attention_norm, &at.mlp_norm, &at.q_norm, &at.k_norm, &at.q_bias,
                         &at.k_bias, &at.v_bias})
      add_row(*r);
  }
  return hash;
}

/// Of the bytes of numbers, one range after another.
template <class Number>
[[nodiscard]] std::uint64_t hash_of_bytes(
    std::span<const Number> numbers, std::uint64_t hash = example::hash_of(std::string_view())) {
  return example::hash_of(
      std::span(reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()), hash);
}

/// Of the frequencies and factors with which each kind of layer rotates at a length, as the file says them.
inline std::uint64_t hash_of_rotations(const config::Model& model, Position length) {
  std::uint64_t hash = example::hash_of(std::string_view());
  for (const config::LayerKind& kind : model.layers) {
    if (!kind.rotary) continue;
    const RotaryState state = kind.rotary->state(length);
    const double factors[] = {state.attention_factor, state.score_factor};
    const std::span frequencies(state.inv_freq.data(),
                                static_cast<std::size_t>(state.inv_freq.size()));
    hash = hash_of_bytes<double>(factors, hash_of_bytes<double>(frequencies, hash));
  }
  return hash;
}

/// Everything that results depend on but the scheme and the length: results of one folder share it.
/// (Windows end at the last token of the longest one, so all lengths count.) `prompts`: of the pass key,
/// none where it is not asked for.
inline Json setting_of(const std::vector<Index>& lengths, const MeasureOptions& options,
                       const Llama& model, std::span<const std::int32_t> tokens,
                       std::optional<std::int32_t> first_token,
                       const std::vector<PassKeyPrompt>& prompts) {
  const LlamaShape& s = model.shape;
  Json rotations = Json::array();
  for (const Index length : lengths) rotations.push_back(hash_of_rotations(s.positions, length));
  std::uint64_t asked = example::hash_of(std::string_view());
  for (const PassKeyPrompt& prompt : prompts)
    asked = hash_of_bytes<std::int32_t>(prompt.tokens, asked);
  return {{"model", s.name},
          {"shape", {s.layers, s.heads, s.kv_heads, s.head_dim, s.width, s.mlp, s.vocabulary}},
          {"epsilon", s.epsilon},
          {"weights", hash_of(model)},
          {"positions", explain(s.positions)},
          {"rotations", rotations},
          {"tokens", hash_of_bytes(tokens)},
          {"first_token", first_token ? Json(*first_token) : Json()},
          {"lengths", lengths},
          {"last", options.last},
          {"stretch", options.stretch},
          {"sampled", options.sampled},
          {"passkey", prompts.empty() ? Json(false) : Json(asked)}};
}

class Results {
 public:
  /// Those of the folder, or none. Throws posenc::Error where they are of another setting.
  Results(const std::filesystem::path& folder, Json setting)
      : kept_("evaluate", folder, std::move(setting)) {
    kept_.load([&](const Json& json) {
      for (const Json& one : json.at("results")) {
        Line line{one.at("scheme"), one.at("parameters")};
        line.measured = {.length = one.at("length"), .last = example::real_of(one.at("nats"))};
        for (const Json& stretch : one.at("by_position"))
          line.measured.by_position.emplace_back(stretch.at(0), example::real_of(stretch.at(1)));
        line.measured.seconds = example::real_of(one.at("seconds"));
        if (one.contains("keys_read")) line.measured.keys_read = one.at("keys_read").get<double>();
        if (one.contains("pass_keys_of_5")) line.keys_found = one.at("pass_keys_of_5").get<int>();
        lines.push_back(std::move(line));
      }
    });
  }

  std::vector<Line> lines{};

  /// Null where this is still to be measured.
  [[nodiscard]] const Line* find(const std::string& scheme, const std::string& parameters,
                                 Index length) const {
    for (const Line& line : lines)
      if (line.scheme == scheme && line.parameters == parameters && line.measured.length == length)
        return &line;
    return nullptr;
  }

  void save() const {
    Json results = Json::array();
    for (const Line& line : lines) {
      const Measured& m = line.measured;
      results.push_back({{"scheme", line.scheme},
                         {"parameters", line.parameters},
                         {"length", m.length},
                         {"perplexity", m.perplexity()},
                         {"nats", m.last},
                         {"seconds", m.seconds},
                         {"by_position", m.by_position}});
      if (m.keys_read) results.back()["keys_read"] = *m.keys_read;
      if (line.keys_found) results.back()["pass_keys_of_5"] = *line.keys_found;
    }
    kept_.save({{"results", results}});
  }

 private:
  example::KeptResults kept_;
};

}  // namespace evaluate
