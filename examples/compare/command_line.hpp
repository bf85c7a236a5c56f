// SPDX-License-Identifier: MIT
//
// What the user asked for.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <CLI/CLI.hpp>

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
  std::string layer{};
  std::string layout{};  ///< "", "half_split" or "interleaved"
  bool ignore_unknown_keys = false;
  std::filesystem::path out{};
  unsigned seed = 1;
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

inline std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  std::string name;
  for (const char c : list + ",") {
    if (c != ',') {
      name += c;
      continue;
    }
    const auto first = name.find_first_not_of(' ');
    if (first != std::string::npos)
      names.push_back(name.substr(first, name.find_last_not_of(' ') + 1 - first));
    name.clear();
  }
  return names;
}

/// Reads the command line. Returns nothing when the user only wanted help. Throws posenc::Error.
inline std::optional<Arguments> parse_command_line(int argc, char** argv) {
  CLI::App app{
      "Compares the positional schemes of posenc on the shape of a real model: which rotary pairs "
      "leave\n"
      "the angles of training, how scores decay, how spread out attention is, and what it costs."};
  app.name("compare");
  app.footer(
      "Example:\n"
      "  compare models/llama-2-7b.json --length 16k --schemes RoPE,PI,NTK,YaRN,ReRoPE --out "
      "report\n"
      "prints a table, and writes report/compare.html, its pictures (SVG), the gnuplot scripts "
      "that drew\n"
      "them and their data. Queries and keys are synthetic: nothing here measures a model's "
      "quality.");
  Arguments arguments;
  std::string length, trained, schemes, out;
  app.get_formatter()->column_width(20);
  app.add_option("MODEL", arguments.model, "a model's config.json, as on the Hugging Face hub")
      ->required()
      ->type_name("");
  app.add_option("--length", length,
                 "context to reach, in tokens (default: the length that the\n"
                 "file promises beyond the trained one, or else four times\n"
                 "the trained one)")
      ->type_name("N");
  app.add_option("--trained", trained, "length of the training (default: as the file says)")
      ->type_name("N");
  app.add_option("--schemes", schemes, "names, separated by commas (default: all that apply)")
      ->type_name("A,B");
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw posenc::Error("compare", {std::string(error.what()) + ". Try --help."});
  }
  if (!length.empty() || app.count("--length") > 0)
    arguments.length = parse_tokens("--length", length);
  if (!trained.empty() || app.count("--trained") > 0)
    arguments.trained = parse_tokens("--trained", trained);
  arguments.schemes = split_names(schemes);
  if (app.count("--schemes") > 0 && arguments.schemes.empty())
    throw posenc::Error("compare",
                        {"--schemes names no scheme; write for example --schemes RoPE,YaRN."});
  if (app.count("--out") > 0 && out.empty())
    throw posenc::Error("compare", {"--out names no folder."});
  arguments.out = out;
  return arguments;
}

}  // namespace compare
