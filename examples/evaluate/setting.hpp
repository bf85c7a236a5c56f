// SPDX-License-Identifier: MIT
//
// What is measured: a model, a text, lengths and schemes.
#pragma once

#include "../support/command_line.hpp"
#include "../support/gnuplot.hpp"
#include "measure.hpp"

namespace evaluate {

struct Setting {
  std::string model, text, out = "build/evaluate";
  std::vector<Index> lengths{};  ///< 0: the trained one and twice that
  std::vector<std::pair<std::string, std::string>> schemes{};  ///< name and expression
  bool default_schemes = true;
  std::vector<std::pair<std::string, Choosing>> selects{};  ///< as written, and as read
  bool passkey = false;
  int threads = 0;
};

/// By default: as trained, and one of each kind of extension. Parameters are the expressions' own rules.
inline std::vector<std::pair<std::string, std::string>> default_schemes() {
  return {{"as trained", "RoPE"},
          {"PI", "RoPE|PI"},
          {"NTK", "RoPE|NTK"},
          {"NTK by parts", "RoPE|NTKByParts"},
          {"YaRN", "RoPE|YaRN"},
          {"ABF", "RoPE|ABF"},
          {"ReRoPE", "RoPE|ReRoPE"},
          {"Leaky ReRoPE", "RoPE|LeakyReRoPE"},
          {"SelfExtend", "RoPE|SelfExtend"},
          {"DualChunk", "RoPE|DualChunk"},
          {"STRING", "RoPE|STRING"}};
}

inline std::optional<Setting> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Reads a text with a language model at and beyond its trained length, with one scheme "
      "after "
      "another:\nperplexity by position and over the last tokens."};
  app.name("evaluate");
  app.get_formatter()->column_width(26);
  Setting s;
  std::vector<std::string> schemes, selects;
  Index dense_layers = 2;
  bool select_prompt = false;
  app.add_option("--model", s.model,
                 "GGUF file, or folder with config.json, safetensors and tokenizer.json,\n"
                 "of the Llama family (llama, mistral, qwen2, qwen3, smollm3)")
      ->type_name("PATH")
      ->required();
  app.add_option("--text", s.text, "a long text")->type_name("FILE")->required();
  app.add_option("--lengths", s.lengths,
                 "tokens of windows, with commas (default: trained, twice that)")
      ->delimiter(',')
      ->type_name("N,N");
  app.add_option("--schemes", schemes,
                 "encodings such as \"RoPE|YaRN{factor=4}|ReRoPE\" (default: eleven)")
      ->type_name("E");
  app.add_option("--select", selects,
                 "also reads with chosen keys, by methods such as \"Quest{budget=1024}\"\n"
                 "(Quest, MoBA, NSA, InfLLM, LongHeads)")
      ->type_name("M");
  app.add_option("--dense-layers", dense_layers, "first layers that read all keys all the same")
      ->type_name("N")
      ->capture_default_str();
  app.add_flag("--select-prompt", select_prompt,
               "all tokens choose, not only the last ones, as in generation");
  app.add_flag("--passkey", s.passkey, "also asks for a number hidden at five depths");
  app.add_option("--threads", s.threads, "0: all")->type_name("N")->capture_default_str();
  app.add_option("--out", s.out,
                 "folder for page, pictures and results\n"
                 "A run that was interrupted goes on where its folder says")
      ->type_name("DIR")
      ->capture_default_str();
  if (!example::parse(app, argc, argv)) return std::nullopt;
  posenc::Problems problems;
  problems.require(s.threads >= 0 && s.threads <= 1024, "--threads must lie within [0, 1024], got ",
                   s.threads, ".");
  for (const Index length : s.lengths)
    problems.require(length >= 64 && length <= Index{1} << 22,
                     "--lengths must lie within [64, 4194304], got ", length, ".");
  problems.require(dense_layers >= 0, "--dense-layers must not be negative, got ", dense_layers,
                   ".");
  problems.raise_if_any("evaluate");
  for (const std::string& select : selects)
    s.selects.emplace_back(select, Choosing{parse_selector(select), dense_layers, select_prompt});
  s.default_schemes = schemes.empty();
  s.schemes = s.default_schemes ? default_schemes() : decltype(s.schemes){{"as trained", "RoPE"}};
  for (const std::string& scheme : schemes)
    if (scheme != "RoPE") s.schemes.emplace_back(scheme, scheme);
  return s;
}

}  // namespace evaluate
