// SPDX-License-Identifier: MIT
//
// What the user asked for.
#pragma once

#include "../support/command_line.hpp"

#include <cctype>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace compare {

using posenc::Index;
using posenc::Position;

inline constexpr Position greatest_length = Position{1} << 24;

struct Arguments {
  std::string model;
  std::optional<Position> length{};
  std::optional<Position> trained{};
  std::vector<std::string> schemes{};
  bool all = false;
  std::string layer{};
  std::string layout{};  ///< "", "half_split" or "interleaved"
  bool ignore_unknown_keys = false;
  std::filesystem::path out{};
  unsigned seed = 1;
  int rounds = 9;      ///< of timing, at most
  std::string text{};  ///< a file, to measure the loss on
  double minutes = 5;  ///< for that
  int threads = 0;

  [[nodiscard]] bool has_weights() const {
    std::string extension = std::filesystem::path(model).extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return extension == ".gguf";
  }
};

/// Tokens written as 32768, 32k (times 1,024) or 1M. Throws posenc::Error.
inline Position parse_tokens(std::string_view option, const std::string& text) {
  Position tokens = 0;
  std::size_t used = 0;
  for (; used < text.size() && std::isdigit(static_cast<unsigned char>(text[used])) &&
         tokens <= greatest_length;
       ++used)
    tokens = tokens * 10 + (text[used] - '0');
  const bool has_digits = used > 0;
  const std::string unit = text.substr(used);
  if (unit == "k" || unit == "K")
    tokens *= 1024;
  else if (unit == "m" || unit == "M")
    tokens *= 1024 * 1024;
  else if (!unit.empty())
    tokens = -1;
  posenc::Problems problems;
  problems.require(has_digits && tokens >= 1 && tokens <= greatest_length, option,
                   " must be a number of tokens from 1 to ", greatest_length,
                   " (2^24), such as 32768 or 32k; got '", text, "'.");
  problems.raise_if_any("compare");
  return tokens;
}

/// Names between commas, without the spaces around them. Commas within braces are of an expression.
inline std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  std::string name;
  int depth = 0;
  for (const char c : list + ",") {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c != ',' || depth > 0) {
      name += c;
      continue;
    }
    const auto first = name.find_first_not_of(' ');
    if (first != std::string::npos)
      names.push_back(name.substr(first, name.find_last_not_of(' ') + 1 - first));
    name.clear();
  }
  if (name.find_first_not_of(", ") != std::string::npos) names.push_back(name);  // an open brace
  return names;
}

/// Reads the command line. Returns nothing when the user only wanted help. Throws posenc::Error.
inline std::optional<Arguments> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Which scheme could read a model beyond its trained length? Ranks those that apply to the "
      "model by what\n"
      "can be computed: rotary pairs that leave the angles of training, near scores, spread of "
      "attention, cost."};
  app.name("compare");
  app.footer(
      "Examples:\n"
      "  compare models/llama-2-7b.json --length 16k --out report\n"
      "prints a recommendation and a table, and writes report/compare.html with pictures, their "
      "gnuplot scripts\n"
      "and data. Queries and keys are synthetic: without weights nothing here measures a model's "
      "quality.\n"
      "  compare model.gguf --text book.txt --length 16k\n"
      "also measures the loss of the best ones on a text.");
  Arguments arguments;
  std::string length, trained, schemes, out;
  app.get_formatter()->column_width(20);
  app.add_option("MODEL", arguments.model,
                 "a model's config.json, as on the Hugging Face hub, or a\n"
                 "GGUF file; with --text one of the Llama family")
      ->required()
      ->type_name("");
  app.add_option("--length", length,
                 "context to reach, in tokens (default: the length that the\n"
                 "file promises beyond the trained one, or else four times\n"
                 "the trained one)")
      ->type_name("N");
  app.add_option("--trained", trained, "length of the training (default: as the file says)")
      ->type_name("N");
  app.add_option("--schemes", schemes,
                 "names or expressions such as \"RoPE|YaRN{factor=4}|ReRoPE\",\n"
                 "separated by commas (default: those that can read the model)")
      ->type_name("A,B");
  app.add_flag("--all", arguments.all,
               "every scheme that posenc has, also those that a model would\n"
               "have to be trained with, some with made-up weights");
  app.add_option("--text", arguments.text, "with a GGUF file: a long text to measure the loss on")
      ->type_name("FILE");
  app.add_option("--minutes", arguments.minutes, "for measuring, about (default: 5)")
      ->type_name("N");
  app.add_option("--threads", arguments.threads, "for measuring (default: 0, all)")->type_name("N");
  app.add_option("--layer", arguments.layer,
                 "kind of layer, such as sliding_attention (default: full\n"
                 "attention)")
      ->type_name("KIND");
  app.add_option("--layout", arguments.layout,
                 "half_split or interleaved, for a model_type that posenc\n"
                 "does not know")
      ->type_name("NAME")
      ->check(CLI::IsMember({"half_split", "interleaved"}));
  app.add_flag("--ignore-unknown-keys", arguments.ignore_unknown_keys,
               "go on where the file has keys about attention that posenc\n"
               "does not know");
  app.add_option("--out", out,
                 "folder for compare.html, pictures and data (default: none,\nonly the table)")
      ->type_name("DIR");
  app.add_option("--seed", arguments.seed, "seed of queries and keys (default: 1)")->type_name("N");
  app.add_option("--rounds", arguments.rounds,
                 "of timing, at most, beyond three as long as 15 seconds last\n(default: 9)")
      ->type_name("N");
  if (!example::parse(app, argc, argv)) return std::nullopt;
  if (app.count("--length") > 0) arguments.length = parse_tokens("--length", length);
  if (app.count("--trained") > 0) arguments.trained = parse_tokens("--trained", trained);
  arguments.schemes = split_names(schemes);
  posenc::Problems problems;
  problems.require(app.count("--schemes") == 0 || !arguments.schemes.empty(),
                   "--schemes names no scheme; write for example --schemes RoPE,YaRN.");
  problems.require(!arguments.all || arguments.schemes.empty(),
                   "--all shows every scheme, --schemes some: give one of them.");
  problems.require(app.count("--out") == 0 || !out.empty(), "--out names no folder.");
  problems.require(arguments.text.empty() || arguments.has_weights(),
                   "--text: the loss is measured with the weights of a GGUF file, but MODEL is ",
                   arguments.model, ".");
  for (const char* of_text : {"--minutes", "--threads"})
    problems.require(app.count(of_text) == 0 || !arguments.text.empty(), of_text,
                     ": is for measuring the loss on a text, and there is no --text.");
  for (const char* of_config : {"--layout", "--ignore-unknown-keys"})
    problems.require(app.count(of_config) == 0 || !arguments.has_weights(), of_config,
                     " is for a config.json, and MODEL is the GGUF file ", arguments.model, ".");
  problems.require(arguments.rounds >= 1 && arguments.rounds <= 1000,
                   "--rounds must lie within [1, 1000], got ", arguments.rounds, ".");
  problems.require(arguments.minutes > 0 && arguments.minutes <= 10'000,
                   "--minutes must lie within (0, 10000], got ", arguments.minutes, ".");
  problems.require(arguments.threads >= 0 && arguments.threads <= 1024,
                   "--threads must lie within [0, 1024], got ", arguments.threads, ".");
  problems.raise_if_any("compare");
  arguments.out = out;
  return arguments;
}

}  // namespace compare
