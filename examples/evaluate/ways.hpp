// SPDX-License-Identifier: MIT
//
// Ways to read: every scheme with all keys, and with those that each method chooses, where the two go together.
#pragma once

#include "setting.hpp"

namespace evaluate {

struct Way {
  std::string name, expression;
  const Choosing* choosing = nullptr;  ///< null: all keys
};

/// What is wrong is said before the work: throws posenc::Error for a scheme that cannot be read, and for a method that goes
/// with none. What a method does not go with is left out, and said in `left_out`.
inline std::vector<Way> ways_to_read(const LlamaShape& shape, const Setting& setting,
                                     std::vector<std::string>& left_out) {
  std::vector<Way> ways;
  for (const auto& [name, expression] : setting.schemes) {
    for (const Index length : setting.lengths)
      bind_layers(shape, read_with(shape, expression, length).layers);
    ways.push_back({name, expression});
  }
  for (const auto& [text, choosing] : setting.selects) {
    std::vector<std::string> sentences, schemes;
    const std::size_t before = ways.size();
    for (const auto& [name, expression] : setting.schemes) {
      try {
        for (const Index length : setting.lengths)
          SelectedLayers(shape, read_with(shape, expression, length).layers, choosing, length);
        ways.push_back({name + " with " + text, expression, &choosing});
      } catch (const posenc::Error& error) {
        sentences = error.problems(), schemes.push_back(name);
      }
    }
    if (ways.size() == before) throw posenc::Error("evaluate", sentences);
    if (schemes.empty()) continue;
    std::string all;
    for (const std::string& scheme : schemes) all += (all.empty() ? "" : ", ") + scheme;
    left_out.push_back(text + " is left out with " + all + ": " + sentences.front());
  }
  return ways;
}

}  // namespace evaluate
