// SPDX-License-Identifier: MIT
//
// Results: what a run has found so far, kept as JSON in its folder, from which it goes on.
//
//   runs:     trained with a scheme and a seed, tested at every length
//   readings: the RoPE model of a seed, read in other ways without training
//   selections: models read with chosen keys
//   steps:    the same, trained on at the longer length
//   stages:   RoPE models trained by schedules of length, and with the longer length throughout
#pragma once

#include "../support/kept_results.hpp"
#include "setting.hpp"

#include <stdexcept>

namespace lab_example {

/// Bits over length of one way to train or read.
struct Line {
  std::string name;
  std::uint64_t seed = 0;
  Index steps = 0;  ///< at the longer length; of a schedule, all that the model had; else 0
  lab::Curves curves{};
};

/// What a training of a schedule is called: its file, its seconds per step.
inline std::string schedule_run(const std::string& name, std::uint64_t seed, Index steps) {
  return name + " " + std::to_string(seed) + ", " + std::to_string(steps) + " steps in all";
}

inline Json as_json(const Line& line) {
  Json json{{"name", line.name}, {"seed", line.seed}, {"steps", line.steps}};
  for (const lab::Curve& c : line.curves.text)
    json["text"].push_back({{"length", c.length},
                            {"windows", c.windows},
                            {"bits", c.bits},
                            {"last_bits", c.last_bits},
                            {"keys_share", c.keys_share},
                            {"by_position", c.by_position}});
  for (const lab::RepeatedCurve& c : line.curves.repeated)
    json["repeated"].push_back({{"length", c.length},
                                {"windows", c.windows},
                                {"first_bits", c.first_bits},
                                {"second_bits", c.second_bits}});
  return json;
}
inline Line line_of(const Json& json) {
  Line line{json.at("name"), json.at("seed"), json.at("steps")};
  for (const Json& c : json.at("text")) {
    lab::Curve curve{c.at("length"), c.at("windows"), real_of(c.at("bits")),
                     real_of(c.at("last_bits"))};
    if (c.contains("keys_share")) curve.keys_share = c.at("keys_share");
    for (const Json& bits : c.at("by_position")) curve.by_position.push_back(real_of(bits));
    line.curves.text.push_back(std::move(curve));
  }
  if (line.curves.text.empty()) throw std::invalid_argument("a result without a length");
  if (json.contains("repeated"))
    for (const Json& c : json.at("repeated"))
      line.curves.repeated.push_back({c.at("length"), c.at("windows"), real_of(c.at("first_bits")),
                                      real_of(c.at("second_bits"))});
  return line;
}

class Results {
 public:
  /// Those of the folder, or none. Throws posenc::Error where they are of another setting.
  explicit Results(const Setting& setting) : kept_("lab", setting.out, setting.as_json()) {
    kept_.load([&](const Json& json) {
      for (const auto& [list, lines] : {std::pair{"runs", &runs},
                                        {"readings", &readings},
                                        {"selections", &selections},
                                        {"steps", &steps},
                                        {"stages", &stages}})
        if (json.contains(list))
          for (const Json& line : json[list]) lines->push_back(line_of(line));
      if (json.contains("seconds_per_step")) seconds_per_step = json["seconds_per_step"];
    });
  }

  std::vector<Line> runs, readings, selections, steps, stages;
  Json seconds_per_step = Json::object();  ///< of each scheme's training

  [[nodiscard]] static const Line* find(const std::vector<Line>& lines, const std::string& name,
                                        std::uint64_t seed, Index after = 0) {
    for (const Line& line : lines)
      if (line.name == name && line.seed == seed && line.steps == after) return &line;
    return nullptr;
  }

  void save() const {
    Json json{{"seconds_per_step", seconds_per_step}};
    for (const auto& [list, lines] : {std::pair{"runs", &runs},
                                      {"readings", &readings},
                                      {"selections", &selections},
                                      {"steps", &steps},
                                      {"stages", &stages}})
      for (const Line& line : *lines) json[list].push_back(as_json(line));
    kept_.save(json);
  }

  [[nodiscard]] std::filesystem::path path() const { return kept_.path(); }
  [[nodiscard]] const Json& setting() const { return kept_.setting(); }

 private:
  example::KeptResults kept_;
};

}  // namespace lab_example
