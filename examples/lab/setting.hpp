// SPDX-License-Identifier: MIT
//
// What a run does: a preset and what the command line changes of it.
#pragma once

#include "../support/command_line.hpp"
#include "../support/gnuplot.hpp"
#include "../support/kept_results.hpp"
#include "schedules.hpp"
#include "selections.hpp"

#include <filesystem>
#include <iterator>
#include <optional>
#include <thread>

namespace lab_example {

using example::Json, example::real_of;

struct Setting {
  std::string preset = "quick";
  lab::ModelShape shape{};
  lab::TrainingOptions training{};
  lab::EvaluationOptions evaluation{};
  std::vector<Index> lengths{};
  std::vector<std::uint64_t> seeds{};
  std::vector<std::string> schemes{};
  std::vector<ReadSelector> selects{};   ///< methods by which every scheme is read, too
  std::vector<Index> extension_steps{};  ///< at 4 times the trained length; empty: no extension
  bool schedules_too = false;        ///< trains by schedules of length; a folder may get them later
  std::vector<std::string> texts{};  ///< files; empty: generated
  std::uint64_t text_hash = 0;       ///< of their bytes
  std::string out = "build/lab";
  int threads = 0;

  [[nodiscard]] Index extended_length() const { return 4 * training.length; }
  /// Those of the RoPE model, which have as many steps beyond its own as the longest extension.
  [[nodiscard]] std::vector<NamedSchedule> schedules() const {
    return lab_example::schedules(training.length, training.sequences * training.length,
                                  training.steps, extension_steps.back());
  }
  [[nodiscard]] std::vector<Index> lengths_of_schedules() const {
    return {extended_length(), 2 * extended_length()};
  }

  /// Everything that results depend on: results of one folder share it.
  [[nodiscard]] Json as_json() const {
    const lab::OptimizerOptions& o = training.optimizer;
    return {{"preset", preset},
            {"model",
             {{"layers", shape.layers},
              {"heads", shape.heads},
              {"head_dim", shape.head_dim},
              {"mlp_ratio", shape.mlp_ratio},
              {"weights", shape.num_weights()}}},
            {"training",
             {{"steps", training.steps},
              {"length", training.length},
              {"sequences", training.sequences},
              {"rate", o.rate},
              {"learned_rate", o.learned_rate},
              {"betas", {o.beta1, o.beta2}},
              {"decay", o.decay},
              {"clip", o.clip},
              {"warm_up", o.warm_up},
              {"at_end", o.at_end}}},
            {"evaluation",
             {{"bytes", evaluation.bytes},
              {"last", evaluation.last},
              {"bin", evaluation.bin},
              {"lengths", lengths}}},
            {"extension_steps", extension_steps},
            {"schedules", schedules_as_json()},
            {"texts", texts.empty() ? std::vector<std::string>{"generated"} : texts},
            {"text_hash", text_hash}};
  }

 private:
  [[nodiscard]] Json schedules_as_json() const {
    Json all = Json::array();
    if (extension_steps.empty()) return all;
    for (const NamedSchedule& s : schedules()) {
      Json stages = Json::array();
      for (const ContextStage& stage : s.schedule.stages)
        stages.push_back({{"length", stage.length},
                          {"from", stage.from},
                          {"base", stage.base},
                          {"tokens", stage.tokens},
                          {"full_share", stage.full_share}});
      all.push_back({{"name", s.name},
                     {"what", s.what},
                     {"from_trained", s.from_trained},
                     {"steps", s.steps},
                     {"stages", stages}});
    }
    return all;
  }
};

/// Seconds, minutes, half an hour on two cores.
inline Setting preset(const std::string& name) {
  Setting s;
  s.preset = name;
  if (name == "smoke") {
    s.shape = {.layers = 2, .heads = 4, .head_dim = 16};
    s.training = {
        .steps = 100, .length = 64, .sequences = 16, .optimizer = {.rate = 4e-3, .warm_up = 10}};
    s.evaluation = {.bytes = 4096, .last = 32, .bin = 16};
    s.lengths = {64, 128, 256};
    s.schemes = {"ALiBi", "RoPE"};
    s.extension_steps = {2, 4};
    s.schedules_too = true;
    s.seeds = {1};
  } else if (name == "quick") {
    s.lengths = {128, 256, 512, 1024};
    s.schemes = {"ALiBi", "T5", "RoPE", "Sinusoidal", "NoPE"};
    s.extension_steps = {10, 40, 160};
    s.seeds = {1};
  } else if (name == "full") {
    s.lengths = {128, 256, 512, 1024, 2048};
    s.schemes = {"ALiBi", "T5", "RoPE", "HWFA", "Sinusoidal", "NoPE"};
    s.extension_steps = {10, 40, 160};
    s.schedules_too = true;
    s.seeds = {1, 2, 3};
  } else {
    throw posenc::Error("lab", {"--preset must be smoke, quick or full, got '" + name + "'."});
  }
  return s;
}

inline std::optional<Setting> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Trains a small transformer on short texts with one encoding after another, and tests it on "
      "long ones:\nbits per byte over length. Then the one with RoPE is read, and trained on, with "
      "the schemes that extend it."};
  app.name("lab");
  app.get_formatter()->column_width(26);
  std::string name = "quick", out, schemes, known;
  std::vector<std::string> texts, selects;
  std::optional<Index> steps, seeds;
  int threads = 0;
  bool schedules_too = false;
  for (const NamedScheme& scheme : named_schemes())
    known += std::string("\n  ") + scheme.name + ": " + scheme.what;
  app.add_option("--preset", name, "smoke (seconds), quick (minutes), full (half an hour)")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--text", texts,
                 "files to read one after another (default: generated text;\n"
                 "cmake/run.sh gives Shakespeare to all presets but smoke)")
      ->type_name("FILE");
  app.add_option("--schemes", schemes, "with commas, of" + known)->type_name("A,B");
  app.add_option("--select", selects,
                 "reads each scheme with chosen keys, too: \"Quest{budget=64}\",\n"
                 "MoBA{block, topk}, NSA{block, blocks}, InfLLM{...}, LongHeads{chunk, chunks}; "
                 "may be repeated")
      ->type_name("METHOD");
  app.add_option("--seeds", seeds, "how many, from 1 on")->type_name("N");
  app.add_option(
         "--steps", steps,
         "of each training from random weights; those that go\non with a trained model keep theirs")
      ->type_name("N");
  app.add_flag("--schedules", schedules_too,
               "also trains RoPE by schedules whose lengths grow, which takes as\n"
               "long again as the rest of quick; full and smoke do");
  app.add_option("--threads", threads, "0: all")->type_name("N")->capture_default_str();
  app.add_option("--out", out,
                 "folder for page, pictures and results (default: build/lab)\n"
                 "A run that was interrupted goes on where its folder says")
      ->type_name("DIR");
  if (!example::parse(app, argc, argv)) return std::nullopt;

  Setting s = preset(name);
  posenc::Problems problems;
  if (steps) s.training.steps = *steps;
  if (seeds) {
    problems.require(*seeds >= 1 && *seeds <= 100, "--seeds must lie within [1, 100], got ", *seeds,
                     ".");
    s.seeds.clear();
    for (Index i = 1; i <= std::min<Index>(*seeds, 100); ++i)
      s.seeds.push_back(static_cast<std::uint64_t>(i));
  }
  problems.require(s.training.steps >= 1 && s.training.steps <= 1'000'000,
                   "--steps must lie within [1, 1000000], got ", s.training.steps, ".");
  problems.require(threads >= 0 && threads <= 1024, "--threads must lie within [0, 1024], got ",
                   threads, ".");
  s.threads = threads;
  s.schedules_too = s.schedules_too || schedules_too;
  if (!out.empty()) s.out = out;
  s.texts = texts;
  if (!schemes.empty()) {
    s.schemes.clear();
    std::istringstream list(schemes);
    for (std::string one; std::getline(list, one, ',');) {
      const auto& all = named_schemes();
      const bool found = std::any_of(all.begin(), all.end(),
                                     [&](const NamedScheme& scheme) { return one == scheme.name; });
      problems.require(found, "there is no scheme '", one, "'; they are:", known);
      if (std::find(s.schemes.begin(), s.schemes.end(), one) == s.schemes.end())
        s.schemes.push_back(one);
    }
  }
  problems.raise_if_any("lab");
  for (const std::string& select : selects) {
    const ReadSelector read = parse_selector(select);
    if (std::any_of(s.selects.begin(), s.selects.end(),
                    [&](const ReadSelector& other) { return other.text == read.text; }))
      continue;
    s.selects.push_back(read);
    std::string why;
    const bool goes = std::any_of(s.schemes.begin(), s.schemes.end(), [&](const auto& scheme) {
      why = why_not(named_scheme(scheme).make(s.shape, s.training.length), s.shape, read);
      return why.empty();
    });
    problems.require(goes, read.text, " goes with none of the schemes: ", why);
  }
  problems.raise_if_any("lab");
  return s;
}

/// "build/texts/shakespeare.txt, 5057198 bytes, of which the last tenth is held out"
inline std::string text_in_words(const Setting& setting, const lab::Text& text) {
  std::string names;
  for (const std::string& path : setting.texts) names += (names.empty() ? "" : " and ") + path;
  return (names.empty() ? "generated text" : names) + ", " +
         std::to_string(text.train.size() + text.held_out.size()) +
         " bytes, of which the last tenth is held out";
}

/// The bytes of the files, or generated ones; the setting gets their hash. Throws posenc::Error.
inline lab::Text read_text(Setting& setting) {
  std::vector<std::uint8_t> bytes;
  if (setting.texts.empty()) bytes = lab::generated_text(1 << 20, 1);
  for (const std::string& path : setting.texts) {
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path))
      throw posenc::Error("lab", {"cannot read the text " + path + "."});
    bytes.insert(bytes.end(), std::istreambuf_iterator<char>(file), {});
  }
  const lab::Text text = lab::split(bytes);
  const Index longest = std::max(*std::max_element(setting.lengths.begin(), setting.lengths.end()),
                                 setting.lengths_of_schedules().back());
  posenc::Problems problems;
  problems.require(std::ssize(text.held_out) > longest, "the text has ", bytes.size(),
                   " bytes; the tenth that is held out has to be longer than a window of ", longest,
                   ", so give it ", 10 * (longest + 2), " or more.");
  problems.raise_if_any("lab");
  setting.text_hash = example::hash_of(bytes);
  setting.training.tag = setting.text_hash;
  return text;
}

}  // namespace lab_example
